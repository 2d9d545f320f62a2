"""Belief: the calibrated probability that two items belong together, and what follows from it. Integers throughout.

A checkpoint publishes, for each modality pair, rising curves from the CSLS score of a pair to the share of true pairs
among those with that score, one curve for each range of familiarity: what resembles the checkpoint's pinned references
is judged better than what does not. Where one curve does not fit all (handwritten digits and drawings), references are
of several *domains* with curves of their own, and a pair is of the one that it resembles most. The curves come from
true pairs and wrong ones that the checkpoint never learned from (docs/scoring.md, "Belief"). A pair is accepted or
rejected where the stated precision is reached, and *held* between: nobody is paid or blamed, and a better checkpoint
judges again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt

from curiosity.protocol.scoring import MICRO, Quantised, highest_cosine_micro
from curiosity.protocol.verdict import Outcome, Reason

ITSELF_MICRO = 999_000  # a reference with a cosine above this to an item is the item, and tells nothing of the others
UNKNOWN_MICRO = -MICRO  # familiarity of an item that no reference is left for


@dataclass(frozen=True)
class Curve:
    """A rising, piecewise linear curve from a score to a probability, both in millionths, by its knots."""

    scores_micro: tuple[int, ...]
    beliefs_micro: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check the knots.

        Raises:
            ValueError: If there are none, their numbers differ, or they do not rise.
        """
        if not self.scores_micro or len(self.scores_micro) != len(self.beliefs_micro):
            raise ValueError(f"{len(self.scores_micro)} scores and {len(self.beliefs_micro)} beliefs")
        if any(low >= high for low, high in pairwise(self.scores_micro)):
            raise ValueError("the scores of a curve do not rise")
        if any(low > high for low, high in pairwise(self.beliefs_micro)):
            raise ValueError("the beliefs of a curve fall")
        if not 0 <= self.beliefs_micro[0] <= self.beliefs_micro[-1] <= MICRO:
            raise ValueError("a belief is below 0 or above 1")

    def at(self, score_micro: int) -> int:
        """Return the probability at a score, in millionths.

        Between two knots it is on the line through them, rounded down; beyond the last knots it is theirs.
        """
        scores, beliefs = self.scores_micro, self.beliefs_micro
        if score_micro <= scores[0]:
            return beliefs[0]
        for (low, high), (below, above) in zip(pairwise(scores), pairwise(beliefs), strict=True):
            if score_micro <= high:
                return below + (above - below) * (score_micro - low) // (high - low)
        return beliefs[-1]

    def at_each(self, scores_micro: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return what `at` returns for each of an array of scores, int64 of its shape."""
        if len(self.scores_micro) == 1:
            return np.full_like(scores_micro, self.beliefs_micro[0])
        scores, beliefs = np.array(self.scores_micro, dtype=np.int64), np.array(self.beliefs_micro, dtype=np.int64)
        inside = np.clip(scores_micro, scores[0], scores[-1])
        high = np.clip(np.searchsorted(scores, inside), 1, len(scores) - 1)
        rise, run = beliefs[high] - beliefs[high - 1], scores[high] - scores[high - 1]
        found: npt.NDArray[np.int64] = beliefs[high - 1] + rise * (inside - scores[high - 1]) // run
        return found


@dataclass(frozen=True)
class Range:
    """What is believed in one range of familiarity.

    Accept from ``accept_micro`` of the curve, reject below ``reject_micro``. A range in which nothing can be told
    accepts from above 1 and rejects below 0: all is held.
    """

    curve: Curve
    accept_micro: int
    reject_micro: int

    def __post_init__(self) -> None:
        """Check the cuts.

        Raises:
            ValueError: If a pair could be both accepted and rejected.
        """
        if self.reject_micro > self.accept_micro:
            raise ValueError(f"rejects below {self.reject_micro} and accepts from {self.accept_micro}")


@dataclass(frozen=True)
class DomainBeliefs:
    """What is believed of pairs that resemble one part of the references; everything in millionths.

    ``edges_micro`` part the familiarity of a pair into ranges, of which there is one more. A pair whose familiarity is
    below ``least_familiar_micro`` is held.
    """

    edges_micro: tuple[int, ...]
    ranges: tuple[Range, ...]
    least_familiar_micro: int

    def __post_init__(self) -> None:
        """Check that the parts fit.

        Raises:
            ValueError: If the number of ranges is not one more than that of the edges, or the edges do not rise.
        """
        if len(self.ranges) != len(self.edges_micro) + 1:
            raise ValueError(f"{len(self.edges_micro)} edges and {len(self.ranges)} ranges")
        if any(low >= high for low, high in pairwise(self.edges_micro)):
            raise ValueError("the edges of familiarity do not rise")

    def range_of(self, familiarity_micro: int) -> Range:
        """Return the range that a familiarity lies in; an edge belongs to the range above it."""
        return self.ranges[sum(edge <= familiarity_micro for edge in self.edges_micro)]

    def outcome_at(self, score_micro: int, familiarity_micro: int) -> tuple[Outcome, Reason]:
        """Return the outcome of exactly these numbers, and its reason."""
        if familiarity_micro < self.least_familiar_micro:
            return Outcome.HELD, Reason.PAIR_UNFAMILIAR
        found = self.range_of(familiarity_micro)
        belief = found.curve.at(score_micro)
        if belief >= found.accept_micro:
            return Outcome.ACCEPTED, Reason.BELONGS_TOGETHER
        if belief < found.reject_micro:
            return Outcome.REJECTED, Reason.PAIR_UNLIKELY
        return Outcome.HELD, Reason.PAIR_UNDECIDED


@dataclass(frozen=True)
class Beliefs(DomainBeliefs):
    """What a checkpoint believes about one modality pair; everything in millionths.

    It is the first domain itself, and ``others`` are the rest; None is one that has no pairs of these modalities. The
    cuts of each range are where, on pairs never trained on of which ``cheating_micro`` are wrong, the share of true
    pairs among the accepted is ``accept_precision_micro``, and of wrong pairs among the rejected
    ``reject_precision_micro``.
    """

    accept_precision_micro: int
    reject_precision_micro: int
    cheating_micro: int
    others: tuple[DomainBeliefs | None, ...] = ()

    def nearest(self, domains_micro: Sequence[int]) -> tuple[DomainBeliefs, int]:
        """Return the domain that a pair is most familiar with, the first of several, and how familiar.

        ``domains_micro`` is the familiarity with each domain, in order. Where it is empty there is one domain alone.
        """
        return self._near(domains_micro, 0)[0]

    def at(self, score_micro: int, familiarity_micro: int, domains_micro: Sequence[int] = ()) -> int:
        """Return the probability that a pair of this score and familiarity belongs together, in millionths."""
        return self.nearest(domains_micro)[0].range_of(familiarity_micro).curve.at(score_micro)

    def decide(
        self, score_micro: int, familiarity_micro: int, margin_micro: int, domains_micro: Sequence[int] = ()
    ) -> tuple[Outcome, Reason]:
        """Return the outcome and its reason.

        All numbers may be off by ``margin_micro``: where that changes the outcome, also by way of another domain, it is
        grey.
        """
        around = (-margin_micro, 0, margin_micro)
        near = self._near(domains_micro, 2 * margin_micro)
        near[0] = (near[0][0], familiarity_micro)
        found = {one.outcome_at(score_micro + s, known + f) for one, known in near for s, f in product(around, around)}
        if len({outcome for outcome, _ in found}) > 1:
            return Outcome.GREY, Reason.GREY_ZONE
        return near[0][0].outcome_at(score_micro, familiarity_micro)

    def _near(self, domains_micro: Sequence[int], within_micro: int) -> list[tuple[DomainBeliefs, int]]:
        """Return the domains whose familiarity is the highest or at most so much lower, the highest first."""
        domains = zip((self, *self.others), domains_micro or (0,), strict=False)
        known = [(one, familiarity) for one, familiarity in domains if one is not None]
        highest = max(familiarity for _, familiarity in known)
        near = [(one, familiarity) for one, familiarity in known if familiarity >= highest - within_micro]
        return sorted(near, key=lambda pair: -pair[1])

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        plain = _plain(self) | {
            "accept_precision_micro": self.accept_precision_micro,
            "reject_precision_micro": self.reject_precision_micro,
            "cheating_micro": self.cheating_micro,
        }
        if self.others:
            plain["others"] = [None if one is None else _plain(one) for one in self.others]
        return plain

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Beliefs":
        """Return what `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: If a field is missing or wrong.
        """
        fields = dict(value)
        others = fields.pop("others", [])
        if type(others) is not list:
            raise TypeError("the other domains are no list")
        shares = ("accept_precision_micro", "reject_precision_micro", "cheating_micro")
        _whole([fields[name] for name in shares])
        fields |= _fields(fields)
        return cls(**fields, others=tuple(None if one is None else DomainBeliefs(**_fields(one)) for one in others))


def _plain(domain: DomainBeliefs) -> dict[str, Any]:
    return {
        "edges_micro": list(domain.edges_micro),
        "ranges": [
            {
                "scores_micro": list(one.curve.scores_micro),
                "beliefs_micro": list(one.curve.beliefs_micro),
                "accept_micro": one.accept_micro,
                "reject_micro": one.reject_micro,
            }
            for one in domain.ranges
        ],
        "least_familiar_micro": domain.least_familiar_micro,
    }


def _fields(value: Mapping[str, Any]) -> dict[str, Any]:
    ranges = [
        Range(
            Curve(_whole(one["scores_micro"]), _whole(one["beliefs_micro"])),
            *_whole([one["accept_micro"], one["reject_micro"]]),
        )
        for one in value["ranges"]
    ]
    (least,) = _whole([value["least_familiar_micro"]])
    return {"edges_micro": _whole(value["edges_micro"]), "ranges": tuple(ranges), "least_familiar_micro": least}


def _whole(values: Any) -> tuple[int, ...]:
    if type(values) is not list or any(type(value) is not int for value in values):
        raise TypeError("beliefs are written as whole numbers")
    return tuple(values)


def familiarity_micro(a: Quantised, b: Quantised, references_a: Quantised, references_b: Quantised) -> int:
    """Return how well the checkpoint knows things like these two items, in millionths.

    It is the mean of each item's highest cosine to its modality's references ``int16[N, d]``, which the checkpoint
    pins, so that no pair changes another's. A reference that is the item itself does not count.
    """
    return (nearest_reference_micro(a, references_a) + nearest_reference_micro(b, references_b)) // 2


def nearest_reference_micro(item: Quantised, references: Quantised) -> int:
    """Return an item's highest cosine to its modality's references ``int16[N, d]``, itself left out, in millionths."""
    nearest = highest_cosine_micro(item, references, below_micro=ITSELF_MICRO)
    return UNKNOWN_MICRO if nearest is None else nearest
