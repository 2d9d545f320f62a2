"""Pictures and sounds in the formats that people have, written by the real encoders, for tests of their conversion."""

import io
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()

PICTURES: Final = {"heic": "HEIF", "avif": "AVIF", "bmp": "BMP", "tiff": "TIFF"}
# Extension -> container and codec as FFmpeg calls them, rate in Hz.
SOUNDS: Final = {
    "mp3": ("mp3", "libmp3lame", 44_100),
    "m4a": ("ipod", "aac", 44_100),
    "opus": ("opus", "libopus", 48_000),
}


def scene(seed: int = 0, *, width: int = 96, height: int = 64) -> Image.Image:
    """A picture with gradients and some texture: it has no two sides alike."""
    y, x = np.mgrid[0:height, 0:width]
    waves = 40 * np.sin(x / (5 + seed)) + 40 * np.cos(y / (3 + seed))
    planes = [x * 255 / width, y * 255 / height, np.clip(128 + waves, 0, 255)]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


def write_picture(picture: Image.Image, extension: str, **options: Any) -> bytes:
    """The file of that picture."""
    sink = io.BytesIO()
    picture.save(sink, PICTURES[extension], **options)
    return sink.getvalue()


def read_picture(data: bytes) -> Image.Image:
    """The picture as Pillow decodes it, upright."""
    from PIL import ImageOps

    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return ImageOps.exif_transpose(picture)


def tones(seconds: float, rate_hz: int, channels: int = 2) -> npt.NDArray[np.float32]:
    """float32[channels, n]: a chord whose loudness rises, another in each channel."""
    time_s = np.arange(int(rate_hz * seconds)) / rate_hz
    chord = [
        0.2 * (1 + time_s / seconds) * np.sin(2 * np.pi * (440 + 110 * number) * time_s) for number in range(channels)
    ]
    return np.ascontiguousarray(np.stack(chord), dtype=np.float32)


def write_sound(
    samples: npt.NDArray[np.float32], extension: str, *, form: str = "", codec: str = "", rate_hz: int = 0, **tags: str
) -> bytes:
    """The file of those samples, float32[channels, n]."""
    usual = SOUNDS[extension]
    form, codec, rate_hz = form or usual[0], codec or usual[1], rate_hz or usual[2]
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
    sink = io.BytesIO()
    with av.open(sink, "w", format=form) as out:
        out.metadata.update(tags)
        track: Any = out.add_stream(codec, rate=rate_hz, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
        resampler = av.AudioResampler(format=track.codec_context.format.name, layout=layout, rate=rate_hz)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(track.encode(part))
        out.mux(track.encode(None))
    return sink.getvalue()
