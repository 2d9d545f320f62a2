"""What a step draws from and what it draws: the same in every process, so that no data has to move."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curiosity.embedding.space import EmbeddingSpace
from trainer.library import Library, Stream
from trainer.null import POOLS, TRAINED, make_junk
from trainer.recipe import Recipe


@dataclass(frozen=True)
class Probes:
    """Items that the differential loss looks at, unchanged.

    They are ``rows`` int64[P] of the library, ``whole`` [P, ...] and their complementary halves [P, K, 2, ...].
    """

    rows: NDArray[np.int64]
    whole: Tensor
    halves: Tensor


@dataclass(frozen=True)
class StepMaterial:
    """What the steps of a run draw from, on the device of the space: tensors by modality, [N, ...] each.

    ``inputs`` are the collated items of the library, ``junk`` those that belong to nothing, ``empty`` [1, ...] the
    fully masked item.
    """

    inputs: Mapping[str, Tensor]
    junk: Mapping[str, Tensor]
    empty: Mapping[str, Tensor]
    probes: Mapping[str, Probes] = field(default_factory=dict)


def gather_step_material(
    space: EmbeddingSpace, library: Library, streams: Sequence[Stream], recipe: Recipe
) -> StepMaterial:
    """Return the material of the streams' modalities. Frozen towers run here, once."""
    device = space.device
    used = sorted({name for stream in streams for name in (stream.a, stream.b)})
    for name in used:
        space.tower(name).forget()  # else a resumed run, which has embedded less before, would differ in its last bits
    return StepMaterial(
        inputs={name: tensor.to(device) for name, tensor in library.tensors().items() if name in used},
        junk={name: _junk_inputs(space, library, name, recipe).to(device) for name in used},
        empty={name: space.tower(name).collate([space.tower(name).empty()]).to(device) for name in used},
        probes={name: _probes(space, library, name, recipe) for name in used} if recipe.differential_weight else {},
    )


def draw(streams: Sequence[Stream], batch: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Return for every stream the indices of ``batch`` of its pairs (all, where it has fewer): int64[B] each."""
    return [rng.choice(len(s.weights), min(batch, len(s.weights)), p=s.weights) for s in streams]


@dataclass(frozen=True)
class StepRows:
    """One modality's rows of a step, the same in every process.

    In this order: ``real`` rows of the library (each once), ``junk`` rows of the pool, whole probes, their halves, the
    empty item. ``sides`` has, for each half of a stream that is of this modality, where its pairs are in ``real``.
    """

    real: NDArray[np.int64]
    junk: NDArray[np.int64]
    probes: NDArray[np.int64]
    halves_each: int  # rows that the halves of one probe take
    sides: Mapping[tuple[int, int], NDArray[np.int64]]
    seed: int

    @property
    def changed(self) -> int:
        """Rows that augmentation changes: real items and junk, else the junk is learned by heart."""
        return len(self.real) + len(self.junk)

    @property
    def total(self) -> int:
        """All rows."""
        return self.changed + len(self.probes) * (1 + self.halves_each) + 1


def plan_step(
    streams: Sequence[Stream],
    drawn: Sequence[NDArray[np.int64]],
    material: StepMaterial,
    recipe: Recipe,
    rng: np.random.Generator,
) -> dict[str, StepRows]:
    """Return the rows of a step by modality. A modality of which nothing was drawn is not there."""
    found: dict[str, dict[tuple[int, int], NDArray[np.int64]]] = {}
    for number, (stream, chosen) in enumerate(zip(streams, drawn, strict=True)):
        if len(chosen):
            found.setdefault(stream.a, {})[number, 0] = stream.rows_a[chosen]
            found.setdefault(stream.b, {})[number, 1] = stream.rows_b[chosen]
    parts = {}
    for name, rows in sorted(found.items()):
        real, back = np.unique(np.concatenate(list(rows.values())), return_inverse=True)
        ends = np.cumsum([len(some) for some in rows.values()])[:-1]
        probes = material.probes.get(name)
        parts[name] = StepRows(
            real=real,
            junk=rng.integers(0, len(material.junk[name]), recipe.junk_each),
            probes=rng.choice(len(probes.rows), min(recipe.probes_each, len(probes.rows)), replace=False)
            if probes
            else np.zeros(0, dtype=np.int64),
            halves_each=2 * recipe.probe_masks if probes else 0,
            sides=dict(zip(rows, np.split(back, ends), strict=True)),
            seed=int(rng.integers(2**62)),
        )
    return parts


def _junk_inputs(space: EmbeddingSpace, library: Library, modality: str, recipe: Recipe) -> Tensor:
    """Return collated junk of every trained family of a modality, [J, ...].

    What is drawn is drawn alike from all of it.
    """
    tower, parts = space.tower(modality), []
    for number, (family, make) in enumerate(TRAINED[modality].items()):
        count = max(1, round(recipe.junk_pool * POOLS.get(family, 1)))
        arrays = make_junk(make, count, recipe.seed * 1_000 + number, library.kept[modality])
        parts += space.prepare(modality, arrays)
    return torch.cat([tower.collate(parts[i : i + 512]) for i in range(0, len(parts), 512)])


def _probes(space: EmbeddingSpace, library: Library, modality: str, recipe: Recipe) -> Probes:
    """Return a seeded choice of the library's items with their complementary halves."""
    features = library.features[modality]
    rng = np.random.default_rng([recipe.seed, 0xD1FF])
    rows = np.sort(rng.choice(len(features), min(recipe.probe_pool, len(features)), replace=False))
    chosen = [features[row] for row in rows]
    tower, masks = space.tower(modality), recipe.probe_masks
    seeds = [int(seed) for seed in rng.integers(2**62, size=len(rows))]
    halves = space.halves(modality, chosen, seeds, masks)
    whole = tower.collate(chosen).to(space.device)
    cut = torch.cat([tower.collate(halves[i : i + 512]) for i in range(0, len(halves), 512)]).to(space.device)
    return Probes(rows, whole, cut.view(len(rows), masks, 2, *cut.shape[1:]))
