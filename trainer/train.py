"""The training loop: contrastive over every modality pair at once, with the null anchor in the same forward.

Recipe and its measurements: docs/scoring.md, "Training on what was accepted"; phases, resuming and precision:
docs/training.md.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from curiosity.embedding.space import EmbeddingSpace
from curiosity.protocol.errors import ConfigError
from trainer.distributed import Group
from trainer.library import Library, Stream
from trainer.material import gather_step_material
from trainer.recipe import Recipe
from trainer.step import Step

StepProgress = Callable[[int, int, float], None]
"""Called as (step, steps, loss)."""

_AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Trained:
    """What a run did: steps taken of those of its recipe, mean loss of the last tenth, wall and CPU seconds."""

    steps: int
    of_steps: int
    loss: float
    wall_s: float
    cpu_s: float

    @property
    def is_complete(self) -> bool:
        """False if the safety stop ended it."""
        return self.steps == self.of_steps


@dataclass(frozen=True)
class StepResult:
    """What one step did.

    ``gradient_norm`` is over all weights together, before clipping; infinite where float16 overflowed and the step left
    the weights as they were. ``temperature`` is what cosines are divided by, afterwards.
    """

    loss: float
    learning_rate: float
    temperature: float
    gradient_norm: float


@dataclass(frozen=True)
class Capture:
    """Everything that a run needs to go on: ``tensors`` on the CPU by name, ``facts`` as plain JSON values."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    @property
    def model(self) -> Mapping[str, Tensor]:
        """The weights of the space, by their names there."""
        return {
            name.removeprefix("model/"): tensor for name, tensor in self.tensors.items() if name.startswith("model/")
        }


def train(
    space: EmbeddingSpace,
    library: Library,
    streams: Sequence[Stream],
    recipe: Recipe,
    progress: StepProgress | None = None,
    *,
    group: Group | None = None,
) -> Trained:
    """Train the towers of ``space`` in place on the streams, every stream in every step.

    The same space, streams and recipe give the same weights on the same machine and thread count, unless the safety
    stop ends the run: then what it did is not complete.

    Raises:
        ValueError: when there is no stream.
        ConfigError: TRAINING_DIVERGED; PRECISION_NEEDS_CUDA.
    """
    with torch.random.fork_rng(devices=[]):
        run = TrainingRun(space, library, streams, recipe, group=group)
        while not (run.is_done() or run.is_stopped()):
            taken = run.take_step()
            if progress:
                progress(run.steps, recipe.steps, taken.loss)
        return run.finish()


