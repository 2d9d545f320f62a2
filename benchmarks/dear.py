"""Items that are small and dear to unpack: what a sender of bytes would choose."""

import io
from collections.abc import Callable
from functools import cache

import av
import numpy as np
import soundfile
from PIL import Image

WHITE = 2_000  # pixels a side; the attack scaled down, since its cost is proportional


def picture(form: str, side: int = WHITE, **options: object) -> bytes:
    """Return a white picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), "white").save(buffer, form, **options)
    return buffer.getvalue()


def webp(side: int = WHITE) -> bytes:
    """Return a white picture in some 40 bytes."""
    return picture("WEBP", side, lossless=True, method=0)


def jpeg_of_many_scans(side: int = WHITE, scans: int = 2_000) -> bytes:
    """Return a progressive JPEG in which one scan stands again and again."""
    data = picture("JPEG", side, progressive=True)
    start = data.rindex(b"\xff\xda")
    scan = data[start:-2]
    return data[:-2] + scans * scan + data[-2:]


def flac(samples: int = 499_979) -> bytes:
    """Silence at 96 kHz; the number of samples is a prime, the dearest to resample."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(samples), 96_000, format="FLAC")
    return buffer.getvalue()


def gif(side: int = 800, frames: int = 40) -> bytes:
    """Return frames of one colour each."""
    buffer = io.BytesIO()
    stills = [Image.new("P", (side, side), number % 2) for number in range(frames)]
    stills[0].save(buffer, "GIF", save_all=True, append_images=stills[1:])
    return buffer.getvalue()


@cache
def video(codec: str, form: str, frames: int = 60, width: int = 640, height: int = 360) -> bytes:
    """Return black frames."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form) as container:
        stream = container.add_stream(codec, rate=30)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        black = np.zeros((height, width, 3), dtype=np.uint8)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(black, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def dear_items() -> dict[str, tuple[str, str, bytes]]:
    """Return the modality, media type and bytes of one item of each kind, by name."""
    return {
        "webp": ("image", "image/webp", webp()),
        "png": ("image", "image/png", bilevel_png()),
        "jpeg": ("image", "image/jpeg", jpeg_of_many_scans()),
        "flac": ("audio", "audio/flac", flac()),
        "gif": ("video", "image/gif", gif()),
        "h264": ("video", "video/mp4", video("libx264", "mp4")),
        "vp9": ("video", "video/webm", video("libvpx-vp9", "webm")),
    }


def growing() -> dict[str, tuple[str, str, Callable[[int], bytes], int]]:
    """Return the modality, media type, a maker of items that grow with a number, and the largest number; by name."""
    return {
        "lossless WebP": ("image", "image/webp", webp, 3_000),
        "bilevel PNG": ("image", "image/png", bilevel_png, 4_000),
        "JPEG of many scans": ("image", "image/jpeg", lambda scans: jpeg_of_many_scans(2_000, scans), 2_000),
        "silent FLAC": ("audio", "audio/flac", lambda size: flac(1_000 * size - 21), 500),
    }


def bilevel_png(side: int = WHITE) -> bytes:
    """Return a black picture of one bit a pixel."""
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()
