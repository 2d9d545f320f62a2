"""Material for steps without a data set: the tiny towers on seeded tensors of their inputs' shapes."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from curiosity.embedding.space import EmbeddingSpace
from trainer.library import Stream
from trainer.material import Probes, StepMaterial
from trainer.recipe import Recipe

SHAPES = {"text": (384,), "image": (3, 32, 32), "audio": (96, 40)}
ITEMS, POOL = 150, 24


def make_space(seed: int = 0) -> EmbeddingSpace:
    return EmbeddingSpace("tiny", seed=seed, modalities=sorted(SHAPES))


def make_material(space: EmbeddingSpace, recipe: Recipe, probes: bool = False) -> StepMaterial:
    """Of the dtype of the space."""
    generator, dtype = torch.Generator().manual_seed(5), space.log_scale.dtype

    def rows(count: int, name: str) -> torch.Tensor:
        values = torch.rand(count, *SHAPES[name], generator=generator)
        if name == "text":
            values = torch.nn.functional.normalize(values - 0.5, dim=1)
        return (2 * values - 1 if name == "image" else values).to(dtype)

    inputs = {name: rows(ITEMS, name) for name in SHAPES}
    return StepMaterial(
        inputs=inputs,
        junk={name: rows(POOL, name) for name in SHAPES},
        empty={name: space.tower(name).collate([space.tower(name).empty()]).to(dtype) for name in SHAPES},
        probes={
            name: Probes(np.arange(5), inputs[name][:5], rows(5 * recipe.probe_masks * 2, name).view(5, -1, 2, *shape))
            for name, shape in SHAPES.items()
        }
        if probes
        else {},
    )


def make_stream(a: str, b: str, pairs: int = 30, loss_weight: float = 1.0) -> Stream:
    rng = np.random.default_rng([pairs, len(a), len(b)])
    weights = np.full(pairs, 1 / pairs)
    return Stream(a, b, rng.integers(0, ITEMS, pairs), rng.integers(0, ITEMS, pairs), weights, loss_weight)


STREAMS = [make_stream("image", "text"), make_stream("audio", "text", 17, 0.5)]


def draw_first(streams: Sequence[Stream], *counts: int) -> list[NDArray[np.int64]]:
    return [np.arange(count) for _, count in zip(streams, counts, strict=True)]
