"""A trained space becomes a checkpoint: calibrated, evaluated, named by digest, written whole or not at all."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from curiosity.embedding.checkpoint import AnchorArrays, Checkpoint, LedgerRange, Manifest, save
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.weights import encode_weights, name_unstored
from curiosity.protocol.calibration import Calibration
from curiosity.protocol.comparison import Fall
from curiosity.protocol.counts import number_of
from curiosity.protocol.merkle import root
from trainer.evaluation import Recalls, Surveys, is_fit, recall_table, survey_table, to_manifest
from trainer.feed import FedPair, LedgerSlice
from trainer.step import Recipe


def pairs_root(pairs: Sequence[FedPair]) -> str:
    """Return the RFC 6962 root in hex over the digests of the pairs, in order.

    Without pairs it is the root of the empty tree.
    """
    return root([pair.digest for pair in pairs]).hex() if pairs else hashlib.sha256(b"").hexdigest()


def describe_trusted(
    trained: Sequence[FedPair], unseen: Sequence[FedPair], accepted: Sequence[FedPair] = ()
) -> dict[str, Any]:
    """Return the data card of trusted pairs.

    It has sets and splits with counts, and the root over the digests of those trained on, and of those that only gave
    thresholds. Of all training, with the ``accepted`` pairs of the ledger, it says which modality pairs it saw and
    which voices it heard.
    """
    counts: dict[str, int] = {}
    for pair in [*trained, *unseen]:
        key = f"{pair.set}/{pair.split}/{pair.name}"
        counts[key] = counts.get(key, 0) + 1
    return {
        "pairs": counts,
        "pairs_root": pairs_root(trained),
        "calibration_root": pairs_root(unseen),
        "trained": sorted({pair.name for pair in [*trained, *accepted]}),
        "voices": sorted({pair.voice for pair in [*trained, *unseen] if pair.voice}),
    }


def describe_licenses(ledger: LedgerSlice, accepted: Sequence[FedPair], replayed: Sequence[FedPair]) -> dict[str, Any]:
    """Return by which licences the pairs were chosen (``filter``, empty: all) and under which they are, with counts.

    ``left_out`` counts the accepted pairs of the ledger that the filter left out.
    """
    counted = {
        name: dict(sorted(Counter(pair.license for pair in pairs).items()))
        for name, pairs in (("accepted", accepted), ("replayed", replayed))
    }
    return {"filter": list(ledger.licenses.ids), "left_out": ledger.left_out, **counted}


def describe_recipe(recipe: Recipe, steps_taken: int) -> dict[str, Any]:
    """Return the recipe in integers (shares and rates in millionths), without the safety stop.

    A training that the safety stop ended says so by its ``steps_taken``.
    """
    out: dict[str, Any] = {"steps_taken": steps_taken}
    for name, value in asdict(recipe).items():
        if isinstance(value, float):
            if name != "stop_after_s":
                out[f"{name}_micro"] = round(1e6 * value)
        else:
            out[name] = value
    return out


def publish(
    path: Path,
    space: EmbeddingSpace,
    *,
    calibration: Calibration,
    anchors: AnchorArrays,
    recall: Recalls,
    surveys: Surveys,
    recipe: dict[str, Any],
    data: dict[str, Any],
    before: Recalls | None = None,
    falls: Sequence[Fall] = (),
    parent: str = "",
    ledger: LedgerRange | None = None,
    command: str,
) -> Checkpoint:
    """Write the checkpoint to the folder ``path``. ``before`` is the recall of its parent on the same held-out pairs.

    ``falls`` are the directions in which it is worse than its parent; its card names them.

    Raises:
        CheckpointError: CHECKPOINT_NOT_WRITTEN.
    """
    frozen = {m: space.tower(m).frozen_sha256() for m in space.modalities}
    unstored = name_unstored(space)
    manifest = Manifest(
        preset=space.preset.name,
        dim=space.dim,
        modalities=space.modalities,
        preprocessing=space.preset.preprocessing,
        frozen={m: digest for m, digest in frozen.items() if digest},
        parent=parent,
        ledger=ledger,
        data=data | {"fit": is_fit(recall)} | ({"unstored": unstored} if unstored else {}),
        recipe=recipe,
        calibration=calibration,
        evaluation=to_manifest(recall, surveys, before),
        licenses=space.licenses(),
        files={},
    )
    return save(
        path,
        manifest=manifest,
        model=encode_weights(space),
        anchors=anchors,
        card=_card(manifest, recall, surveys, command, _worse(falls)),
    )


def _erased(manifest: Manifest) -> str:
    """Say how many takedowns were honoured, where there were any."""
    count = len(manifest.data.get("takedowns", []))
    return f" Nothing of what {count} takedowns among these entries erased was used." if count else ""


def _chosen(manifest: Manifest) -> str:
    """Say by which licences the pairs were chosen, where they were."""
    chosen = manifest.data.get("pair_licenses", {})
    if not chosen.get("filter"):
        return ""
    return (
        f" Only pairs were used that these licences alone allow to be used: {', '.join(chosen['filter'])}; "
        f"{number_of(chosen['left_out'], 'accepted pair')} of the ledger were left out."
    )


def _worse(falls: Sequence[Fall]) -> list[str]:
    """Return lines for the card of a child that is worse than its parent; none for others."""
    if not falls:
        return []
    words = "Validators refuse it unless they are forced: keep the parent."
    return ["## Worse than its parent", "", words, "", *(f"- {fall}" for fall in falls), ""]


def _card(manifest: Manifest, recall: Recalls, surveys: Surveys, command: str, worse: list[str]) -> str:
    """Return the model card, with the head that the Hugging Face hub reads.

    It does not name the checkpoint's own digest, which is made from it.
    """
    origin = (
        f"Entries {manifest.ledger.first} to {manifest.ledger.first + manifest.ledger.size - 1} of the ledger "
        f"`{manifest.ledger.origin}` ({manifest.ledger.pairs} accepted pairs, root `{manifest.ledger.pairs_root}`), "
        f"from the parent `{manifest.parent}`, with replay of the trusted pairs below."
        f"{_erased(manifest)}{_chosen(manifest)}"
        if manifest.ledger
        else "Trusted pairs only: concepts that nobody submits. No ledger entry."
    )
    lines = [
        "---",
        "library_name: curiosity",
        "license: mit",
        "pipeline_tag: feature-extraction",
        "tags: [multimodal, contrastive, curiosity]",
        "---",
        "",
        f"# Curiosity checkpoint, preset {manifest.preset}",
        "",
        f"Encoders of {', '.join(name.replace('_', ' ') for name in manifest.modalities)} into one space, with the "
        "thresholds and anchors that verdicts stand on.",
        f"{manifest.dim} dimensions. The SHA-256 of `manifest.json` is the checkpoint's digest.",
        "",
        *worse,
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
        *recall_table(recall),
        "",
        "## How the modalities lie",
        "",
        "Diagonal top-1 of true pairs, one of each concept; chance that a true pair scores above a wrong one; share",
        "of wrong pairs that pass where 5 and 10 % of true ones are refused; share of each item's nearest of its own",
        "modality that the cross-average keeps; distance of the two centroids, and how well a plane tells the two",
        "clouds apart (50 %: no better than a coin).",
        "",
        *survey_table(surveys),
        "",
        "## Licences",
        "",
        *(f"- {what}: {licence}" for what, licence in sorted(manifest.licenses.items())),
        "",
        "## What it does not know",
        "",
        f"Anything but what the sets above hold ({', '.join(sorted(recall))}). The encoders are trained for minutes;",
        "they do not know photographs. Speech is synthetic, and so are the sounds and muscle signals of simulated",
        "worlds.",
        "",
    ]
    return "\n".join(lines)
