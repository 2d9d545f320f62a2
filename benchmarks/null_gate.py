"""What becomes of junk and of real items at the null gate of a checkpoint: passes, held, rejected.

    python -m benchmarks.null_gate [--checkpoint DIR] [--seed N] [--items N] [--json FILE]

Junk is made by `trainer.null`: families that training saw, and families left out. Real items are those of the sets that
`benchmarks.judge_checkpoint` judges; junk that is cut from real items is cut from spoken emoji names, from photos and
emoji, and from the names. The gate is that between the item's modality and texts, or pictures for a text. *Before* is
the share that was rejected while the gate alone decided, without the bound of change in the manifest.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import carry_out, make_parser
from benchmarks.judge_checkpoint import read_set
from curiosity.embedding.change import change_micro
from curiosity.embedding.checkpoint import SHIPPED, Checkpoint, load
from curiosity.embedding.modalities import decode
from curiosity.embedding.modality import Array
from curiosity.embedding.space import EmbeddingSpace, pick_device
from curiosity.embedding.weights import read_space
from curiosity.protocol.judgement import plain_slack
from curiosity.protocol.scoring import cosine_micro, quantise
from trainer.null import make_junk
from trainer.null_gate import KINDS

PARTNERS: Mapping[str, str] = {"audio": "text", "image": "text", "text": "image"}
CUT_FROM: Mapping[str, Sequence[str]] = {"audio": ("spoken emoji",), "image": ("photos", "emoji"), "text": ("emoji",)}
REAL: Mapping[str, Sequence[str]] = {
    "audio": ("sounds", "spoken emoji", "spoken digits"),
    "image": ("photos", "clipart", "emoji", "digits"),
    "text": ("sounds", "photos", "clipart", "emoji"),
}


def read_items(name: str, modality: str, cache: Path, items: int, seed: int) -> list[Array]:
    """Return at most so many decoded items of a set, drawn."""
    found = {pair.item(modality).digest: pair.item(modality) for pair in read_set(name, cache)}
    digests = sorted(found)
    drawn = np.random.default_rng([seed, len(digests)]).permutation(len(digests))[:items]
    chosen = [found[digests[i]] for i in sorted(drawn)]
    return [decode(modality, one.load(), one.media_type) for one in chosen]


def weigh_items(
    space: EmbeddingSpace, checkpoint: Checkpoint, modality: str, arrays: Sequence[Array]
) -> dict[str, float]:
    """Return the shares of 1 that pass, are held and are rejected, and were rejected before."""
    calibration, partner = checkpoint.calibration, PARTNERS[modality]
    most, empty = calibration.null_max_micro[f"{modality}>{partner}"], checkpoint.anchors[f"empty/{partner}"]
    stopped = np.array([cosine_micro(row, empty) > most for row in quantise(space.embed(modality, list(arrays)))])
    changes = [change_micro(modality, array) for array in arrays]
    plain = np.array([plain_slack(calibration, modality, change) < 0 for change in changes])
    return {
        "items": len(arrays),
        "passes": round(float((~stopped).mean()), 4),
        "held": round(float((stopped & ~plain).mean()), 4),
        "rejected": round(float((stopped & plain).mean()), 4),
        "rejected before": round(float(stopped.mean()), 4),
    }


def run(checkpoint: Checkpoint, cache: Path, items: int, seed: int) -> dict[str, Any]:
    """Return a row for each kind of items."""
    space = read_space(checkpoint).to(pick_device())
    rows: list[dict[str, Any]] = []
    for modality in PARTNERS:
        print(f"{modality} ...", file=sys.stderr)
        real = {name: read_items(name, modality, cache, items, seed) for name in REAL[modality]}
        source = [array for name in CUT_FROM[modality] for array in real[name]]
        kinds = dict(real)
        for kind, families in KINDS.items():
            for number, (family, make) in enumerate(families.get(modality, {}).items()):
                kinds[f"junk, {kind}: {family}"] = make_junk(make, items, seed + number, source)
        rows += [
            {"modality": modality, "of": name} | weigh_items(space, checkpoint, modality, arrays)
            for name, arrays in kinds.items()
        ]
    return {
        "command": f"python -m benchmarks.null_gate --seed {seed} --items {items}",
        "checkpoint": checkpoint.digest,
        "bound_micro": dict(checkpoint.calibration.plain_max_micro),
        "rows": rows,
    }


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as a table."""
    columns = ("passes", "held", "rejected", "rejected before")
    lines = [
        f"Checkpoint {report['checkpoint'][:12]}, bound of change {report['bound_micro']}",
        "",
        "| items | of | number | " + " | ".join(columns) + " |",
        "|---|---|---|" + "---|" * len(columns),
    ]
    for row in report["rows"]:
        shares = " | ".join(f"{100 * row[column]:.1f} %" for column in columns)
        lines.append(f"| {row['modality']} | {row['of']} | {row['items']} | {shares} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the command; its exit status is one of ``curiosity.protocol.errors.ExitCode``."""
    parser = make_parser("null_gate", __doc__ or "", threads=True)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED["offline"], help="default: the shipped `offline`")
    parser.add_argument("--items", type=int, default=200, help="of each kind, at most")
    given = parser.parse_args(arguments)
    return carry_out(given, lambda: run(load(given.checkpoint), given.cache, given.items, given.seed), to_markdown)


if __name__ == "__main__":
    sys.exit(main())
