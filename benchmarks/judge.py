"""What the judge accepts, rejects and holds, on material whose words the encoder has never learned from.

    python -m benchmarks.judge --set photos|clipart|emoji|digits|sounds [--seed N] [--halves N] [--json FILE]

Each of ``halves`` rounds draws half of the set's concepts to be judged (of the ten digits, half of the scans), at most
300 pairs. The encoder's trained parts learn from the other sets, without any pair that shares a content word with what
is judged (and for a set that can spare it, from half of the rest); thresholds and beliefs come from the rest, which is
never trained on. Then

- true and wrong pairs of the judged half are scored: area under the ROC curve, share of wrong captions accepted where
  5 and 10 % of true ones are refused, recall at 10 of 200;
- the judge decides about a stream of which one third has swapped captions: how many of the accepted pairs are true, how
  many true ones are accepted, what is held, the expected calibration error in ten bins;
- and about harder wrong pairs: the nearest wrong caption, and the best of 64 found with the public checkpoint.

Means and standard deviations over the rounds are printed.
"""

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.command import carry_out, make_parser
from curiosity.embedding.change import MEASURES, change_micro
from curiosity.embedding.modalities import decode
from curiosity.embedding.space import EmbeddingSpace, pick_device
from curiosity.protocol.calibration import Calibration
from curiosity.protocol.judgement import Anchors, Embedded, Opinion, opine
from curiosity.protocol.scoring import MICRO, Quantised, csls_micro, quantise
from curiosity.protocol.verdict import Outcome, Weighed
from curiosity.sources.made.clipart import make_clipart
from curiosity.sources.made.digits import make_digits
from curiosity.sources.made.emoji import make_emoji
from curiosity.sources.made.photos import make_photos
from curiosity.sources.made.sounds import make_sounds
from curiosity.sources.words import leave_out
from trainer.belief import Scorer, draw_wrong_pairs
from trainer.calibrate import calibrate
from trainer.feed import FedPair, read_trusted
from trainer.library import Library, Prepared
from trainer.recipe import GENESIS_RECIPE, Recipe
from trainer.train import train

SPLITS = ("genesis", "calibration", "submit", "held-out")
SWAPS = 6  # wrong captions that each judged pair is scored with
GALLERY = 200
MOST_JUDGED = 300  # pairs of a round, drawn
BY_PAIR = frozenset({"digits"})  # sets of few concepts: their pairs are drawn, and every concept is on both sides
BINS = 10
BARS: Mapping[str, Mapping[str, tuple[str, float]]] = {
    "photos": {
        "auc": (">=", 0.89),
        "wrong_at_5": ("<=", 0.50),
        "wrong_at_10": ("<=", 0.34),
        "recall_at_10": (">=", 0.58),
        "precision": (">=", 0.90),
        "honest_accepted": (">=", 0.72),
        "held": ("<=", 0.40),
        "ece": ("<=", 0.05),
    },
    "sounds": {"auc": (">=", 0.80)},
}

Maker = Callable[[Path, int, Path, int | None], Mapping[str, Any]]
MAKERS: Mapping[str, Maker] = {
    "photos": lambda out, seed, cache, limit: make_photos(out, seed=seed, cache=cache, limit=limit),
    "clipart": lambda out, seed, cache, limit: make_clipart(out, seed=seed, cache=cache, limit=limit),
    "emoji": lambda out, seed, cache, limit: make_emoji(out, seed=seed, cache=cache / "speech", limit=limit),
    "digits": lambda out, seed, cache, limit: make_digits(out, seed=seed, cache=cache / "speech", limit=limit),
    "sounds": lambda out, seed, cache, limit: make_sounds(out, seed=seed, cache=cache, limit=limit),
}
OTHERS: Mapping[str, Sequence[str]] = {
    "photos": ("emoji", "clipart"),
    "clipart": ("emoji",),
    "emoji": ("clipart",),
    "digits": ("emoji",),
    "sounds": (),
}
MODALITIES: Mapping[str, tuple[str, str]] = {"sounds": ("audio", "text")}
# Sets large enough to train on half of what is not judged; and real sounds, of which nothing else teaches anything.
LEARNS_FROM_REST = frozenset({"emoji", "clipart", "sounds"})


@dataclass(frozen=True)
class Round:
    """One split: what is learned, what calibrates, what is judged (one pair of each concept)."""

    learned: Sequence[FedPair]
    calibrating: Sequence[FedPair]
    judged: Sequence[FedPair]


