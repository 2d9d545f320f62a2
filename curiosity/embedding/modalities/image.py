"""Image: a still PNG, JPEG or WebP in, upright RGB out."""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as Pillow

from curiosity.embedding.modalities.bare import bare_picture
from curiosity.embedding.modality import Array, Contract, Limits, refuse

FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
# No tower takes more than 336 px (the largest CLIP picture); a larger array would only travel between processes.
MAX_SIDE_PX = 384
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, OverflowError)
_BAND_PIXELS = 1 << 20
_GREY_BITS = {"L;2": 2, "L;4": 4, "L": 8}  # layouts of grey PNG pixels that Pillow spreads over 0 to 255
LIMITS = Limits(max_bytes=16 * 2**20, max_pixels=50_000_000)
CONTRACT = Contract("uint8", (None, None, 3), 0, 255, "RGB, rows from the top, at most 384 px a side", "8-bit level")


@dataclass(frozen=True)
class Image:
    """Still pictures. Transparency lies on white, EXIF orientation is applied, the longest side is at most 384 px."""

    name: str = "image"
    media_types: tuple[str, ...] = tuple(FORMATS)
    limits: Limits = LIMITS
    contract: Contract = CONTRACT
    mask_share: float = 0.85
    natural_unit: str = "16-px patches"
    preparation: str = (
        "Upright after EXIF orientation, transparency on white, 16-bit samples to their high byte, RGB, the longest "
        "side at most 384 px (box filter). A PNG's transparent colour is compared with every bit of a sample."
    )

    def decode(self, data: bytes, media_type: str) -> Array:
        """Return uint8[height, width, 3].

        Raises:
            Rejected: IMAGE_TOO_LARGE (from the header alone), IMAGE_NOT_STILL or IMAGE_NOT_DECODABLE.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
                bare = bare_picture(data, media_type)
                with Pillow.open(io.BytesIO(bare.data), formats=[FORMATS[media_type]]) as picture:
                    self._check_header(picture)
                    low = _open_low_bytes(bare.data) if has_two_passes(picture) else None
                    return _to_rgb(picture, low, bare.turn)
        except Pillow.DecompressionBombError as error:
            raise self._too_large(str(error)) from error
        except _BROKEN as error:
            raise refuse(
                "IMAGE_NOT_DECODABLE",
                f"{len(data)} bytes are not a whole {media_type} picture ({type(error).__name__}: {error})",
                "Save the picture again and check that the media type is its own.",
            ) from error

    def _check_header(self, picture: Pillow.Image) -> None:
        width, height = picture.size
        if width * height > self.limits.max_pixels:
            raise self._too_large(f"{width} x {height} pixels")
        frames = getattr(picture, "n_frames", 1)
        if frames != 1:
            raise refuse("IMAGE_NOT_STILL", f"the picture has {frames} frames", "Send one frame, or send a video.")

    def _too_large(self, what: str) -> Exception:
        return refuse(
            "IMAGE_TOO_LARGE", f"{what}, the limit is {self.limits.max_pixels} pixels", "Scale the picture down."
        )


def has_two_passes(picture: Pillow.Image) -> bool:
    """Return whether a picture that is open and not yet loaded has to be unpacked twice.

    Pillow keeps the high bytes of a PNG of 16-bit colours. Its transparent colour (tRNS) may differ from another in the
    low bytes alone.
    """
    return "transparency" in picture.info and _layout(picture) == "RGB;16B"


def _layout(picture: Pillow.Image) -> str:
    """Return how samples of a PNG lie in its data, as Pillow names it, such as ``L;4`` or ``RGB;16B``; else empty."""
    tiles = getattr(picture, "tile", None)
    return str(tiles[0].args) if picture.format == "PNG" and tiles else ""


def _open_low_bytes(data: bytes) -> Pillow.Image:
    """Open the same PNG of 16-bit colours so that the low bytes are read.

    They lie where others have the high bytes.
    """
    picture = Pillow.open(io.BytesIO(data), formats=["PNG"])
    picture.tile = [picture.tile[0]._replace(args="RGB;16L")]
    return picture


def _to_rgb(picture: Pillow.Image, low: Pillow.Image | None, turn: Pillow.Transpose | None) -> Array:
    """Return upright RGB on white, scaled down to MAX_SIDE_PX.

    ``low`` is the same picture's low bytes where they matter.
    """
    layout = _layout(picture)
    colour = picture.info.get("transparency")  # what stands behind the pixels is out of place (PNG, section 5.6)
    picture.draft("RGB", (MAX_SIDE_PX, MAX_SIDE_PX))
    picture.load()
    if layout:
        picture = _clear_colour(picture, layout, colour, low)
    upright = picture if turn is None else picture.transpose(turn)
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        upright = Pillow.alpha_composite(Pillow.new("RGBA", rgba.size, "white"), rgba)
    rgb = upright.convert("RGB")
    rgb.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Pillow.Resampling.BOX)
    return np.asarray(rgb, dtype=np.uint8)


def _clear_colour(picture: Pillow.Image, layout: str, colour: Any, low: Pillow.Image | None) -> Pillow.Image:
    """Return a PNG whose transparent colour is told as its pixels are; Pillow leaves it as the file's samples are.

    Samples of 16 bits come as their high byte, with white where they are transparent: another sample may have the same
    high byte. Only the bits of a sample count in the colour of tRNS (PNG, section 11.3.2.1).
    """
    if layout == "I;16B":
        samples = np.asarray(picture)
        high = (samples >> 8).astype(np.uint8)
        if colour is not None:
            high[samples == colour] = 255
        upright = Pillow.fromarray(high)
        upright.info = {name: value for name, value in picture.info.items() if name != "transparency"}
        return upright
    if low is not None:
        _whiten(picture, low, colour)
        colour = None
    picture.info.pop("transparency", None)
    if colour is None:
        return picture
    if layout in _GREY_BITS:
        levels = (1 << _GREY_BITS[layout]) - 1
        colour = (colour & levels) * 255 // levels
    elif layout == "RGB":
        colour = tuple(level & 255 for level in colour)
    picture.info["transparency"] = colour
    return picture


def _whiten(picture: Pillow.Image, low: Pillow.Image, colour: tuple[int, ...]) -> None:
    """Paint white what has this colour of 16 bits; some rows at a time, because both pictures may be large."""
    step = max(1, _BAND_PIXELS // picture.width)
    for top in range(0, picture.height, step):
        box = (0, top, picture.width, min(top + step, picture.height))
        halves = zip((picture, low), ([level >> 8 for level in colour], [level & 255 for level in colour]), strict=True)
        high, rest = (np.asarray(half.crop(box)) == level for half, level in halves)
        picture.paste((255, 255, 255), box, Pillow.fromarray((high & rest).all(axis=2)))


IMAGE = Image()
