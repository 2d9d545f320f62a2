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
    mirror_of,
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
_WEDGE_SHARES = (0.002, 0.15)  # of the picture: the least and the most that a turn leaves in a corner
_BLUR = 2  # cells of 128 that the edge of a wedge is blurred over
_LABEL_SHARE = 0.2  # of the height that a label covers
_LABELLED = tuple(0.7 + _FINE * step for step in range(9))  # of the figure: what a label may leave of it
_MIN_SPREAD = 4.0  # standard deviation of grey levels below which a picture is too plain to compare


def sketch_picture(array: Array) -> Parts:
    """Return probes uint64[n, 4], bank uint64[n, 4] and what is kept of uint8[h, w, 3]; nothing of a plain picture.

    Probes: the figure, that is the rectangle that differs from the border, its centre, and the figure in that, each in
    eight turns and mirror images; the figure without the lowest or the highest fifth of the picture, where a label may
    be, and the mirror images of both. Where a turn may have left wedges in the four corners, also the first 24 with
    these filled. Bank: figure, centre, the figure in that, the two without a fifth, the figure in each of 59 cuts, and
    figure and centre after ten small turns. Kept: the figure's sides in px, its mean Cb and Cr (wedges filled), and
    its grey levels, 64 x 64 bytes.
    """
    picture = Pillow.fromarray(array).convert("YCbCr")
    picture.thumbnail((_TURNED_SIDE, _TURNED_SIDE), Pillow.Resampling.BOX)
    grey, *colours = picture.split()
    plane = _plane(grey)
    if float(plane.std()) < _MIN_SPREAD:
        return NOTHING
    figure = _figure(plane, WHOLE)
    first = _with_centre(plane, figure)
    unlabelled = [waves_of(plane, _figure(plane, cut)) for cut in _UNLABELLED]
    probes = [*(turns_of(one) for one in first), np.stack(unlabelled), np.stack([mirror_of(one) for one in unlabelled])]
    coloured = figure
    wedges = _wedges(plane)
    if wedges is not None:
        filled = _filled(plane, wedges)
        coloured = _figure(filled, WHOLE)
        probes += [turns_of(one) for one in _with_centre(filled, coloured)]
    cuts = [waves_of(plane, _figure(plane, cut)) for cut in _CUTS]
    background = int(np.median(_border(plane)))
    turned = []
    for degrees in TURNS_DEGREES:
        turn = grey.rotate(degrees, Pillow.Resampling.BILINEAR, fillcolor=background)
        level = _plane(turn)
        whole = _figure(level, WHOLE)
        turned += [waves_of(level, whole), waves_of(level, _centre(whole))]
    top, bottom, left, right = figure
    small = shrink(np.ascontiguousarray(plane[top:bottom, left:right]))
    form = bytes((max(1, grey.width * (right - left) // SIDE), max(1, grey.height * (bottom - top) // SIDE)))
    kept = form + bytes(_mean(colour, coloured) for colour in colours) + small.astype(np.uint8).tobytes()
    return to_bits(np.concatenate(probes)), distinct(to_bits(np.stack(first + unlabelled + cuts + turned))), kept


def recheck_picture(probes: npt.NDArray[np.uint64], kept: bytes) -> int:
    """Return the fewest bits in which a probe differs from an earlier picture's figure, cut or turned and cut.

    506 cuts down to three quarters of a side, 54 without what a label may cover, and for each of eight turns 27
    cuts that leave out the corners.
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


def _with_centre(plane: Levels, figure: Rectangle) -> list[Levels]:
    """Return the waves of a figure, of its centre, and of the figure in that."""
    centre = _centre(figure)
    return [waves_of(plane, figure), waves_of(plane, centre), waves_of(plane, _figure(plane, centre))]


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
    rows = [span for share in _LABELLED for span in ((0.0, share), (1.0 - share, 1.0))]
    grids.append((waves_of_spans(rows), waves_of_spans([(0.0, 1.0), (_FINE, 1.0), (0.0, 1.0 - _FINE)])))
    return tuple(grids)


def _cuts() -> tuple[Rectangle, ...]:
    cuts = []
    for share in CUT_SHARES:
        steps, side = round((1 - share) * 20), round(SIDE * share)
        places = [round((SIDE - side) * step / steps) for step in range(steps + 1)]
        cuts += [(top, top + side, left, left + side) for top in places for left in places]
    return tuple(cuts)


_CUTS = _cuts()
_COVERED = round(SIDE * _LABEL_SHARE)
_UNLABELLED: tuple[Rectangle, ...] = ((0, SIDE - _COVERED, 0, SIDE), (_COVERED, SIDE, 0, SIDE))


_FRAME = np.pad(np.zeros((SIDE - 2 * _BLUR, SIDE - 2 * _BLUR), dtype=np.bool_), _BLUR, constant_values=True)


def _border(plane: Levels) -> Levels:
    return np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]])


def _plane(grey: Pillow.Image) -> Levels:
    method = Pillow.Resampling.BOX if min(grey.size) > SIDE else Pillow.Resampling.BILINEAR
    return np.asarray(grey.resize((SIDE, SIDE), method), dtype=np.float32)


def _wedges(plane: Levels) -> npt.NDArray[np.bool_] | None:
    """Return what a turn left in the four corners, bool[128, 128]; None where a corner is not of one level.

    A wedge is what is of the corner's level in one go from the picture's side, in rows whose first pixels are so in one
    go from the corner.
    """
    wedges = np.zeros(plane.shape, dtype=np.bool_)
    least, most = (share * plane.size for share in _WEDGE_SHARES)
    for down, right in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        turned = plane[::down, ::right]
        level = np.abs(turned - float(np.median(turned[:2, :2]))) <= _BACKGROUND_LEVELS
        reached = np.logical_and.accumulate(level, axis=1) & np.logical_and.accumulate(level[:, :1], axis=0)
        if not least <= int(reached.sum()) <= most:
            return None
        wedges[::down, ::right] |= reached
    return wedges


def _filled(plane: Levels, wedges: npt.NDArray[np.bool_]) -> Levels:
    """Return the plane with wedges and their blurred edges at the median of what is beside them."""
    grown = _grown(wedges, _BLUR)
    beside = plane[_grown(wedges, _BLUR + 4) & ~grown]
    level = float(np.median(beside)) if len(beside) else float(np.median(_border(plane)))
    return np.where(grown | _FRAME, np.float32(level), plane)  # a wedge's thin end lies along the frame


def _grown(mask: npt.NDArray[np.bool_], cells: int) -> npt.NDArray[np.bool_]:
    """Return a mask with what is at most so many cells from it in rows and columns."""
    padded = np.pad(mask, cells)
    rows = np.lib.stride_tricks.sliding_window_view(padded, 2 * cells + 1, axis=0).any(axis=-1)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(rows, 2 * cells + 1, axis=1).any(axis=-1))


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
