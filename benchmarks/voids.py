"""What it earns to surround a void before filling it, and what the defence costs honest contributors.

    python -m benchmarks.voids [--json FILE] [--pairs DIR]

**The attack.** A void is a point that is not paid for by itself: it lies outside of what the genesis checkpoint knows.
The attacker first sends eight pairs around it, at one distance in four directions and their opposites, and then the
middle; every pair that is novel joins the history, as in the network. 200 voids of each modality pair, drawn near two
known points and off the sphere of both, are tried at four distances. Counted is how often the middle is paid for after
all, by the rule that measures among everything known (``loo``) and by the one that measures among the checkpoint's own
points (``pinned``).

**The cost.** The true pairs of ``--pairs`` (folders of pair sets) that the genesis checkpoint accepts arrive in a
seeded order; counted is how many of them are novel by each rule.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import carry_out, make_parser, table
from curiosity.embedding.checkpoint import GENESIS, Checkpoint, load
from curiosity.protocol.calibration import PairThresholds
from curiosity.protocol.curiosity import RULES, is_novel
from curiosity.protocol.neighbours import Neighbours
from curiosity.protocol.scoring import (
    SCALE,
    Quantised,
    cross_average,
    distance_micro,
    joint,
    pulls_micro,
    quantise,
)

VOIDS = 200
DISTANCES = (0.3, 0.45, 0.6, 0.9)  # of the radius
COMPARED = ("loo", "pinned")


def is_paid(point: Quantised, known: Neighbours, limits: PairThresholds, rule: str) -> bool:
    """Return whether a point is novel by a rule."""
    gap = known.nearest(point)
    return is_novel(gap, limits, inside=RULES[rule](point, known, gap, limits))


def draw_voids(known: Quantised, limits: PairThresholds, count: int, seed: int = 1) -> list[Quantised]:
    """Return points of which none is paid for, by any of the rules, and none is near to a known one."""
    rng, history = np.random.default_rng(seed), Neighbours(known)
    voids: list[Quantised] = []
    while len(voids) < count:
        one, other = known[rng.integers(len(known), size=2)] / SCALE
        point = quantise(one + other + rng.normal(size=known.shape[1]) / np.sqrt(known.shape[1]))
        far = history.nearest(point).nearest_micro >= limits.nearest_floor_micro
        if far and not is_paid(point, history, limits, "loo"):
            voids.append(point)
    return voids


def surround(void: Quantised, distance: float, seed: int) -> Quantised:
    """Return eight points int16[8, n] around a void, at ``distance`` of the radius, at right angles and opposite."""
    middle = void / np.linalg.norm(void.astype(np.float64))
    directions = np.random.default_rng(seed).normal(size=(4, len(void)))
    directions -= np.outer(directions @ middle, middle)
    axes = np.linalg.qr(directions.T)[0].T
    return quantise(middle + distance * np.concatenate([axes, -axes]))


def frame(voids: Sequence[Quantised], known: Quantised, limits: PairThresholds, distance: float, rule: str) -> int:
    """Return how many of the voids are paid for once they are surrounded."""
    paid = 0
    for seed, void in enumerate(voids):
        history = Neighbours(known)
        for entry, point in enumerate(surround(void, distance, seed)):
            if is_paid(point, history, limits, rule):
                history.add(point, entry)
        paid += is_paid(void, history, limits, rule)
    return paid


def measure_attack(checkpoint: Checkpoint, count: int = VOIDS) -> list[dict[str, Any]]:
    """Return how many voids of each modality pair are paid for, by distance and rule."""
    rows = []
    for name, limits in sorted(checkpoint.calibration.pairs.items()):
        known = checkpoint.anchors[f"history/{name}"]
        voids = draw_voids(known, limits, count)
        for distance in DISTANCES:
            paid = {rule: frame(voids, known, limits, distance, rule) for rule in COMPARED}
            rows.append({"pair": name, "distance": distance, "voids": count, **paid})
    return rows


def read_points(checkpoint: Checkpoint, folder: Path) -> dict[str, list[Quantised]]:
    """Return the joint points of the true pairs of a set that are near enough, by modality pair."""
    from curiosity.embedding.weights import read_space
    from trainer.feed import read_trusted
    from trainer.library import Library

    space = read_space(checkpoint)
    library = Library(space)
    pairs = library.add(read_trusted([folder], ["submit", "held-out"]))
    rows = {name: quantise(space.embed_features(name, features)) for name, features in library.features.items()}
    medians = checkpoint.calibration.median_loss_micro
    points: dict[str, list[Quantised]] = {}
    for pair in pairs:
        if pair.name not in checkpoint.calibration.pairs:
            continue
        a, b = (rows[item.modality][library.row(item)] for item in (pair.a, pair.b))
        finals = cross_average(a, b, *pulls_micro(medians[pair.a.modality], medians[pair.b.modality]))
        if distance_micro(*finals) <= checkpoint.calibration.pairs[pair.name].max_distance_micro:
            points.setdefault(pair.name, []).append(joint(*finals))
    return points


def measure_cost(checkpoint: Checkpoint, folder: Path) -> list[dict[str, Any]]:
    """Return how many of a set's accepted pairs are novel by each rule."""
    rows, digest = [], json.loads((folder / "card.json").read_text())["digest"][:16]
    for name, points in sorted(read_points(checkpoint, folder).items()):
        limits = checkpoint.calibration.pairs[name]
        row: dict[str, Any] = {"set": folder.name, "digest": digest, "pair": name, "accepted": len(points)}
        for rule in COMPARED:
            history = Neighbours(checkpoint.anchors[f"history/{name}"])
            row[rule] = 0
            for entry in np.random.default_rng(0).permutation(len(points)).tolist():
                if is_paid(points[entry], history, limits, rule):
                    history.add(points[entry], entry)
                    row[rule] += 1
        rows.append(row)
    return rows


def to_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows of one kind as a Markdown table."""
    if not rows:
        return ""
    return "\n".join(table(list(rows[0]), ([str(value) for value in row.values()] for row in rows)))


def run(folders: Sequence[Path]) -> dict[str, Any]:
    """Return the whole report: the attack, and the cost for the pair sets in ``folders``."""
    checkpoint = load(GENESIS)
    return {
        "command": "python -m benchmarks.voids",
        "checkpoint": checkpoint.digest,
        "attack": measure_attack(checkpoint),
        "cost": [row for folder in folders for row in measure_cost(checkpoint, folder)],
    }


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as two tables."""
    return "\n\n".join(to_table(report[part]) for part in ("attack", "cost"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print tables, write JSON if asked."""
    parser = make_parser("voids", __doc__, seed=False, cache=False)
    parser.add_argument("--pairs", type=Path, action="append", default=[], help="folder of a pair set; repeatable")
    given = parser.parse_args(arguments)
    return carry_out(given, lambda: run(given.pairs), to_markdown)


if __name__ == "__main__":
    sys.exit(main())
