"""Video: MP4, WebM or GIF in, up to 64 upright RGB frames out.

The same bytes give the same array on every machine. The decoders taken are those whose standards fix every bit of a
picture: H.264, HEVC, VP8, VP9 and AV1. MPEG-4 part 2 is not among them: its inverse transform may differ in the last
bit from one processor to the next. Scaling is Pillow's, in integers; the step from YUV to RGB is here, in integers.
"""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream
from PIL import Image as Pillow

from curiosity.embedding.modalities import gif
from curiosity.embedding.modalities.frames import (
    MAX_DECODED_PIXELS,
    MAX_FRAMES,
    MAX_SIDE_PX,
    MIN_FRAMES,
    check_size,
    fit,
    sample,
)
from curiosity.embedding.modalities.gaps import has_gap
from curiosity.embedding.modality import Array, Contract, Limits, refuse

# Media type -> what FFmpeg calls the container. GIF is Pillow's.
CONTAINERS = {"video/mp4": "mp4", "video/webm": "webm"}
CODECS = ("h264", "hevc", "vp8", "vp9", "av1")
_DECODERS = ",".join((*CODECS, "libdav1d", "libvpx", "libvpx-vp9"))
# 8-bit planar YUV only. Pixels of ten bits come with transfer functions that nothing here knows, and programs do not
# agree on what black is in pictures without chroma.
PIXEL_FORMATS = (
    "yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "yuv440p", "yuvj440p",
)  # fmt: skip
LIMITS = Limits(max_bytes=16 * 2**20, max_pixels=1920 * 1088, max_s=60.0, max_frames=1_800)
CONTRACT = Contract(
    "uint8",
    ((MIN_FRAMES, MAX_FRAMES), (1, MAX_SIDE_PX), (1, MAX_SIDE_PX), 3),
    0,
    255,
    "2 to 64 RGB frames of one size, rows from the top, at most 256 px a side",
    "8-bit level",
)
# Kr and Kb by the number that a file names its matrix with (ITU-T H.273, table 4): BT.709, and BT.601 in two editions.
BT601, BT709 = (0.299, 0.114), (0.2126, 0.0722)
_MATRICES = {1: BT709, 5: BT601, 6: BT601}
_UNSPECIFIED = 2
_HD_ROWS = 720  # what names no matrix is BT.709 from here up, BT.601 below, as players do
_BROKEN: Final = (av.FFmpegError, OSError, ValueError, EOFError, OverflowError, IndexError)


