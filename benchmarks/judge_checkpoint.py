"""What the judge of a checkpoint as it is accepts, rejects and holds, on material that it never learned from.

    python -m benchmarks.judge_checkpoint [--checkpoint DIR] [--set NAME ...] [--seed N] [--rounds N] [--json FILE]

`benchmarks.judge` calibrates in every round anew, on the set that it judges. Here the checkpoint's own thresholds,
beliefs and anchors decide, as a network's validators use them. Photos and sounds are whole sets; of emoji, clipart and
digits the splits ``submit`` and ``held-out`` are judged, under the seed that genesis checkpoints are made with: all but
the ten digits are concepts that it was never shown. Each round draws half of the concepts, at most 300 pairs. The
figures are those of `benchmarks.judge`; a column for each set, the mean of the rounds.
"""

import statistics
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import carry_out, make_parser
from benchmarks.judge import MAKERS, MOST_JUDGED, SPLITS, Bench, changes_of, measure, one_of_each
from curiosity.embedding.checkpoint import SHIPPED, Checkpoint, load
from curiosity.embedding.space import EmbeddingSpace, pick_device
from curiosity.embedding.weights import read_space
from curiosity.protocol.judgement import Anchors
from curiosity.protocol.scoring import quantise
from curiosity.sources.made.material import DEFAULT_SEED
from trainer.feed import FedPair, read_trusted
from trainer.library import Library

SETS: Mapping[str, tuple[str, tuple[str, str], Sequence[str]]] = {
    "photos": ("photos", ("image", "text"), SPLITS),
    "clipart": ("clipart", ("image", "text"), ("submit", "held-out")),
    "emoji": ("emoji", ("image", "text"), ("submit", "held-out")),
    "digits": ("digits", ("image", "text"), ("submit", "held-out")),
    "sounds": ("sounds", ("audio", "text"), SPLITS),
    "spoken emoji": ("emoji", ("audio", "text"), ("submit", "held-out")),
    "spoken digits": ("digits", ("audio", "text"), ("submit", "held-out")),
}
OF_FEW_CONCEPTS = frozenset({"digits", "spoken digits"})
FIGURES = {
    "judged": "pairs judged",
    "auc": "area under the ROC curve",
    "wrong_at_5": "swapped accepted where 5 % of true ones are refused",
    "wrong_at_10": "swapped accepted where 10 % of true ones are refused",
    "recall_at_10": "recall at 10",
    "precision": "true pairs among the accepted",
    "honest_accepted": "true pairs accepted",
    "honest_rejected": "true pairs rejected",
    "swapped_accepted": "swapped accepted",
    "held": "the stream held",
    "ece": "calibration error",
    "nearest_accepted": "nearest wrong captions accepted",
    "searched_accepted": "best of 64 wrong captions accepted",
}


def drawn(own: Sequence[FedPair], seed: int, number: int, *, by_pair: bool) -> list[FedPair]:
    """Return the pairs of one round, in order: of half of the concepts one each, at most `MOST_JUDGED`."""
    pairs = sorted(own, key=lambda pair: pair.digest) if by_pair else one_of_each(own)
    order = np.random.default_rng([seed, number]).permutation(len(pairs))
    return [pairs[i] for i in sorted(order[: min(MOST_JUDGED, max(1, len(pairs) // 2))])]


def judge_set(
    name: str, checkpoint: Checkpoint, space: EmbeddingSpace, own: Sequence[FedPair], seed: int, rounds: int
) -> dict[str, float]:
    """Return the mean of every figure of a set over the rounds."""
    _, modalities, _ = SETS[name]
    library = Library(space)
    kept = library.add(list(own))
    rows = {m: quantise(space.embed_features(m, library.features[m])) for m in modalities}
    of = {pair.digest: tuple(rows[m][library.row(pair.item(m))] for m in modalities) for pair in kept}
    anchors = Anchors.from_arrays(checkpoint.anchors)
    found = []
    for number in range(rounds):
        judged = drawn(kept, seed, number, by_pair=name in OF_FEW_CONCEPTS)
        a, b = (np.stack([of[pair.digest][side] for pair in judged]) for side in (0, 1))
        concepts = [pair.concept for pair in judged]
        changes = (changes_of(judged, modalities[0]), changes_of(judged, modalities[1]))
        bench = Bench("-".join(modalities), concepts, checkpoint.manifest.calibration, anchors, a, b, changes)
        found.append(measure(bench, seed * 1_000 + number))
    return {figure: round(statistics.fmean(one[figure] for one in found), 4) for figure in found[0]}


def read_set(name: str, cache: Path, limit: int | None = None) -> list[FedPair]:
    """Make a set under the seed of genesis checkpoints, or read it from the cache; return what may be judged."""
    maker, modalities, splits = SETS[name]
    folder = cache / f"judge-{maker}-{DEFAULT_SEED}"
    MAKERS[maker](folder, DEFAULT_SEED, cache, limit)
    pairs = read_trusted([folder], list(splits))
    return [pair for pair in pairs if (pair.a.modality, pair.b.modality) == modalities]


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as a table."""
    names = list(report["sets"])
    lines = [
        f"Checkpoint {report['checkpoint'][:12]}, seed {report['seed']}, {report['rounds']} rounds",
        "",
        "| figure | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    for figure, words in FIGURES.items():
        values = [report["sets"][name].get(figure) for name in names]
        lines.append(f"| {words} | " + " | ".join(_cell(figure, value) for value in values) + " |")
    return "\n".join(lines)


def _cell(figure: str, value: float | None) -> str:
    if value is None:
        return ""
    if figure == "judged":
        return f"{value:.0f}"
    return f"{value:.3f}" if figure in ("auc", "ece") else f"{value:.1%}".replace("%", " %")


def run(path: Path, names: Sequence[str], cache: Path, seed: int, rounds: int) -> dict[str, Any]:
    """Return the whole report: a checkpoint on disk against some sets."""
    checkpoint = load(path)
    space = read_space(checkpoint).to(pick_device())
    sets = {}
    for name in names:
        print(f"{name} ...", file=sys.stderr)
        sets[name] = judge_set(name, checkpoint, space, read_set(name, cache), seed, rounds)
    return {
        "command": f"python -m benchmarks.judge_checkpoint --seed {seed} --rounds {rounds}",
        "checkpoint": checkpoint.digest,
        "seed": seed,
        "rounds": rounds,
        "sets": sets,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is one of ``curiosity.protocol.errors.ExitCode``."""
    parser = make_parser("judge_checkpoint", __doc__, threads=True)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED["offline"], help="default: the shipped `offline`")
    parser.add_argument("--set", nargs="+", choices=list(SETS), default=list(SETS), dest="names")
    parser.add_argument("--rounds", type=int, default=10, help="each judges another half")
    given = parser.parse_args(arguments)
    measured = partial(run, given.checkpoint, given.names, given.cache, given.seed, given.rounds)
    return carry_out(given, measured, to_markdown)


if __name__ == "__main__":
    sys.exit(main())
