"""Training in phases as a command shows it: events as a progress bar and a table, or as JSON lines."""

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from curiosity.host.terminal import one_line
from curiosity.protocol.errors import CuriosityError, ExitCode
from trainer.distributed import join_group
from trainer.phase_material import read_training_pairs
from trainer.phase_report import finite_only, make_table
from trainer.plan import TINY, read_plan
from trainer.progressive import Interrupted, Saving, Training

EVERY_S = 0.5  # a progress line at most so often


class JsonLines:
    """Prints events as JSON, progress not more often than ``EVERY_S``."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def __call__(self, event: dict[str, Any]) -> None:
        """Print an event."""
        if event["event"] == "progress":
            what, now = event["what"], time.monotonic()
            if event["done"] != event["total"] and now - self._last.get(what, -EVERY_S) < EVERY_S:
                return
            self._last[what] = now
        print(json.dumps(finite_only(event)), flush=True)  # the command's output is its interface

    def close(self) -> None:
        """Do nothing: nothing is open."""


class Bar:
    """Shows events on a terminal."""

    def __init__(self) -> None:
        self.console = Console()
        self._progress = Progress(
            TextColumn("{task.description:<12}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn()
        )
        self._tasks: dict[str, TaskID] = {}
        self._progress.start()

    def __call__(self, event: dict[str, Any]) -> None:
        """Show an event."""
        if event["event"] == "progress":
            name = event.get("phase", event["what"])
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(name, total=1.0, said="")
            said = f"{event['done']}"
            if "loss" in event:
                said = f"step {event['done']} loss {event['loss']:.3f} temperature {event['temperature']:.3f}"
            self._progress.update(self._tasks[name], completed=event["done"] / event["total"], said=said)
        elif event["event"] in ("notice", "resumed"):
            self._progress.console.print(event.get("what") or f"going on at step {event['step']}")

    def close(self) -> None:
        """Leave the bars as they are."""
        self._progress.stop()


def command(
    config: Path | None,
    pairs: Sequence[Path],
    out: Path,
    resume: bool,
    seed: int | None,
    threads: int,
    save_steps: int,
    save_seconds: float,
    as_json: bool,
) -> int:
    """Train as the command asks for; returns the exit status.

    Only the first process of a group says anything: of an interruption by itself, and errors by raising them.

    Raises:
        CuriosityError: As `trainer.plan.read_plan`, `read_training_pairs` and `Training.run`.
    """
    if threads:
        torch.set_num_threads(threads)
    config = config or TINY
    is_plain = as_json or not sys.stdout.isatty()
    is_first = os.environ.get("RANK", "0") == "0"
    tell: JsonLines | Bar = JsonLines() if is_plain or not is_first else Bar()
    stop = _Stop()
    try:
        plan = read_plan(config)
        if seed is not None:
            plan = plan.with_seed(seed)
        plan, material = read_training_pairs(list(pairs), plan)
        with join_group() as group:
            training = Training(
                plan,
                material,
                out,
                group=group,
                tell=tell,
                should_stop=stop.is_asked,
                saving=Saving(save_steps, save_seconds),
                command=_command(config, pairs, plan.seed),
            )
            report = training.run(resume=resume)
    except Interrupted as error:
        tell.close()
        if is_first:
            _print_interruption(error, is_plain)
        return error.exit_code
    except CuriosityError as error:
        tell.close()
        if is_first:
            raise
        return error.exit_code
    finally:
        stop.close()
    tell.close()
    if not is_first:
        return ExitCode.OK
    if isinstance(tell, Bar):
        _print_report(tell.console, report)
    else:
        tell({"event": "done", **report})
    return ExitCode.OK


class _Stop:
    """Remembers SIGTERM and the first SIGINT; the second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self._asked = False
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        self._asked = True
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_IGN)

    def is_asked(self) -> bool:
        return self._asked

    def close(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _command(config: Path, pairs: Sequence[Path], seed: int) -> str:
    """Return the command that makes the same checkpoint again, without folders of this machine."""
    sets = " ".join(f"--pairs {folder.resolve().name}" for folder in pairs)
    threads = torch.get_num_threads()
    return f"python -m trainer.phases --config {config.name} {sets} --out DIR --seed {seed} --threads {threads}"


def _print_interruption(error: Interrupted, is_plain: bool) -> None:
    if is_plain:
        print(json.dumps({"event": "interrupted", "error": error.to_json()}), flush=True)
    else:
        print(one_line(f"{error.code}: {error.what}. {error.remedy}"), file=sys.stderr)


def _print_report(console: Console, report: dict[str, Any]) -> None:
    head, *rows = make_table(report["phases"])
    table = Table(title="Recall at 10 (%) after each phase; * never trained as a pair")
    for name in head:
        table.add_column(name, justify="left" if name in ("set", "direction") else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if report["lost_points"]["largest"] is not None:
        console.print(f"Largest loss of an earlier pair: {report['lost_points']['largest']:.1f} points")
    if report["checkpoint"]:
        console.print(f"Checkpoint {report['checkpoint']['digest']} in {report['checkpoint']['path']}")
