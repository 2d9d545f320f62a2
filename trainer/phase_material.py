"""The pairs of a training in phases, from pair sets on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import SourceError
from trainer.feed import FedPair, read_trusted
from trainer.plan import TrainingPlan
from trainer.publish import pairs_root


@dataclass(frozen=True)
class TrainingPairs:
    """The pairs of a training: ``trained`` on, ``calibration`` for thresholds, ``held_out`` for the evaluation."""

    trained: tuple[FedPair, ...]
    calibration: tuple[FedPair, ...]
    held_out: tuple[FedPair, ...]

    @property
    def voices(self) -> set[str]:
        """Voices that are not new to the evaluation."""
        return {pair.voice for pair in (*self.trained, *self.calibration) if pair.voice}

    def describe(self) -> dict[str, Any]:
        """Return what tells this material from another, as plain JSON values."""
        parts = {"trained": self.trained, "calibration": self.calibration, "held_out": self.held_out}
        return {name: {"pairs": len(pairs), "root": pairs_root(pairs)} for name, pairs in parts.items()}


def read_training_pairs(folders: Sequence[Path], plan: TrainingPlan) -> tuple[TrainingPlan, TrainingPairs]:
    """Return the pairs of pair sets on disk that the plan uses, and the plan without the pairs that are missing.

    Raises:
        SourceError: when a set is missing or differs; HELD_OUT_MISSING, when a pair could not be evaluated.
        ConfigError: PAIRS_MISSING.
    """
    found = read_trusted(folders, [*plan.splits, "calibration", "held-out"])
    plan = plan.only(sorted({pair.name for pair in found if pair.split in plan.splits}))
    names, modalities = {name for phase in plan.phases for name in phase.pairs}, set(plan.modalities)
    known = [pair for pair in found if {pair.a.modality, pair.b.modality} <= modalities]
    material = TrainingPairs(
        trained=tuple(pair for pair in known if pair.split in plan.splits and pair.name in names),
        calibration=tuple(pair for pair in known if pair.split == "calibration"),
        held_out=tuple(pair for pair in known if pair.split == "held-out"),
    )
    blind = sorted(names - {pair.name for pair in material.held_out})
    if blind:
        raise SourceError(
            "HELD_OUT_MISSING",
            f"no held-out pair of {', '.join(blind)} in {number_of(len(folders), 'set')}",
            "Give some rows of pairs.jsonl the split held-out: concepts that training must not see.",
        )
    return plan, material
