"""Frames of a video, whatever container they come in: how many, how large, and which of them are kept."""

from curiosity.embedding.modality import Limits, refuse

# No video tower takes more than 224 px; a larger array would only travel between processes.
MAX_SIDE_PX = 256
MIN_FRAMES, MAX_FRAMES = 2, 64
# Frames times pixels that are decoded: bounds the time that one item takes, whatever its shape. One slow core decodes
# 70 million a second of HEVC or VP9 at a bit rate that fills max_bytes, so this takes two of a worker's five seconds.
MAX_DECODED_PIXELS = 150_000_000


def fit(width: int, height: int) -> tuple[int, int]:
    """Return width and height with the longest side at most MAX_SIDE_PX, in integers."""
    longest = max(width, height)
    if longest <= MAX_SIDE_PX:
        return width, height
    wide, high = (max(1, (side * MAX_SIDE_PX + longest // 2) // longest) for side in (width, height))
    return wide, high


def check_size(limits: Limits, width: int, height: int, frames: int, seconds: float) -> None:
    """Refuse what is over a limit; called with what the header says and again with what came out.

    Raises:
        Rejected: VIDEO_TOO_LARGE or VIDEO_TOO_LONG.
    """
    pixels = width * height
    if pixels > limits.max_pixels:
        raise refuse(
            "VIDEO_TOO_LARGE",
            f"frames of {width} x {height} pixels, the limit is {limits.max_pixels} pixels",
            "Scale the video down; 256 px are enough.",
        )
    if frames > limits.max_frames:
        raise refuse("VIDEO_TOO_LONG", f"over {limits.max_frames} frames", "Cut the video, or lower its frame rate.")
    if seconds > limits.max_s:
        raise refuse("VIDEO_TOO_LONG", f"{seconds:.1f} s, the limit is {limits.max_s:.0f} s", "Cut the video.")
    if frames * pixels > MAX_DECODED_PIXELS:
        raise refuse(
            "VIDEO_TOO_LARGE",
            f"{frames} frames of {width} x {height} are {frames * pixels} pixels, the limit is {MAX_DECODED_PIXELS}",
            "Scale the video down; 256 px are enough.",
        )


def sample(count: int) -> tuple[int, ...]:
    """Return the numbers of the frames that are kept of ``count``.

    Raises:
        Rejected: VIDEO_TOO_SHORT.
    """
    if count < MIN_FRAMES:
        raise refuse(
            "VIDEO_TOO_SHORT", f"{count} frames, at least {MIN_FRAMES} are taken", "Send a picture as an image."
        )
    if count <= MAX_FRAMES:
        return tuple(range(count))
    return tuple((2 * i + 1) * count // (2 * MAX_FRAMES) for i in range(MAX_FRAMES))
