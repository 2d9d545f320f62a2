"""What our training step costs beside a bare loop over the same model and the same batches, in one run.

    python -m benchmarks.training [--preset NAME] [--batch N] [--steps N] [--repeats N] [--json FILE]

The bare loop gets its batches ready made (drawn, looked up, augmented, on the device): towers, loss, backward,
optimizer, nothing else. Both train on real digits from the same weights. Rounds alternate; each figure is the median
over rounds. On the CPU seconds are processor seconds, so that who else uses the machine matters little.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from curiosity.embedding.losses import MAX_LOG_SCALE, Null, contrast, draw_to_empty
from curiosity.embedding.presets import PRESETS
from curiosity.embedding.space import EmbeddingSpace, pick_device
from curiosity.sources.made.digits import make_digits
from trainer.feed import read_trusted
from trainer.library import Library
from trainer.material import plan_step
from trainer.recipe import Recipe
from trainer.step import APART_WEIGHT
from trainer.train import TrainingRun

TARGET = 0.9


@dataclass(frozen=True)
class Figures:
    """Medians over rounds, in seconds a step.

    ``ratio`` is our throughput over the bare loop's; ``data_share`` the part of our step that is drawing, looking up
    and augmenting.
    """

    device: str
    preset: str
    batch: int
    streams: int
    rounds: int
    steps: int
    ours_s: float
    bare_s: float
    ratio: float
    ratios: list[float]
    draw_s: float
    inputs_s: float
    data_share: float


@dataclass(frozen=True)
class Ready:
    """A batch that a bare loop can take.

    It has inputs by modality, how many rows are real, and for each stream the places of its pairs and their keys;
    modalities that meet in no stream, both ways.
    """

    inputs: dict[str, Tensor]
    real: dict[str, int]
    pairs: list[tuple[str, str, Tensor, Tensor, Tensor, Tensor]]
    apart: list[tuple[str, str]]


class Bare:
    """The loop that one would write for one process and one experiment."""

    def __init__(self, space: EmbeddingSpace, recipe: Recipe) -> None:
        self.space, self.recipe = space, recipe
        weights = [p for p in space.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in weights if p.ndim > 1], "weight_decay": recipe.weight_decay},
                {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
        )
        space.train()

    def take_step(self, ready: Ready) -> float:
        """Take one step; its loss."""
        rows = {name: self.space(name, inputs) for name, inputs in ready.inputs.items()}
        junk = {name: (some[ready.real[name] : -1], some[-1]) for name, some in rows.items()}
        loss = torch.zeros((), device=self.space.device)
        for a, b, at_a, at_b, keys_a, keys_b in ready.pairs:
            null = Null(junk[a][0], junk[b][0], junk[a][1], junk[b][1])
            loss = loss + contrast(
                rows[a][at_a], rows[b][at_b], self.space.log_scale, keys_a, keys_b, null, self.recipe.null_weight
            )
        loss = loss / len(ready.pairs)
        for a, b in ready.apart:
            nothing = torch.cat([junk[a][0], junk[a][1][None]])
            weight = self.recipe.null_weight * APART_WEIGHT / len(ready.apart)
            loss = loss + weight * draw_to_empty(nothing, junk[b][1])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        with torch.no_grad():
            self.space.log_scale.clamp_(0.0, MAX_LOG_SCALE)
        return float(loss.detach())


class Batches:
    """The batches that ``run`` will draw, made ahead by a run of the same seed that takes no step."""

    def __init__(self, run: TrainingRun) -> None:
        self.run = run
        self.draw_s = self.inputs_s = 0.0

    def make(self) -> Ready:
        """Return the next batch; adds what drawing and making inputs took."""
        run, step = self.run, self.run._step
        before = _now(step.space)
        drawn = run._draw()
        parts = plan_step(step.streams, drawn, step.material, step.recipe, run.rng)
        between = _now(step.space)
        slices = {name: step._slice(name, part) for name, part in parts.items()}
        after = _now(step.space)
        self.draw_s, self.inputs_s = self.draw_s + between - before, self.inputs_s + after - between
        device = step.space.device
        pairs = []
        for number, (stream, chosen) in enumerate(zip(step.streams, drawn, strict=True)):
            places = [parts[name].sides[number, side] for side, name in enumerate((stream.a, stream.b))]
            tensors = [torch.from_numpy(x).to(device) for x in (*places, stream.rows_a[chosen], stream.rows_b[chosen])]
            pairs.append((stream.a, stream.b, tensors[0], tensors[1], tensors[2], tensors[3]))
        return Ready(
            {name: one.inputs for name, one in slices.items()},
            {name: len(part.real) for name, part in parts.items()},
            pairs,
            step._apart(parts),
        )


def measure(folder: Path, recipe: Recipe, steps: int, rounds: int, preset: str = "tiny") -> Figures:
    """Measure both loops on the digits of ``folder``.

    Raises:
        SystemExit: when the two loops do not compute the same loss.
    """
    pairs = read_trusted([folder], ["genesis"])
    first = EmbeddingSpace(preset, modalities=["audio", "image", "text"]).to(pick_device())
    library = Library(first)
    streams = library.streams(library.add(pairs))
    ours = TrainingRun(first, library, streams, recipe)
    batches = Batches(TrainingRun(_copy(first), library, streams, recipe))
    bare = Bare(_copy(first), recipe)
    _check(ours, bare, batches)
    figures: dict[str, list[float]] = {name: [] for name in ("ours", "bare", "draw", "inputs")}
    for number in range(rounds + 1):  # the first warms up
        batches.draw_s = batches.inputs_s = 0.0
        ready = [batches.make() for _ in range(steps)]
        taken = {}
        for name in ("ours", "bare") if number % 2 else ("bare", "ours"):
            before = _now(first)
            for batch in ready:
                if name == "ours":
                    ours.take_step()
                else:
                    bare.take_step(batch)
            taken[name] = (_now(first) - before) / steps
        if number:
            for name, value in (*taken.items(), ("draw", batches.draw_s / steps), ("inputs", batches.inputs_s / steps)):
                figures[name].append(value)
    if ours.drawn != batches.run.drawn:
        raise SystemExit("the two loops did not see the same batches")
    ratios = [theirs / mine for mine, theirs in zip(figures["ours"], figures["bare"], strict=True)]
    middle = {name: median(values) for name, values in figures.items()}
    return Figures(
        device=torch.cuda.get_device_name(first.device) if first.device.type == "cuda" else "cpu",
        preset=preset,
        batch=recipe.batch,
        streams=len(streams),
        rounds=rounds,
        steps=steps,
        ours_s=middle["ours"],
        bare_s=middle["bare"],
        ratio=median(ratios),
        ratios=ratios,
        draw_s=middle["draw"],
        inputs_s=middle["inputs"],
        data_share=(middle["draw"] + middle["inputs"]) / middle["ours"],
    )


def _copy(space: EmbeddingSpace) -> EmbeddingSpace:
    other = EmbeddingSpace(space.preset.name, modalities=space.modalities).to(space.device)
    other.load_state_dict(space.state_dict())
    return other


def _check(ours: TrainingRun, bare: Bare, batches: Batches) -> None:
    """Check that without dropout both take the same first step."""
    both: Sequence[EmbeddingSpace] = (ours.space, bare.space)
    for space in both:
        for layer in space.modules():
            if isinstance(layer, nn.Dropout):
                layer.eval()
    mine, theirs = ours.take_step().loss, bare.take_step(batches.make())
    if abs(mine - theirs) > 1e-4:
        raise SystemExit(f"the loops differ: our loss is {mine}, the bare one {theirs}")
    for space in both:
        space.train()


def _now(space: EmbeddingSpace) -> float:
    if space.device.type == "cuda":
        torch.cuda.synchronize(space.device)
        return time.perf_counter()
    return time.process_time()


def _print(figures: Figures) -> None:
    rows = [
        ("our step", figures.ours_s, f"{1 / figures.ours_s:.1f} steps a second"),
        ("bare step, batch ready made", figures.bare_s, f"{1 / figures.bare_s:.1f} steps a second"),
        ("  of ours: drawing", figures.draw_s, f"{figures.draw_s / figures.ours_s:.1%}"),
        ("  of ours: looking up, augmenting", figures.inputs_s, f"{figures.inputs_s / figures.ours_s:.1%}"),
    ]
    for name, seconds, note in rows:
        print(f"{name:36} {1e3 * seconds:9.2f} ms   {note}")
    verdict = "reached" if figures.ratio >= TARGET else "MISSED"
    print(f"throughput over the bare loop {figures.ratio:.3f} (target {TARGET}: {verdict})")


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training")
    parser.add_argument("--preset", default="tiny", choices=sorted(PRESETS), help="default: tiny")
    parser.add_argument("--batch", type=int, default=Recipe().batch)
    parser.add_argument("--steps", type=int, default=8, help="steps of each loop in a round")
    parser.add_argument("--repeats", type=int, default=5, help="rounds")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        make_digits(Path(folder) / "digits", submit_scans=200)
        recipe = Recipe(steps=10_000, batch=given.batch, junk_pool=64)
        figures = measure(Path(folder) / "digits", recipe, given.steps, given.repeats, given.preset)
    _print(figures)
    if given.json:
        given.json.write_text(
            json.dumps(asdict(figures) | {"command": "python -m benchmarks.training"}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
