"""What the floor of a search shows and hides: queries whose answer is there, and queries whose answer is not.

    python -m benchmarks.search_floor [--set NAME ...] [--size N ...] [--seed N] [--json FILE]

A checkpoint's own index, discount, beliefs and references decide, as on a network. What is searched for comes from
material that the checkpoint never learned from: whole photos, and of emoji, clipart and digits the splits ``submit``
and ``held-out``. An index holds ``size`` different items, at most a half of the query's own set and for the rest other
sets. Each query is asked twice, with its one answer in the index and without. Candidates that share a content word with
the answer are left out both times, since they may be right too. Items are indexed as the encoder gives them: the final
embedding of an answer would have moved towards the very text that is asked. For each set, direction and size:

- recall: of searches whose answer is there, the share that has it among the first ten;
- kept: the share that has it there and shows it;
- false: of searches whose answer is not there, the share that shows anything;

kept and false by the floor in force, by a belief of one half (the floor before this one), and by the floor for other
shares than a tenth. The probabilities beside the hits are compared with how often hits of such a probability are right.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import carry_out, make_parser, table
from benchmarks.judge_checkpoint import read_set
from curiosity.embedding.checkpoint import SHIPPED, Checkpoint, load
from curiosity.embedding.space import EmbeddingSpace, pick_device
from curiosity.embedding.weights import read_space
from curiosity.protocol.best_of_many import FALSE_SHOWN_MICRO, least_probability_micro, wrong_beliefs_micro
from curiosity.protocol.floor import Floor
from curiosity.protocol.judgement import Anchors
from curiosity.protocol.scoring import MICRO, Quantised, quantise
from curiosity.serving.index import VectorIndex
from curiosity.sources.words import content_words
from trainer.feed import FedPair
from trainer.library import Library

SETS = ("photos", "emoji", "clipart", "digits")
SIZES = (100, 1_000, 3_000)
QUERIES = 200
RESULTS = 10
OTHER_SHARES = (0.05, 0.2, 0.33, 0.5)  # of searches for what is not there that show something
LEAST_BELIEF_MICRO = 500_000  # the floor before this one
NAME, DIRECTIONS = "image-text", (("text", "image"), ("image", "text"))
EDGES_MICRO = (0, 20_000, 50_000, 100_000, 200_000, 400_000, 700_000, MICRO + 1)


@dataclass(frozen=True)
class Pair:
    """One pair: its set, the content words of its caption, and its embeddings int16[d] by modality."""

    set: str
    words: frozenset[str]
    own: Mapping[str, Quantised]


@dataclass(frozen=True)
class Hit:
    """One hit of a search: whether it is the answer, and what is believed of it; None where nothing can be told."""

    is_answer: bool
    belief_micro: int
    probability_micro: int | None


@dataclass(frozen=True)
class Found:
    """The first ten hits of each query, with its answer in the index and without."""

    present: list[list[Hit]]
    absent: list[list[Hit]]


def embed_pairs(name: str, fed: Sequence[FedPair], space: EmbeddingSpace) -> list[Pair]:
    """Return the pairs of a set with their embeddings."""
    library = Library(space)
    kept = library.add(list(fed))
    rows = {m: quantise(space.embed_features(m, library.features[m])) for m in ("image", "text")}
    return [
        Pair(name, content_words(pair.concept), {m: rows[m][library.row(pair.item(m))] for m in ("image", "text")})
        for pair in kept
    ]


def fill(pairs: Sequence[Pair], name: str, to: str, size: int, draw: np.random.Generator) -> list[int]:
    """Return the pairs whose items of modality ``to`` are indexed, all different: at most half of the set ``name``."""
    different: dict[bytes, int] = {}
    for i in draw.permutation(len(pairs)):
        different.setdefault(pairs[i].own[to].tobytes(), int(i))
    own = [i for i in different.values() if pairs[i].set == name][: size // 2]
    return own + [i for i in different.values() if pairs[i].set != name][: size - len(own)]


def search_all(
    anchors: Anchors, floor: Floor, pairs: Sequence[Pair], chosen: Sequence[int], name: str, way: tuple[str, str]
) -> Found:
    """Search an index of the chosen pairs with queries of one set; ``way`` is the modality of the query and of hits."""
    modality, to = way
    index = VectorIndex(len(pairs[0].own[to]), anchors.references)
    index.add(list(chosen), to, np.stack([pairs[i].own[to] for i in chosen]))
    answers = {pairs[i].own[to].tobytes(): i for i in chosen}
    asked = [i for i, pair in enumerate(pairs) if pair.set == name and pair.own[to].tobytes() in answers]
    found = Found([], [])
    for i in (asked[k] for k in np.random.default_rng(len(chosen)).permutation(len(asked))[:QUERIES]):
        answer = answers[pairs[i].own[to].tobytes()]
        nearest = [key for key, _ in index.search(to, pairs[i].own[modality], len(chosen), modality)]
        near = [key for key in nearest if key == answer or not pairs[key].words & pairs[i].words][: RESULTS + 1]
        hits = []
        for key in near:
            fit = floor.fit(modality, to, pairs[i].own[modality], pairs[key].own[to], len(chosen))
            if fit is None or fit.belief_micro is None:
                raise TypeError("the checkpoint publishes no beliefs")
            hits.append(Hit(key == answer, fit.belief_micro, fit.probability_micro))
        found.present.append(hits[:RESULTS])
        found.absent.append([hit for hit in hits if not hit.is_answer][:RESULTS])
    return found


def shares_of(found: Found, least_micro: int, *, by_belief: bool = False) -> dict[str, float]:
    """Return ``kept`` and ``false`` of a floor."""

    def fits(hit: Hit) -> bool:
        if hit.probability_micro is None:
            return False
        return (hit.belief_micro if by_belief else hit.probability_micro) >= least_micro

    return {
        "kept": round(float(np.mean([any(hit.is_answer and fits(hit) for hit in hits) for hits in found.present])), 4),
        "false": round(float(np.mean([any(fits(hit) for hit in hits) for hits in found.absent])), 4),
    }


def told_and_true(found: Sequence[Found]) -> list[dict[str, float]]:
    """Return, for ranges of the probability, its mean over hits where the answer is there, and the share that is it."""
    hits = [hit for one in found for some in one.present for hit in some if hit.probability_micro is not None]
    told = np.array([hit.probability_micro for hit in hits], dtype=np.int64)
    is_answer = np.array([hit.is_answer for hit in hits], dtype=np.bool_)
    rows = []
    for low, high in pairwise(EDGES_MICRO):
        here = (told >= low) & (told < high)
        if here.any():
            told_mean, true = told[here].mean() / MICRO, is_answer[here].mean()
            rows.append({"hits": int(here.sum()), "told": round(float(told_mean), 4), "true": round(float(true), 4)})
    return rows


def measure(checkpoint: Checkpoint, pairs: Sequence[Pair], sizes: Sequence[int], seed: int) -> dict[str, Any]:
    """Return a row for each set, direction and size, and what the probabilities are worth by size."""
    anchors = Anchors.from_arrays(checkpoint.anchors)
    beliefs = checkpoint.calibration.beliefs[NAME]
    floor = Floor(checkpoint.calibration, anchors)
    rows: list[dict[str, Any]] = []
    all_found: dict[int, list[Found]] = {}
    for way in DIRECTIONS:
        wrong = wrong_beliefs_micro(*way, beliefs, anchors)
        for name in sorted({pair.set for pair in pairs}, key=SETS.index):
            for size in sizes:
                chosen = fill(pairs, name, way[1], size, np.random.default_rng([seed, size]))
                found = search_all(anchors, floor, pairs, chosen, name, way)
                all_found.setdefault(size, []).append(found)
                least = {
                    share: least_probability_micro(
                        wrong, beliefs.cheating_micro, len(chosen), round(-MICRO * log(1 - share))
                    )
                    for share in (*OTHER_SHARES, FALSE_SHOWN_MICRO / MICRO)
                }
                bound = floor.bound(*way, len(chosen))
                rows.append(
                    {
                        "set": name,
                        "way": f"{way[0]} to {way[1]}",
                        "indexed": len(chosen),
                        "queries": len(found.present),
                        "recall": round(
                            float(np.mean([any(hit.is_answer for hit in hits) for hits in found.present])), 4
                        ),
                        "least_micro": None if bound is None else bound.least_micro,
                        "half": shares_of(found, LEAST_BELIEF_MICRO, by_belief=True),
                        "floors": {f"{share:.2f}": shares_of(found, one) for share, one in sorted(least.items())},
                    }
                )
                print(f"{name}, {way[0]} to {way[1]}, {len(chosen)} indexed", file=sys.stderr)
    return {"rows": rows, "told": {str(size): told_and_true(found) for size, found in all_found.items()}}


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as tables."""

    def percent(value: float) -> str:
        return f"{100 * value:.0f} %"

    def floors_of(row: Mapping[str, Any]) -> list[dict[str, float]]:
        return [row["half"], *row["floors"].values()]

    lines = [f"Checkpoint {report['checkpoint'][:12]}, seed {report['seed']}", ""]
    shares = sorted(report["rows"][0]["floors"]) if report["rows"] else []
    head = ["set", "search", "indexed", "queries", "recall", "floor", "belief of a half: kept / false"]
    lines += table(
        [*head, *(f"at most {percent(float(share))}: kept / false" for share in shares)],
        [
            [
                row["set"], row["way"], f"{row['indexed']:,}", f"{row['queries']}", percent(row["recall"]),
                f"{row['least_micro'] / 1e4:.1f} %",
                *(f"{percent(one['kept'])} / {percent(one['false'])}" for one in floors_of(row)),
            ]
            for row in report["rows"]
        ],
    )  # fmt: skip
    lines += ["", "Hits where the answer is there, by the probability told:", ""]
    return "\n".join(
        lines
        + table(
            ["indexed at most", "hits", "probability told", "right"],
            [
                [size, f"{one['hits']}", f"{100 * one['told']:.1f} %", f"{100 * one['true']:.1f} %"]
                for size, rows in report["told"].items()
                for one in rows
            ],
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status, one of ``curiosity.protocol.errors.ExitCode``."""
    parser = make_parser("search_floor", __doc__, threads=True)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED["offline"], help="default: the shipped `offline`")
    parser.add_argument("--set", nargs="+", choices=SETS, default=list(SETS), dest="names")
    parser.add_argument("--size", nargs="+", type=int, default=list(SIZES), dest="sizes", help="items in the index")
    given = parser.parse_args(arguments)
    return carry_out(given, lambda: _run(given), to_markdown)


def _run(given: argparse.Namespace) -> dict[str, Any]:
    checkpoint = load(given.checkpoint)
    space = read_space(checkpoint).to(pick_device())
    pairs = [one for name in given.names for one in embed_pairs(name, read_set(name, given.cache), space)]
    return {
        "command": f"python -m benchmarks.search_floor --seed {given.seed}",
        "checkpoint": checkpoint.digest,
        "seed": given.seed,
    } | measure(checkpoint, pairs, given.sizes, given.seed)


if __name__ == "__main__":
    sys.exit(main())
