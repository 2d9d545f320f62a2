"""What a command shows: results on standard output (a table, or one JSON object), progress on standard error."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from curiosity.host.terminal import printable
from curiosity.protocol.errors import CuriosityError

_PLAIN_INTERVAL_S: Final = 2.0


class ProgressMeter(Protocol):
    """Something that shows how far long work is."""

    def advance(self, by: int = 1, note: str = "") -> None:
        """Count ``by`` more as done; ``note`` replaces the words behind the bar."""


class Screen:
    """One command's output. ``as_json``: the result is one JSON object, everything else goes to standard error."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        # Wide enough that a table piped into a file does not fold hashes.
        self._out = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 200)
        self._err = Console(stderr=True, soft_wrap=True, highlight=False)

    def say(self, text: str) -> None:
        """Print a line about what is going on, to standard error."""
        self._err.print(printable(text), markup=False)

    def finish(self, result: dict[str, Any], show: Callable[["Screen"], None]) -> None:
        """Print the command's result: ``result`` as JSON, or what ``show`` prints for people."""
        if self.as_json:
            sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
            sys.stdout.flush()
        else:
            show(self)

    def line(self, text: str) -> None:
        """Print one line of a result for people."""
        self._out.print(printable(text), markup=False)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table of a result for people."""
        self._print_table(self._out, title, columns, rows)

    @staticmethod
    def _print_table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        table = Table(title=printable(title) or None, title_justify="left")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(_plain(cell) for cell in row))
        console.print(table)

    def note_table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table about what is going on, to standard error."""
        self._print_table(self._err, title, columns, rows)

    @contextmanager
    def progress(self, label: str, total: int | None) -> Iterator[ProgressMeter]:
        """Show a bar while the block runs; a line every two seconds where there is no terminal."""
        if not self._err.is_terminal:
            lines = _Lines(self, label, total)
            try:
                yield lines
            finally:
                lines.close()
            return
        columns = (TextColumn("{task.description}"), BarColumn(), _Count(), TimeElapsedColumn())
        with Progress(*columns, TextColumn("{task.fields[note]}", markup=False), console=self._err) as bar:
            yield _Bar(bar, label, total)


def tell_errors(screen: Screen, problems: Sequence[CuriosityError], error: CuriosityError | None) -> int:
    """Print what is wrong to standard error, what decides the status last, and return the status."""
    for one in [*(problem for problem in problems if problem is not error), *([error] if error is not None else [])]:
        screen.say(f"{one.code}: {one.what}. {one.remedy}")
    return int(error.exit_code) if error is not None else 0


class Stages:
    """Shows work of the library that comes in stages, one meter after the other. Give it as ``progress``."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._shown = ExitStack()
        self._meter: ProgressMeter | None = None
        self._stage, self._done = "", 0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how far that stage is."""
        if what != self._stage or self._meter is None:
            self.close()
            self._meter = self._shown.enter_context(self._screen.progress(what, total))
            self._stage, self._done = what, 0
        self._meter.advance(done - self._done)
        self._done = done
        if done >= total:
            self.close()

    def close(self) -> None:
        """Take the meter away: something is to be printed or asked."""
        self._shown.close()
        self._meter = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _plain(cell: object) -> str:
    one_line = str(cell).replace("\n", "\\n").replace("\t", "\\t")  # a name may hold them, and would tear the table
    return printable(one_line).replace("[", r"\[")


class _Count(MofNCompleteColumn):
    """How many are done, of how many where that is known."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text(f"{int(task.completed)}" if task.completed else "", style="progress.download")
        return super().render(task)


class _Bar:
    def __init__(self, bar: Progress, label: str, total: int | None) -> None:
        self._bar = bar
        self._task = bar.add_task(label, total=total, note="")

    def advance(self, by: int = 1, note: str = "") -> None:
        self._bar.advance(self._task, by)
        if note:
            self._bar.update(self._task, note=printable(note))


class _Lines:
    def __init__(self, screen: Screen, label: str, total: int | None) -> None:
        self._screen, self._label, self._total = screen, label, total
        self._done, self._note = 0, ""
        self._shown_at, self._shown = time.monotonic(), 0

    def advance(self, by: int = 1, note: str = "") -> None:
        self._done += by
        self._note = note or self._note
        if time.monotonic() - self._shown_at >= _PLAIN_INTERVAL_S:
            self._show()

    def close(self) -> None:
        if self._done != self._shown:
            self._show()

    def _show(self) -> None:
        self._shown_at, self._shown = time.monotonic(), self._done
        of = f"/{self._total}" if self._total is not None else ""
        done = f" {self._done}{of}" if self._done or self._total is not None else ""
        self._screen.say(f"{self._label}:{done} {self._note}".rstrip())
