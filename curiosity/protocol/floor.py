"""The floor of a search: whether what lies nearest to a query fits it, or nothing does. From a checkpoint's beliefs.

A search always finds what is nearest, however far that is, and the more it looks at, the better the best of what is
wrong. Across two modalities the floor is therefore a probability that knows how many items were searched
(`curiosity.protocol.best_of_many`). Within one modality, where no pairs are judged, it is a cosine: the median over the
checkpoint's references of the cosine to the nearest other one. What is farther from the query than references of
different things usually lie from each other is no answer to it.
"""

from dataclasses import dataclass
from functools import lru_cache
from statistics import median_low
from typing import Literal

from curiosity.protocol.belief import nearest_reference_micro
from curiosity.protocol.best_of_many import Micro, least_probability_micro, probability_micro, wrong_beliefs_micro
from curiosity.protocol.calibration import Calibration
from curiosity.protocol.judgement import Anchors, measure_familiarity
from curiosity.protocol.scoring import Quantised, cosine_micro, csls_micro

SCORE_STEP_MICRO = 1_000
"""What a search says of a hit is rounded to this: finer numbers would help to rebuild what somebody searched for."""


@dataclass(frozen=True)
class Bound:
    """What a hit must reach: a ``probability`` or a ``cosine``, in millionths."""

    measure: Literal["probability", "cosine"]
    least_micro: int


@dataclass(frozen=True)
class Fit:
    """Whether a hit reaches its bound; where that is a probability, the belief in the two as a pair, and that.

    The probability is None where the checkpoint cannot judge the two: one says too little, or is unlike all it knows.
    """

    fits: bool
    probability_micro: int | None = None
    belief_micro: int | None = None


class Floor:
    """The floors of one checkpoint. Thread-safe."""

    def __init__(self, calibration: Calibration, anchors: Anchors) -> None:
        self._beliefs = calibration.beliefs
        self._null_max_micro = calibration.null_max_micro
        self._anchors = anchors
        self._cosine = lru_cache(maxsize=None)(self._measure_cosine)
        self._wrong = lru_cache(maxsize=None)(self._measure_wrong)

    def bound(self, modality: str, to: str, searched: int) -> Bound | None:
        """Return what hits of modality ``to`` must reach among so many that are searched.

        None where the checkpoint has no beliefs to tell by.
        """
        if not self._beliefs:
            return None
        if modality == to:
            least = self._cosine(to)
            return None if least is None else Bound("cosine", least)
        name = "-".join(sorted((modality, to)))
        if name not in self._beliefs:
            return None
        cheating = self._beliefs[name].cheating_micro
        return Bound("probability", least_probability_micro(self._wrong(modality, to), cheating, max(1, searched)))

    def fit(self, modality: str, to: str, query: Quantised, hit: Quantised, searched: int) -> Fit | None:
        """Return whether a hit fits a query; both int16[d] as the encoder gives them. None where there is no bound."""
        bound = self.bound(modality, to, searched)
        if bound is None:
            return None
        if bound.measure == "cosine":
            return Fit(cosine_micro(query, hit) >= bound.least_micro)
        name = "-".join(sorted((modality, to)))
        a, b = (query, hit) if modality < to else (hit, query)
        beliefs = self._beliefs[name]
        familiarity, domains = measure_familiarity(a, b, name, beliefs, self._anchors)
        belief = beliefs.at(csls_micro(a, b, *self._anchors.banks[name]), familiarity, domains)
        is_known = familiarity >= beliefs.nearest(domains)[0].least_familiar_micro
        is_something = self._is_something(query, modality, to) and self._is_something(hit, to, modality)
        if not (is_something and is_known):
            return Fit(False, belief_micro=belief)
        probability = probability_micro(belief, beliefs.cheating_micro, max(1, searched))
        return Fit(probability >= bound.least_micro, probability, belief)

    def _is_something(self, item: Quantised, modality: str, to: str) -> bool:
        """Return whether an item passes the judge's null gate: a search for nothing finds nothing."""
        most = self._null_max_micro.get(f"{modality}>{to}")
        return most is None or cosine_micro(item, self._anchors.empties[to]) <= most

    def _measure_wrong(self, modality: str, to: str) -> Micro:
        return wrong_beliefs_micro(modality, to, self._beliefs["-".join(sorted((modality, to)))], self._anchors)

    def _measure_cosine(self, modality: str) -> int | None:
        references = self._anchors.references.get(modality)
        if references is None or not len(references):
            return None
        return median_low([nearest_reference_micro(one, references) for one in references])


def rounded_micro(value_micro: int) -> int:
    """Return a score as a search gives it out: rounded to `SCORE_STEP_MICRO`."""
    return round(value_micro / SCORE_STEP_MICRO) * SCORE_STEP_MICRO
