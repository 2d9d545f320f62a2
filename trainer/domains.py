"""The domains of trusted sets that need a curve of beliefs each, and the beliefs that the sets of each give.

A curve that is fitted to handwritten digits and drawings together is right for neither: digits that the encoder tells
apart make it distrust drawings with the same score. Sets are merged as long as one curve for both explains their pairs
as well as two do, by the Bayesian information criterion (Schwarz 1978). Source: docs/scoring.md, "Belief".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from math import log

import numpy as np
import numpy.typing as npt

from curiosity.embedding.checkpoint import AnchorArrays
from curiosity.protocol.belief import Beliefs
from curiosity.protocol.scoring import MICRO, Quantised
from trainer.belief import CHEATING_MICRO, WRONG_SHARES, Scored, Scorer, draw_wrong_pairs, fit_beliefs
from trainer.feed import FedItem, FedPair
from trainer.joined import Joined

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


@dataclass(frozen=True)
class Material:
    """What the beliefs of a checkpoint come from.

    ``trusted`` are all pairs, ``unseen`` those that the beliefs are fitted to, by modality pair. ``rows`` gives, by
    the name of an array of ``anchors``, the item of each of its rows. ``embed`` returns an item's embedding, int16[d].
    """

    trusted: Sequence[FedPair]
    unseen: Mapping[str, Sequence[Joined]]
    anchors: AnchorArrays
    rows: Mapping[str, Sequence[FedItem]]
    embed: Callable[[FedItem], Quantised]

    @cached_property
    def set_of(self) -> dict[str, str]:
        """The set of each item, by digest: the first by name, of an item that several sets hold."""
        found: dict[str, str] = {}
        for pair in sorted(self.trusted, key=lambda pair: pair.set):
            for item in (pair.a, pair.b):
                found.setdefault(item.digest, pair.set)
        return found

    def score(self, name: str, sets: Sequence[str], among: Sequence[str]) -> dict[str, OfSet]:
        """Return the scores of some sets' pairs; their familiarity is that with the references of ``among``."""
        scorer = self._scorer(name, among)
        return {one: self._score_set(scorer, [p for p in self.unseen[name] if p.set == one]) for one in sets}

    def _scorer(self, name: str, among: Sequence[str]) -> Scorer:
        one, other = name.split("-")
        thing_of = {i.digest: _thing(pair) for pair in self.unseen[name] for i in (pair.a, pair.b)}
        banks = {"bank_a": f"bank/{name}/{one}", "bank_b": f"bank/{name}/{other}"}
        references = {"references_a": f"ref/{one}", "references_b": f"ref/{other}"}
        keeps = {key: self._is_of(place, among) for key, place in references.items()}
        keeps |= {key: np.ones(len(self.rows[place]), dtype=np.bool_) for key, place in banks.items()}
        places = banks | references
        return Scorer(
            {key: self.anchors[place][keeps[key]] for key, place in places.items()},
            {
                key: [thing_of.get(i.digest, "") for i, kept in zip(self.rows[place], keeps[key], strict=True) if kept]
                for key, place in places.items()
            },
        )

    def _is_of(self, place: str, sets: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return which rows of an anchor array are of an item of the sets, bool[n]."""
        return np.array([self.set_of[item.digest] in sets for item in self.rows[place]], dtype=np.bool_)

    def _score_set(self, scorer: Scorer, pairs: Sequence[Joined]) -> OfSet:
        """Return the scores of a set's true pairs, and of wrong ones with the weights of their kinds."""
        a, b = np.stack([self.embed(p.a) for p in pairs]), np.stack([self.embed(p.b) for p in pairs])
        things = [_thing(pair) for pair in pairs]
        wrong: list[Scored] = []
        for kind, drawn in draw_wrong_pairs(a, b, things, *scorer.crowds(a, b), seed=len(pairs)).items():
            left, right = [i for i, _ in drawn], [j for _, j in drawn]
            scored = scorer.score(a[left], b[right], [things[i] for i in left], [things[j] for j in right])
            wrong += [replace(one, weight=WRONG_SHARES[kind] * len(pairs) / len(drawn)) for one in scored]
        return OfSet(scorer.score(a, b, things, things), wrong)


def fit_domains(material: Material) -> tuple[dict[str, Beliefs], dict[str, Quantised]]:
    """Return the beliefs of each modality pair and, where there are several domains, the one of each reference.

    The beliefs come from the unseen pairs of all sets, and from wrong pairs made of each set's own items. The domains
    of the references of a modality are ``domain/image``, int16[n], in the order of ``ref/image``.
    """
    sets_of = {name: sorted({pair.set for pair in pairs}) for name, pairs in material.unseen.items()}
    alone = {name: {one: material.score(name, [one], [one])[one] for one in sets} for name, sets in sets_of.items()}
    groups = group_sets(alone)
    groups[0] = sorted(set(material.set_of.values()) - {one for group in groups[1:] for one in group})
    beliefs = {name: _fit_groups(material, name, groups, alone[name]) for name in sets_of}
    if len(groups) == 1:
        return beliefs, {}
    domain_of = {one: number for number, group in enumerate(groups) for one in group}
    return beliefs, {
        name.replace("ref/", "domain/"): np.array(
            [domain_of[material.set_of[item.digest]] for item in items], dtype=np.int16
        )
        for name, items in material.rows.items()
        if name.startswith("ref/")
    }


def _fit_groups(material: Material, name: str, groups: Sequence[Sequence[str]], alone: Mapping[str, OfSet]) -> Beliefs:
    """Return the beliefs of a modality pair: those of the first group of sets, and with them those of the others.

    ``alone`` are the scores of each set that has such pairs, among its own references.
    """
    found: list[Mapping[str, OfSet]] = []
    for group in groups:
        here = [one for one in group if one in alone]
        found.append(material.score(name, here, group) if len(group) > 1 else {one: alone[one] for one in here})
    first = found[0] or material.score(name, list(alone), groups[0])
    others = tuple(fit_to(scores, list(scores)) for scores in found[1:])
    base = fit_beliefs([p for of in first.values() for p in of.true], [p for of in first.values() for p in of.wrong])
    return replace(base, others=others if any(others) else ())


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


def _thing(pair: Joined) -> str:
    return f"{pair.set}/{pair.concept}"


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
