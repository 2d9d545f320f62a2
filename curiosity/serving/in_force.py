"""What is in force: a checkpoint on the device with the judge and the index that belong to it, replaced only whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import curiosity.embedding.checkpoint
from curiosity.embedding.checkpoint import Checkpoint
from curiosity.protocol.calibration import Calibration
from curiosity.protocol.curiosity import RULES
from curiosity.protocol.errors import ConfigError
from curiosity.protocol.floor import Floor
from curiosity.protocol.judgement import Anchors
from curiosity.protocol.scoring import Quantised, pulls_micro, undo_cross_average
from curiosity.serving.index import VectorIndex
from curiosity.serving.judge import Judge

INDEX_KEYS_PER_ENTRY = 2  # item a of entry i is searched as key 2i, item b as 2i + 1


@dataclass(frozen=True)
class InForce:
    """One checkpoint and all that is only true under it. A switch builds another and puts it in this one's place."""

    checkpoint: Checkpoint
    space: Any
    judge: Judge
    index: VectorIndex

    @property
    def digest(self) -> bytes:
        """Digest of the checkpoint."""
        return self.judge.checkpoint

    @property
    def parent(self) -> bytes | None:
        """Digest of the checkpoint that it was trained from, None for genesis."""
        parent = self.checkpoint.manifest.parent
        return bytes.fromhex(parent) if parent else None

    @property
    def calibration(self) -> Calibration:
        """Its calibration."""
        return self.checkpoint.calibration

    @property
    def anchors(self) -> Mapping[str, Quantised]:
        """Its anchor arrays."""
        return self.checkpoint.anchors

    @property
    def masks(self) -> int:
        """Masked halves of an item."""
        return self.checkpoint.calibration.masks

    @property
    def dim(self) -> int:
        """Components of an embedding."""
        return self.checkpoint.manifest.dim

    @cached_property
    def floor(self) -> Floor:
        """What a hit must reach to fit a query."""
        return Floor(self.calibration, self.judge.anchors)

    def original(self, key: int, modalities: str) -> Quantised | None:
        """Return the embedding int16[d] of the item under a key of the index as the encoder gave it.

        The index holds the final ones, which lie nearer to their partners than beliefs are calibrated for. None if the
        pair is not in the index any more.
        """
        side = key % INDEX_KEYS_PER_ENTRY
        names = modalities.split("-")
        finals = [self.index.find(key - side + place, name) for place, name in enumerate(names)]
        a, b = finals
        if a is None or b is None:
            return None
        medians = self.calibration.median_loss_micro
        return undo_cross_average(a, b, *pulls_micro(medians[names[0]], medians[names[1]]))[side]

    def show(self, entry: int, modalities: str, finals: tuple[Quantised, Quantised]) -> None:
        """Let searches find the pair of this ledger index by its final embeddings int16[d]. Thread-safe."""
        for side, (name, vector) in enumerate(zip(modalities.split("-"), finals, strict=True)):
            self.index.add([INDEX_KEYS_PER_ENTRY * entry + side], name, vector[None, :])

    def forget(self, entry: int, modalities: str) -> None:
        """Leave the pair of this ledger index out of searches and of the history. Thread-safe."""
        for side, name in enumerate(modalities.split("-")):
            self.index.remove([INDEX_KEYS_PER_ENTRY * entry + side], name)
        self.judge.forget(modalities, entry)


def put_on_device(checkpoint: Checkpoint, device: str | None, rule: str) -> InForce:
    """Return the checkpoint on ``device`` ("cuda", "cpu"; None picks), its history that of its anchors.

    Its index is empty.

    Raises:
        ConfigError: CURIOSITY_RULE (no such rule), DEVICE_NOT_USABLE.
    """
    if rule not in RULES:
        raise ConfigError(
            "CURIOSITY_RULE",
            f"the rule of novelty {rule!r} is not known",
            f"Use one of {', '.join(RULES)}: pinned unless you know why not.",
        )
    from curiosity.embedding.space import pick_device
    from curiosity.embedding.weights import read_space

    picked = pick_device()
    try:
        space = read_space(checkpoint, type(picked)(device) if device else picked)
    except (RuntimeError, AssertionError) as error:  # what torch raises for a device that it does not know or have
        raise ConfigError(
            "DEVICE_NOT_USABLE",
            f"device {device or str(picked)!r}: {str(error).splitlines()[0][:200]}",
            'Leave it empty to let the program pick, or use "cpu".',
        ) from error
    anchors = Anchors.from_arrays(checkpoint.anchors)
    judge = Judge(bytes.fromhex(checkpoint.digest), checkpoint.calibration, anchors, rule)
    return InForce(checkpoint, space, judge, VectorIndex(checkpoint.manifest.dim, anchors.references))


def load(path: Path, device: str | None, rule: str) -> InForce:
    """Return the checkpoint in ``path`` on ``device``.

    Raises:
        CheckpointError: If it does not verify.
    """
    return put_on_device(curiosity.embedding.checkpoint.load(path), device, rule)
