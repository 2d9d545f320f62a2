"""Pictures of the pair sets that are made: read onto white, written as PNG."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image


def load_picture(path: Path) -> npt.NDArray[np.uint8]:
    """Return the picture on white at its own size, uint8[h, w, 3]."""
    with Image.open(path) as opened:
        picture = opened.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    return np.asarray(white.convert("RGB"))


def encode_picture(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return the PNG of uint8[h, w, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
