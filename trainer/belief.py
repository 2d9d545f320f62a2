"""Fit of beliefs: from true and wrong pairs that were never trained on to the curves and cuts of a checkpoint.

The wrong pairs are what a cheat would send, and the manifest says in which shares: another pair's item (swapped), the
most similar wrong item (nearest), and the best of 64 that a search under the public checkpoint finds (searched). In
each range of familiarity a logistic curve that may bend (Platt 1999, Lucena 2018) is fitted to the scores and written
down as knots, so that a judge needs no floating point. Source: docs/scoring.md, "Belief".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curiosity.protocol.belief import ITSELF_MICRO, UNKNOWN_MICRO, Beliefs, Curve, Range
from curiosity.protocol.scoring import (
    CSLS_NEIGHBOURS,
    MICRO,
    Quantised,
    conformal_low,
    cosine_micro,
    cosines_micro,
    crowd_micro,
    dequantise,
    highest_micro,
)
from curiosity.sources.wrong import Score, draw_wrong

CHEATING_MICRO = 333_333  # share of wrong pairs that beliefs assume
ACCEPT_PRECISION_MICRO = 900_000  # share of true pairs among the accepted
REJECT_PRECISION_MICRO = 880_000  # share of wrong pairs among the rejected, who lose nothing but time
WRONG_SHARES: Mapping[str, float] = {"swapped": 0.98, "nearest": 0.01, "searched": 0.01}
SWAPPED = 2_500  # swapped pairs of a set, about; one of each true pair at least
RANGES = 3  # of familiarity
LEAST_IN_RANGE = 160  # true pairs: with fewer, ranges are merged
UNFAMILIAR_MICRO = 10_000  # one true pair in a hundred is less familiar than what the least familiarity is taken from
# What is held as unlike everything known is less familiar than six tenths of that. Of photos, which the shipped
# checkpoint was not calibrated on, 73 % of true pairs are accepted in place of 59 %, and 94 % of the accepted are true
# both times.
UNFAMILIAR_TENTHS = 6
KNOTS = 33
BENDS = 8  # quantiles of the scores at which a curve may bend
STIFFNESS = 1.0  # what a bend costs: weights are pairs
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
        curve = _curve(score[here], is_true[here], weight[here] * len(pairs), span)
        believed = np.array([curve.at(round(MICRO * s)) for s in score[here]], dtype=np.int64)
        accept, reject = _cuts(believed, weight[here], *(precision / MICRO for precision in precisions_micro))
        accept, reject = max(accept, MICRO - cheating_micro), min(reject, MICRO // 2)
        ranges.append(Range(curve, accept, min(reject, accept)))
    least = conformal_low([one.familiarity_micro for one in true], max(UNFAMILIAR_MICRO, MICRO // (len(true) + 1) + 1))
    least = min(least, least * UNFAMILIAR_TENTHS // 10)
    return Beliefs(edges, tuple(ranges), least, *precisions_micro, cheating_micro)


def _edges(familiarity: Sequence[int]) -> tuple[int, ...]:
    """Return where ranges of equally many true pairs part; fewer ranges where they would hold too few."""
    ranges = max(1, min(RANGES, len(familiarity) // LEAST_IN_RANGE))
    ordered = sorted(familiarity)
    return tuple(sorted({ordered[len(ordered) * r // ranges] for r in range(1, ranges)} - {ordered[0]}))


def _curve(score: Floats, is_true: npt.NDArray[np.bool_], weight: Floats, span: tuple[float, float]) -> Curve:
    """Return the share of true pairs by score: a logistic regression on a line with bends (Lucena 2018), as knots.

    The log-odds are a line that may bend at quantiles of the scores. A bend costs ``STIFFNESS`` times its square: few
    pairs give a straight line, which is Platt's curve, many the shape that they have. Where the fit falls, neighbouring
    knots are pooled.

    Args:
        score: Scores, float64[n].
        is_true: Whether a pair is true, bool[n].
        weight: What a pair counts, float64[n]; their sum says how many pairs the evidence is worth.
        span: The lowest and the highest score of the curve.
    """
    low, high = round(MICRO * span[0]), max(round(MICRO * span[1]), round(MICRO * span[0]) + KNOTS)
    knots = [low + (high - low) * knot // (KNOTS - 1) for knot in range(KNOTS)]
    at = np.array(knots, dtype=np.float64) / MICRO
    centre, spread = float(score.mean()), max(float(score.std()), 1.0 / MICRO)
    order = np.argsort(score, kind="stable")
    places = np.searchsorted(np.cumsum(weight[order]), weight.sum() * np.arange(1, BENDS + 1) / (BENDS + 1))
    bends = np.unique(score[order][places])

    def inputs(scores: Floats) -> Floats:
        line = (scores - centre) / spread
        bent = np.maximum(scores[:, None] - bends[None, :], 0.0) / spread
        return np.concatenate([np.stack([np.ones_like(line), line], axis=1), bent], axis=1)

    log_odds = inputs(at) @ _fit(inputs(score), is_true, weight)
    nearest = np.clip(np.round((score - at[0]) / (at[1] - at[0])).astype(np.int64), 0, KNOTS - 1)
    mass = np.bincount(nearest, weights=weight, minlength=KNOTS) + 1e-6 * weight.sum()
    beliefs = _rising(1.0 / (1.0 + np.exp(-log_odds)), mass)
    return Curve(tuple(knots), tuple(round(MICRO * float(belief)) for belief in beliefs))


def _fit(inputs: Floats, is_true: npt.NDArray[np.bool_], weight: Floats) -> Floats:
    """Return the coefficients of the weighted logistic regression, float64[k], by Newton's method.

    All but the first two of ``inputs`` float64[n, k] are bends. The targets are Platt's, so that scores which separate
    perfectly give no infinite slope.
    """
    positives, negatives = float(weight[is_true].sum()), float(weight[~is_true].sum())
    target = np.where(is_true, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
    stiffness = np.full(inputs.shape[1], STIFFNESS)
    stiffness[:2] = 1e-9
    fitted = np.zeros(inputs.shape[1])
    fitted[0] = np.log((positives + 1.0) / (negatives + 1.0))
    for _ in range(100):
        belief = 1.0 / (1.0 + np.exp(-inputs @ fitted))
        gradient = inputs.T @ (weight * (belief - target)) + stiffness * fitted
        hessian = (inputs * (weight * belief * (1.0 - belief))[:, None]).T @ inputs + np.diag(stiffness)
        step = np.linalg.solve(hessian, gradient)
        fitted = fitted - step * min(1.0, 5.0 / max(1e-12, float(np.abs(step).max())))
        if float(np.abs(step).max()) < 1e-9:
            break
    return fitted


def _rising(values: Floats, weight: Floats) -> Floats:
    """Return the nearest values that do not fall, by weighted squares: neighbours that fall are pooled."""
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for value, mass in zip(values, weight, strict=True):
        pool = (float(value), float(mass), 1)
        while pools and pools[-1][0] > pool[0]:
            mean, before, count = pools.pop()
            total = before + pool[1]
            pool = ((mean * before + pool[0] * pool[1]) / total, total, count + pool[2])
        pools.append(pool)
    return np.repeat([mean for mean, _, _ in pools], [count for _, _, count in pools])


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
        self._hidden: dict[str, dict[str, list[int]]] = {name: {} for name in anchors}
        for name, things in hidden.items():
            for row, thing in enumerate(things):
                self._hidden[name].setdefault(thing, []).append(row)

    def score(self, a: Quantised, b: Quantised, of_a: Sequence[str], of_b: Sequence[str]) -> list[Scored]:
        """Return the score and familiarity of the pairs (a[i], b[i]), int16[n, d].

        ``of_a[i]`` and ``of_b[i]`` name what each item is of, as ``hidden`` does. The cosines of an item that is in
        several pairs are computed once.
        """
        known: dict[tuple[str, bytes], npt.NDArray[np.int64]] = {}

        def cosines(item: Quantised, name: str, keeps: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
            key = (name, item.tobytes())
            if key not in known:
                known[key] = cosines_micro(item, self._anchors[name])
            return known[key][keeps]

        scored = []
        for one, other, one_of, other_of in zip(a, b, of_a, of_b, strict=True):
            keeps = {name: self._keeps(name, one_of, other_of) for name in self._anchors}
            bank_a, bank_b = keeps["bank_a"], keeps["bank_b"]
            crowd_a = crowd_micro(cosines(one, "bank_b", bank_b), cosines(other, "bank_b", bank_b))
            crowd_b = crowd_micro(cosines(other, "bank_a", bank_a), cosines(one, "bank_a", bank_a))
            nearest = [
                highest_micro(cosines(item, name, keeps[name]), ITSELF_MICRO)
                for item, name in ((one, "references_a"), (other, "references_b"))
            ]
            familiarity = sum(UNKNOWN_MICRO if value is None else value for value in nearest) // 2
            scored.append(Scored(cosine_micro(one, other) - (crowd_a + crowd_b) // 2, familiarity))
        return scored

    def _keeps(self, name: str, *things: str) -> npt.NDArray[np.bool_]:
        keeps = np.ones(len(self._anchors[name]), dtype=np.bool_)
        for thing in things:
            if thing:
                keeps[self._hidden[name].get(thing, [])] = False
        return keeps

    def crowds(self, a: Quantised, b: Quantised) -> tuple[Floats, Floats]:
        """Return the mean cosine of each item with its ten nearest entries of the partner's bank, float64[n] each."""
        return _crowd(a, self._anchors["bank_b"]), _crowd(b, self._anchors["bank_a"])


