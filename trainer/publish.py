"""A trained space becomes a checkpoint: calibrated, evaluated, named by digest, written whole or not at all."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from embedding.checkpoint import Anchors, Checkpoint, LedgerRange, Manifest, save
from embedding.retrieval import Recall
from embedding.space import EmbeddingSpace
from embedding.weights import encode_weights
from protocol.merkle import root
from protocol.scoring import Calibration
from trainer.evaluate import to_manifest
from trainer.feed import FedPair
from trainer.step import Recipe

LICENSES = {
    "weights": "MIT",
    "frozen text tower (all-MiniLM-L6-v2, not stored here)": "Apache-2.0",
}


def pairs_root(pairs: Sequence[FedPair]) -> str:
    """RFC 6962 root in hex over the digests of the pairs, in order; of the empty tree when there are none."""
    return root([pair.digest for pair in pairs]).hex() if pairs else hashlib.sha256(b"").hexdigest()


def describe_trusted(trained: Sequence[FedPair], unseen: Sequence[FedPair]) -> dict[str, Any]:
    """Data card of trusted pairs: sets and splits with counts, the root over the digests of those trained on, and of
    those that only gave thresholds."""
    counts: dict[str, int] = {}
    for pair in [*trained, *unseen]:
        key = f"{pair.set}/{pair.split}/{pair.name}"
        counts[key] = counts.get(key, 0) + 1
    return {"pairs": counts, "pairs_root": pairs_root(trained), "calibration_root": pairs_root(unseen)}


def describe_recipe(recipe: Recipe, steps_taken: int) -> dict[str, Any]:
    """The recipe in integers (shares and rates in millionths)."""
    out: dict[str, Any] = {"steps_taken": steps_taken}
    for name, value in asdict(recipe).items():
        if isinstance(value, float):
            if value != float("inf"):
                out[f"{name}_micro"] = round(1e6 * value)
        else:
            out[name] = value
    return out


def publish(
    path: Path,
    space: EmbeddingSpace,
    *,
    calibration: Calibration,
    anchors: Anchors,
    recall: Mapping[str, Mapping[str, Recall]],
    recipe: dict[str, Any],
    data: dict[str, Any],
    parent: str = "",
    ledger: LedgerRange | None = None,
    command: str,
) -> Checkpoint:
    """Write the checkpoint to the folder ``path``.

    Raises:
        CheckpointError: CHECKPOINT_NOT_WRITTEN.
    """
    frozen = {m: space.tower(m).frozen_sha256() for m in space.modalities}
    manifest = Manifest(
        preset=space.preset.name,
        dim=space.dim,
        modalities=space.modalities,
        preprocessing=space.preset.preprocessing,
        frozen={m: digest for m, digest in frozen.items() if digest},
        parent=parent,
        ledger=ledger,
        data=data,
        recipe=recipe,
        calibration=calibration,
        evaluation=to_manifest(recall),
        licenses=LICENSES,
        files={},
    )
    return save(
        path, manifest=manifest, model=encode_weights(space), anchors=anchors, card=_card(manifest, recall, command)
    )


def _card(manifest: Manifest, recall: Mapping[str, Mapping[str, Recall]], command: str) -> str:
    """The model card. It does not name the checkpoint's own digest, which is made from it."""
    origin = (
        f"Entries {manifest.ledger.first} to {manifest.ledger.first + manifest.ledger.size - 1} of the ledger "
        f"`{manifest.ledger.origin}` ({manifest.ledger.pairs} accepted pairs, root `{manifest.ledger.pairs_root}`), "
        f"from the parent `{manifest.parent}`, with replay of the trusted pairs below."
        if manifest.ledger
        else "Trusted pairs only: concepts that nobody submits. No ledger entry."
    )
    lines = [
        f"# Curiosity checkpoint, preset {manifest.preset}",
        "",
        "Encoders of text, pictures and sound into one space, with the thresholds and anchors that verdicts stand on.",
        f"{manifest.dim} dimensions. The SHA-256 of `manifest.json` is the checkpoint's digest.",
        "",
        "## Learned from",
        "",
        origin,
        "",
        *(f"- {name}: {count} pairs" for name, count in sorted(manifest.data.get("pairs", {}).items())),
        "",
        "## Made with",
        "",
        f"    {command}",
        "",
        "## Held-out retrieval",
        "",
        "| set | direction | recall at 1 | at 10 | median rank | gallery | chance at 10 | trained as a pair |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, directions in sorted(recall.items()):
        lines += [
            f"| {name} | {direction} | {r.r1:.1%} | {r.r10:.1%} | {r.median_rank:.0f} | {r.gallery} | {r.chance10:.1%} "
            f"| {'no' if r.emergent else 'yes'} |"
            for direction, r in sorted(directions.items())
        ]
    lines += [
        "",
        "## Licences",
        "",
        *(f"- {what}: {licence}" for what, licence in sorted(manifest.licenses.items())),
        "",
        "Small encoders for emoji, handwritten digits and synthetic English speech; they do not know photographs.",
        "",
    ]
    return "\n".join(lines)
