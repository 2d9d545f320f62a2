"""The operating figures of a checkpoint as Markdown: what its thresholds refuse and let pass, and the null gate.

The split ``submit`` gives honest pairs that the checkpoint's thresholds have never seen; a swapped pair takes its
second half from another concept of the same set.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from curiosity.embedding.checkpoint import GENESIS, Checkpoint, load
from curiosity.embedding.weights import read_space
from curiosity.protocol.calibration import Calibration
from curiosity.protocol.errors import ExitCode
from curiosity.protocol.scoring import (
    MICRO,
    Quantised,
    cosine_micro,
    pulls_micro,
    quantise,
)
from trainer.calibrate import calibrate, measure_pair
from trainer.feed import FedPair, read_trusted
from trainer.joined import Joined, join_by_concept, spread
from trainer.library import Library, Prepared
from trainer.null_gate import measure_null_gate, null_table

ALPHAS_MICRO = (50_000, 100_000, 150_000, 200_000, 300_000)
PAIRS_EACH = 600  # submit pairs of each set and modality pair that are judged
JUNK_EACH = 200
SEED = 20_260_101


def report(checkpoint: Checkpoint, trusted: Sequence[Path]) -> dict[str, Any]:
    """Return the figures by modality pair and alpha, and pass rates of junk, as plain JSON values (shares of 1)."""
    space = read_space(checkpoint)
    submitted = read_trusted(trusted, ["submit"])
    known = read_trusted(trusted, ["genesis", "calibration"])
    prepared: Prepared = {}
    library = Library(space, prepared)
    chosen = _choose(library, submitted, checkpoint.calibration.pairs)
    vectors = {name: quantise(space.embed_features(name, rows)) for name, rows in library.features.items()}
    curves: dict[str, Any] = {}
    measured = {name: _measure(checkpoint, library, vectors, name, pairs) for name, pairs in chosen.items()}
    for alpha in sorted({*ALPHAS_MICRO, *checkpoint.calibration.alpha_micro.values()}):
        thresholds, _ = calibrate(
            space, known, alpha_micro=dict.fromkeys(checkpoint.calibration.pairs, alpha), prepared=prepared
        )
        for name in measured:
            curves.setdefault(name, {})[str(alpha / MICRO)] = _judge(thresholds, name, measured[name])
    own = {name: _judge(checkpoint.calibration, name, measured[name]) for name in measured}
    alpha_of = {name: value / MICRO for name, value in checkpoint.calibration.alpha_micro.items()}
    return {
        "checkpoint": checkpoint.digest,
        "alpha": alpha_of,
        "own": own,
        "curves": curves,
        "null": measure_null_gate(
            space,
            checkpoint.calibration,
            checkpoint.anchors,
            vectors,
            library.kept,
            junk_each=JUNK_EACH,
            seed=SEED,
        ),
    }


def _choose(library: Library, submitted: Sequence[FedPair], names: Iterable[str]) -> dict[str, list[Joined]]:
    """Return submitted pairs of every two modalities that the checkpoint judges; those that no set has are left out."""
    out = {}
    for name in sorted(names):
        joined = join_by_concept(submitted, *name.split("-"))
        sets = sorted({pair.set for pair in joined})
        if not joined:
            continue
        out[name] = [p for name in sets for p in spread((j for j in joined if j.set == name), PAIRS_EACH)]
        for pair in out[name]:
            library.add_item(pair.a)
            library.add_item(pair.b)
    return out


Measure = tuple[str, str, int, int, int, int]  # set, kind, distance, csls, null of a, null of b


def _measure(
    checkpoint: Checkpoint, library: Library, vectors: dict[str, Quantised], name: str, pairs: Sequence[Joined]
) -> list[Measure]:
    anchors, one, other = checkpoint.anchors, *name.split("-")
    medians = checkpoint.calibration.median_loss_micro
    pulls = pulls_micro(medians[one], medians[other])
    out: list[Measure] = []
    for kind, left, right in _with_swaps(pairs):
        a, b = vectors[one][library.row(left.a)], vectors[other][library.row(right.b)]
        distance, csls = measure_pair(a, b, anchors, name, pulls)
        nulls = cosine_micro(a, anchors[f"empty/{other}"]), cosine_micro(b, anchors[f"empty/{one}"])
        out.append((left.set, kind, distance, csls, *nulls))
    return out


def _with_swaps(pairs: Sequence[Joined]) -> Iterator[tuple[str, Joined, Joined]]:
    """Yield every pair as it is, and its first half with the second half of a seeded other concept of its set."""
    rng = np.random.default_rng(SEED)
    for pair in pairs:
        yield "honest", pair, pair
        others = [p for p in pairs if p.set == pair.set and p.concept != pair.concept]
        yield "swapped", pair, others[int(rng.integers(len(others)))]


def _judge(calibration: Calibration, name: str, measured: Sequence[Measure]) -> dict[str, Any]:
    """Return shares by set: honest pairs refused, swapped pairs accepted. Grey answers count as refused."""
    one, other = name.split("-")
    limits = calibration.pairs[name]
    gates = calibration.null_max_micro[f"{one}>{other}"], calibration.null_max_micro[f"{other}>{one}"]
    passed: dict[str, dict[str, list[bool]]] = {}
    for set_name, kind, distance, csls, null_a, null_b in measured:
        is_accepted = (
            null_a <= gates[0]
            and null_b <= gates[1]
            and distance <= limits.max_distance_micro - limits.margin_micro
            and csls >= limits.min_csls_micro + limits.margin_micro
        )
        passed.setdefault(set_name, {}).setdefault(kind, []).append(is_accepted)
    return {
        set_name: {
            "false_reject": round(1 - float(np.mean(kinds["honest"])), 4),
            "false_accept": round(float(np.mean(kinds["swapped"])), 4),
            "pairs": len(kinds["honest"]),
        }
        for set_name, kinds in sorted(passed.items())
    }


def to_markdown(figures: dict[str, Any]) -> str:
    """Return the tables of docs/scoring.md."""
    lines = [
        f"Checkpoint `{figures['checkpoint'][:16]}`",
        "",
        "| pair | alpha | set | honest refused | swapped accepted |",
        "|---|---|---|---|---|",
    ]
    for name, by_alpha in sorted(figures["curves"].items()):
        for alpha, sets in by_alpha.items():
            mark = " (default)" if float(alpha) == figures["alpha"][name] else ""
            for set_name, f in sets.items():
                lines.append(
                    f"| {name} | {alpha}{mark} | {set_name} | {f['false_reject']:.1%} | {f['false_accept']:.1%} |"
                )
    lines += ["", *null_table(figures["null"])]
    return "\n".join(lines)


def command(checkpoint: Path | None, trusted: Sequence[Path], as_json: bool, threads: int) -> int:
    """Print the operating figures that the command asks for.

    Raises:
        CuriosityError: As `report` and `curiosity.embedding.checkpoint.load`.
    """
    if threads:
        torch.set_num_threads(threads)
    figures = report(load(checkpoint or GENESIS), list(trusted))
    print(json.dumps(figures, indent=1) if as_json else to_markdown(figures))
    return ExitCode.OK