def one_of_each(pairs: Sequence[FedPair]) -> list[FedPair]:
    """Return the pair of each concept whose digest is the lowest, in order of concept."""
    chosen: dict[str, FedPair] = {}
    for pair in sorted(pairs, key=lambda pair: pair.digest):
        chosen.setdefault(pair.concept, pair)
    return [chosen[concept] for concept in sorted(chosen)]


def split(
    own: Sequence[FedPair], others: Sequence[FedPair], learns: bool, seed: int, *, by_pair: bool = False
) -> Round:
    """Draw a round: the judged half shares no content word with what is learned.

    With ``by_pair`` the pairs are halved and not the concepts.
    """

    def name(pair: FedPair) -> str:
        return pair.digest.hex() if by_pair else pair.concept

    unordered = sorted({name(pair) for pair in own})
    names = [unordered[i] for i in np.random.default_rng(seed).permutation(len(unordered))]
    half = len(names) // 2
    judged, rest = set(names[:half]), names[half:]
    spare = set(rest[: len(rest) // 2]) if learns else set()
    wanted = [*others, *(pair for pair in own if name(pair) in spare)]
    drawn = [pair for pair in own if name(pair) in judged]
    kept = leave_out([pair.concept for pair in wanted], {pair.concept for pair in drawn})
    chosen = sorted(drawn, key=name) if by_pair else one_of_each(drawn)
    return Round(
        [replace(pair, split="genesis") for pair, keep in zip(wanted, kept, strict=True) if keep],
        [replace(pair, split="calibration") for pair in own if name(pair) in set(rest) - spare],
        chosen,
    )


@dataclass(frozen=True)
class Bench:
    """What the judge needs to decide about the judged half; ``concepts`` says what each of its pairs is of.

    ``changes`` are how much the items a and the items b change within themselves, in the order of the pairs.
    """

    name: str
    concepts: Sequence[str]
    calibration: Calibration
    anchors: Anchors
    a: Quantised
    b: Quantised
    changes: tuple[Sequence[int | None], Sequence[int | None]] = ((), ())

    def opinion(self, i: int, j: int) -> Opinion:
        """Return what the judge says of the first item of pair i with the second of pair j."""
        return opine(
            self._whole(self.a[i], 0, i),
            self._whole(self.b[j], 1, j),
            modalities=self.name,
            checkpoint=bytes(32),
            calibration=self.calibration,
            anchors=self.anchors,
        )

    def _whole(self, vector: Quantised, side: int, place: int) -> Embedded:
        """Return an item whose masked halves are left out: they decide nothing."""
        change = self.changes[side][place] if self.changes[side] else None
        return Embedded(vector, vector, np.stack([vector, vector])[None], change_micro=change)


def changes_of(pairs: Sequence[FedPair], modality: str) -> list[int | None]:
    """Return how much each pair's item of a modality changes within itself; None where that is not measured."""
    if modality not in MEASURES:
        return [None] * len(pairs)
    items = [pair.item(modality) for pair in pairs]
    return [change_micro(modality, decode(modality, item.load(), item.media_type)) for item in items]


def prepare(
    given: Round, preset: str, recipe: Recipe, modalities: tuple[str, str], prepared: Prepared, progress: bool
) -> Bench:
    """Train, calibrate, and embed what is judged."""
    space = EmbeddingSpace(preset, seed=recipe.seed, modalities=list(modalities)).to(pick_device())
    library = Library(space, prepared)
    if given.learned and recipe.steps:
        train(
            space,
            library,
            library.streams(library.add(list(given.learned))),
            recipe,
            (lambda step, steps, loss: print(f"step {step}/{steps} loss {loss:.3f}", file=sys.stderr, end="\r"))
            if progress
            else None,
        )
    trusted = [*given.learned, *given.calibrating]
    calibration, anchors = calibrate(space, trusted, prepared=prepared, believes=True)
    judged = Library(space, prepared)
    kept = judged.add(list(given.judged))
    rows = {m: quantise(space.embed_features(m, judged.features[m])) for m in modalities}
    a, b = (np.stack([rows[m][judged.row(pair.item(m))] for pair in kept]) for m in modalities)
    changes = (changes_of(kept, modalities[0]), changes_of(kept, modalities[1]))
    concepts = [pair.concept for pair in kept]
    return Bench("-".join(modalities), concepts, calibration, Anchors.from_arrays(anchors), a, b, changes)


def roc_area(true: NDArray[np.float64], wrong: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve: how often a true pair scores above a wrong one, ties count half."""
    ordered = np.sort(wrong)
    below = np.searchsorted(ordered, true, "left") + np.searchsorted(ordered, true, "right")
    return float(below.mean() / (2 * len(wrong)))


def calibration_error(belief: NDArray[np.float64], is_true: NDArray[np.bool_], weight: NDArray[np.float64]) -> float:
    """Return the expected calibration error in ten equal bins (Naeini et al. 2015), with weights that sum to 1."""
    place = np.minimum((belief * BINS).astype(int), BINS - 1)
    return float(sum(abs((weight * (belief - is_true))[place == k].sum()) for k in range(BINS)))


def measure(bench: Bench, seed: int) -> dict[str, float]:
    """Return every figure of a round; shares of 1."""
    count = len(bench.a)
    generator = np.random.default_rng(seed)
    banks = bench.anchors.banks[bench.name]
    true = np.array([csls_micro(bench.a[i], bench.b[i], *banks) for i in range(count)], dtype=np.float64)
    turns = 1 + generator.permutation(count - 1)[:SWAPS]
    turned = [(i, int((i + turn) % count)) for turn in turns for i in range(count)]
    swaps = [(i, j) for i, j in turned if bench.concepts[i] != bench.concepts[j]]
    wrong = np.array([csls_micro(bench.a[i], bench.b[j], *banks) for i, j in swaps], dtype=np.float64)
    ordered = np.sort(true)
    figures = {
        "judged": float(count),
        "auc": roc_area(true, wrong),
        "wrong_at_5": float((wrong >= ordered[int(0.05 * count)]).mean()),
        "wrong_at_10": float((wrong >= ordered[int(0.10 * count)]).mean()),
        "recall_at_10": recall_at_10(bench, generator),
    }
    truths = [bench.opinion(i, i) for i in range(count)]
    stream = [bench.opinion(i, j) for i, j in swaps]
    cheating = bench.calibration.beliefs[bench.name].cheating_micro / MICRO
    accepted, wrongly = share(truths, Outcome.ACCEPTED), share(stream, Outcome.ACCEPTED)
    figures |= {
        "precision": (1 - cheating) * accepted / max((1 - cheating) * accepted + cheating * wrongly, 1e-9),
        "honest_accepted": accepted,
        "honest_rejected": share(truths, Outcome.REJECTED),
        "swapped_accepted": wrongly,
        "swapped_rejected": share(stream, Outcome.REJECTED),
        "held": (1 - cheating) * share(truths, Outcome.HELD, Outcome.GREY)
        + cheating * share(stream, Outcome.HELD, Outcome.GREY),
    }
    belief = np.array([_belief(one) for one in (*truths, *stream)])
    is_true = np.arange(len(belief)) < count
    weight = np.where(is_true, (1 - cheating) / count, cheating / len(stream))
    figures["ece"] = calibration_error(belief, is_true, weight)
    return figures | hard(bench, seed)


def recall_at_10(bench: Bench, generator: np.random.Generator) -> float:
    """Return the mean of both directions, by CSLS score, in galleries of at most 200."""
    count = len(bench.a)
    banks = bench.anchors.banks[bench.name]
    empty = {name: rows[:0] for name, rows in (("a", bench.a), ("b", bench.b))}
    scorer = Scorer(
        {"bank_a": banks[0], "bank_b": banks[1], "references_a": empty["a"], "references_b": empty["b"]},
        {"bank_a": [""] * len(banks[0]), "bank_b": [""] * len(banks[1]), "references_a": [], "references_b": []},
    )
    crowd_a, crowd_b = scorer.crowds(bench.a, bench.b)
    unit_a, unit_b = bench.a / 32_767, bench.b / 32_767
    score = unit_a @ unit_b.T - (crowd_a[:, None] + crowd_b[None, :]) / 2
    found = []
    names = np.array(bench.concepts)
    for i in range(count):
        rivals = np.setdiff1d(generator.permutation(count)[: min(GALLERY, count)], [i])[: GALLERY - 1]
        rivals = rivals[names[rivals] != names[i]]
        found += [(score[i, rivals] > score[i, i]).sum() < 10, (score[rivals, i] > score[i, i]).sum() < 10]
    return float(np.mean(found))


def hard(bench: Bench, seed: int) -> dict[str, float]:
    """Return the share of harder wrong pairs that is accepted."""
    crowd = np.zeros(len(bench.a))
    drawn = draw_wrong_pairs(bench.a, bench.b, bench.concepts, crowd, crowd, seed=seed)
    return {
        f"{kind}_accepted": share([bench.opinion(i, j) for i, j in pairs], Outcome.ACCEPTED)
        for kind, pairs in drawn.items()
        if kind != "swapped"
    }


def share(opinions: Sequence[Opinion], *outcomes: Outcome) -> float:
    """Return the share of the opinions that have one of these outcomes."""
    return sum(one.outcome in outcomes for one in opinions) / max(len(opinions), 1)


def _belief(opinion: Opinion) -> float:
    if not isinstance(opinion.measurement, Weighed):
        raise TypeError("the checkpoint publishes no beliefs")
    return opinion.measurement.belief_micro / MICRO


def run(
    name: str,
    seed: int,
    halves: int,
    preset: str,
    recipe: Recipe,
    cache: Path,
    *,
    limit: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Return all rounds of a set; a row for each figure."""
    modalities = MODALITIES.get(name, ("image", "text"))
    own = _read(name, seed, cache, modalities, limit)
    sets = OTHERS[name] if recipe.steps else ()
    others = [pair for other in sets for pair in one_of_each(_read(other, seed, cache, modalities, limit))]
    prepared: Prepared = {}
    rounds = []
    for number in range(halves):
        given = split(own, others, name in LEARNS_FROM_REST, seed * 1_000 + number, by_pair=name in BY_PAIR)
        some = np.random.default_rng([seed, number]).permutation(len(given.judged))[:MOST_JUDGED]
        given = replace(given, judged=[given.judged[i] for i in sorted(some)])
        bench = prepare(given, preset, replace(recipe, seed=seed + number), modalities, prepared, progress)
        found = measure(bench, seed * 1_000 + number)
        rounds.append(found | {"learned": float(len(given.learned)), "calibrating": float(len(given.calibrating))})
        if progress:
            print(f"round {number + 1} of {halves}: AUC {found['auc']:.3f}", file=sys.stderr)
    rows = []
    for figure in rounds[0]:
        values = [one[figure] for one in rounds]
        mean, spread = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
        row: dict[str, Any] = {"figure": figure, "mean": round(mean, 4), "sd": round(spread, 4)}
        if figure in BARS.get(name, {}):
            sign, bar = BARS[name][figure]
            row |= {"bar": f"{sign} {bar}", "holds": mean >= bar if sign == ">=" else mean <= bar}
        rows.append(row)
    return {"set": name, "seed": seed, "halves": halves, "preset": preset, "steps": recipe.steps, "rows": rows}


def _read(name: str, seed: int, cache: Path, modalities: tuple[str, str], limit: int | None) -> list[FedPair]:
    folder = cache / f"judge-{name}-{seed}"
    MAKERS[name](folder, seed, cache, limit)
    return [pair for pair in read_trusted([folder], SPLITS) if (pair.a.modality, pair.b.modality) == modalities]


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as a table."""
    lines = [
        f"Set {report['set']}, seed {report['seed']}, {report['halves']} rounds, preset {report['preset']}, "
        f"{report['steps']} steps",
        "",
        "| figure | mean | sd | bar | holds |",
        "|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        holds = {True: "yes", False: "no", None: ""}[row.get("holds")]
        lines.append(f"| {row['figure']} | {row['mean']:.3f} | {row['sd']:.3f} | {row.get('bar', '')} | {holds} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is one of ``curiosity.protocol.errors.ExitCode``."""
    parser = make_parser("judge", __doc__, threads=True)
    parser.add_argument("--set", choices=sorted(MAKERS), required=True, dest="name")
    parser.add_argument("--halves", type=int, default=10, help="rounds, each with another half judged")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--steps", type=int, default=GENESIS_RECIPE.steps, help="of training in each round; 0: none")
    parser.add_argument(
        "--junk-pool", type=int, default=GENESIS_RECIPE.junk_pool, help="items of each junk family that are trained on"
    )
    given = parser.parse_args(arguments)
    recipe = replace(GENESIS_RECIPE, steps=given.steps, junk_pool=given.junk_pool)
    command = (
        f"python -m benchmarks.judge --set {given.name} --seed {given.seed} --halves {given.halves} "
        f"--preset {given.preset} --steps {given.steps}"
        + (f" --junk-pool {given.junk_pool}" if given.junk_pool != GENESIS_RECIPE.junk_pool else "")
    )
    measured = partial(run, given.name, given.seed, given.halves, given.preset, recipe, given.cache, progress=True)
    return carry_out(given, lambda: measured() | {"command": command}, to_markdown)


if __name__ == "__main__":
    sys.exit(main())
