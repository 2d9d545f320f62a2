"""The training loop: contrastive over every modality pair at once, with the null anchor in the same forward.

Recipe and its measurements: docs/scoring.md, "Training on what was accepted".
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embedding.losses import MAX_LOG_SCALE, Null, contrast
from embedding.null import TRAINED, make_junk
from embedding.space import EmbeddingSpace
from trainer.library import Library, Stream

StepProgress = Callable[[int, int, float], None]
"""Called as (step, steps, loss)."""


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
class Trained:
    """What a run did: steps taken, mean loss of the last tenth, wall and CPU seconds."""

    steps: int
    loss: float
    wall_s: float
    cpu_s: float


def train(
    space: EmbeddingSpace,
    library: Library,
    streams: Sequence[Stream],
    recipe: Recipe,
    progress: StepProgress | None = None,
) -> Trained:
    """Train the towers of ``space`` in place on the streams, every stream in every step.

    The same space, streams and recipe give the same weights on the same machine and thread count, unless ``max_s``
    ends the run.

    Raises:
        ValueError: when there is no stream.
    """
    if not streams:
        raise ValueError("there are no pairs to train on")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)  # dropout draws from torch's own generator
        return _train(space, library, streams, recipe, progress)


def _train(
    space: EmbeddingSpace,
    library: Library,
    streams: Sequence[Stream],
    recipe: Recipe,
    progress: StepProgress | None,
) -> Trained:
    rng = np.random.default_rng(recipe.seed)
    device = space.device
    inputs = {name: tensor.to(device) for name, tensor in library.tensors().items()}
    used = sorted({name for stream in streams for name in (stream.a, stream.b)})
    junk = {name: _junk_inputs(space, library, name, recipe).to(device) for name in used}
    empty = {name: space.tower(name).collate([space.tower(name).empty()]).to(device) for name in used}
    decayed = [p for p in space.parameters() if p.ndim > 1]
    plain = [p for p in space.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
    )
    space.train()
    losses: list[float] = []
    started, cpu = time.monotonic(), time.process_time()  # what is prepared once does not count against max_s
    for step in range(recipe.steps):
        done = max(step / recipe.steps, (time.monotonic() - started) / recipe.max_s)
        if done >= 1:
            break
        rate = recipe.learning_rate * _schedule(done, recipe.warmup_share)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = _step_loss(space, streams, inputs, junk, empty, recipe, rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            space.log_scale.clamp_(0.0, MAX_LOG_SCALE)
        losses.append(float(loss.detach()))
        if progress:
            progress(step + 1, recipe.steps, losses[-1])
    space.eval()
    tail = losses[-max(1, len(losses) // 10) :]
    return Trained(len(losses), float(np.mean(tail)), time.monotonic() - started, time.process_time() - cpu)


def _schedule(done: float, warmup: float) -> float:
    """Linear warm-up, then half a cosine to zero; ``done`` from 0 to 1."""
    if done < warmup:
        return (done + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def _junk_inputs(space: EmbeddingSpace, library: Library, modality: str, recipe: Recipe) -> Tensor:
    """Collated junk of every trained family of a modality, [families * pool, ...]."""
    tower, parts = space.tower(modality), []
    for number, make in enumerate(TRAINED[modality].values()):
        arrays = make_junk(make, recipe.junk_pool, recipe.seed * 1_000 + number, library.kept[modality])
        parts += space.prepare(modality, arrays)
    return torch.cat([tower.collate(parts[i : i + 512]) for i in range(0, len(parts), 512)])


def _step_loss(
    space: EmbeddingSpace,
    streams: Sequence[Stream],
    inputs: dict[str, Tensor],
    junk: dict[str, Tensor],
    empty: dict[str, Tensor],
    recipe: Recipe,
    rng: np.random.Generator,
) -> Tensor:
    """Mean loss of one batch of every stream. Each tower runs once: real items, junk and the empty item together.

    Apart they would each give batch-norm other statistics, which halves recall (docs/scoring.md).
    """
    drawn = [rng.choice(len(s.weights), min(recipe.batch, len(s.weights)), p=s.weights) for s in streams]
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
