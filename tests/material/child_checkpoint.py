"""A checkpoint that follows the genesis one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from curiosity.embedding.checkpoint import GENESIS, load, save
from curiosity.protocol.belief import Beliefs, Curve, Range
from curiosity.protocol.scoring import MICRO
from tests.material.checkpoint import as_good_as_its_parent


def _always(accept_micro: int, reject_micro: int) -> Beliefs:
    return Beliefs(
        (), (Range(Curve((0,), (MICRO // 2,)), accept_micro, reject_micro),), -MICRO - 1, MICRO, MICRO, MICRO // 2
    )


HOLDS_ALL = _always(MICRO, 0)
ACCEPTS_ALL = _always(0, 0)
REJECTS_ALL = _always(MICRO, MICRO)
"""Beliefs under which every pair that passes the tests before is held, accepted or rejected."""


def child_of_genesis(
    path: Path,
    *,
    fit: bool,
    evaluation: dict[str, Any] | None = None,
    parent: Path = GENESIS,
    beliefs: Beliefs | None = None,
    every_item: bool = False,
) -> Path:
    """A checkpoint with genesis' weights and one anchor less than its parent, so that its digest is its own.

    ``beliefs`` are what it believes about pairs of a picture and a text, and each that it accepts is novel; without
    them it keeps genesis' thresholds. With ``every_item`` no item is uninformative and no pair too far apart.
    """
    known = load(parent)
    calibration = load(GENESIS).calibration
    if beliefs is not None:
        limits = replace(calibration.pairs["image-text"], nearest_floor_micro=0, max_ratio_micro=1000 * MICRO)
        calibration = replace(
            calibration, pairs=calibration.pairs | {"image-text": limits}, beliefs={"image-text": beliefs}
        )
    if every_item:
        pairs = {name: replace(limits, max_distance_micro=4 * MICRO) for name, limits in calibration.pairs.items()}
        most = dict.fromkeys(calibration.null_max_micro, 2 * MICRO)
        calibration = replace(calibration, pairs=pairs, null_max_micro=most)
    anchors = {name: array[1:] if name.startswith("ref/") else array for name, array in known.anchors.items()}
    manifest = replace(
        known.manifest,
        parent=known.digest,
        data=known.manifest.data | {"fit": fit},
        calibration=calibration,
        evaluation=as_good_as_its_parent(known.manifest.evaluation) if evaluation is None else evaluation,
    )
    save(path, manifest=manifest, model=(parent / "model.safetensors").read_bytes(), anchors=anchors, card="child")
    return path
