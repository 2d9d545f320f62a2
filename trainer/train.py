"""The training loop: contrastive over every modality pair at once, with the null anchor in the same forward.

Recipe and its measurements: docs/scoring.md, "Training on what was accepted".
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from embedding.losses import MAX_LOG_SCALE
from embedding.space import EmbeddingSpace
from trainer.library import Library, Stream
from trainer.step import Recipe, draw, gather_material, step_loss

StepProgress = Callable[[int, int, float], None]
"""Called as (step, steps, loss)."""


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

    The same space, streams and recipe give the same weights on the same machine and thread count, unless ``max_s`` or
    ``max_cpu_s`` ends the run.

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
    cpu = time.process_time()
    material = gather_material(space, library, streams, recipe)
    decayed = [p for p in space.parameters() if p.ndim > 1]
    plain = [p for p in space.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
    )
    space.train()
    losses: list[float] = []
    started = time.monotonic()  # what is prepared once does not count against max_s
    for step in range(recipe.steps):
        spent = time.process_time() - cpu
        done = max(step / recipe.steps, (time.monotonic() - started) / recipe.max_s, spent / recipe.max_cpu_s)
        if done >= 1:
            break
        rate = recipe.learning_rate * _schedule(done, recipe.warmup_share)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = step_loss(space, streams, draw(streams, recipe.batch, rng), material, recipe, rng)
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
