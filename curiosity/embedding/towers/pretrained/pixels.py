"""Pictures as published vision encoders take them: scaled, cropped and normalised as their image processors do.

H, W pixels of what an encoder takes; P its patch side.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch import Tensor

from curiosity.embedding.modality import Array
from curiosity.protocol.errors import CheckpointError

HALF = (0.5, 0.5, 0.5)
BILINEAR, BICUBIC = int(Pillow.Resampling.BILINEAR), int(Pillow.Resampling.BICUBIC)


@dataclass(frozen=True)
class Pixels:
    """How a picture becomes an encoder's input.

    ``shortest`` scales the shorter side to so many pixels and cuts ``height`` x ``width`` from the middle; 0 scales to
    ``height`` x ``width`` without regard to shape. ``resample`` is Pillow's number; ``mean`` and ``std`` of channels
    in [0, 1].
    """

    height: int
    width: int
    shortest: int = 0
    resample: int = BICUBIC
    mean: tuple[float, ...] = HALF
    std: tuple[float, ...] = HALF

    def prepare(self, array: Array) -> NDArray[np.float32]:
        """Return float32[3, H, W] of uint8[h, w, 3]."""
        picture = Pillow.fromarray(array)
        if self.shortest:
            short, long = sorted(picture.size)
            scaled = int(self.shortest * long / short)
            size = (self.shortest, scaled) if picture.width <= picture.height else (scaled, self.shortest)
        else:
            size = (self.width, self.height)
        values = np.asarray(picture.resize(size, Pillow.Resampling(self.resample)), dtype=np.float64)
        top, left = (values.shape[0] - self.height) // 2, (values.shape[1] - self.width) // 2
        values = values[top : top + self.height, left : left + self.width] / 255.0
        normal = (values - np.array(self.mean)) / np.array(self.std)
        return np.ascontiguousarray(normal.transpose(2, 0, 1), dtype=np.float32)


def read_pixels(published: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of ``Pixels`` as plain JSON.

    They come from a ``preprocessor_config.json``, or are ``default`` where there is none.

    Raises:
        CheckpointError: PRETRAINED_DIFFERS, when the file asks for a step that is not taken here.
    """
    if not published:
        return dict(default)
    if not all(published.get(step, True) for step in ("do_resize", "do_rescale", "do_normalize")):
        raise CheckpointError(
            "PRETRAINED_DIFFERS",
            "the image processor leaves out scaling, 1/255 or normalising",
            "Give weights whose preprocessor_config.json is of the usual form.",
        )
    crop = published.get("crop_size")
    is_cropped = bool(published.get("do_center_crop", crop is not None))
    size = published.get("size", default["height"])
    if isinstance(size, int):
        size = {"shortest_edge": size} if is_cropped else {"height": size, "width": size}
    if isinstance(crop, int):
        crop = {"height": crop, "width": crop}
    box = crop if is_cropped and crop is not None else size
    shortest = int(size.get("shortest_edge") or 0)
    if "height" not in box:
        raise CheckpointError(
            "PRETRAINED_DIFFERS", f"the image processor gives pictures of no fixed size: {size}", "Set a crop_size."
        )
    return {
        "height": int(box["height"]),
        "width": int(box["width"]),
        "shortest": shortest,
        "resample": int(published.get("resample", default["resample"])),
        "mean": [float(m) for m in published.get("image_mean", default["mean"])],
        "std": [float(s) for s in published.get("image_std", default["std"])],
    }


def fit_side(settings: dict[str, Any], side: int) -> dict[str, Any]:
    """Return the settings for pictures of ``side`` x ``side`` pixels, the only ones that an encoder takes."""
    shortest = max(settings["shortest"], side) if settings["shortest"] else 0
    return settings | {"height": side, "width": side, "shortest": shortest}


def to_pixels(settings: Mapping[str, Any]) -> Pixels:
    """Return ``Pixels`` of plain JSON."""
    plain: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()}
    return Pixels(**plain)


def hide_cells(grid: NDArray[np.float32], hidden: NDArray[np.bool_], sides: tuple[int, ...]) -> NDArray[np.float32]:
    """Return ``grid`` with hidden cells NaN. Its last ``len(sides)`` axes are cut into cells of those sides."""
    counts = tuple(length // side for length, side in zip(grid.shape[-len(sides) :], sides, strict=True))
    cells = hidden.reshape(counts)
    for axis, side in enumerate(sides):
        cells = cells.repeat(side, axis=axis)
    # What is left over at an edge that the sides do not divide belongs to the last cell.
    spare = [(0, length - got) for length, got in zip(grid.shape[-len(sides) :], cells.shape, strict=True)]
    return np.where(np.pad(cells, spare, mode="edge"), np.float32(np.nan), grid)


def split_hidden(values: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """Return values with zeros where they are hidden, and bool[B, patches], True for hidden ones; of [B, 3, H, W]."""
    rows, columns = (length // patch * patch for length in values.shape[-2:])
    hidden = values[:, 0, :rows:patch, :columns:patch].isnan().flatten(1)
    return torch.nan_to_num(values, nan=0.0), hidden