def _crowd(items: Quantised, bank: Quantised) -> Floats:
    nearest = np.sort(dequantise(items) @ dequantise(bank).T, axis=1)[:, -CSLS_NEIGHBOURS:]
    mean: Floats = nearest.mean(axis=1)
    return mean


def draw_wrong_pairs(
    a: Quantised, b: Quantised, concepts: Sequence[str], crowd_a: Floats, crowd_b: Floats, seed: int
) -> dict[str, list[tuple[int, int]]]:
    """Return wrong pairs by kind: row of a, and row of b that is wrong for it.

    About `SWAPPED` pairs are swapped ones. To a collapsed encoder everything is a twin of everything; then all of
    another concept are wrong.

    Args:
        a: Embeddings of the first items, int16[n, d].
        b: Embeddings of the second items, int16[n, d].
        concepts: What pair i is of: a partner of the same concept is not wrong.
        crowd_a: Mean cosine of each a with the nearest entries of the bank, float64[n]; with ``crowd_b`` it makes a
            cosine a CSLS score.
        crowd_b: The same of each b.
        seed: Of the drawing.
    """
    unit_a, unit_b = dequantise(a), dequantise(b)
    names = np.array(concepts)
    likeness = unit_b @ unit_b.T

    def wrong_for(i: int) -> list[int]:
        others = np.flatnonzero(names != names[i])
        apart = others[likeness[i, others] < _TWIN]
        return [int(at) for at in (apart if len(apart) else others)]

    def is_like_its_own(i: int, partners: Sequence[int]) -> list[float]:
        return [float(value) for value in likeness[i, list(partners)]]

    def scores_with(i: int, partners: Sequence[int]) -> list[float]:
        some = list(partners)
        return [float(value) for value in unit_b[some] @ unit_a[i] - (crowd_a[i] + crowd_b[some]) / 2.0]

    scores: Mapping[str, Score | None] = {"swapped": None, "nearest": is_like_its_own, "searched": scores_with}
    pairs = [i for i in range(len(a)) if wrong_for(i)]
    each = max(1, SWAPPED // max(len(pairs), 1))
    return {
        kind: [
            (i, j)
            for i, partners in zip(
                pairs, draw_wrong(pairs, wrong_for, way=kind, seed=seed, score=scores[kind], each=each), strict=True
            )
            for j in partners
        ]
        for kind in WRONG_SHARES
    }
