"""What measuring a gap costs as the history grows, beside faiss on the same vectors in the same run.

    python -m benchmarks.gap [--json FILE]

The history holds joint points in clusters, as concepts make them, of 256 components (a space of 128). Before anything
is timed, the gaps of some points are compared with `curiosity.protocol.scoring.measure_gap`, which reads everything in
float64. Then, in turns, 64 new points are searched for: with `Neighbours` together and one by one, and with a flat
index of faiss together and one by one. Times are milliseconds of processor time a point, the median of the rounds;
`ratio` is that of `Neighbours` to faiss together, the median of the rounds' own ratios. faiss finds eight candidates in
float32; `Neighbours` finds the exact ones and the gap.

Run it with ``OMP_NUM_THREADS=1``: two libraries of linear algebra then use a core each in turn.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import faiss
import numpy as np

from benchmarks.command import carry_out, make_parser
from curiosity.protocol.neighbours import Neighbours
from curiosity.protocol.scoring import NEIGHBOURS, Quantised, measure_gap, quantise

SIZES = (1_000, 10_000, 100_000, 1_000_000)
COMPONENTS = 256
TOGETHER = 64
ALONE = 8  # points that are searched for one by one
CHECKED = 3  # by the reference, which takes 4 KiB a point in a history of this many components
CLUSTER = 50
SPREAD = 0.6
_MADE_AT_ONCE = 50_000
_FAISS_BLAS_FROM = 20  # queries; fewer are compared without a library, which is slower for 64


def make_points(count: int, components: int, seed: int, clusters: int) -> Quantised:
    """Return unit vectors int16[count, components] around ``clusters`` centres drawn from ``seed`` 1."""
    centres = np.random.default_rng(1).standard_normal((clusters, components), dtype=np.float32)
    rng = np.random.default_rng(seed)
    points = np.empty((count, components), dtype=np.int16)
    for start in range(0, count, _MADE_AT_ONCE):
        size = min(_MADE_AT_ONCE, count - start)
        noise = rng.standard_normal((size, components), dtype=np.float32)
        points[start : start + size] = quantise(centres[rng.integers(clusters, size=size)] + SPREAD * noise)
    return points


def spent_ms(work: Callable[[], Any], points: int) -> float:
    """Return the processor time of ``work`` in milliseconds a point."""
    started = time.process_time()
    work()
    return 1_000 * (time.process_time() - started) / points


def measure(size: int, components: int, rounds: int) -> dict[str, Any]:
    """Return the milliseconds a point against a history of ``size``, and the ratio to faiss.

    Raises:
        AssertionError: If a gap is not the reference's.
    """
    clusters = max(size // CLUSTER, NEIGHBOURS)
    history = make_points(size, components, 2, clusters)
    asked = make_points(TOGETHER, components, 3, clusters)
    known = Neighbours(history)
    reference = []
    for point, gap in zip(asked[:CHECKED], known.nearest_batch(asked), strict=False):
        started = time.process_time()
        if measure_gap(point, history) != gap:
            raise AssertionError(f"the gap of a point among {size} is not the reference's")
        reference.append(1_000 * (time.process_time() - started))
    queries = asked.astype(np.float32)
    index = faiss.IndexFlatL2(components)
    for start in range(0, size, _MADE_AT_ONCE):
        index.add(history[start : start + _MADE_AT_ONCE].astype(np.float32))
    ways: dict[str, tuple[Callable[[], Any], int]] = {
        "together": (lambda: known.nearest_batch(asked), TOGETHER),
        "faiss_together": (lambda: index.search(queries, NEIGHBOURS), TOGETHER),
        "alone": (lambda: [known.nearest(point) for point in asked[:ALONE]], ALONE),
        "faiss_alone": (lambda: [index.search(queries[i : i + 1], NEIGHBOURS) for i in range(ALONE)], ALONE),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (work, points) in ways.items():
            times[name].append(spent_ms(work, points))
    ratios = [a / b for a, b in zip(times["together"], times["faiss_together"], strict=True)]
    return {
        "size": size,
        **{f"{name}_ms": round(statistics.median(found), 4) for name, found in times.items()},
        "reference_ms": round(statistics.median(reference), 3),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_highest": round(max(ratios), 3),
        "ratio_alone": round(statistics.median(times["alone"]) / statistics.median(times["faiss_alone"]), 3),
        "bytes_a_point": round(held_bytes(known) / size, 1),
    }


def held_bytes(known: Neighbours) -> int:
    """Return what the points of ``known`` take."""
    return sum(kept.nbytes for block in known._blocks for kept in (block._rows, block._halves, block._entries))


def to_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| points | reference | one by one | together | faiss one by one | faiss together | ratio | bytes a point |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['size']:,} | {row['reference_ms']:.2f} | {row['alone_ms']:.2f} | {row['together_ms']:.2f} "
        f"| {row['faiss_alone_ms']:.2f} | {row['faiss_together_ms']:.2f} | {row['ratio']:.2f} "
        f"| {row['bytes_a_point']:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def run(most: int, components: int, rounds: int) -> dict[str, Any]:
    """Return the whole report: histories of at most ``most`` points of ``components`` numbers."""
    faiss.cvar.distance_compute_blas_threshold = _FAISS_BLAS_FROM
    load = os.getloadavg()[0]
    rows = [measure(size, components, rounds) for size in SIZES if size <= most]
    return {
        "command": "python -m benchmarks.gap",
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "components": components,
        "points_together": TOGETHER,
        "rounds": rounds,
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "faiss": faiss.__version__,
        "numpy": np.__version__,
        "rows": rows,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, write JSON if asked."""
    parser = make_parser("gap", __doc__, seed=False, cache=False)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="leave larger histories out")
    parser.add_argument("--components", type=int, default=COMPONENTS, help="of a joint point")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args(arguments)
    measured = partial(run, given.most, given.components, given.rounds)
    return carry_out(given, measured, lambda report: to_table(report["rows"]))


if __name__ == "__main__":
    sys.exit(main())
