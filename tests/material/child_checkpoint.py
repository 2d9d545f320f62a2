"""A checkpoint that follows the genesis one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from curiosity.embedding.checkpoint import GENESIS, load, save
from tests.material.checkpoint import as_good_as_its_parent


def child_of_genesis(
    path: Path, *, fit: bool, evaluation: dict[str, Any] | None = None, parent: Path = GENESIS
) -> Path:
    """A checkpoint with genesis' weights and one anchor less than its parent, so that its digest is its own."""
    known = load(parent)
    anchors = {name: array[1:] if name.startswith("ref/") else array for name, array in known.anchors.items()}
    manifest = replace(
        known.manifest,
        parent=known.digest,
        data=known.manifest.data | {"fit": fit},
        evaluation=as_good_as_its_parent(known.manifest.evaluation) if evaluation is None else evaluation,
    )
    save(path, manifest=manifest, model=(parent / "model.safetensors").read_bytes(), anchors=anchors, card="child")
    return path
