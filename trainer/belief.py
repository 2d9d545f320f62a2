"""Fit of beliefs: from true and wrong pairs that were never trained on to the curves and cuts of a checkpoint.

The wrong pairs are what a cheat would send, and the manifest says in which shares: another pair's item (swapped), the
most similar wrong item (nearest), and the best of 64 that a search under the public checkpoint finds (searched). In
each range of familiarity a logistic curve (Platt 1999) is fitted to the scores and written down as knots, so that a
judge needs no floating point. Source: docs/scoring.md, "Belief".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curiosity.protocol.belief import Beliefs, Curve, Range, familiarity_micro
from curiosity.protocol.scoring import (
    CSLS_NEIGHBOURS,
    MICRO,
    Quantised,
    conformal_low,
    csls_micro,
    dequantise,
)

CHEATING_MICRO = 333_333  # share of wrong pairs that beliefs assume
ACCEPT_PRECISION_MICRO = 900_000  # share of true pairs among the accepted
REJECT_PRECISION_MICRO = 880_000  # share of wrong pairs among the rejected, who lose nothing but time
WRONG_SHARES: Mapping[str, float] = {"swapped": 0.98, "nearest": 0.01, "searched": 0.01}
SEARCHED_AMONG = 64
RANGES = 3  # of familiarity
LEAST_IN_RANGE = 80  # true pairs: with fewer, ranges are merged
UNFAMILIAR_MICRO = 10_000  # one true pair in a hundred is less familiar than the least familiar one that is judged
KNOTS = 33
_TWIN = 0.95  # cosine above which a wrong item says the same as the right one

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """What a pair is judged by: its CSLS score and its familiarity, in millionths; ``weight`` of it in the fit."""

    score_micro: int
    familiarity_micro: int
    weight: float = 1.0


def fit_beliefs(
    true: Sequence[Scored],
    wrong: Sequence[Scored],
    *,
    cheating_micro: int = CHEATING_MICRO,
    precisions_micro: tuple[int, int] = (ACCEPT_PRECISION_MICRO, REJECT_PRECISION_MICRO),
) -> Beliefs:
    """Return the curves and cuts that true and wrong pairs give.

    The weights of ``wrong`` count among each other; together they count for ``cheating_micro`` of all pairs. Whatever
    the precision allows, nothing is accepted at a belief below the share of true pairs (its numbers speak against it)
    or rejected at one above a half.

    Raises:
        ValueError: If there are no true or no wrong pairs.
    """
    if not true or not wrong:
        raise ValueError(f"{len(true)} true and {len(wrong)} wrong pairs: a belief needs both")
    pairs = [*true, *wrong]
    score = np.array([one.score_micro for one in pairs], dtype=np.float64) / MICRO
    familiarity = np.array([one.familiarity_micro for one in pairs], dtype=np.int64)
    is_true = np.arange(len(pairs)) < len(true)
    weight = np.array([one.weight for one in pairs], dtype=np.float64)
    share = cheating_micro / MICRO
    weight[is_true] *= (1.0 - share) / weight[is_true].sum()
    weight[~is_true] *= share / weight[~is_true].sum()
    edges = _edges([one.familiarity_micro for one in true])
    place = np.searchsorted(np.array(edges, dtype=np.int64), familiarity, side="right")
    span = float(score.min()), float(score.max())
    ranges = []
    for number in range(len(edges) + 1):
        here = place == number
        curve = _curve(*_fit(score[here], is_true[here], weight[here], len(pairs)), span)
        believed = np.array([curve.at(round(MICRO * s)) for s in score[here]], dtype=np.int64)
        accept, reject = _cuts(believed, weight[here], *(precision / MICRO for precision in precisions_micro))
        accept, reject = max(accept, MICRO - cheating_micro), min(reject, MICRO // 2)
        ranges.append(Range(curve, accept, min(reject, accept)))
    least = conformal_low([one.familiarity_micro for one in true], max(UNFAMILIAR_MICRO, MICRO // (len(true) + 1) + 1))
    return Beliefs(edges, tuple(ranges), least, *precisions_micro, cheating_micro)


def _edges(familiarity: Sequence[int]) -> tuple[int, ...]:
    """Return where ranges of equally many true pairs part; fewer ranges where they would hold too few."""
    ranges = max(1, min(RANGES, len(familiarity) // LEAST_IN_RANGE))
    ordered = sorted(familiarity)
    return tuple(sorted({ordered[len(ordered) * r // ranges] for r in range(1, ranges)} - {ordered[0]}))


def _fit(score: Floats, is_true: npt.NDArray[np.bool_], weight: Floats, count: int) -> tuple[float, float]:
    """Return slope and offset of the weighted logistic regression of being true on the score, by Newton's method.

    The targets are Platt's, so that scores which separate perfectly give no infinite slope. A falling curve becomes a
    flat one.
    """
    scaled = weight * count  # so that weights are pairs again
    positives, negatives = float(scaled[is_true].sum()), float(scaled[~is_true].sum())
    target = np.where(is_true, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
    prior = np.log((positives + 1.0) / (negatives + 1.0))
    centre = float(score.mean())
    inputs = np.stack([score - centre, np.ones_like(score)], axis=1)
    parameters = np.array([0.0, prior])
    for _ in range(100):
        belief = 1.0 / (1.0 + np.exp(-inputs @ parameters))
        gradient = inputs.T @ (scaled * (belief - target))
        hessian = (inputs * (scaled * belief * (1.0 - belief))[:, None]).T @ inputs + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        parameters = parameters - step * min(1.0, 20.0 / max(1e-12, float(np.abs(step).max())))
        if float(np.abs(step).max()) < 1e-9:
            break
    slope, offset = float(parameters[0]), float(parameters[1])
    return (slope, offset - slope * centre) if slope > 0.0 else (0.0, float(prior))


def _curve(slope: float, offset: float, span: tuple[float, float]) -> Curve:
    low, high = round(MICRO * span[0]), max(round(MICRO * span[1]), round(MICRO * span[0]) + KNOTS)
    scores = [low + (high - low) * knot // (KNOTS - 1) for knot in range(KNOTS)]
    beliefs = [round(MICRO / (1.0 + np.exp(-(slope * score / MICRO + offset)))) for score in scores]
    return Curve(tuple(scores), tuple(int(b) for b in np.maximum.accumulate(beliefs)))


def _cuts(believed: npt.NDArray[np.int64], weight: Floats, true: float, wrong: float) -> tuple[int, int]:
    """Return the belief to accept from and the one to reject below.

    As many are as have a share of ``true`` true pairs, and of ``wrong`` wrong ones. The share of true pairs on one side
    of a cut is the mean belief there: counting pairs would fit the cuts to the few next to them. A cut lies half way to
    the next pair. Where none reaches the precision, nothing is accepted (a cut above 1), or rejected (a cut of 0).
    """
    return -_cut(-believed, weight, -MICRO * true, -MICRO - 1), _cut(believed, weight, MICRO * (1.0 - wrong), 0)


def _cut(levels: npt.NDArray[np.int64], weight: Floats, bound: float, none: int) -> int:
    """Return how high levels may be for the mean of those up to it to be at most ``bound``, or ``none``."""
    order = np.argsort(levels, kind="stable")
    ordered = levels[order]
    mean = np.cumsum(weight[order] * ordered) / np.cumsum(weight[order])
    good = np.flatnonzero(mean <= bound)
    if not len(good):
        return none
    last = int(good[-1])
    if last + 1 == len(ordered):
        return int(ordered[last]) + 1
    return int(ordered[last] + ordered[last + 1]) // 2


class Scorer:
    """Scores of many pairs of one modality pair against a checkpoint's anchors, equal to those of the judge.

    ``bank_a``, ``bank_b`` int16[N, d] and ``references_a``, ``references_b`` int16[M, d] are the anchors; ``hidden``
    gives for each of the four, by name, what its rows are of. A row that is of the same thing as an item is left out
    for that item: anchors are taken from the pairs that beliefs come from too, and a new pair finds nothing of itself
    among them.
    """

    def __init__(self, anchors: Mapping[str, Quantised], hidden: Mapping[str, Sequence[str]]) -> None:
        self._anchors = anchors
        self._hidden = {name: np.array(of, dtype=object) for name, of in hidden.items()}

    def score(self, a: Quantised, b: Quantised, of_a: Sequence[str], of_b: Sequence[str]) -> list[Scored]:
        """Return the score and familiarity of the pairs (a[i], b[i]), int16[n, d].

        ``of_a[i]`` and ``of_b[i]`` name what each item is of, as ``hidden`` does.
        """
        scored = []
        for one, other, one_of, other_of in zip(a, b, of_a, of_b, strict=True):
            left = {name: rows[self._keeps(name, one_of, other_of)] for name, rows in self._anchors.items()}
            scored.append(
                Scored(
                    csls_micro(one, other, left["bank_a"], left["bank_b"]),
                    familiarity_micro(one, other, left["references_a"], left["references_b"]),
                )
            )
        return scored

    def _keeps(self, name: str, *things: str) -> npt.NDArray[np.bool_]:
        keeps: npt.NDArray[np.bool_] = ~np.isin(self._hidden[name], [thing for thing in things if thing])
        return keeps

    def crowds(self, a: Quantised, b: Quantised) -> tuple[Floats, Floats]:
        """Return the mean cosine of each item with its ten nearest entries of the partner's bank, float64[n] each."""
        return _crowd(a, self._anchors["bank_b"]), _crowd(b, self._anchors["bank_a"])


