"""What one process of a distributed test does: run with torchrun, or call ``run_case`` for the one-process answer.

    torchrun --nproc_per_node 2 -m tests.material.distributed_worker FOLDER CASE [CASE ...]

Each process writes FOLDER/CASE.RANK.pt: losses, gradients, weights and buffers after the steps.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.distributed.nn.functional import all_gather
from torch.distributed.tensor import DTensor
from torch.nn.modules.batchnorm import _BatchNorm

from tests.material.step import STREAMS, draw_first, make_material, make_space, make_stream
from trainer.distributed import Group, join_group
from trainer.library import Stream
from trainer.recipe import Recipe
from trainer.step import Step

SMALL = Recipe(junk_each=5, augment=False)
CHANGING = replace(SMALL, augment=True)  # augmentation is float32 only


@dataclass(frozen=True)
class Case:
    """``counts`` has for every step how many pairs each stream draws; ``alone`` is the recipe of the one process."""

    recipe: Recipe
    counts: Sequence[tuple[int, ...]] = ((13, 7),)
    alone: Recipe | None = None
    streams: Sequence[Stream] = tuple(STREAMS)
    freeze: str = ""  # this tower is not trained
    fixed_statistics: bool = False  # batch-norm in evaluation mode
    learn: bool = False  # whether an optimizer takes each step
    probes: bool = False
    anew: bool = False  # every step by a new Step, as in phases
    dtype: torch.dtype = torch.float64  # where rounding hides nothing


EVERYTHING = replace(SMALL, loss="siglip", differential_weight=0.2, distillation_weight=0.5, mse_weight=0.1)
# Two rows of audio (one item and the empty one), three of image and text: with three processes one has no audio.
NARROW = Case(replace(SMALL, junk_each=0, null_weight=0.0), ((2, 1),), learn=True)
CASES = {
    "plain": Case(SMALL),
    "plain-float32": Case(CHANGING, dtype=torch.float32),
    "everything": Case(EVERYTHING, probes=True),
    "missing": Case(SMALL, ((9, 0), (0, 3), (4, 4)), learn=True),
    "large-float32": Case(
        CHANGING,
        ((140, 90),),
        streams=(make_stream("image", "text", 150), make_stream("audio", "text", 90)),
        dtype=torch.float32,
    ),
    "frozen": Case(SMALL, freeze="image", learn=True),
    "cached": Case(replace(SMALL, chunk=4), alone=SMALL),
    "cached-float32": Case(replace(CHANGING, chunk=4), alone=CHANGING, dtype=torch.float32),
    "cached-fixed": Case(replace(SMALL, chunk=3), alone=SMALL, fixed_statistics=True),
    "split": Case(replace(SMALL, sharding="fsdp"), ((13, 7), (9, 0)), alone=SMALL, learn=True),
    "anew": Case(SMALL, ((9, 5), (0, 3)), learn=True, anew=True),
    "split-anew": Case(replace(SMALL, sharding="fsdp"), ((9, 0), (4, 5)), alone=SMALL, learn=True, anew=True),
    "split-cached": Case(replace(SMALL, sharding="fsdp", chunk=3), alone=SMALL, fixed_statistics=True, learn=True),
    "narrow": NARROW,
    "narrow-cached": replace(
        NARROW, recipe=replace(NARROW.recipe, chunk=1), alone=NARROW.recipe, fixed_statistics=True
    ),
    # Some processes have one row, and so one chunk, more than others.
    "narrow-split-cached": replace(
        NARROW,
        recipe=replace(NARROW.recipe, chunk=1, sharding="fsdp"),
        counts=((3, 1),),
        alone=NARROW.recipe,
        fixed_statistics=True,
    ),
    "narrow-split": replace(NARROW, recipe=replace(NARROW.recipe, sharding="fsdp"), alone=NARROW.recipe),
}


def run_case(case: Case, group: Group) -> dict[str, Any]:
    """Losses of the steps; gradients of the last; state after it. The same in every process, if all is well."""
    recipe = case.recipe if group.size > 1 or case.alone is None else case.alone
    space = make_space(seed=group.rank)  # the first process's weights are the ones that count
    space.to(case.dtype).train()
    if case.freeze:
        space.tower(case.freeze).requires_grad_(False)
    if case.fixed_statistics:
        for layer in space.modules():
            if isinstance(layer, _BatchNorm):
                layer.eval()
    material = make_material(space, recipe, case.probes)
    rng, losses = np.random.default_rng(3), []
    for number, counts in enumerate(case.counts):
        if case.anew or not number:
            used = [s for s, count in zip(case.streams, counts, strict=True) if count or not case.anew]
            step = Step(space, used, material, recipe, group)
            optimizer = torch.optim.AdamW(step.parameter_groups(), lr=1e-3)
        optimizer.zero_grad()
        losses.append(float(step.backward(draw_first(used, *(c for c in counts if c or not case.anew)), rng)))
        gradients = {name: whole(p.grad) for name, p in space.named_parameters() if p.grad is not None}
        if case.learn:
            optimizer.step()
            step.clamp()
    if step.bias is not None and step.bias.grad is not None:
        gradients["bias"] = step.bias.grad.clone()
    state = {name: whole(tensor) for name, tensor in space.state_dict().items()}
    return {"losses": losses, "gradients": gradients, "state": state, "draws": rng.integers(2**40)}


def run_collectives(group: Group) -> dict[str, Any]:
    """Gathering with our gradient and with torch's own, of one loss; what the small collectives say."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(4 * group.size, 3, generator=generator)
    first, last = group.bounds(len(rows))
    grads = []
    for ours in (True, False):
        mine = rows[first:last].clone().requires_grad_()
        together = group.gather(mine, len(rows)) if ours else torch.cat(all_gather(mine))  # type: ignore[no-untyped-call]
        assert torch.equal(together, rows)
        torch.logsumexp(together @ together.T, dim=1).sum().backward()  # type: ignore[no-untyped-call]
        grads.append(mine.grad)
    parameters = [torch.nn.Parameter(torch.zeros(n)) for n in (2, 3, 4)]
    parameters[0].grad = torch.full((2,), float(group.rank))
    if group.is_first:
        parameters[1].grad = torch.ones(3)
    group.average_gradients(parameters)
    group.wait()
    return {
        "grads": grads,
        "averaged": [p.grad for p in parameters],
        "agree": group.agree(group.rank + 7.5),
        "mean": group.mean(float(group.rank)),
    }


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of all of it, also where FSDP has split it."""
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return full.detach().clone()


def main(folder: str, *names: str) -> None:
    torch.set_num_threads(1)
    with join_group(timeout_s=300) as group:
        for name in names:
            made = run_collectives(group) if name == "collectives" else run_case(CASES[name], group)
            torch.save(made, Path(folder) / f"{name}.{group.rank}.pt")
    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    torch.save([name for name in threads if "gloo" in name], Path(folder) / f"threads.{group.rank}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