@dataclass(frozen=True)
class Video:
    """Moving pictures without their sound. Over 64 frames, 64 are taken at even distances."""

    name: str = "video"
    media_types: tuple[str, ...] = (*CONTAINERS, gif.MEDIA_TYPE)
    limits: Limits = LIMITS
    contract: Contract = CONTRACT
    mask_share: float = 0.90
    natural_unit: str = "tubelets (2 frames of 16 x 16 px)"
    preparation: str = (
        f"Every frame decoded on one thread, at most {MAX_DECODED_PIXELS // 10**6} million pixels in all; of n over 64 "
        "frames those numbered floor((2i + 1) n / 128) are kept. Longest side brought to at most 256 px (box filter, "
        "chroma planes apart), YUV to RGB in integers (BT.601, or BT.709 where the file says so or from 720 rows up), "
        "turned upright by quarter turns. GIF frames are composed, transparency on white. Time stamps, sound and pixel "
        "aspect are not looked at. A frame may have several slices or tiles; one that lacks a slice is refused. "
        "Codecs: H.264, HEVC, VP8, VP9, AV1, 8 bits."
    )

    def decode(self, data: bytes, media_type: str) -> Array:
        """Return uint8[frames, height, width, 3].

        Raises:
            Rejected: VIDEO_NOT_DECODABLE, VIDEO_FORMAT (container, codec, pixels or a change of size), VIDEO_TOO_LARGE
                and VIDEO_TOO_LONG (from the header, and again while decoding) or VIDEO_TOO_SHORT.
        """
        if media_type == gif.MEDIA_TYPE:
            frames = gif.read_frames(data, self.limits)
        else:
            frames = self._read_container(data, media_type)
        return np.stack(frames)

    def _read_container(self, data: bytes, media_type: str) -> list[Array]:
        try:
            with contextlib.closing(_open(data, media_type, self.limits.max_pixels)) as container:
                stream = self._check_header(container)
                guess, largest = self._count_packets(container, stream)
            for _ in range(2):
                wanted, count, kept = set(sample(guess)), 0, []
                with contextlib.closing(_open(data, media_type, self.limits.max_pixels)) as container:
                    for frame in _decode(container, self.limits.max_pixels):
                        if count in wanted:
                            kept.append(_to_rgb(frame))
                        count += 1
                        check_size(self.limits, frame.width, frame.height, count, 0.0)
                        if (frame.width, frame.height) != largest:
                            raise _other_size(largest, (frame.width, frame.height))
                # A packet is nearly always a frame. Where it is not, the frames are counted now: take them again.
                if set(sample(count)) == wanted:
                    return kept
                guess = count
        except _BROKEN as error:
            raise _not_decodable(data, media_type, f"{type(error).__name__}: {error}") from error
        raise _not_decodable(data, media_type, "it gives another number of frames each time")

    def _check_header(self, container: InputContainer) -> VideoStream:
        if len(container.streams.video) != 1:
            raise refuse(
                "VIDEO_FORMAT", f"{len(container.streams.video)} video tracks, taken is one", "Keep one video track."
            )
        stream = container.streams.video[0]
        codec = stream.codec_context
        name = codec.codec.canonical_name if codec is not None else "unknown"
        if name not in CODECS:
            raise refuse(
                "VIDEO_FORMAT",
                f"the codec is {name}, taken are {', '.join(CODECS)}",
                "Convert it, for example to H.264.",
            )
        seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        seconds = max(seconds, (container.duration or 0) / av.time_base)
        check_size(self.limits, codec.width, codec.height, stream.frames, seconds)
        return stream

    def _count_packets(self, container: InputContainer, stream: VideoStream) -> tuple[int, tuple[int, int]]:
        size, count, first, last = (stream.codec_context.width, stream.codec_context.height), 0, None, 0.0
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard:
                continue
            if packet.is_corrupt:
                raise ValueError("the file ends within a frame")
            count += 1
            if packet.pts is not None and packet.time_base is not None:
                at_s = float(packet.pts * packet.time_base)
                first, last = at_s if first is None else min(first, at_s), max(last, at_s)
            check_size(self.limits, *size, count, last - first if first is not None else 0.0)
        return count, size


def _open(data: bytes, media_type: str, max_pixels: int) -> InputContainer:
    """Return the container, of the media type's kind whatever the bytes look like; nothing but ``data`` is ever read.

    The white lists hold for the short look that FFmpeg takes at every track while it opens the container, too.
    """
    options = {
        "codec_whitelist": _DECODERS,
        "protocol_whitelist": "",
        "max_pixels": str(max_pixels),
        "err_detect": "explode",
        "max_streams": "8",
    }
    return av.open(io.BytesIO(data), mode="r", format=CONTAINERS[media_type], options=options)


def _decode(container: InputContainer, max_pixels: int) -> Iterator[VideoFrame]:
    """Yield whole frames in the order in which they are shown; a decoder that is told of larger ones allocates nothing.

    ``err_detect`` makes a decoder fail at what it cannot read. ``ec`` has it look for blocks that no slice gave and
    mark the frame; without it the H.264 decoder keeps no record of the slices before and calls every frame of several
    slices damaged. A marked frame is refused, so nothing painted over is ever used. The HEVC decoder keeps no such
    record at all: there, frames are held to the end, so that each is made in memory of zeros (see `gaps.has_gap`).
    """
    held = []
    stream = container.streams.video[0]
    codec = stream.codec_context
    codec.thread_count = 1
    codec.thread_type = "NONE"
    codec.options = {
        "err_detect": "explode+crccheck+bitstream+buffer",
        "ec": "deblock",
        "flags": "+bitexact",
        "max_pixels": str(max_pixels),
    }
    for frame in container.decode(stream):
        if frame.is_corrupt:
            raise ValueError("a frame is damaged")
        if codec.codec.canonical_name == "hevc" and frame.format.name in PIXEL_FORMATS:
            held.append(frame)
            if has_gap(frame):
                raise ValueError("a part of a frame is missing")
        yield frame


