"""The edge of every program of ours: an error is one line and an exit status of its own, never a traceback.

`main` is what a program's entry point calls; `run` is the same without leaving the process.
"""

import io
import json
import logging
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from curiosity.host.stopping import stop_on_sigterm
from curiosity.host.terminal import one_line, printable
from curiosity.protocol.errors import CuriosityError, ExitCode, Fault

HELP: Final = {"help_option_names": ["-h", "--help"]}
"""Context settings of every command of ours."""
ROOMS: Final = ("node", "validator", "trainer", "witness", "contracts", "curiosity")
"""Packages whose logs are ours."""


def main(command: click.Command, name: str, *, events: bool = False, writes_json: bool = True) -> NoReturn:
    """Run a program with the arguments of its process and leave with its exit status.

    Args:
        command: What parses the arguments and does the work.
        name: How people call it, such as ``curiosity validator``.
        events: Whether its standard output is one JSON object a line, errors included.
        writes_json: Whether its option ``--json`` means JSON on standard output; False where it names a file.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A caption or a file name may contain what this console cannot show: it is spelled out.
            stream.reconfigure(errors="backslashreplace")
    stop_on_sigterm()
    sys.exit(run(command, sys.argv[1:], name, events=events, writes_json=writes_json))


def run(
    command: click.Command, arguments: Sequence[str], name: str, *, events: bool = False, writes_json: bool = True
) -> int:
    """Run one command and return its exit status; prints every error, raises none. See `main` for the arguments."""
    edge = _Edge(name, events=events, as_json=writes_json and "--json" in arguments)
    try:
        # standalone_mode off: we print errors and choose the status ourselves.
        result: Any = command.main(args=list(arguments), prog_name=name, standalone_mode=False)
        return result if isinstance(result, int) else int(ExitCode.OK)
    except CuriosityError as error:
        return edge.fail(error.to_json(), int(error.exit_code))
    except click.exceptions.NoArgsIsHelpError as error:
        print(printable(error.format_message()), file=sys.stderr)
        return int(ExitCode.USAGE)
    except click.ClickException as error:
        return edge.fail(_usage(error, name), int(ExitCode.USAGE))
    except (KeyboardInterrupt, click.Abort):
        return edge.interrupted()
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output is gone
        return int(ExitCode.OK)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        problem = {
            "code": "SYSTEM",
            "what": f"{where}{error.strerror or error}",
            "remedy": "Check the path, its permissions and the free space (curiosity doctor).",
            "fault": Fault.CONTRIBUTOR.value,
        }
        return edge.fail(problem, int(ExitCode.FAILED))
    except Exception:  # noqa: BLE001 - the process edge: kept in a file, never shown as a traceback
        return edge.fail(_crash_report(), int(ExitCode.FAILED))


class _Edge:
    """Prints a program's errors: a line on standard error, JSON on standard output where that was asked for."""

    def __init__(self, name: str, *, events: bool, as_json: bool) -> None:
        self._name, self._events, self._as_json = name, events, as_json

    def fail(self, problem: dict[str, str], status: int) -> int:
        self._print(problem)
        print(one_line(f"{problem['code']}: {problem['what']}. {problem['remedy']}"), file=sys.stderr)
        return status

    def interrupted(self) -> int:
        remedy = "Run the same command again to continue."
        if self._events:
            problem = {"code": "INTERRUPTED", "what": f"{self._name} was interrupted", "remedy": remedy}
            self._print({**problem, "fault": Fault.CONTRIBUTOR.value})
        print("Interrupted; run the same command again to continue.", file=sys.stderr)
        return int(ExitCode.INTERRUPTED)

    def _print(self, problem: dict[str, str]) -> None:
        if self._events:
            print(json.dumps({"event": "error", "error": problem}), flush=True)
        elif self._as_json:
            print(json.dumps({"error": problem}), flush=True)


def _usage(error: click.ClickException, name: str) -> dict[str, str]:
    context = getattr(error, "ctx", None)
    what, hint, guess = error.format_message().partition(" Did you mean ")
    remedy = f"See: {context.command_path if context is not None else name} --help"
    if hint:
        remedy = f"{hint.strip()} {guess.rstrip('.')} {remedy}"
    if isinstance(error, click.exceptions.NoSuchCommand) and error.command_name == "help":
        remedy = f"Help is an option, not a command. {remedy}"
    return {"code": "USAGE", "what": what.rstrip("."), "remedy": remedy, "fault": Fault.CONTRIBUTOR.value}


def _crash_report() -> dict[str, str]:
    logging.getLogger(__name__).debug("event=crash", exc_info=True)
    kind = sys.exc_info()[0]
    try:
        with tempfile.NamedTemporaryFile("w", prefix="curiosity-crash-", suffix=".log", delete=False) as file:
            traceback.print_exc(file=file)
        where = f"details in {Path(file.name)}"
    except OSError as error:  # such as a full disk
        where = f"details could not be kept: {error.strerror}"
    return {
        "code": "INTERNAL",
        "what": f"{kind.__name__ if kind else 'error'}, {where}",
        "remedy": "Please report it with that file.",
        "fault": Fault.INFRASTRUCTURE.value,
    }


def log_command(verbose: int) -> None:
    """Send a command's logs to standard error: warnings, with ``-v`` what happens, with ``-vv`` everything of ours."""
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    _log_lines(logging.WARNING, "%(asctime)s %(levelname)s %(name)s %(message)s")
    for room in ROOMS:
        logging.getLogger(room).setLevel(level)


def _log(_context: click.Context, _parameter: click.Parameter, verbose: int) -> None:
    log_command(verbose)


config_option = click.option("--config", "config_path", type=click.Path(path_type=Path), help="Settings file (TOML).")
"""``--config`` of a role's program. `curiosity.host.settings.loader.find_config` says which file that means."""
logs_option = click.option(
    "-v",
    "--verbose",
    count=True,
    expose_value=False,
    callback=_log,
    help="Logs on standard error; -vv for more.",
)
"""``-v`` of a role's command that is not a service."""


def log_service(*, verbose: bool) -> None:
    """Send a service's logs to standard error as key=value lines: warnings, or every request."""
    level = logging.INFO if verbose else logging.WARNING
    _log_lines(level, "%(asctime)s level=%(levelname)s %(message)s")


class LogLines(logging.Formatter):
    """A record is one line, whatever others' words are in it; a traceback is set off from every line of a record."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the message on one line."""
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """Return the traceback, each line set off."""
        return "\n".join(f"  | {one_line(line)}" for line in super().formatException(ei).split("\n"))

    def formatStack(self, stack_info: str) -> str:
        """Return the stack, each line set off."""
        return "\n".join(f"  | {one_line(line)}" for line in stack_info.split("\n"))


def _log_lines(level: int, form: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogLines(form))
    logging.basicConfig(level=level, handlers=[handler])


def example(*lines: str) -> str:
    """Return the part of a help text that shows how a command is used."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)
