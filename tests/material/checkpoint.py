"""A checkpoint of chosen modalities, untrained and lenient: what tests need to send every kind of pair through."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from curiosity.embedding.checkpoint import GENESIS, Checkpoint, Manifest, load, save
from curiosity.embedding.modalities import BY_NAME
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.weights import encode_weights
from curiosity.protocol.calibration import Calibration, PairThresholds
from curiosity.protocol.scoring import MICRO, Quantised, quantise

LENIENT = PairThresholds(
    max_distance_micro=2 * MICRO,
    min_csls_micro=-4 * MICRO,
    margin_micro=0,
    nearest_floor_micro=0,
    max_ratio_micro=100 * MICRO,
)
"""Accepts every pair."""


def as_good_as_its_parent(evaluation: Mapping[str, Any], names: Sequence[str] = ()) -> dict[str, Any]:
    """A manifest's evaluation that gives the parent the same recall, and a half to each of the pairs ``names``."""
    half = {"r1_micro": MICRO // 2, "r5_micro": MICRO // 2, "r10_micro": MICRO // 2, "emergent": False}
    pairs = [name.split("-") for name in names]
    recall = {**evaluation["recall"], "made": {f"{a}-{b}": half for pair in pairs for a, b in (pair, pair[::-1])}}
    return {**evaluation, "recall": recall, "parent": {"recall": recall}}


def write_checkpoint(path: Path, modalities: Sequence[str] = tuple(BY_NAME), *, parent: str = "") -> Checkpoint:
    """A checkpoint of the preset ``tiny`` with random weights that accepts every pair of these modalities."""
    space = EmbeddingSpace("tiny", modalities=tuple(modalities), pretrained=False, seed=3).eval()
    names = ["-".join(sorted(pair)) for pair in combinations(modalities, 2)]
    calibration = Calibration(
        pairs=dict.fromkeys(names, LENIENT),
        null_max_micro={f"{a}>{b}": 2 * MICRO for a in modalities for b in modalities if a != b},
        median_loss_micro=dict.fromkeys(modalities, MICRO // 2),
        alpha_micro=dict.fromkeys(names, 0),
        masks=2,
    )
    draw = np.random.default_rng(4)

    def points(count: int, dim: int = space.dim) -> Quantised:
        rows = draw.normal(size=(count, dim))
        return quantise((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))

    anchors = {f"ref/{name}": points(16) for name in modalities} | {
        f"empty/{name}": points(1)[0] for name in modalities
    }
    for name in names:
        anchors |= {f"bank/{name}/{half}": points(16) for half in name.split("-")}
        anchors[f"history/{name}"] = points(8, 2 * space.dim)
    shipped = load(GENESIS).manifest
    manifest = Manifest(
        preset="tiny",
        dim=space.dim,
        modalities=space.modalities,
        preprocessing=space.preset.preprocessing,
        frozen={name: digest for name in space.modalities if (digest := space.tower(name).frozen_sha256())},
        parent=parent,
        ledger=None,
        data=dict(shipped.data) | {"fit": True},
        recipe={},
        calibration=calibration,
        evaluation=as_good_as_its_parent(shipped.evaluation, names),
        licenses=space.licenses(),
        files={},
    )
    return save(path, manifest=manifest, model=encode_weights(space), anchors=anchors, card="untrained, for tests\n")