def _to_rgb(frame: VideoFrame) -> Array:
    """Return uint8[height, width, 3], upright, the longest side at most MAX_SIDE_PX."""
    if frame.format.name not in PIXEL_FORMATS:
        raise refuse(
            "VIDEO_FORMAT",
            f"pixels are {frame.format.name}, taken are {', '.join(PIXEL_FORMATS)}",
            "Convert it to yuv420p.",
        )
    size = fit(frame.width, frame.height)
    planes = []
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(-1, plane.line_size)[
            : plane.height, : plane.width
        ]
        planes.append(Pillow.fromarray(np.ascontiguousarray(rows)).resize(size, Pillow.Resampling.BOX))
    rgb = yuv_to_rgb(
        [np.asarray(plane) for plane in planes],
        _matrix(frame),
        full_range=frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj"),
    )
    turns, rest = divmod(frame.rotation, 90)
    if rest:
        raise refuse(
            "VIDEO_FORMAT", f"the frames are turned by {frame.rotation} degrees", "Turn by quarter turns only."
        )
    return np.ascontiguousarray(np.rot90(rgb, turns))


def _matrix(frame: VideoFrame) -> tuple[float, float]:
    named = int(frame.colorspace)
    if named in _MATRICES:
        return _MATRICES[named]
    if named == _UNSPECIFIED:
        return BT709 if frame.height >= _HD_ROWS else BT601
    raise refuse(
        "VIDEO_FORMAT", f"the colours are of kind {named}, taken are BT.601 and BT.709", "Convert it to BT.709."
    )


def yuv_to_rgb(planes: list[Array], matrix: tuple[float, float], *, full_range: bool) -> Array:
    """Return uint8[H, W, 3] of planes Y, Cb, Cr, each uint8[H, W]; ``matrix`` is (Kr, Kb).

    Integers with 16 bits behind the point, rounded half up, cut at 0 and 255 where YUV leaves RGB. The coefficients
    are those of ITU-R BT.709-6, items 3.2 and 3.3, and of BT.601-7; they are rounded once, so no machine can differ.
    """
    kr, kb = matrix
    kg = 1.0 - kr - kb
    luma_scale, chroma_scale, black = (1.0, 1.0, 0) if full_range else (255 / 219, 255 / 224, 16)
    fixed = [round(value * 65_536) for value in (
        luma_scale,
        2 * (1 - kr) * chroma_scale,
        -2 * (1 - kb) * kb / kg * chroma_scale,
        -2 * (1 - kr) * kr / kg * chroma_scale,
        2 * (1 - kb) * chroma_scale,
    )]  # fmt: skip
    luma = (planes[0].astype(np.int32) - black) * fixed[0] + 32_768
    cb, cr = (plane.astype(np.int32) - 128 for plane in planes[1:])
    rgb = (luma + fixed[1] * cr, luma + fixed[2] * cb + fixed[3] * cr, luma + fixed[4] * cb)
    return np.stack([(channel >> 16).clip(0, 255).astype(np.uint8) for channel in rgb], axis=2)


def _other_size(first: tuple[int, int], other: tuple[int, int]) -> Exception:
    return refuse(
        "VIDEO_FORMAT",
        f"frames of {first[0]} x {first[1]} and of {other[0]} x {other[1]}",
        "Send frames of one size.",
    )


def _not_decodable(data: bytes, media_type: str, why: str) -> Exception:
    return refuse(
        "VIDEO_NOT_DECODABLE",
        f"{len(data)} bytes are not a whole {media_type} ({why[:200]})",
        "Save the video again and check that the media type is its own.",
    )


VIDEO = Video()
