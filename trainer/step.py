"""One training step: what is drawn from every stream, one forward of each tower, the loss."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embedding.losses import Null, contrast
from embedding.null import TRAINED, make_junk
from embedding.space import EmbeddingSpace
from trainer.library import Library, Stream


@dataclass(frozen=True)
class Recipe:
    """How a run learns. ``max_s`` bounds the wall time: the schedule then ends with it, and steps may be fewer."""

    steps: int = 260
    batch: int = 160
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup_share: float = 0.05
    null_weight: float = 0.3
    junk_each: int = 32  # junk items of each modality in a step
    junk_pool: int = 256  # items made of each family
    augment: bool = True
    seed: int = 0
    max_s: float = math.inf


@dataclass(frozen=True)
class Material:
    """What the steps of a run draw from, on the device of the space: tensors by modality, [N, ...] each.

    ``inputs`` are the collated items of the library, ``junk`` those that belong to nothing, ``empty`` [1, ...] the
    fully masked item.
    """

    inputs: Mapping[str, Tensor]
    junk: Mapping[str, Tensor]
    empty: Mapping[str, Tensor]


def gather_material(space: EmbeddingSpace, library: Library, streams: Sequence[Stream], recipe: Recipe) -> Material:
    """The material of the streams' modalities. Frozen towers run here, once."""
    device = space.device
    used = sorted({name for stream in streams for name in (stream.a, stream.b)})
    return Material(
        inputs={name: tensor.to(device) for name, tensor in library.tensors().items() if name in used},
        junk={name: _junk_inputs(space, library, name, recipe).to(device) for name in used},
        empty={name: space.tower(name).collate([space.tower(name).empty()]).to(device) for name in used},
    )


def draw(streams: Sequence[Stream], batch: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """For every stream the indices of ``batch`` of its pairs (all, where it has fewer): int64[B] each."""
    return [rng.choice(len(s.weights), min(batch, len(s.weights)), p=s.weights) for s in streams]


def step_loss(
    space: EmbeddingSpace,
    streams: Sequence[Stream],
    drawn: Sequence[NDArray[np.int64]],
    material: Material,
    recipe: Recipe,
    rng: np.random.Generator,
) -> Tensor:
    """Mean loss of the drawn pairs of every stream. Each tower runs once: real items, junk and the empty item together.

    Apart they would each give batch-norm other statistics, which halves recall (docs/scoring.md).
    """
    inputs, junk, empty = material.inputs, material.junk, material.empty
    rows: dict[str, list[NDArray[np.int64]]] = {name: [] for name in junk}
    for stream, chosen in zip(streams, drawn, strict=True):
        rows[stream.a].append(stream.rows_a[chosen])
        rows[stream.b].append(stream.rows_b[chosen])
    real: dict[str, list[Tensor]] = {}
    null: dict[str, tuple[Tensor, Tensor]] = {}
    for name, parts in rows.items():
        unique, back = np.unique(np.concatenate(parts), return_inverse=True)
        picked = torch.from_numpy(rng.integers(0, len(junk[name]), recipe.junk_each))
        # Junk is changed like the real items, else its few hundred examples are learned by heart.
        batch = torch.cat([inputs[name][torch.from_numpy(unique)], junk[name][picked]])
        if recipe.augment:
            batch = space.tower(name).augment(batch, int(rng.integers(2**62)))
        out = space(name, torch.cat([batch, empty[name]]))
        real[name] = list(out[torch.from_numpy(back)].split([len(part) for part in parts]))
        null[name] = (out[len(unique) : -1], out[-1])
    total = torch.zeros((), device=space.device)
    for stream, chosen in zip(streams, drawn, strict=True):
        total = total + contrast(
            real[stream.a].pop(0),
            real[stream.b].pop(0),
            space.log_scale,
            torch.from_numpy(stream.rows_a[chosen]).to(space.device),
            torch.from_numpy(stream.rows_b[chosen]).to(space.device),
            Null(null[stream.a][0], null[stream.b][0], null[stream.a][1], null[stream.b][1])
            if recipe.null_weight
            else None,
            recipe.null_weight,
        )
    return total / len(streams)


def _junk_inputs(space: EmbeddingSpace, library: Library, modality: str, recipe: Recipe) -> Tensor:
    """Collated junk of every trained family of a modality, [families * pool, ...]."""
    tower, parts = space.tower(modality), []
    for number, make in enumerate(TRAINED[modality].values()):
        arrays = make_junk(make, recipe.junk_pool, recipe.seed * 1_000 + number, library.kept[modality])
        parts += space.prepare(modality, arrays)
    return torch.cat([tower.collate(parts[i : i + 512]) for i in range(0, len(parts), 512)])
