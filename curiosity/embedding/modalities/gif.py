"""Animated GIF, a container of the video modality. Frames are counted before any is decoded."""

import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image as Pillow

from curiosity.embedding.modalities.bare import bare_gif
from curiosity.embedding.modalities.frames import check_size, fit, sample
from curiosity.embedding.modality import Array, Limits, refuse

MEDIA_TYPE = "image/gif"
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, OverflowError)
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL = 0xF9


def read_frames(data: bytes, limits: Limits) -> list[Array]:
    """Return the kept frames, each uint8[height, width, 3].

    Raises:
        Rejected: VIDEO_NOT_DECODABLE, VIDEO_TOO_LARGE, VIDEO_TOO_LONG or VIDEO_TOO_SHORT.
    """
    try:
        width, height, count, seconds = scan(data, limits.max_frames)
        check_size(limits, width, height, count, seconds)
        wanted = sample(count)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Pillow.open(io.BytesIO(bare_gif(data).data), formats=["GIF"]) as picture:
                return [_to_rgb(picture, number, limits) for number in wanted]
    except (Pillow.DecompressionBombError, *_BROKEN) as error:
        raise refuse(
            "VIDEO_NOT_DECODABLE",
            f"{len(data)} bytes are not a whole {MEDIA_TYPE} ({type(error).__name__}: {str(error)[:200]})",
            "Save the video again and check that the media type is its own.",
        ) from error


def scan(data: bytes, max_frames: int) -> tuple[int, int, int, float]:
    """Return width, height, frames (counted up to one more than ``max_frames``) and seconds, from the blocks alone.

    The layout is that of the GIF89a specification, sections 17 to 27.

    Raises:
        ValueError, IndexError: If the bytes leave it, the missing trailer included.
    """
    if data[:6] not in (b"GIF87a", b"GIF89a"):
        raise ValueError("no GIF signature")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _table_bytes(flags)
    frames, hundredths = 0, 0
    while (kind := data[at]) != _TRAILER:
        if kind == _EXTENSION:
            if data[at + 1] == _GRAPHIC_CONTROL and data[at + 2] == 4:
                hundredths += struct.unpack_from("<H", data, at + 4)[0]
            at = _skip_blocks(data, at + 2)
        elif kind == _IMAGE:
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", data, at + 1)
            # Pillow would widen the canvas for such a frame, and frames would have more than one size.
            if left + wide > width or top + high > height:
                raise ValueError(f"frame {frames} leaves the canvas of {width} x {height}")
            frames += 1
            if frames > max_frames:
                break
            at = _skip_blocks(data, at + 10 + _table_bytes(flags) + 1)
        else:
            raise ValueError(f"byte {at} is {kind:#04x}, no block")
    return width, height, frames, hundredths / 100


def _table_bytes(flags: int) -> int:
    """Return how many bytes the colour table takes that the flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(data: bytes, at: int) -> int:
    """Return where the chain of sub-blocks that starts at ``at`` ends."""
    while data[at]:
        at += data[at] + 1
    return at + 1


def _to_rgb(picture: Pillow.Image, number: int, limits: Limits) -> Array:
    picture.seek(number)
    check_size(limits, *picture.size, number + 1, 0.0)
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        rgb = Pillow.alpha_composite(Pillow.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    else:
        rgb = picture.convert("RGB")
    return np.asarray(rgb.resize(fit(*picture.size), Pillow.Resampling.BOX), dtype=np.uint8)
