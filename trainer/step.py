"""One training step: one forward of each tower, the loss of every stream, the gradient.

The batch of a step is global: every process draws the same, works on its slice of each modality's rows (real items,
junk, probes and the empty item together) and gathers the embeddings. Losses, gradients and random changes of items are
the same for any number of processes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from curiosity.embedding.losses import (
    FIRST_BIAS,
    MAX_LOG_SCALE,
    Null,
    contrast,
    contrast_sigmoid,
    differential,
    distil,
    draw_to_empty,
    squared_distance,
)
from curiosity.embedding.space import EmbeddingSpace
from curiosity.protocol.errors import ConfigError
from curiosity.protocol.scoring import MICRO, pulls_micro
from trainer.distributed import Group
from trainer.layers import BLOCK, BatchRows, block_seed, has_batch_statistics, share_layers
from trainer.library import Stream
from trainer.material import StepMaterial, StepRows, plan_step
from trainer.material import draw as draw
from trainer.recipe import Recipe as Recipe

APART_WEIGHT = 3.0
"""Of junk and empty items of modalities that meet in no pair, times the null weight: a cosine pulls weakly beside a
cross-entropy at scale 10. Without the term white pictures passed the gate to sounds whole and blurred noise in 42 %."""


class Step:
    """Takes training steps on a space: ``backward`` leaves the same gradients in every process.

    Layers of the space that look at the whole batch are replaced by ones that see every process's rows
    (``trainer.layers``); weights keep their names. Weights and buffers of the first process are copied to the others.

    ``medians`` (epoch median of the differential loss by modality, in millionths, from the parent's calibration) set
    how far distillation pulls each half; without them both halves move alike. With ``precision`` (torch.bfloat16) the
    towers run under autocast; losses are always float32.
    """

    def __init__(
        self,
        space: EmbeddingSpace,
        streams: Sequence[Stream],
        material: StepMaterial,
        recipe: Recipe,
        group: Group | None = None,
        *,
        medians: Mapping[str, int] | None = None,
        precision: torch.dtype | None = None,
    ) -> None:
        self.space, self.streams, self.material, self.recipe = space, streams, material, recipe
        self.group = group or Group()
        self.medians = dict(medians or {})
        self.precision = precision
        self.loss_scale = 1.0  # what gradients come out times larger by; float16 needs it, lest small ones become zero
        self.bias = nn.Parameter(torch.tensor(FIRST_BIAS, device=space.device)) if recipe.loss == "siglip" else None
        used = sorted({name for stream in streams for name in (stream.a, stream.b)})
        towers = _Towers(space, used, precision)
        for name in used:
            share_layers(space.tower(name), towers.places[name], self.group)
        self.group.copy_first(space)
        trained = any(p.requires_grad for name in used for p in space.tower(name).parameters())
        self._averaged: list[nn.Parameter] = [p for p in (space.log_scale, self.bias) if p is not None]
        self._towers: nn.Module = towers
        if self.group.size > 1 and recipe.sharding == "fsdp":
            for name in used:
                if not isinstance(space.tower(name), FSDPModule):
                    fully_shard(space.tower(name))
        elif self.group.size > 1 and recipe.chunk:
            self._averaged += [p for name in used for p in space.tower(name).parameters()]
        elif self.group.size > 1 and trained:
            self._towers = DistributedDataParallel(
                towers, broadcast_buffers=False, find_unused_parameters=True, gradient_as_bucket_view=True
            )

    def parameter_groups(self) -> list[dict[str, object]]:
        """Return what an optimizer takes, without frozen weights.

        Matrices decay; vectors, the temperature and the bias do not.
        """
        own = {id(p) for p in (self.space.log_scale, self.bias)}
        weights = [p for p in self.space.parameters() if p.requires_grad and id(p) not in own]
        return [
            {"params": [p for p in weights if p.ndim > 1], "weight_decay": self.recipe.weight_decay},
            {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
            # Apart from the others: under FSDP those are split tensors and these are not.
            {"params": [p for p in (self.space.log_scale, self.bias) if p is not None], "weight_decay": 0.0},
        ]

    def clamp(self) -> None:
        """Bring the temperature back into its range; call it after the optimizer's step."""
        with torch.no_grad():
            self.space.log_scale.clamp_(0.0, MAX_LOG_SCALE)

    def backward(self, drawn: Sequence[NDArray[np.int64]], rng: np.random.Generator) -> Tensor:
        """Return the loss, detached, of the drawn pairs of every stream; gradients are added to the weights'.

        Raises:
            ConfigError: BATCH_EMPTY, when nothing was drawn.
        """
        parts = plan_step(self.streams, drawn, self.material, self.recipe, rng)
        if self.recipe.chunk:
            loss = self._backward_cached(parts, drawn)
        else:
            loss = self._loss(parts, drawn, self._embed(parts))
            (loss * self.loss_scale).backward()  # type: ignore[no-untyped-call]
        self.group.average_gradients(self._averaged)
        return loss.detach()

    def loss(self, drawn: Sequence[NDArray[np.int64]], rng: np.random.Generator) -> Tensor:
        """Return the loss with its graph. Under DDP or gradient caching use ``backward``."""
        parts = plan_step(self.streams, drawn, self.material, self.recipe, rng)
        return self._loss(parts, drawn, self._embed(parts))

    def _embed(self, parts: Mapping[str, StepRows]) -> dict[str, Tensor]:
        """Return unit embeddings [total, D] of all rows of every modality, from all processes."""
        slices = {name: self._slice(name, part) for name, part in parts.items()}
        here = self._towers(slices)
        return {name: self.group.gather(rows, parts[name].total) for name, rows in here.items()}

    def _slice(self, name: str, part: StepRows) -> "Slice":
        first, last = self.group.bounds(part.total)
        return Slice(self._inputs(name, part, first, last), self.material.empty[name], first, part.seed)

    def _inputs(self, name: str, part: StepRows, first: int, last: int) -> Tensor:
        """Return the rows ``first`` to ``last`` of a part, augmented.

        The blocks in which they are augmented do not depend on where a process begins.
        """
        material, pieces = self.material, []
        real, total = len(part.real), part.changed
        if first < total:
            start, stop = first // BLOCK * BLOCK, min(total, -(-min(last, total) // BLOCK) * BLOCK)
            rows = torch.from_numpy(part.real[start:stop])
            junk = torch.from_numpy(part.junk[max(0, start - real) : max(0, stop - real)])
            batch = torch.cat([material.inputs[name][rows], material.junk[name][junk]])
            if self.recipe.augment:
                augment = self.space.tower(name).augment
                blocks = [
                    augment(batch[at : at + BLOCK], block_seed(part.seed, (start + at) // BLOCK))
                    for at in range(0, len(batch), BLOCK)
                ]
                batch = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
            pieces.append(batch[first - start : last - start])
        tail = []
        if len(part.probes):
            chosen, probes = torch.from_numpy(part.probes), material.probes[name]
            tail = [probes.whole[chosen], probes.halves[chosen].flatten(0, 2)]
        rest = torch.cat([*tail, material.empty[name]])
        pieces.append(rest[max(0, first - total) : max(0, last - total)])
        return torch.cat(pieces)

    def _backward_cached(self, parts: Mapping[str, StepRows], drawn: Sequence[NDArray[np.int64]]) -> Tensor:
        """Run a plain backward with the graph of ``chunk`` rows of one tower at a time (Gao et al. 2021, section 3.2).

        1. Embed every chunk without a graph. 2. Loss and its gradient by embedding. 3. Embed every chunk again, with
        the same random numbers, and send its rows' gradient back. A tower whose batch-norm is in training mode is
        embedded whole and once: statistics of a chunk would be others, and sending gradients through statistics of all
        chunks would need the graph of all chunks. In evaluation mode it is
        cached like any other.
        """
        slices = {name: self._slice(name, part) for name, part in parts.items()}
        # As many chunks in every process: where FSDP gathers weights for each forward, all of them take part in it.
        chunks = {
            name: max(1, -(-max(self.group.share(part.total)) // self.recipe.chunk)) for name, part in parts.items()
        }
        towers = self._towers
        assert isinstance(towers, _Towers)
        here: dict[str, Tensor] = {}
        for name, slice_ in slices.items():
            if has_batch_statistics(self.space.tower(name)):
                chunks[name] = 1
            with torch.set_grad_enabled(chunks[name] == 1):
                here[name] = torch.cat([towers.embed(name, one) for one in slice_.cut(chunks[name])])
        leaves = {name: rows.detach().requires_grad_() for name, rows in here.items()}
        loss = self._loss(
            parts, drawn, {name: self.group.gather(rows, parts[name].total) for name, rows in leaves.items()}
        )
        (loss * self.loss_scale).backward()  # type: ignore[no-untyped-call]
        for name, slice_ in slices.items():
            gradient = leaves[name].grad
            if gradient is None:
                gradient = torch.zeros_like(leaves[name])
            if chunks[name] == 1:
                if here[name].requires_grad:
                    here[name].backward(gradient)  # type: ignore[no-untyped-call]
                continue
            at = 0
            for number, one in enumerate(slice_.cut(chunks[name])):
                if self.recipe.sharding == "fsdp" and self.group.size > 1:
                    tower = self.space.tower(name)
                    assert isinstance(tower, FSDPModule)
                    tower.set_requires_gradient_sync(number == chunks[name] - 1)
                rows = towers.embed(name, one)
                if rows.requires_grad:
                    rows.backward(gradient[at : at + len(rows)])  # type: ignore[no-untyped-call]
                at += len(rows)
        return loss

    def _loss(
        self, parts: Mapping[str, StepRows], drawn: Sequence[NDArray[np.int64]], rows: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the weighted mean over streams of the loss of all drawn pairs, the same in every process."""
        recipe, space = self.recipe, self.space
        with torch.autocast(space.device.type, enabled=False):
            nulls = {name: (rows[name][len(part.real) : part.changed], rows[name][-1]) for name, part in parts.items()}
            terms, weights = [], []
            for number, (stream, chosen) in enumerate(zip(self.streams, drawn, strict=True)):
                if not len(chosen):
                    continue
                a = rows[stream.a][torch.from_numpy(parts[stream.a].sides[number, 0])]
                b = rows[stream.b][torch.from_numpy(parts[stream.b].sides[number, 1])]
                null = Null(nulls[stream.a][0], nulls[stream.b][0], nulls[stream.a][1], nulls[stream.b][1])
                terms.append(self._stream_loss(stream, chosen, a, b, null if recipe.null_weight else None))
                weights.append(stream.loss_weight)
            if sum(weights) <= 0:
                raise ConfigError(
                    "BATCH_EMPTY", "no pair was drawn from a stream with a weight above 0", "Give streams with pairs."
                )
            loss = sum((w * term for w, term in zip(weights, terms, strict=True)), torch.zeros_like(terms[0]))
            loss = loss / sum(weights)
            if recipe.null_weight:
                away = [
                    draw_to_empty(torch.cat([nulls[m][0], nulls[m][1][None]]), nulls[other][1])
                    for m, other in self._apart(parts)
                ]
                loss = loss + recipe.null_weight * APART_WEIGHT * sum(away, torch.zeros_like(loss)) / max(1, len(away))
            if recipe.differential_weight:
                probed = [self._differential(name, part, rows[name]) for name, part in parts.items()]
                loss = loss + recipe.differential_weight * torch.stack(probed).mean()
        return loss

    def _apart(self, parts: Mapping[str, StepRows]) -> list[tuple[str, str]]:
        """Return modalities of this step that meet in no pair of it, both ways."""
        met = {(self.streams[number].a, self.streams[number].b) for part in parts.values() for number, _ in part.sides}
        return [(m, other) for m, other in permutations(parts, 2) if (m, other) not in met and (other, m) not in met]

    def _stream_loss(
        self, stream: Stream, chosen: NDArray[np.int64], a: Tensor, b: Tensor, null: Null | None
    ) -> Tensor:
        recipe, scale = self.recipe, self.space.log_scale
        keys = [torch.from_numpy(rows[chosen]).to(a.device) for rows in (stream.rows_a, stream.rows_b)]
        if self.bias is None:
            loss = contrast(a, b, scale, keys[0], keys[1], null, recipe.null_weight)
        else:
            loss = contrast_sigmoid(a, b, scale, self.bias, keys[0], keys[1], null, recipe.null_weight)
        if recipe.mse_weight:
            loss = loss + recipe.mse_weight * squared_distance(a, b)
        if recipe.distillation_weight:
            pulls = pulls_micro(self.medians.get(stream.a, 0), self.medians.get(stream.b, 0))
            loss = loss + recipe.distillation_weight * distil(a, b, pulls[0] / MICRO, pulls[1] / MICRO)
        return loss

    def _differential(self, name: str, part: StepRows, rows: Tensor) -> Tensor:
        """Return the differential loss of the probes; references are the step's real items as they are embedded now."""
        count, start = len(part.probes), part.changed
        whole, halves = rows[start : start + count], rows[start + count : -1]
        known = self.material.probes[name].rows[part.probes]
        same = torch.from_numpy(known[:, None] == part.real[None, :]).to(rows.device)
        return differential(whole, rows[-1], halves.view(count, -1, 2, rows.shape[1]), rows[: len(part.real)], same)


@dataclass(frozen=True)
class Slice:
    """Rows of one modality that a tower takes now: ``inputs`` [n, ...] from row ``first`` of the whole batch on.

    ``ghost`` [1, ...] stands in where there is no row, so that every process runs the same layers.
    """

    inputs: Tensor
    ghost: Tensor
    first: int
    seed: int

    def cut(self, count: int) -> list["Slice"]:
        """Return ``count`` slices, as even as can be; some have no row where there are fewer rows than slices."""
        out, at = [], 0
        for size in Group(size=count).share(len(self.inputs)):
            out.append(Slice(self.inputs[at : at + size], self.ghost, self.first + at, self.seed))
            at += size
        return out


class _Towers(nn.Module):
    """The towers that a run trains, as the one module whose forward embeds this process's rows of every modality."""

    def __init__(self, space: EmbeddingSpace, used: Sequence[str], precision: torch.dtype | None) -> None:
        super().__init__()
        self.towers = nn.ModuleDict({name: space.tower(name) for name in used})
        self.places = {name: BatchRows() for name in used}
        self.precision = precision

    def forward(self, slices: Mapping[str, Slice]) -> dict[str, Tensor]:
        return {name: self.embed(name, one) for name, one in slices.items()}

    def embed(self, name: str, one: Slice) -> Tensor:
        """Return unit embeddings float32[n, D] with gradient; n may be 0."""
        tower = self.towers[name]
        # A ghost row would count in batch statistics; towers that have some take no row as well.
        ghost = not len(one.inputs) and not has_batch_statistics(tower)
        inputs = one.ghost if ghost else one.inputs
        self.places[name].put(one.first, len(inputs), one.seed)
        # For dropout that is no layer of its own. torch.manual_seed would do both, and format a stack for CUDA's sake:
        # 1.6 ms, as much as drawing the whole batch.
        seed = block_seed(one.seed, one.first)
        torch.default_generator.manual_seed(seed)
        if inputs.is_cuda:
            torch.cuda.manual_seed(seed)
        with torch.autocast(inputs.device.type, dtype=self.precision, enabled=self.precision is not None):
            raw = tower(inputs)
        rows = nn.functional.normalize(raw if raw.dtype == torch.float64 else raw.float(), dim=1)
        return rows[:0] if ghost else rows
