"""Whether a verdict turns between accept and reject where the same items are embedded in another way.

    python -m benchmarks.flips [--seed N] [--items N] [--json FILE]

Each of N photos is put beside each of their captions: 105 make 10,000 pairs or more, since some captions are the same.
The items are embedded in batches of 1, 7 and 64, by weights of 32 and 64 bits (frozen networks too), and for comparison
with bfloat16. A flip is a pair that is accepted by the numbers of one way and rejected by those of the first. They are
counted as the checkpoint is calibrated; and in the worst case, with the threshold of CSLS, or of the distance, moved
half way between the two numbers of each pair that has two. Both are counted with the margin and without it.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from benchmarks.embedding import ROOT
from curiosity.embedding.checkpoint import SHIPPED, Checkpoint, load
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.towers import text
from curiosity.embedding.towers.base import Features, Tower
from curiosity.embedding.towers.offline import image
from curiosity.embedding.towers.offline.image import NamedClassesImage
from curiosity.embedding.towers.text import MiniLmText
from curiosity.embedding.weights import read_space
from curiosity.protocol.belief import Beliefs, Curve, Range, nearest_reference_micro
from curiosity.protocol.calibration import Calibration
from curiosity.protocol.errors import CuriosityError, ExitCode
from curiosity.protocol.judgement import Anchors, Numbers, decide
from curiosity.protocol.scoring import (
    MICRO,
    Quantised,
    cosine_micro,
    cross_average,
    distance_micro,
    pulls_micro,
    quantise,
)
from curiosity.protocol.verdict import Outcome
from curiosity.sources.made.photos import make_photos
from trainer.belief import Scorer
from trainer.feed import FedPair, read_trusted
from trainer.library import Library

NAME: Final = "image-text"
MODALITIES: Final = ("image", "text")
SPLITS: Final = ("genesis", "calibration", "submit", "held-out")


@dataclass(frozen=True)
class Way:
    """How items are embedded: so many at once, by weights of which kind; ``is_promised``: the margin is made for it."""

    name: str
    batch: int
    dtype: torch.dtype = torch.float32
    is_promised: bool = True


WAYS: Final = (
    Way("float32, 64 at once", 64),
    Way("float32, 7 at once", 7),
    Way("float32, one at a time", 1),
    Way("float64, 64 at once", 64, torch.float64),
    Way("bfloat16, 64 at once", 64, torch.bfloat16, is_promised=False),
)
"""The first is what the others are compared with."""


@dataclass(frozen=True)
class Row:
    """What one way did to the pairs, beside the first way; ``moved`` counts with thresholds moved onto each pair."""

    genesis: str
    way: str
    is_promised: bool
    pairs: int
    accepted: int
    rejected: int
    largest_micro: dict[str, int]
    flips: int
    flips_without_margin: int
    moved_flips: int
    moved_flips_without_margin: int


def embed(space: EmbeddingSpace, modality: str, features: Sequence[Features], way: Way) -> Quantised:
    """Return the embeddings int16[n, d] of prepared items."""
    tower = space.tower(modality)
    modules = [tower, *frozen_networks(tower)]
    hooks = []
    if way.dtype is torch.float64:
        for module in modules:
            module.double()
            hooks += [module.register_forward_pre_hook(_widen), module.register_forward_hook(_narrow)]
    context = torch.autocast("cpu", dtype=torch.bfloat16) if way.dtype is torch.bfloat16 else nullcontext()
    try:
        with context:
            rows = [
                space.embed_features(modality, features[at : at + way.batch])
                for at in range(0, len(features), way.batch)
            ]
    finally:
        for hook in hooks:
            hook.remove()
        for module in modules:
            module.float()
        frozen_networks(tower)
    return quantise(np.concatenate(rows))


def frozen_networks(tower: Tower) -> list[nn.Module]:
    """Return the networks that a tower uses and does not hold, with nothing kept of what they gave before."""
    tower.forget()
    if isinstance(tower, MiniLmText):
        return [text._frozen().model]
    if isinstance(tower, NamedClassesImage):
        image._known.clear()
        return [*tower._network]
    return []


def _widen(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(one.double() if torch.is_tensor(one) and one.is_floating_point() else one for one in inputs)


def _narrow(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    if isinstance(output, tuple):
        return tuple(one.float() for one in output)
    return output.float() if torch.is_tensor(output) else output


def measure(a: Quantised, b: Quantised, calibration: Calibration, anchors: Anchors) -> list[Numbers]:
    """Return the numbers of each a with each b, as the judge measures them."""
    name_a, name_b = MODALITIES
    pulls = pulls_micro(calibration.median_loss_micro[name_a], calibration.median_loss_micro[name_b])
    bank_a, bank_b = anchors.banks[NAME]
    arrays = {
        "bank_a": bank_a,
        "bank_b": bank_b,
        "references_a": anchors.references[name_a],
        "references_b": anchors.references[name_b],
    }
    scorer = Scorer(arrays, {name: [""] * len(rows) for name, rows in arrays.items()})
    null_a = [cosine_micro(item, anchors.empties[name_b]) for item in a]
    null_b = [cosine_micro(item, anchors.empties[name_a]) for item in b]
    places = [(i, j) for i in range(len(a)) for j in range(len(b))]
    nobody = [""] * len(places)
    scored = scorer.score(a[[i for i, _ in places]], b[[j for _, j in places]], nobody, nobody)
    familiarities = measure_domains(a, b, calibration.beliefs.get(NAME), anchors)
    return [
        Numbers(
            null_a[i],
            null_b[j],
            distance_micro(*cross_average(a[i], b[j], *pulls)),
            one.score_micro,
            *(familiarities[i, j] if familiarities else (one.familiarity_micro, ())),
        )
        for (i, j), one in zip(places, scored, strict=True)
    ]


def measure_domains(
    a: Quantised, b: Quantised, beliefs: Beliefs | None, anchors: Anchors
) -> dict[tuple[int, int], tuple[int, tuple[int, ...]]]:
    """Return the familiarity of each a with each b, and that with each domain; nothing where there is one domain."""
    if beliefs is None or not beliefs.others:
        return {}
    known_a, known_b = (
        [
            [nearest_reference_micro(item, anchors.of_domain(modality, domain)) for item in items]
            for domain in range(1 + len(beliefs.others))
        ]
        for modality, items in zip(MODALITIES, (a, b), strict=True)
    )
    found = {}
    for i, j in product(range(len(a)), range(len(b))):
        domains = tuple((of_a[i] + of_b[j]) // 2 for of_a, of_b in zip(known_a, known_b, strict=True))
        found[i, j] = beliefs.nearest(domains)[1], domains
    return found


def is_flip(one: Numbers, other: Numbers, calibration: Calibration) -> bool:
    """Return whether one is accepted and the other rejected."""
    outcomes = {decide(numbers, NAME, calibration)[0] for numbers in (one, other)}
    return outcomes == {Outcome.ACCEPTED, Outcome.REJECTED}


def with_margin(calibration: Calibration, margin_micro: int) -> Calibration:
    """Return the calibration with another margin."""
    limits = replace(calibration.pairs[NAME], margin_micro=margin_micro)
    return replace(calibration, pairs={**calibration.pairs, NAME: limits})


def by_csls(calibration: Calibration, one: Numbers, other: Numbers) -> Calibration:
    """Return a calibration under which CSLS alone decides, with the threshold half way between two numbers."""
    between = (one.csls_micro + other.csls_micro + 1) // 2
    cut = Range(Curve((between - 1, between), (0, MICRO)), MICRO, MICRO)
    beliefs = Beliefs((), (cut,), -2 * MICRO, MICRO, MICRO, MICRO // 2)
    limits = replace(calibration.pairs[NAME], max_distance_micro=4 * MICRO, min_csls_micro=between)
    return replace(
        calibration,
        pairs={NAME: limits},
        null_max_micro=dict.fromkeys(calibration.null_max_micro, 2 * MICRO),
        beliefs={NAME: beliefs} if calibration.beliefs else {},
    )


def by_distance(calibration: Calibration, one: Numbers, other: Numbers) -> Calibration:
    """Return a calibration under which the distance alone decides, with the threshold half way between two numbers."""
    between = (one.distance_micro + other.distance_micro) // 2
    limits = replace(calibration.pairs[NAME], max_distance_micro=between, min_csls_micro=-4 * MICRO)
    return replace(
        calibration,
        pairs={NAME: limits},
        null_max_micro=dict.fromkeys(calibration.null_max_micro, 2 * MICRO),
        beliefs={},
    )


_MOVES: Final[Sequence[Callable[[Calibration, Numbers, Numbers], Calibration]]] = (by_csls, by_distance)


def compare(
    genesis: str, way: Way, first: Sequence[Numbers], second: Sequence[Numbers], calibration: Calibration
) -> Row:
    """Return what a way did to the pairs: ``second`` are its numbers, ``first`` those of the first way."""
    both = list(zip(first, second, strict=True))
    bare = with_margin(calibration, 0)
    moved = [(one, other, move(calibration, one, other)) for one, other in both if one != other for move in _MOVES]
    outcomes = [decide(numbers, NAME, calibration)[0] for numbers in first]
    return Row(
        genesis,
        way.name,
        way.is_promised,
        len(both),
        outcomes.count(Outcome.ACCEPTED),
        outcomes.count(Outcome.REJECTED),
        {
            name: max(abs(getattr(one, name) - getattr(other, name)) for one, other in both)
            for name, value in vars(first[0]).items()
            if isinstance(value, int)
        },
        sum(is_flip(one, other, calibration) for one, other in both),
        sum(is_flip(one, other, bare) for one, other in both),
        sum(is_flip(one, other, changed) for one, other, changed in moved),
        sum(is_flip(one, other, with_margin(changed, 0)) for one, other, changed in moved),
    )


def run(genesis: str, checkpoint: Checkpoint, pairs: Sequence[FedPair], ways: Sequence[Way] = WAYS) -> list[Row]:
    """Return a row for each way but the first; every picture of the pairs is put beside every text."""
    space = read_space(checkpoint)
    library = Library(space)
    kept = library.add(list(pairs))
    features = {
        m: [library.features[m][row] for row in sorted({library.row(pair.item(m)) for pair in kept})]
        for m in MODALITIES
    }
    anchors, calibration = Anchors.from_arrays(checkpoint.anchors), checkpoint.calibration
    found = []
    for way in ways:
        a, b = (embed(space, m, features[m], way) for m in MODALITIES)
        found.append(measure(a, b, calibration, anchors))
        print(f"{genesis}: {way.name}", file=sys.stderr)
    return [
        compare(genesis, way, found[0], numbers, calibration) for way, numbers in zip(ways[1:], found[1:], strict=True)
    ]


def read_photos(seed: int, cache: Path, items: int) -> list[FedPair]:
    """Return so many pairs of photos with captions, drawn by the seed."""
    folder = cache / f"flips-photos-{seed}"
    make_photos(folder, seed=seed, cache=cache)
    own = [pair for pair in read_trusted([folder], SPLITS) if (pair.a.modality, pair.b.modality) == MODALITIES]
    return [own[i] for i in np.random.default_rng(seed).permutation(len(own))[:items]]


def to_markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a table."""
    lines = [
        "| genesis | embedded | pairs | CSLS off by | flips | without margin | worst case | without margin |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.genesis} | {row.way} | {row.pairs:,} | {row.largest_micro['csls_micro']} | {row.flips} "
        f"| {row.flips_without_margin} | {row.moved_flips} | {row.moved_flips_without_margin} |"
        for row in rows
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the command; its exit status is 1 where a way that the margin is made for flips a verdict."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flips", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--items", type=int, default=105, help="pictures and captions, each with each")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "benchmarks", help="where packages are kept")
    given = parser.parse_args(arguments)
    try:
        pairs = read_photos(given.seed, given.cache, given.items)
        rows = [row for name, folder in SHIPPED.items() for row in run(name, load(folder), pairs)]
    except CuriosityError as error:
        print(f"{error.code}: {error.what}. {error.remedy}", file=sys.stderr)
        return error.exit_code
    report: dict[str, Any] = {
        "command": f"python -m benchmarks.flips --seed {given.seed} --items {given.items}",
        "rows": [asdict(row) for row in rows],
    }
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    print(to_markdown(rows))
    flips = sum(row.flips + row.moved_flips for row in rows if row.is_promised)
    return ExitCode.OK if not flips else 1


if __name__ == "__main__":
    sys.exit(main())
