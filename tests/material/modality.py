"""One small honest item for every media type that the modalities take, made by the common program for it."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import cast

import av
import numpy as np
import pytest
import soundfile
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from curiosity.embedding.modalities import decode
from curiosity.protocol.errors import Rejected

TONE = (0.5 * np.sin(np.arange(1_600) * 0.2)).astype(np.float32)


def picture(form: str) -> bytes:
    """A small picture in PNG, JPEG or WEBP."""
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, form)
    return out.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG file, with its length and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def sound(form: str) -> bytes:
    """A short tone in WAV, FLAC or OGG."""
    out = io.BytesIO()
    soundfile.write(out, TONE, 16_000, format=form)
    return out.getvalue()


def frames(count: int = 12, width: int = 48, height: int = 32) -> NDArray[np.uint8]:
    """uint8[count, height, width, 3]: the red of frame i is 4 i + 2, a green bar grows, the upper half is bluish."""
    out = np.zeros((count, height, width, 3), dtype=np.uint8)
    for number in range(count):
        out[number, ..., 0] = (4 * number + 2) % 256
        out[number, :, : number * width // count + 1, 1] = 180
        out[number, : height // 2, :, 2] = 90
    return out


def clip(
    pixels: NDArray[np.uint8],
    codec: str = "libx264",
    container: str = "mp4",
    *,
    rate_hz: int = 20,
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> bytes:
    """A video of these frames. Encoders may write other bytes each time; keep what is to be compared."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = cast(VideoStream, file.add_stream(codec, rate=rate_hz, options=options or {}))
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt = pixel_format
        stream.codec_context.thread_count = 1
        for rgb in pixels:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        file.mux(stream.encode())
    return out.getvalue()


def gif(pixels: NDArray[np.uint8], duration_ms: int = 50) -> bytes:
    """An animated GIF of these frames."""
    out = io.BytesIO()
    first, *rest = (Image.fromarray(rgb) for rgb in pixels)
    first.save(out, "GIF", save_all=True, append_images=rest, duration=duration_ms, loop=0)
    return out.getvalue()


def npy(array: NDArray[np.generic], version: tuple[int, int] | None = None) -> bytes:
    """What numpy writes of the array."""
    out = io.BytesIO()
    np.lib.format.write_array(out, array, version, allow_pickle=False)
    return out.getvalue()


def sensor(name: str) -> NDArray[np.float32]:
    """An array that the sensor modality takes."""
    random = np.random.default_rng(1)
    low, high, shape = {
        "point_cloud": (-3.0, 3.0, (40, 3)),
        "touch": (0.0, 90.0, (3, 2, 16, 16)),
        "pressure": (-20.0, 20.0, (50,)),
        "emg": (-500.0, 500.0, (8, 20)),
        "action": (0.0, 1.0, (12, 7)),
    }[name]
    return random.uniform(low, high, shape).astype(np.float32)


def code_of(name: str, data: bytes, media_type: str) -> str:
    """The code with which the modality refuses these bytes, after a look that it says what to do."""
    with pytest.raises(Rejected) as refused:
        decode(name, data, media_type)
    assert refused.value.status == 422
    assert refused.value.remedy
    return refused.value.code


@cache
def item(modality: str, media_type: str) -> bytes:
    """An honest item. Raises KeyError for a media type that has none here: add one with the modality."""
    makers: dict[str, Callable[[], bytes]] = {
        "text/plain": lambda: b"a red apple",
        "image/png": lambda: picture("PNG"),
        "image/jpeg": lambda: picture("JPEG"),
        "image/webp": lambda: picture("WEBP"),
        "audio/wav": lambda: sound("WAV"),
        "audio/flac": lambda: sound("FLAC"),
        "audio/ogg": lambda: sound("OGG"),
        "video/mp4": lambda: clip(frames()),
        "video/webm": lambda: clip(frames(), "libvpx-vp9", "webm"),
        "image/gif": lambda: gif(frames()),
        "application/x-npy": lambda: npy(sensor(modality)),
    }
    return makers[media_type]()
