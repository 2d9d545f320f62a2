"""Signs of the low waves of a plane of 128 x 128 values, as in PDQ: 256 bits that blurring and recoding leave.

PDQ (Meta, 2019) takes a discrete cosine transform of 64 x 64 grey levels and compares its 16 x 16 lowest waves, without
the constant ones, with their median. Here a wave is integrated over any rectangle of the plane, so that the bits of a
cut cost two small matrix products.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

SIDE = 128
SMALL = 64
"""Side of the plane that is kept of an item, to look again at what its bank lets through."""

WAVES = 16
Levels = npt.NDArray[np.float32]
Rectangle = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last."""

WHOLE: Rectangle = (0, SIDE, 0, SIDE)
_SIGNS = ((-1.0) ** np.arange(1, WAVES + 1)).astype(np.float32)


def waves_of(plane: Levels, rectangle: Rectangle) -> Levels:
    """Return the 16 lowest waves in rows and columns of a rectangle, float32[16, 16]."""
    top, bottom, left, right = rectangle
    cut: Levels = plane[top:bottom, left:right]
    waves: Levels = np.asarray(_basis(bottom - top) @ cut @ _basis(right - left).T, dtype=np.float32)
    return waves


def turns_of(waves: Levels) -> Levels:
    """Return the waves of the plane's eight turns and mirror images, float32[8, 16, 16]: signs and a transposition."""
    both = np.stack([waves, waves.T])
    rows, columns = _SIGNS[:, None], _SIGNS[None, :]
    return np.concatenate([both, both * rows, both * columns, both * rows * columns])


def mirror_of(waves: Levels) -> Levels:
    """Return the waves of the plane's mirror image, left and right exchanged, float32[16, 16]."""
    mirrored: Levels = waves * _SIGNS[None, :]
    return mirrored


def to_bits(waves: Levels) -> npt.NDArray[np.uint64]:
    """Return which waves are above their median, uint64[n, 4] from float32[n, 16, 16].

    The first 64 bits are those of the 8 x 8 lowest waves, which copies change least: a search looks at them first.
    """
    flat = waves.reshape(len(waves), -1)[:, _LOWEST_FIRST]
    above = np.ascontiguousarray(flat > np.median(flat, axis=1, keepdims=True))
    return np.packbits(above, axis=1).view(np.uint64)


def distinct(rows: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return each row once, in the order in which they come."""
    return rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])]


def fewest_bits(probes: npt.NDArray[np.uint64], small: Levels, grids: Sequence[tuple[Levels, Levels]]) -> int:
    """Return the fewest bits in which a probe differs from any cut of a plane.

    Args:
        probes: Of the later item, uint64[n, 4].
        small: What is kept of the earlier one, float32[64, 64].
        grids: Of sets of cuts the waves of all their spans of rows and of columns (`waves_of_spans`).
    """
    fewest = 256
    for of_rows, of_columns in grids:
        rows = of_rows @ small
        waves: Levels = (rows[:, None] @ of_columns.transpose(0, 2, 1)[None]).astype(np.float32, copy=False)
        bits = to_bits(waves.reshape(-1, WAVES, WAVES))
        fewest = min(fewest, int(np.bitwise_count(bits[:, None] ^ probes[None]).sum(axis=2).min()))
    return fewest


def waves_of_spans(spans: Sequence[tuple[float, float]]) -> Levels:
    """Return the 16 lowest waves of spans of the kept plane, each a share of its side, float32[n, 16, 64]."""
    cells = np.arange(SMALL + 1)
    waves = []
    for start, end in spans:
        first, last = start * SMALL, end * SMALL
        edges = np.pi * (np.clip(cells, first, last) - first) / (last - first)
        numbers = np.arange(1, WAVES + 1)[:, None]
        waves.append(np.diff(np.sin(numbers * edges) / numbers, axis=1))
    return np.stack(waves).astype(np.float32)


def shrink(plane: Levels) -> Levels:
    """Return float32[64, 64] of a plane of any size."""
    method = Pillow.Resampling.BOX if min(plane.shape) > SMALL else Pillow.Resampling.BILINEAR
    return np.asarray(Pillow.fromarray(plane).resize((SMALL, SMALL), method), dtype=np.float32)


_LOWEST_FIRST = np.argsort(np.maximum(*np.indices((WAVES, WAVES))).ravel(), kind="stable")


@lru_cache(SIDE)
def _basis(length: int) -> Levels:
    """Return the waves 1 to 16 integrated over each of ``length`` cells, float32[16, length]."""
    edges = np.pi * np.arange(length + 1) / length
    numbers = np.arange(1, WAVES + 1)[:, None]
    basis: Levels = np.diff(np.sin(numbers * edges) / numbers, axis=1).astype(np.float32)
    return basis
