"""Curiosity rules: when does a joint point count as lying *in* a gap? A rule is one function and one registry line.

The source's rule is that the offset from the neighbours' centroid is at most a third of the gap. In full dimension it
admits nothing: the average point has a ratio of at least sqrt((k + 1) / (k - 1)) > 1 (docs/scoring.md).
"""

from collections.abc import Callable

import numpy as np

from curiosity.protocol.calibration import PairThresholds
from curiosity.protocol.neighbours import Neighbours
from curiosity.protocol.scoring import (
    MICRO,
    SCALE,
    Gap,
    Quantised,
    measure_gap,
)
from curiosity.protocol.verdict import OUTSIDE, TOO_NEAR

SCORE_BITS = 2
"""A score is one of two in an octave: at most the gap, at least two thirds of it. What that tells of a paid pair is
measured in docs/adr/0015-what-the-log-tells.md."""

Rule = Callable[[Quantised, Neighbours, Gap, PairThresholds], bool]


def is_inside_loo(_point: Quantised, _history: Neighbours, gap: Gap, thresholds: PairThresholds) -> bool:
    """Return True if offset over gap is no more than for nine in ten points of the history itself (leave one out)."""
    return gap.ratio_micro <= thresholds.max_ratio_micro


def is_inside_pinned(point: Quantised, history: Neighbours, _gap: Gap, thresholds: PairThresholds) -> bool:
    """Return True if `is_inside_loo` holds among the checkpoint's own points, which nobody can add to.

    Who sends the points around a void first cannot make its middle count as inside, whatever wallets they come from.
    """
    return history.own.nearest(point).ratio_micro <= thresholds.max_ratio_micro


def is_inside_literal(_point: Quantised, _history: Neighbours, gap: Gap, _thresholds: PairThresholds) -> bool:
    """Return True if the offset is at most a third of the gap, as the source says.

    It is kept to show that this rule admits nothing.
    """
    return 3 * gap.offset_micro <= gap.gap_micro


def is_inside_pca3(point: Quantised, history: Neighbours, _gap: Gap, _thresholds: PairThresholds) -> bool:
    """Return True if the literal rule holds in the three principal directions of the history."""
    values = history.points.astype(np.float64)
    mean = values.mean(axis=0)
    axes = np.linalg.svd(values - mean, full_matrices=False)[2][:3]
    spread = float(np.abs((values - mean) @ axes.T).max()) or 1.0
    project = SCALE / (2.0 * max(spread, float(np.abs((point - mean) @ axes.T).max())))
    flat = measure_gap(
        np.rint((point - mean) @ axes.T * project).astype(np.int16),
        np.rint((values - mean) @ axes.T * project).astype(np.int16),
    )
    return 3 * flat.offset_micro <= flat.gap_micro


RULES: dict[str, Rule] = {
    "pinned": is_inside_pinned,
    "loo": is_inside_loo,
    "literal": is_inside_literal,
    "pca3": is_inside_pca3,
}
DEFAULT_RULE = "pinned"


def why_not_novel(gap: Gap, thresholds: PairThresholds, *, inside: bool) -> str:
    """Return why a pair is not novel, in words, empty if it is.

    It names no distance: that would tell of other people's pairs, and outlive them in this pair's record.
    """
    if gap.nearest_micro < thresholds.nearest_floor_micro:
        return TOO_NEAR
    return "" if inside else OUTSIDE


def is_novel(gap: Gap, thresholds: PairThresholds, *, inside: bool) -> bool:
    """Return True if the point is paid for: inside a gap by the rule, and no nearer to a known point than the floor."""
    return not why_not_novel(gap, thresholds, inside=inside)


def curiosity_micro(gap: Gap) -> int:
    """Return the score that ranks and pays a novel pair: the size of the gap it fills.

    It is at most ``2 * MICRO``, rounded down to ``SCORE_BITS`` leading bits. The score is public for ever, and the
    whole gap would tell which pair it is of to anybody who can guess the items.
    """
    size = min(gap.gap_micro, 2 * MICRO)
    dropped = max(size.bit_length() - SCORE_BITS, 0)
    return size >> dropped << dropped