def _crowd(items: Quantised, bank: Quantised) -> Floats:
    nearest = np.sort(dequantise(items) @ dequantise(bank).T, axis=1)[:, -CSLS_NEIGHBOURS:]
    mean: Floats = nearest.mean(axis=1)
    return mean


def draw_wrong(
    a: Quantised, b: Quantised, concepts: Sequence[str], crowd_a: Floats, crowd_b: Floats, seed: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Return for each true pair i the row of b that makes it wrong, by kind of wrong pair; -1 where there is none.

    Args:
        a: Embeddings of the first items, int16[n, d].
        b: Embeddings of the second items, int16[n, d].
        concepts: What pair i is of: a partner of the same concept is not wrong.
        crowd_a: Mean cosine of each a with the nearest entries of the bank, float64[n]; with ``crowd_b`` it makes a
            cosine a CSLS score.
        crowd_b: The same of each b.
        seed: Of the drawing.
    """
    generator = np.random.default_rng(seed)
    unit_a, unit_b = dequantise(a), dequantise(b)
    names = np.array(concepts)
    drawn = {kind: np.full(len(a), -1, dtype=np.int64) for kind in WRONG_SHARES}
    for i in range(len(a)):
        likeness = unit_b @ unit_b[i]
        others = np.flatnonzero(names != names[i])
        if not len(others):
            continue
        apart = others[likeness[others] < _TWIN]
        others = apart if len(apart) else others  # to a collapsed encoder everything is a twin of everything
        drawn["swapped"][i] = generator.choice(others)
        drawn["nearest"][i] = others[np.argmax(likeness[others])]
        some = generator.choice(others, size=min(SEARCHED_AMONG, len(others)), replace=False)
        drawn["searched"][i] = some[np.argmax(unit_b[some] @ unit_a[i] - (crowd_a[i] + crowd_b[some]) / 2.0)]
    return drawn
