"""The judgement of a single item: whether it says something, and whether the checkpoint's references lack it.

Step 9 of docs/protocol.md, "Single items". It needs no history: all bounds follow from what the checkpoint pins. Copies
of what the ledger holds are found beside it (`curiosity.serving.crowds`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from curiosity.protocol.calibration import Calibration
from curiosity.protocol.errors import Fault
from curiosity.protocol.judgement import Anchors, Embedded, embedding_digest, first_failing, plain_slack
from curiosity.protocol.scoring import MICRO, Quantised, cosine_micro, cosines_micro, crowd_micro
from curiosity.protocol.verdict import OUTSIDE, TOO_NEAR, ItemMeasurement, Outcome, Reason, Verdict

_NEAR_SHARE = 10
"""A tenth of the references lie nearer than the bound to another one, as a tenth of known pairs do to another pair."""


@dataclass(frozen=True)
class ItemLimits:
    """What an item of one modality is compared with, in millionths.

    ``null_most_micro`` and ``hub_most_micro`` are by other modality. ``near_micro`` and ``far_micro`` bound how far the
    nearest reference is. Within ``margin_micro`` of a bound the answer is grey.
    """

    null_most_micro: Mapping[str, int]
    hub_most_micro: Mapping[str, int]
    near_micro: int
    far_micro: int
    margin_micro: int


@dataclass(frozen=True)
class ItemOpinion:
    """What the checkpoint says of a single item; ``detail`` says which bound of novelty it misses."""

    outcome: Outcome
    reason: Reason
    measurement: ItemMeasurement
    detail: str

    def verdict(self, checkpoint: bytes) -> Verdict:
        """Return the verdict about an item that the ledger does not hold yet."""
        taken = self.outcome is Outcome.ACCEPTED
        fault = Fault.CONTRIBUTOR if self.reason is Reason.ITEM_UNINFORMATIVE else None
        return Verdict(self.outcome, self.reason, checkpoint, fault, novel=taken, items=int(taken))


class ItemRule:
    """Judges single items under one checkpoint. Thread-safe."""

    def __init__(self, calibration: Calibration, anchors: Anchors) -> None:
        self.calibration = calibration
        self._anchors = anchors
        self.limits = lru_cache(maxsize=None)(self._limits)

    @property
    def modalities(self) -> frozenset[str]:
        """Modalities that can be judged: those of the pairs that can."""
        return frozenset(name for pair in self.calibration.pairs for name in pair.split("-"))

    def opine(self, modality: str, item: Embedded) -> ItemOpinion:
        """Return what the checkpoint says of an item.

        Raises:
            KeyError: If the checkpoint is not calibrated for ``modality``.
        """
        measurement = self.measure(modality, item)
        outcome, reason = self.decide(modality, measurement)
        detail = ""
        if reason is Reason.ITEM_NOT_NOVEL:
            is_known = measurement.null_slack_micro >= 0
            is_near = measurement.nearest_micro < self.limits(modality).near_micro
            detail = TOO_NEAR if is_known and is_near else OUTSIDE
        return ItemOpinion(outcome, reason, measurement, detail)

    def decide(self, modality: str, measured: ItemMeasurement) -> tuple[Outcome, Reason]:
        """Return the outcome that the numbers of an item give, and the reason."""
        return first_failing(self._tests(modality, measured), self.limits(modality).margin_micro, Reason.ITEM_NEW)

    def can_be_new(self, modality: str, measured: ItemMeasurement) -> bool:
        """Return whether a machine whose numbers lie within the margin of these may take the item."""
        return all(slack >= 0 for _, slack in self._tests(modality, measured))

    def _tests(self, modality: str, measured: ItemMeasurement) -> list[tuple[Reason, int]]:
        """Return each test as its reason and how far the item is from failing it."""
        limits = self.limits(modality)
        plain = plain_slack(self.calibration, modality, measured.change_micro)
        return [
            (Reason.ITEM_UNINFORMATIVE, max(measured.null_slack_micro, plain)),
            (Reason.ITEM_NOT_NOVEL, measured.null_slack_micro),
            (Reason.ITEM_UNINFORMATIVE, measured.hub_slack_micro),
            (Reason.ITEM_NOT_NOVEL, measured.nearest_micro - limits.near_micro),
            (Reason.ITEM_NOT_NOVEL, limits.far_micro - measured.nearest_micro),
        ]

    def measure(self, modality: str, item: Embedded) -> ItemMeasurement:
        """Return the numbers of an item."""
        whole, limits, empties = item.whole, self.limits(modality), self._anchors.empties
        null = [most - cosine_micro(whole, empties[other]) for other, most in limits.null_most_micro.items()]
        hub = [most - self._crowd(whole, modality, other) for other, most in limits.hub_most_micro.items()]
        known = self._anchors.references[modality]
        nearest = MICRO - int(cosines_micro(whole, known).max()) if len(known) else 2 * MICRO
        change = item.change_micro if modality in self.calibration.plain_max_micro else None
        return ItemMeasurement(min(null), min(hub), nearest, embedding_digest(whole), change)

    def _crowd(self, whole: Quantised, modality: str, other: str) -> int:
        """Return the mean cosine of an item with the ten nearest of another modality's bank, in millionths."""
        cosines = cosines_micro(whole, self._banks(modality, other)[1])
        return crowd_micro(cosines, np.zeros_like(cosines))

    def _banks(self, modality: str, other: str) -> tuple[Quantised, Quantised]:
        a, b = self._anchors.banks["-".join(sorted((modality, other)))]
        return (a, b) if modality < other else (b, a)

    def _limits(self, modality: str) -> ItemLimits:
        null, hub, margins = {}, {}, []
        for pair, thresholds in self.calibration.pairs.items():
            if modality not in (names := pair.split("-")):
                continue
            (other,) = (name for name in names if name != modality)
            null[other] = self.calibration.null_max_micro[f"{modality}>{other}"]
            own, _ = self._banks(modality, other)
            hub[other] = max((self._crowd(one, modality, other) for one in own), default=MICRO)
            margins.append(thresholds.margin_micro)
        apart = sorted(_distances(self._anchors.references[modality]))
        near, far = (apart[len(apart) // _NEAR_SHARE], apart[-1]) if apart else (0, 2 * MICRO)
        return ItemLimits(null, hub, near, far, max(margins))


def _distances(references: Quantised) -> list[int]:
    """Return the distance of each reference int16[N, d] to the nearest other one, in millionths."""
    found = []
    for place, one in enumerate(references if len(references) > 1 else ()):
        cosines = cosines_micro(one, references)
        cosines[place] = -MICRO
        found.append(MICRO - int(cosines.max()))
    return found
