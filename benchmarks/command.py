"""The command line of a benchmark: the options that most of them share, how they fail, and how they report.

A benchmark's ``main`` adds its own options to `make_parser`, and gives `carry_out` what measures and what shows the
report. Everything else is the same for all: errors go to the standard error, the report to ``--json`` and to the print.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from curiosity.protocol.errors import CuriosityError, ExitCode

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = Path(__file__).parent / "results"
CACHE: Final = ROOT / ".cache" / "benchmarks"

Report = TypeVar("Report")


def make_parser(
    name: str, summary: str, *, seed: bool = True, cache: bool = True, threads: bool = False
) -> argparse.ArgumentParser:
    """Return a parser of ``--json`` and of those of the shared options that a benchmark takes.

    Args:
        name: The module in ``benchmarks``.
        summary: Its docstring; the first line is shown.
        seed: Whether it draws: ``--seed``.
        cache: Whether it reads pair sets that are made once: ``--cache``.
        threads: Whether it trains or embeds long enough for ``--threads``.
    """
    first = summary.partition("\n")[0]
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=first)
    if seed:
        parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write")
    if cache:
        parser.add_argument("--cache", type=Path, default=CACHE, help="where sets are kept")
    if threads:
        parser.add_argument("--threads", type=int, default=0, help="processor threads; 0 leaves the choice to torch")
    return parser


def carry_out(
    given: argparse.Namespace,
    measure: Callable[[], Report],
    show: Callable[[Report], str],
    *,
    write: Callable[[Path, Report], None] | None = None,
    is_good: Callable[[Report], bool] | None = None,
) -> int:
    """Measure, write the report where ``--json`` says, print it, and return the exit status.

    Args:
        given: What the parser of `make_parser` returned.
        measure: Returns the report.
        show: Returns what is printed of a report; nothing is printed where that is empty.
        write: Writes the report to the file; `write_report` if not given.
        is_good: Whether the exit status is 0; always if not given.

    Returns:
        One of ``curiosity.protocol.errors.ExitCode``: that of an error, which is printed; 1 where a report is not good.
    """
    if getattr(given, "threads", 0):
        import torch  # here: most benchmarks do without

        torch.set_num_threads(given.threads)
    try:
        report = measure()
    except CuriosityError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if given.json:
        (write or write_report)(given.json, report)
    if text := show(report):
        print(text)
    return ExitCode.OK if is_good is None or is_good(report) else ExitCode.FAILED


def write_report(path: Path, report: object, *, indent: int = 1, sort_keys: bool = True) -> None:
    """Write a report as JSON that ends with a line break; its folder is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=indent, sort_keys=sort_keys) + "\n")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [_row(head), "|" + "---|" * len(head), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