class TrainingRun:
    """A training run that can be captured after any step and restored in another process.

    ``streams`` are in every step. Those of ``replay`` take turns, so that of all pairs drawn about ``replay_share`` are
    theirs: a whole batch of one at a time has more negatives than a few pairs of each.

    torch's own random state is set from the recipe's seed; wrap a run in ``torch.random.fork_rng`` to keep yours.

    Raises:
        ValueError: when there is no stream.
        ConfigError: PRECISION_NEEDS_CUDA; REPLAY_SHARE.
    """

    def __init__(
        self,
        space: EmbeddingSpace,
        library: Library,
        streams: Sequence[Stream],
        recipe: Recipe,
        *,
        replay: Sequence[Stream] = (),
        replay_share: float = 0.0,
        group: Group | None = None,
    ) -> None:
        if not streams:
            raise ValueError("there are no pairs to train on")
        if not 0 <= replay_share < 1:
            raise ConfigError("REPLAY_SHARE", f"replay share {replay_share}", "Give a share from 0 to below 1.")
        if recipe.precision == "fp16" and space.device.type != "cuda":
            raise ConfigError(
                "PRECISION_NEEDS_CUDA",
                f"fp16 scales the loss and is for CUDA, the weights are on {space.device.type}",
                "Choose the precision bf16 or fp32.",
            )
        self._cpu_before = time.process_time()
        torch.manual_seed(recipe.seed)  # dropout draws from torch's own generator
        self.space, self.recipe, self.group = space, recipe, group or Group()
        self.rng = np.random.default_rng(recipe.seed)
        every = [*streams, *replay]
        self._fresh, self._replayed = len(streams), len(replay)
        self._turns = len(streams) * replay_share / (1 - replay_share) if replay else 0.0
        material = gather_step_material(space, library, every, recipe)
        self._step = Step(space, every, material, recipe, self.group, precision=_AUTOCAST[recipe.precision])
        self._optimizer = torch.optim.AdamW(
            [group for group in self._step.parameter_groups() if group["params"]], lr=recipe.learning_rate
        )
        self._scaler = torch.amp.GradScaler(enabled=recipe.precision == "fp16")
        self._scaler.scale(torch.zeros((), device=space.device))  # makes its own tensors, which it needs below
        space.train()
        self.taken: list[StepResult] = []
        self.drawn = hashlib.sha256().digest()  # chained over all that was drawn: equal runs drew equal pairs
        self.draw_s = 0.0  # wall seconds that choosing pairs took
        self._wall_before = time.monotonic()  # what is prepared once does not count
        self._started = self._wall_before  # of this process: a resumed run has the whole time of the safety stop again

    @property
    def steps(self) -> int:
        """Steps taken."""
        return len(self.taken)

    @property
    def wall_s(self) -> float:
        """Seconds since the material was there, in all processes that this run went through."""
        return time.monotonic() - self._wall_before

    @property
    def cpu_s(self) -> float:
        """Processor seconds of this process's threads, gathering the material included."""
        return time.process_time() - self._cpu_before

    def is_done(self) -> bool:
        """Return whether the steps are taken."""
        return self.steps >= self.recipe.steps

    def is_stopped(self) -> bool:
        """Return whether the safety stop ends it before its steps are taken; the same answer in every process."""
        if self.is_done() or not math.isfinite(self.recipe.stop_after_s):
            return False
        late = time.monotonic() - self._started >= self.recipe.stop_after_s
        return self.group.agree(float(late)) > 0  # clocks differ; one that stops alone leaves the others waiting

    def take_step(self) -> StepResult:
        """Take one step.

        Raises:
            ConfigError: TRAINING_DIVERGED, when loss or gradient is not finite. The weights are as before the step.
        """
        rate = self.recipe.learning_rate * _schedule(min(self.steps / self.recipe.steps, 1.0), self.recipe.warmup_share)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        before = time.monotonic()
        drawn = self._draw()
        self.draw_s += time.monotonic() - before
        self._optimizer.zero_grad(set_to_none=True)
        self._step.loss_scale = self._scaler.get_scale()
        loss = float(self._step.backward(drawn, self.rng))
        self._scaler.unscale_(self._optimizer)
        norm = self._gradient_norm()
        if not math.isfinite(loss) or not (math.isfinite(norm) or self._scaler.is_enabled()):
            raise ConfigError(
                "TRAINING_DIVERGED",
                f"step {self.steps + 1}: loss {loss}, gradient norm {norm}, learning rate {rate:.2g}",
                "Lower learning_rate or set clip_norm, then go on from the last state with --resume in a new folder.",
            )
        if 0 < self.recipe.clip_norm < norm < math.inf:
            for gradient in self._gradients():
                gradient.mul_(self.recipe.clip_norm / norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._step.clamp()
        self.taken.append(StepResult(loss, rate, math.exp(-float(self.space.log_scale.detach())), norm))
        return self.taken[-1]

    def finish(self) -> Trained:
        """Leave the space in evaluation mode and say what was done."""
        self.space.eval()
        tail = [taken.loss for taken in self.taken[-max(1, self.steps // 10) :]]
        loss = float(np.mean(tail)) if tail else math.nan
        return Trained(self.steps, self.recipe.steps, loss, self.wall_s, self.cpu_s)

    def capture(self) -> Capture:
        """Return everything that ``restore`` needs.

        Under FSDP every process must call it, and every one gets the whole.
        """
        tensors = {f"model/{name}": _whole(tensor) for name, tensor in self.space.state_dict().items()}
        if self._step.bias is not None:
            tensors["bias"] = _whole(self._step.bias)
        for name, parameter in self._named():
            for key, value in self._optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{name}/{key}"] = _whole(torch.as_tensor(value))
        tensors["random/torch"] = torch.get_rng_state()
        if self.space.device.type == "cuda":
            tensors["random/cuda"] = torch.cuda.get_rng_state(self.space.device)
        rows = np.array([astuple(taken) for taken in self.taken], dtype=np.float64)
        tensors["taken"] = torch.from_numpy(rows.reshape(self.steps, len(fields(StepResult))))
        facts = {
            "steps": self.steps,
            "wall_s": self.wall_s,
            "cpu_s": self.cpu_s,
            "draw_s": self.draw_s,
            "drawn": self.drawn.hex(),
            "random": self.rng.bit_generator.state,
            "scaler": self._scaler.state_dict(),
        }
        return Capture(tensors, facts)

    def restore(self, capture: Capture) -> None:
        """Go on where ``capture`` was taken.

        The steps that follow are, bit for bit, those that followed there (same machine, threads and number of
        processes; CUDA kernels may differ in last bits).
        """
        tensors, facts = capture.tensors, capture.facts
        with torch.no_grad():
            targets = dict(self.space.state_dict()) | ({"bias": self._step.bias} if self._step.bias is not None else {})
            for name, target in targets.items():
                source = tensors[name if name == "bias" else f"model/{name}"]
                target.copy_(_like(source, target))
        for name, parameter in self._named():
            prefix = f"optimizer/{name}/"
            own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            if own:
                # Adam counts steps in a scalar on the CPU; its moments lie where and as the weights do.
                self._optimizer.state[parameter] = {
                    key: value.clone() if value.ndim == 0 and parameter.ndim else _like(value, parameter).clone()
                    for key, value in own.items()
                }
                if "step" in own:
                    self._optimizer.state[parameter]["step"] = own["step"].clone()
        torch.set_rng_state(tensors["random/torch"])
        if "random/cuda" in tensors and self.space.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random/cuda"], self.space.device)
        self.taken = [StepResult(*row) for row in tensors["taken"].tolist()]
        self.rng.bit_generator.state = facts["random"]
        if facts["scaler"]:
            self._scaler.load_state_dict(dict(facts["scaler"]))
        self.drawn, self.draw_s = bytes.fromhex(facts["drawn"]), facts["draw_s"]
        self._wall_before = time.monotonic() - facts["wall_s"]
        self._cpu_before = time.process_time() - facts["cpu_s"]

    def _draw(self) -> list[NDArray[np.int64]]:
        """Return for every stream the indices of the pairs of this step, int64[B].

        They are empty for a replayed stream without a turn.
        """
        # Turns follow from the number of the step alone, so that a restored run goes on with the right stream.
        first, last = math.floor(self.steps * self._turns), math.floor((self.steps + 1) * self._turns)
        turn = {self._fresh + number % self._replayed for number in range(first, last)} if self._replayed else set()
        out = []
        for number, stream in enumerate(self._step.streams):
            if number >= self._fresh and number not in turn:
                out.append(np.zeros(0, dtype=np.int64))
                continue
            count = min(self.recipe.batch, len(stream.weights))
            out.append(self.rng.choice(len(stream.weights), count, p=stream.weights))
        self.drawn = hashlib.sha256(self.drawn + b"".join(rows.tobytes() for rows in out)).digest()
        return out

    def _named(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield from self.space.named_parameters()
        if self._step.bias is not None:
            yield "bias", self._step.bias

    def _gradients(self) -> list[Tensor]:
        return [p.grad for group in self._optimizer.param_groups for p in group["params"] if p.grad is not None]

    def _gradient_norm(self) -> float:
        """Return the norm over all weights together, the same in every process."""
        split = [g for g in self._gradients() if isinstance(g, DTensor)]
        plain = [g for g in self._gradients() if not isinstance(g, DTensor)]
        norms = [_whole(torch.nn.utils.get_total_norm(some)) for some in (split, plain) if some]
        return math.hypot(*(float(norm) for norm in norms))


def whole_weights(space: EmbeddingSpace) -> dict[str, Tensor]:
    """Return the weights and buffers of a space on the CPU.

    They are whole also where FSDP split them; every process must call it then.
    """
    return {name: _whole(tensor) for name, tensor in space.state_dict().items()}


def _whole(tensor: Tensor) -> Tensor:
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.detach().to("cpu", copy=True).contiguous()


def _like(whole: Tensor, target: Tensor) -> Tensor:
    """Return ``whole`` on the device of ``target``, and split as it is."""
    if isinstance(target, DTensor):
        return distribute_tensor(whole.to(target.device), target.device_mesh, target.placements)
    return whole.to(target.device)


def _schedule(done: float, warmup: float) -> float:
    """Return the share of the learning rate: linear warm-up, then half a cosine to zero; ``done`` from 0 to 1."""
    if done < warmup:
        return (done + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))
