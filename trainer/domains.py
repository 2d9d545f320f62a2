"""Which trusted sets one curve of beliefs fits, and which need one of their own.

A curve that is fitted to handwritten digits and drawings together is right for neither: digits that the encoder tells
apart make it distrust drawings with the same score. Sets are merged as long as one curve for both explains their pairs
as well as two do, by the Bayesian information criterion (Schwarz 1978). Source: docs/scoring.md, "Belief".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import log

from curiosity.protocol.belief import Beliefs
from curiosity.protocol.scoring import MICRO
from trainer.belief import CHEATING_MICRO, Scored, fit_beliefs

LEAST_IN_DOMAIN = 100  # true pairs of one modality pair: a set with fewer has no curve of its own
_CURVE_PARAMETERS = 2  # of a line of log-odds; bends cost their own square
_SURE_MICRO = 100  # beliefs nearer to 0 or 1 than this count as this


@dataclass(frozen=True)
class OfSet:
    """The true and the wrong pairs of one set and one modality pair, as beliefs are fitted to them."""

    true: Sequence[Scored]
    wrong: Sequence[Scored]


Scores = Mapping[str, Mapping[str, OfSet]]
"""By modality pair and set."""


def group_sets(scores: Scores) -> list[list[str]]:
    """Return the sets in groups of which each needs beliefs of its own; the largest group first, then by name.

    Starts with every set by itself and merges, one after the other, the two groups whose merging costs least, while the
    deviance that it adds is below what a second curve costs. A group that has too few pairs of each modality pair is
    merged with the largest. The order of the sets and of their pairs does not matter.
    """
    names = sorted({name for sets in scores.values() for name in sets})
    groups = [[name] for name in names]
    while len(groups) > 1:
        costs = [(_cost(scores, one, other), one, other) for one, other in combinations(groups, 2)]
        cost, one, other = min(costs)
        if cost >= 0:
            break
        groups = sorted([group for group in groups if group not in (one, other)] + [sorted(one + other)])
    return sorted(groups, key=lambda group: (-len(group), -_size(scores, group), group))


def fit_to(scores: Mapping[str, OfSet], sets: Sequence[str]) -> Beliefs | None:
    """Return the beliefs that the pairs of some sets give; None if there are fewer than `LEAST_IN_DOMAIN` true ones."""
    true = [one for name in sets if name in scores for one in scores[name].true]
    wrong = [one for name in sets if name in scores for one in scores[name].wrong]
    return fit_beliefs(true, wrong) if len(true) >= LEAST_IN_DOMAIN and wrong else None


def _cost(scores: Scores, one: list[str], other: list[str]) -> float:
    """Return by how much two curves explain two groups better than one, less what the second costs, in nats.

    Where a group has too few pairs for a curve of its own there is nothing to lose.
    """
    total = 0.0
    for of_sets in scores.values():
        apart = [fit_to(of_sets, group) for group in (one, other)]
        together = fit_to(of_sets, one + other)
        if together is None or any(beliefs is None for beliefs in apart):
            total -= 1.0 / MICRO  # groups that never meet are merged rather than kept apart
            continue
        pairs = sum(len(of_sets[name].true) for name in one + other if name in of_sets)
        gained = sum(
            _deviance(together, of_sets, group) - _deviance(beliefs, of_sets, group)
            for group, beliefs in zip((one, other), apart, strict=True)
            if beliefs is not None
        )
        total += gained - _CURVE_PARAMETERS / 2 * log(pairs * MICRO / (MICRO - CHEATING_MICRO))
    return total


def _deviance(beliefs: Beliefs, of_sets: Mapping[str, OfSet], group: Sequence[str]) -> float:
    """Return the negative log-likelihood of some sets' pairs, in nats; wrong ones count as the share that they are."""
    total = 0.0
    for name in group:
        if name not in of_sets:
            continue
        true, wrong = of_sets[name].true, of_sets[name].wrong
        share = CHEATING_MICRO / (MICRO - CHEATING_MICRO) * len(true) / sum(one.weight for one in wrong)
        total -= sum(log(_sure(beliefs.at(one.score_micro, one.familiarity_micro)) / MICRO) for one in true)
        total -= share * sum(
            one.weight * log(1 - _sure(beliefs.at(one.score_micro, one.familiarity_micro)) / MICRO) for one in wrong
        )
    return total


def _sure(belief_micro: int) -> int:
    return min(max(belief_micro, _SURE_MICRO), MICRO - _SURE_MICRO)


def _size(scores: Scores, group: Sequence[str]) -> int:
    return sum(len(sets[name].true) for sets in scores.values() for name in group if name in sets)
