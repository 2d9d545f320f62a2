"""Sketches of pictures: PDQ-like bits of what stands on the background, with a bank of cuts and turns."""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from curiosity.embedding.modality import Array
from curiosity.embedding.sketch.parts import NOTHING, Parts
from curiosity.embedding.sketch.waves import (
    SIDE,
    SMALL,
    WHOLE,
    Levels,
    Rectangle,
    distinct,
    fewest_bits,
    shrink,
    to_bits,
    turns_of,
    waves_of,
    waves_of_spans,
)

TURNS_DEGREES = (-15, -12, -9, -6, -3, 3, 6, 9, 12, 15)
CUT_SHARES = (0.95, 0.9, 0.85, 0.8)  # of a side that is left; cuts lie 5 % of the side apart
_BACKGROUND_LEVELS = 24  # how far from the border's median a pixel is still background
_MIN_CELLS = 8  # a figure that is smaller is not cut out
_CENTRE = 0.85
_COLOUR_LEVELS = 24  # of 256 of Cb or Cr
_CELL_LEVELS = 16  # two thirds of it: half a cell and a whole one are as far apart as two pictures may be
_RECHECK_DEGREES = (-10, -7.5, -5, -2.5, 2.5, 5, 7.5, 10)
_BILINEAR = Pillow.Resampling.BILINEAR
_FINE = 0.025  # of a side: how far apart the cuts lie that are compared with an earlier picture
_FRAMES = 3  # a frame, a margin inside it and a margin in that are cut away
_TURNED_SIDE = 192  # px; before turning the sides keep their ratio
_MIN_SPREAD = 4.0  # standard deviation of grey levels below which a picture is too plain to compare


