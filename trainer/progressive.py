"""Training in phases: pairs are added phase by phase, earlier ones replayed, everything measured after each.

The order of work is in ``Training.run``. What it leaves in its folder:

    state/            what ``--resume`` goes on from (trainer.state)
    phases/N-NAME.json, report.json
    events/, curves.png
    checkpoint/       the published checkpoint
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from curiosity.embedding.retrieval import Recall
from curiosity.embedding.space import EmbeddingSpace
from curiosity.host.paths import inside
from curiosity.protocol.errors import ConfigError, CuriosityError, ExitCode, SourceError
from curiosity.protocol.wire import canonical_json
from trainer.calibrate import calibrate
from trainer.curves import HISTORY_COLUMNS, Events, draw_curves
from trainer.distributed import Group
from trainer.evaluation import evaluate, survey
from trainer.feed import FedPair
from trainer.held_out import HeldOut
from trainer.library import Library, Prepared, Stream
from trainer.phase_material import TrainingPairs
from trainer.phase_report import from_plain, measure_falls, to_plain, write_json
from trainer.plan import Phase, TrainingPlan, differences
from trainer.publish import describe_recipe, describe_trusted, publish
from trainer.state import read_state, write_state
from trainer.train import Capture, TrainingRun, whole_weights

Tell = Callable[[dict[str, Any]], None]
"""Called with one event: plain JSON values, ``event`` says which (docs/training.md, "Events")."""


class Interrupted(CuriosityError):
    """A training that was asked to stop. Its state is written."""

    exit_code = ExitCode.INTERRUPTED


class SafetyStop(Interrupted):
    """A training that its safety stop ended before the steps were taken. Its state is written."""

    exit_code = ExitCode.INCOMPLETE


@dataclass(frozen=True)
class Saving:
    """How often the state is written: after so many steps or so many seconds, whichever comes first."""

    every_steps: int = 500
    every_s: float = 60.0


class Training:
    """One training in phases, in any number of processes that do the same; the first writes.

    ``should_stop`` is asked before every step; when it says so in any process, the state is written and ``Interrupted``
    raised.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        material: TrainingPairs,
        out: Path,
        *,
        group: Group | None = None,
        tell: Tell | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        saving: Saving | None = None,
        command: str = "python -m trainer.phases",
    ) -> None:
        self.plan, self.material, self.out, self.command = plan, material, out, command
        self.group, self.saving, self.should_stop = group or Group(), saving or Saving(), should_stop
        self.tell: Tell = tell if tell and self.group.is_first else lambda _: None
        self._data = material.describe()  # before pairs that cannot be decoded are taken out
        self.prepared: Prepared = {}
        self.reports: list[dict[str, Any]] = []
        self.history: list[tuple[float, ...]] = []  # HISTORY_COLUMNS of finished phases
        self.space = self._build(0)
        self.library = Library(self.space, self.prepared)
        self._events: Events | None = None
        self._prepare_s = 0.0

    def run(self, *, resume: bool = False) -> dict[str, Any]:
        """Train every phase that is not trained yet, publish, and return the report.

        Raises:
            ConfigError: RUN_EXISTS; STATE_OTHER_PLAN; STATE_OTHER_DATA; TRAINING_DIVERGED; CALIBRATION_TOO_SMALL.
            CheckpointError: when the state or the checkpoint cannot be read or written.
            Interrupted: when it was asked to stop; SafetyStop: when a phase took too long.
        """
        with torch.random.fork_rng(devices=[]):
            found = self._find_state(resume)
            self._prepare()
            first = 0
            if found is not None:
                first = int(found.facts["phase"])
                self.reports = list(found.facts["reports"])
                self.history = [tuple(row) for row in found.tensors["history"].tolist()]
                self.tell({"event": "resumed", "phase": first, "step": int(found.facts.get("steps", 0))})
            if self.group.is_first:
                steps = int(found.facts.get("steps", 0)) if found is not None else 0
                self._events = Events(self.out / "events", len(self.history) + steps)
            try:
                for number in range(first, len(self.plan.phases)):
                    self._train_phase(number, found)
                    found = None
                if found is not None:  # every phase was trained before: only the weights are needed
                    self.space.load_state_dict(found.model)
                return self._finish()
            finally:
                if self._events:
                    self._events.close()

    def _find_state(self, resume: bool) -> Capture | None:
        """Return the state to go on from. All processes read the same file."""
        found = read_state(self.out / "state")
        if found is None:
            return None
        if not resume:
            raise ConfigError(
                "RUN_EXISTS", f"{self.out} holds the state of a training", "Add --resume, or choose another folder."
            )
        for code, key, mine in (
            ("STATE_OTHER_PLAN", "plan", json.loads(json.dumps(self.plan.to_json()))),
            ("STATE_OTHER_DATA", "data", self._data),
        ):
            changed = list(differences(mine, found.facts[key]))
            if changed:
                more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
                raise ConfigError(
                    code,
                    f"the state in {self.out} is of another {key}: {'; '.join(changed[:3])}{more}",
                    f"Give the same {key} again, or choose another folder.",
                )
        made = found.facts["made"]
        for what, value in self._made().items():
            if made.get(what) != value:
                # Not refused: the run is as good, but its last bits may differ from an uninterrupted one.
                self.tell({"event": "notice", "what": f"{what} is {value}, the state was made with {made.get(what)}"})
        return found

    def _made(self) -> dict[str, Any]:
        return {"threads": torch.get_num_threads(), "processes": self.group.size, "torch": torch.__version__}

    def _build(self, phases: int) -> EmbeddingSpace:
        """Return a space as it is before any step, with encoders frozen as the first ``phases`` phases say."""
        plan = self.plan
        space = EmbeddingSpace(plan.preset, seed=plan.seed, modalities=plan.modalities, pretrained=plan.pretrained).to(
            self.group.device
        )
        if plan.gradient_checkpointing:
            space.enable_gradient_checkpointing()
        for phase in plan.phases[:phases]:
            phase.freeze(space)
        return space

    def _prepare(self) -> None:
        started = time.monotonic()

        def progress(what: str, done: int, total: int) -> None:
            self.tell({"event": "progress", "what": what, "done": done, "total": total})
            self._stop_if_asked()

        usable = self.library.add(self.material.trained, progress)
        self.material = replace(self.material, trained=tuple(usable))
        self._prepare_s = time.monotonic() - started

    def _train_phase(self, number: int, found: Capture | None) -> None:
        phase = self.plan.phases[number]
        if found is not None:
            self.space.load_state_dict(found.model)
            for earlier in self.plan.phases[:number]:
                earlier.freeze(self.space)
        phase.freeze(self.space)
        streams, replayed = self._streams(number)
        run = TrainingRun(
            self.space,
            self.library,
            streams,
            phase.recipe,
            replay=replayed,
            replay_share=phase.replay,
            group=self.group,
        )
        if found is not None:
            run.restore(found)
        else:
            self._save(number, run)
        before = len(self.history)
        saved_at, saved_step = time.monotonic(), run.steps
        while not run.is_done():
            stop = self.group.mean(float(self.should_stop())) > 0
            late = time.monotonic() - saved_at >= self.saving.every_s
            if self._is_split(phase):
                late = self.group.agree(late) > 0
            if stop or late or run.steps - saved_step >= self.saving.every_steps:
                self._save(number, run)
                saved_at, saved_step = time.monotonic(), run.steps
            if stop:
                raise Interrupted(
                    "INTERRUPTED", f"stopped in phase {phase.name} after step {run.steps}", "Go on with --resume"
                )
            if run.is_stopped():
                self._save(number, run)
                raise SafetyStop(
                    "SAFETY_STOP",
                    f"incomplete: phase {phase.name} took {run.steps} of {phase.recipe.steps} steps in "
                    f"{phase.recipe.stop_after_s:g} s",
                    "Go on with --resume, with a larger stop_after_s if you like",
                )
            taken = run.take_step()
            if self._events:
                self._events.add_step(before + run.steps, taken)
            self.tell(
                {"event": "progress", "what": "train", "phase": phase.name, "done": run.steps}
                | {"total": phase.recipe.steps}
                | vars(taken)
            )
        self._save(number, run)
        done = run.finish()
        self.history += [(number, *astuple(taken)) for taken in run.taken]
        if self._is_split(phase):
            weights = whole_weights(self.space)
            self.space = self._build(number + 1)
            self.space.load_state_dict(weights)
            self.library.space = self.space
        self.reports.append(
            {
                "name": phase.name,
                "pairs": list(phase.pairs),
                "replayed": [f"{stream.a}-{stream.b}" for stream in replayed],
                "steps": done.steps,
                "loss": done.loss,
                "temperature": run.taken[-1].temperature,
                "wall_s": round(done.wall_s, 2),
                "cpu_s": round(done.cpu_s, 2),
                "draw_share": round(run.draw_s / done.wall_s, 4),
                "drawn": run.drawn.hex(),
                "recall": self._evaluate(number),
            }
        )
        if self.group.is_first:
            write_json(
                inside(self.out / "phases", f"{number + 1}-{phase.name}.json", one=True, links=True), self.reports[-1]
            )
            draw_curves(self.out / "curves.png", self._history(), self.reports)
            if self._events:
                self._events.add_recall(len(self.history), self.reports[-1]["recall"])
        self.tell({"event": "phase", **self.reports[-1]})
        if number + 1 == len(self.plan.phases):
            self._save(number + 1, None)

    def _streams(self, number: int) -> tuple[list[Stream], list[Stream]]:
        """Return streams of the phase's own pairs, and of the pairs of earlier phases that it does not name again."""
        phase = self.plan.phases[number]
        earlier = {name for before in self.plan.phases[:number] for name in before.pairs} - set(phase.pairs)
        out = []
        for names in (set(phase.pairs), earlier if phase.replay else set()):
            streams = self.library.streams([pair for pair in self.material.trained if pair.name in names])
            out.append(
                [
                    replace(stream, loss_weight=phase.loss_weights.get(f"{stream.a}-{stream.b}", 1.0))
                    for stream in streams
                ]
            )
        if not out[0]:
            raise SourceError(
                "PAIRS_NOT_DECODED",
                f"no pair of phase {phase.name} could be decoded: {'; '.join(self.library.refused[:3])}",
                "Make the pair set again.",
            )
        return out[0], out[1]

    def _evaluate(self, number: int) -> dict[str, Any]:
        """Return the recall of every direction between the modalities trained so far; one process measures for all."""
        so_far = self.plan.phases[: number + 1]
        trained = {name for phase in so_far for name in phase.pairs}
        recall: dict[str, dict[str, Recall]] = {}
        if self.group.is_first:
            self.tell({"event": "progress", "what": "evaluate", "done": number + 1, "total": len(self.plan.phases)})
            held = HeldOut(self.space, self._held_out(so_far), self.prepared)
            recall = evaluate(self.space, held, trained=trained, known_voices=self.material.voices)
        self.group.wait()
        return to_plain(recall)

    def _held_out(self, phases: Sequence[Phase]) -> list[FedPair]:
        met = {m for phase in phases for name in phase.pairs for m in name.split("-")}
        return [pair for pair in self.material.held_out if {pair.a.modality, pair.b.modality} <= met]

    def _is_split(self, phase: Phase) -> bool:
        """Return whether weights are split over processes, so that all must take part in putting them together."""
        return phase.recipe.sharding == "fsdp" and self.group.size > 1

    def _save(self, number: int, run: TrainingRun | None) -> None:
        """Write the state: in phase ``number`` of a run, or (None) after all phases."""
        if not (self.group.is_first or (run is not None and self._is_split(self.plan.phases[number]))):
            return
        if run is not None:
            taken = run.capture()
        else:
            taken = Capture({f"model/{name}": t for name, t in whole_weights(self.space).items()}, {})
        if not self.group.is_first:
            return
        capture = Capture(
            {**taken.tensors, "history": torch.from_numpy(self._history())},
            {
                **taken.facts,
                "phase": number,
                "reports": self.reports,
                "plan": self.plan.to_json(),
                "data": self._data,
                "made": self._made(),
            },
        )
        write_state(self.out / "state", capture)
        self.tell({"event": "saved", "phase": number, "step": int(taken.facts.get("steps", 0))})

    def _history(self) -> NDArray[np.float64]:
        return np.array(self.history, dtype=np.float64).reshape(len(self.history), len(HISTORY_COLUMNS))

    def _stop_if_asked(self) -> None:
        if self.should_stop() and self.group.size == 1:
            raise Interrupted("INTERRUPTED", "stopped before the first step", "Begin again, or go on with --resume")

    def _finish(self) -> dict[str, Any]:
        """Publish and report, in the first process; the others wait and get an empty report."""
        report: dict[str, Any] = {}
        if self.group.is_first:
            falls = measure_falls(self.reports)
            report = {
                "preset": self.plan.preset,
                "seed": self.plan.seed,
                "device": str(self.space.device),
                **self._made(),
                "plan": self.plan.to_json(),
                "data": self._data,
                "refused": list(self.library.refused),
                "prepare_s": round(self._prepare_s, 2),
                "steps": len(self.history),
                "phases": self.reports,
                "lost_points": falls,
                "checkpoint": None,
            }
            if self.plan.publish:
                self.tell({"event": "progress", "what": "publish", "done": 0, "total": 1})
                report["checkpoint"] = self._publish()
            write_json(self.out / "report.json", report)
        self.group.wait()
        return report

    def _publish(self) -> dict[str, str]:
        material, plan = self.material, self.plan
        self.space.eval()
        held = HeldOut(self.space, self._held_out(plan.phases), self.prepared)
        known = [*material.trained, *material.calibration]
        try:
            calibration, anchors = calibrate(self.space, known, prepared=self.prepared)
        except ValueError as error:
            raise ConfigError(
                "CALIBRATION_TOO_SMALL",
                f"{error}; the trained weights are in {self.out / 'state'}",
                "Give more rows the split calibration, or set `publish: false`.",
            ) from error
        recipe = {
            "seed": plan.seed,
            "plan_sha256": hashlib.sha256(json.dumps(plan.to_json(), sort_keys=True).encode()).hexdigest(),
            "phases": [
                describe_recipe(phase.recipe, report["steps"]) | {"name": phase.name, "pairs": list(phase.pairs)}
                for phase, report in zip(plan.phases, self.reports, strict=True)
            ],
        }
        canonical_json(recipe)
        made = publish(
            self.out / "checkpoint",
            self.space,
            calibration=calibration,
            anchors=anchors,
            recall=from_plain(self.reports[-1]["recall"]),
            surveys=survey(self.space, held, medians=calibration.median_loss_micro, anchors=anchors),
            recipe=recipe,
            data=describe_trusted(material.trained, material.calibration),
            command=self.command,
        )
        return {"path": str(made.path), "digest": made.digest}
