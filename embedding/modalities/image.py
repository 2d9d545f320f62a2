"""Image: a still PNG, JPEG or WebP in, upright RGB out."""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps

from embedding.modality import Array, Contract, Limits, refuse

FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
# No tower takes more than 336 px (the largest CLIP picture); a larger array would only travel between processes.
MAX_SIDE_PX = 384
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, OverflowError)
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
        "Upright after EXIF orientation, transparency on white, 16-bit grey to its high byte, RGB, the longest side at "
        "most 384 px (box filter)."
    )

    def decode(self, data: bytes, media_type: str) -> Array:
        """uint8[height, width, 3].

        Raises:
            Rejected: IMAGE_TOO_LARGE (from the header alone), IMAGE_NOT_STILL or IMAGE_NOT_DECODABLE.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
                with Pillow.open(io.BytesIO(data), formats=[FORMATS[media_type]]) as picture:
                    self._check_header(picture)
                    return _to_rgb(picture)
        except Pillow.DecompressionBombError as error:
            raise self._too_large(str(error)) from error
        except _BROKEN as error:
            raise refuse(
                "IMAGE_NOT_DECODABLE",
                f"{len(data)} bytes are not a whole {media_type} picture ({type(error).__name__}: {error})",
                "Save the picture again and check that the media type is its own",
            ) from error

    def _check_header(self, picture: Pillow.Image) -> None:
        width, height = picture.size
        if width * height > self.limits.max_pixels:
            raise self._too_large(f"{width} x {height} pixels")
        frames = getattr(picture, "n_frames", 1)
        if frames != 1:
            raise refuse("IMAGE_NOT_STILL", f"the picture has {frames} frames", "Send one frame, or send a video")

    def _too_large(self, what: str) -> Exception:
        return refuse(
            "IMAGE_TOO_LARGE", f"{what}, the limit is {self.limits.max_pixels} pixels", "Scale the picture down"
        )


def _to_rgb(picture: Pillow.Image) -> Array:
    """Upright RGB on white, scaled down to MAX_SIDE_PX."""
    picture.draft("RGB", (MAX_SIDE_PX, MAX_SIDE_PX))
    picture.load()
    if picture.mode.startswith("I"):
        # Pillow would clip 16-bit grey at 255; take the high byte.
        high = (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        picture = Pillow.fromarray(high)
    upright = ImageOps.exif_transpose(picture)
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        upright = Pillow.alpha_composite(Pillow.new("RGBA", rgba.size, "white"), rgba)
    rgb = upright.convert("RGB")
    rgb.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Pillow.Resampling.BOX)
    return np.asarray(rgb, dtype=np.uint8)


IMAGE = Image()