def sketch_picture(array: Array) -> Parts:
    """Return probes uint64[24, 4], bank uint64[n, 4] and what is kept of uint8[h, w, 3]; nothing of a plain picture.

    Probes: the figure, that is the rectangle that differs from the border, its centre, and the figure in that, each in
    eight turns and mirror images. Bank: the same three, the figure in each of 59 cuts, and figure and centre after ten
    small turns. Kept: the figure's sides in px, its mean Cb and Cr, and its grey levels, 64 x 64 bytes.
    """
    picture = Pillow.fromarray(array).convert("YCbCr")
    picture.thumbnail((_TURNED_SIDE, _TURNED_SIDE), Pillow.Resampling.BOX)
    grey, *colours = picture.split()
    plane = _plane(grey)
    if float(plane.std()) < _MIN_SPREAD:
        return NOTHING
    figure = _figure(plane, WHOLE)
    centre = _centre(figure)
    first = [waves_of(plane, figure), waves_of(plane, centre), waves_of(plane, _figure(plane, centre))]
    cuts = [waves_of(plane, _figure(plane, cut)) for cut in _CUTS]
    background = int(np.median(_border(plane)))
    turned = []
    for degrees in TURNS_DEGREES:
        turn = grey.rotate(degrees, Pillow.Resampling.BILINEAR, fillcolor=background)
        level = _plane(turn)
        whole = _figure(level, WHOLE)
        turned += [waves_of(level, whole), waves_of(level, _centre(whole))]
    probes = to_bits(np.concatenate([turns_of(one) for one in first]))
    top, bottom, left, right = figure
    small = shrink(np.ascontiguousarray(plane[top:bottom, left:right]))
    form = bytes((max(1, grey.width * (right - left) // SIDE), max(1, grey.height * (bottom - top) // SIDE)))
    kept = form + bytes(_mean(colour, figure) for colour in colours) + small.astype(np.uint8).tobytes()
    return probes, distinct(to_bits(np.stack(first + cuts + turned))), kept


def recheck_picture(probes: npt.NDArray[np.uint64], kept: bytes) -> int:
    """Return the fewest bits in which a probe differs from an earlier picture's figure, cut or turned and cut.

    506 cuts down to three quarters of a side, and for each of eight turns 27 cuts that leave out the corners.
    """
    plane = Pillow.frombytes("L", (SMALL, SMALL), kept[4:])
    fewest = fewest_bits(probes, np.asarray(plane, dtype=np.float32), _grids())
    for degrees in _RECHECK_DEGREES:
        turned = plane.transform(plane.size, Pillow.Transform.AFFINE, _turn(degrees, *kept[:2]), _BILINEAR)
        fewest = min(fewest, fewest_bits(probes, np.asarray(turned, dtype=np.float32), _turned_grids()))
    return fewest


def is_recoloured(later: bytes, earlier: bytes) -> bool:
    """Return whether two pictures of which this was kept have other colours."""
    return any(abs(a - b) > _COLOUR_LEVELS for a, b in zip(later[2:4], earlier[2:4], strict=True))


def colour_cells(kept: bytes) -> list[bytes]:
    """Return cells of colours: the one that a picture is in, and the three next to its colours.

    Two pictures of which one is in a cell of the other have no other colours by `is_recoloured`.
    """
    sides = []
    for level in kept[2:4]:
        cell, rest = divmod(level, _CELL_LEVELS)
        sides.append((cell, cell + 1 if 2 * rest >= _CELL_LEVELS else max(0, cell - 1)))
    return [bytes((blue, red)) for blue in sides[0] for red in sides[1]]


def _mean(colour: Pillow.Image, figure: Rectangle) -> int:
    """Return the mean level of what lies well inside the figure."""
    top, bottom, left, right = figure
    rows, columns = (bottom - top) // 8, (right - left) // 8
    return round(float(_plane(colour)[top + rows : bottom - rows, left + columns : right - columns].mean()))


def _turn(degrees: float, width: int, height: int) -> tuple[float, ...]:
    """Return the coefficients of a turn about the centre of a plane that was width x height before it was square."""
    sine, cosine, middle = math.sin(math.radians(degrees)), math.cos(math.radians(degrees)), SMALL / 2
    right, down = sine * height / width, sine * width / height
    across = middle - cosine * middle
    return cosine, -right, across + right * middle, down, cosine, across - down * middle


@lru_cache(1)
def _turned_grids() -> tuple[tuple[Levels, Levels], ...]:
    grids = []
    for share in (0.8, 0.85, 0.9):
        waves = waves_of_spans([((1 - share) / 2 + move, (1 + share) / 2 + move) for move in (-_FINE, 0, _FINE)])
        grids.append((waves, waves))
    return tuple(grids)


@lru_cache(1)
def _grids() -> tuple[tuple[Levels, Levels], ...]:
    grids = []
    for steps in range(11):
        rest = steps * _FINE
        waves = waves_of_spans([(_FINE * step, 1 - rest + _FINE * step) for step in range(steps + 1)])
        grids.append((waves, waves))
    return tuple(grids)


def _cuts() -> tuple[Rectangle, ...]:
    cuts = []
    for share in CUT_SHARES:
        steps, side = round((1 - share) * 20), round(SIDE * share)
        places = [round((SIDE - side) * step / steps) for step in range(steps + 1)]
        cuts += [(top, top + side, left, left + side) for top in places for left in places]
    return tuple(cuts)


_CUTS = _cuts()


def _border(plane: Levels) -> Levels:
    return np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]])


def _plane(grey: Pillow.Image) -> Levels:
    method = Pillow.Resampling.BOX if min(grey.size) > SIDE else Pillow.Resampling.BILINEAR
    return np.asarray(grey.resize((SIDE, SIDE), method), dtype=np.float32)


def _figure(plane: Levels, cut: Rectangle) -> Rectangle:
    """Return the rectangle inside ``cut`` outside of which there are only frames of one level each."""
    for _ in range(_FRAMES):
        top, bottom, left, right = cut
        inner = plane[top:bottom, left:right]
        differs = np.abs(inner - np.median(_border(inner))) > _BACKGROUND_LEVELS
        rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
        if len(rows) < _MIN_CELLS or len(columns) < _MIN_CELLS:
            return cut
        smaller = (top + int(rows[0]), top + int(rows[-1]) + 1, left + int(columns[0]), left + int(columns[-1]) + 1)
        if smaller == cut:
            return cut
        cut = smaller[0] + 1, smaller[1] - 1, smaller[2] + 1, smaller[3] - 1  # the edge itself is blurred
    return cut


def _centre(figure: Rectangle) -> Rectangle:
    top, bottom, left, right = figure
    rows, columns = (round((end - start) * (1 - _CENTRE) / 2) for start, end in ((top, bottom), (left, right)))
    return top + rows, bottom - rows, left + columns, right - columns
