"""What items that are near to every query do to searches, and what leaving them out and discounting them repairs.

    python -m benchmarks.hubs [--json FILE]

20,000 pictures of 400 topics and as many texts as are asked, each modality in a cone of its own as contrastive encoders
give them; 500 texts search for their picture, 512 other texts are the probes. Hubs are the mean of 2,000 texts, each
with a little noise. For each number of hubs: the recall at 10 of a search by cosine alone, of one that discounts the
crowding, and of one that also leaves hubs out (what a validator does); how many hubs are found, what share of honest
pictures is taken for one, and what share of the first ten results are hubs with everything on.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.command import carry_out, make_parser, table, write_report
from curiosity.protocol.scoring import Floats, Quantised, quantise
from curiosity.serving import hubs as hubs_module
from curiosity.serving.index import VectorIndex

COMPONENTS = 64
ITEMS, QUERIES, TOPICS, PROBES = 20_000, 500, 400, 512
HUBS = (0, 20, 200, 1_000)
RESULTS = 10


@dataclass(frozen=True)
class World:
    """Pictures and texts of topics; query i searches for picture i."""

    pictures: Quantised
    queries: Quantised
    probes: Quantised
    hubs: Quantised


def _unit(values: Floats) -> Floats:
    unit: Floats = values / np.linalg.norm(values, axis=-1, keepdims=True)
    return unit


def make_world(hubs: int, seed: int = 3) -> World:
    """Return a world with that many hubs, drawn from ``seed``."""
    rng = np.random.default_rng(seed)
    topics, cone, own = (_unit(rng.normal(size=(count, COMPONENTS))) for count in (TOPICS, 1, 2))

    def concepts(count: int) -> Floats:
        return _unit(0.9 * topics[rng.integers(TOPICS, size=count)] + _unit(rng.normal(size=(count, COMPONENTS))))

    def see(of: Floats, side: int) -> Floats:
        return _unit(of + 1.4 * (cone + 0.5 * own[side]) + 0.6 * _unit(rng.normal(size=of.shape)))

    searched = concepts(ITEMS)
    mean = see(concepts(2_000), 1).mean(axis=0)
    return World(
        pictures=quantise(see(searched, 0)),
        queries=quantise(see(searched[:QUERIES], 1)),
        probes=quantise(see(concepts(PROBES), 1)),
        hubs=quantise(mean + 0.02 * rng.normal(size=(hubs, COMPONENTS)) / np.sqrt(COMPONENTS)),
    )


def fill(world: World, probes: dict[str, Quantised]) -> VectorIndex:
    """Return an index of the pictures (keys 0 to 19,999) and then the hubs."""
    index = VectorIndex(COMPONENTS, probes)
    index.add(range(ITEMS), "image", world.pictures)
    index.add(range(ITEMS, ITEMS + len(world.hubs)), "image", world.hubs)
    return index


def search(world: World, index: VectorIndex) -> list[set[int]]:
    """Return the keys that each query finds."""
    return [{key for key, _ in index.search("image", query, RESULTS, "text")} for query in world.queries]


def recall(found: Sequence[set[int]]) -> float:
    """Return the share of queries that find their picture."""
    return sum(key in keys for key, keys in enumerate(found)) / len(found)


def left_out(index: VectorIndex) -> set[int]:
    """Return the keys that searches by text leave out."""
    shelf = index._shelves["image"]
    return set(shelf.keys[shelf.view("text").hubs].tolist())


@contextmanager
def leaving_nothing_out() -> Iterator[None]:
    """Take no item for a hub inside the block."""
    before, hubs_module.HUB_Z = hubs_module.HUB_Z, np.inf
    try:
        yield
    finally:
        hubs_module.HUB_Z = before


def measure(hubs: int) -> dict[str, Any]:
    """Return recall and what is left out with that many hubs."""
    world = make_world(hubs)
    with leaving_nothing_out():
        discounted = recall(search(world, fill(world, {"text": world.probes})))
    defended = fill(world, {"text": world.probes})
    found, gone = search(world, defended), left_out(defended)
    return {
        "hubs": hubs,
        "recall_by_cosine": recall(search(world, fill(world, {}))),
        "recall_discounted": discounted,
        "recall_defended": recall(found),
        "hubs_left_out": len([key for key in gone if key >= ITEMS]),
        "honest_left_out": round(len([key for key in gone if key < ITEMS]) / ITEMS, 5),
        "hubs_shown": round(sum(key >= ITEMS for keys in found for key in keys) / (RESULTS * QUERIES), 4),
    }


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as a table."""
    rows = report["rows"]
    return "\n".join(table(list(rows[0]), ([str(value) for value in row.values()] for row in rows)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, write JSON if asked."""
    given = make_parser("hubs", __doc__, seed=False, cache=False).parse_args(arguments)
    return carry_out(
        given,
        lambda: {"command": "python -m benchmarks.hubs", "rows": [measure(hubs) for hubs in HUBS]},
        to_markdown,
        write=partial(write_report, sort_keys=False),
    )


if __name__ == "__main__":
    sys.exit(main())
