"""Checkpoints with weights that a test chooses."""

from pathlib import Path

import numpy as np

from curiosity.embedding.checkpoint import (
    Checkpoint,
    LedgerRange,
    Manifest,
    save,
)
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.weights import encode_weights
from curiosity.protocol.calibration import Calibration, PairThresholds

CALIBRATION = Calibration(
    pairs={"audio-image": PairThresholds(350_000, -100_000, 500, 20_000, 1_200_000)},
    null_max_micro={"audio>image": 300_000, "image>audio": 310_000},
    median_loss_micro={"audio": 400_000, "image": 300_000},
    alpha_micro={"audio-image": 100_000},
    masks=4,
)


def make(path: Path, space: EmbeddingSpace, **changes: object) -> Checkpoint:
    fields: dict[str, object] = {
        "preset": space.preset.name,
        "dim": space.dim,
        "modalities": space.modalities,
        "preprocessing": space.preset.preprocessing,
        "frozen": {},
        "parent": "00" * 32,
        "ledger": LedgerRange("log.example", 3, 10, "11" * 32, "22" * 32, 7),
        "data": {"pairs": {"digits/genesis/image-text": 100}},
        "recipe": {"steps": 1},
        "calibration": CALIBRATION,
        "evaluation": {},
        "licenses": {"weights": "MIT"},
        "files": {},
    }
    anchors = {"ref/image": np.arange(-8, 8, dtype=np.int16).reshape(2, 8), "empty/image": np.ones(8, dtype=np.int16)}
    manifest = Manifest(**(fields | changes))  # type: ignore[arg-type]
    return save(path, manifest=manifest, model=encode_weights(space), anchors=anchors, card="# A card\n")
