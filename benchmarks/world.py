"""The simulated world's numbers: what nine modalities know of one another on episodes that training never saw.

Called by ``python -m benchmarks.embedding --set world --seed N``. The seed makes the episodes (so also which are held
out), starts the towers and draws the batches.
"""

import time
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

from curiosity.embedding.retrieval import Recall, measure_recall
from curiosity.embedding.space import EmbeddingSpace, pick_device
from curiosity.sources.made.world.make import DEFAULT_EPISODES, SYNTHESISED, make_world
from trainer.evaluation import to_json
from trainer.feed import FedItem, FedPair, read_trusted
from trainer.library import Library, Prepared
from trainer.recipe import Recipe
from trainer.train import train

PRESET = "tiny"
WORLD_RECIPE = Recipe(steps=300, batch=64, junk_each=16, junk_pool=96)
# Touch has two other partners that are easier to please (pressure is its own mean): alike in weight, touch-video ends
# at 92 and 84 % of recall at 10 (seed 1, 200 steps), alone at 99.5 %.
LOSS_WEIGHTS = {"touch-video": 3.0}


def run_world(
    seed: int, cache: Path, *, episodes: int = DEFAULT_EPISODES, limit: int | None = None, recipe: Recipe = WORLD_RECIPE
) -> dict[str, Any]:
    """Make the set (kept in ``cache``), train on ``genesis`` and ``submit``, and measure recall.

    It is measured among the held-out episodes, one item of each modality for each (``camera1`` of the pictures).
    ``recall`` has both directions of all 36 pairs of modalities; ``emergent`` are those that were never a pair.
    ``cpu_seconds`` is that of training; making the set and preparing the items are counted apart.
    """
    folder = cache / f"world-{seed}"
    started = time.process_time()
    card = make_world(folder, seed=seed, episodes=episodes, limit=limit)
    made = time.process_time()
    space = EmbeddingSpace(PRESET, seed=recipe.seed + seed).to(pick_device())
    prepared: Prepared = {}
    library = Library(space, prepared)
    kept = library.add(read_trusted([folder], ["genesis", "submit"]))
    ready = time.process_time()
    streams = [
        replace(stream, loss_weight=LOSS_WEIGHTS.get(f"{stream.a}-{stream.b}", 1.0)) for stream in library.streams(kept)
    ]
    done = train(space, library, streams, recipe)
    trained = {pair.name for pair in kept}
    held_out = read_trusted([folder], ["held-out"])
    refuse_overlap(kept, held_out)
    recall = measure_world(space, held_out, trained)
    return {
        "set": "world",
        "seed": seed,
        "preset": PRESET,
        "cpu_seconds": round(done.cpu_s, 2),
        "cpu_seconds_making": round(made - started, 2),
        "cpu_seconds_preparing": round(ready - made, 2),
        "steps": done.steps,
        "loss": round(done.loss, 4),
        "pair_set": card["digest"],
        "counts": card["counts"],
        "renderer": card["parameters"]["renderer"],
        "synthesised": list(SYNTHESISED),
        "trained_pairs": sorted(trained),
        "recall": to_json({"world": recall})["world"],
    }


def measure_world(space: EmbeddingSpace, held_out: list[FedPair], trained: set[str]) -> dict[str, Recall]:
    """Return recall of every direction between two modalities: query, then gallery; an episode has one item of each."""
    library = Library(space)
    chosen: dict[str, dict[str, FedItem]] = {}
    for pair in library.add(held_out):
        for item in (pair.a, pair.b):
            # Of the two pictures the one that a cloud is paired with as well, camera1, comes first in the rows.
            chosen.setdefault(item.modality, {}).setdefault(pair.concept, item)
    episodes = sorted(next(iter(chosen.values())))
    vectors = {
        name: space.embed_features(name, [library.features[name][library.row(items[one])] for one in episodes])
        for name, items in chosen.items()
    }
    return {
        f"{query}-{gallery}": measure_recall(
            vectors[query],
            vectors[gallery],
            episodes,
            episodes,
            emergent="-".join(sorted((query, gallery))) not in trained,
        )
        for query, gallery in permutations(sorted(vectors), 2)
    }


def refuse_overlap(trained: list[FedPair], held_out: list[FedPair]) -> None:
    """Check that no episode is on both sides, nor anything recorded of it; two sentences may be the same."""
    seen = {pair.concept for pair in trained}
    both = {pair.concept for pair in held_out} & seen
    digests = {item.digest for pair in trained for item in (pair.a, pair.b) if item.modality != "text"}
    both |= {item.digest for pair in held_out for item in (pair.a, pair.b)} & digests
    if both:
        raise RuntimeError(f"{len(both)} held-out episodes or items were trained on, such as {min(both)}")
