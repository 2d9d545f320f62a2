"""The edge that every program of ours runs in: one line for an error, a status of its own, no traceback."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from curiosity.host import console
from curiosity.protocol.errors import ChainError, CuriosityError, ExitCode, Rejected
from curiosity.protocol.messages import ErrorMessage
from curiosity.protocol.wire import parse
from trainer.cli import main as trainer_program
from validator.__main__ import main as validator_program
from witness.__main__ import main as witness_program

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = (
    "node.cli",
    "validator",
    "witness",
    "trainer",
    "trainer.evaluate",
    "contracts.deploy",
    "contracts.build",
    "contracts.devchain",
    "contracts.forge",
    "contracts.mutate",
)


def program(*raised: BaseException, result: Any = None) -> click.Command:
    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def command(as_json: bool) -> Any:
        if raised:
            raise raised[0]
        return result

    return command


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (ChainError("A", "b", "C."), ExitCode.CHAIN, "A: b. C.\n"),
        (click.UsageError("d"), ExitCode.USAGE, "USAGE: d. See: x --help\n"),
        (FileNotFoundError(2, "No such file", "/e"), ExitCode.FAILED, "SYSTEM: /e: No such file. Check the path"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "Interrupted; run the same command again to continue.\n"),
        (click.Abort(), ExitCode.INTERRUPTED, "Interrupted"),
        (CuriosityError("F", "\x1b[2Jowned", "G."), ExitCode.FAILED, "F: \ufffd[2Jowned. G.\n"),
        (CuriosityError("F", "a\nINTERNAL: b\r\nc", "G."), ExitCode.FAILED, "F: a INTERNAL: b c. G.\n"),
    ],
)
def test_an_error_is_one_line_and_a_status(
    raised: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert console.run(program(raised), [], "x") == status
    shown = capsys.readouterr()
    line = shown.err.removeprefix("\n")  # click ends the line that Ctrl-C was typed in
    assert (shown.out, line[: len(said)]) == ("", said)
    assert line.count("\n") == 1


@pytest.mark.parametrize("set_up", [lambda: console.log_command(0), lambda: console.log_service(verbose=False)])
def test_a_log_record_is_one_line_whatever_is_in_it(
    set_up: Callable[[], None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    forged = "no\n2026-01-01 level=ERROR event=forged\r\x1b[2J"
    set_up()
    logging.getLogger("validator.x").warning("event=asked what=%s", forged)
    try:
        raise ValueError(forged)
    except ValueError:
        logging.getLogger("validator.x").exception("event=failed")
    first, second, *traceback = capsys.readouterr().err.splitlines()
    assert first.endswith("event=asked what=no 2026-01-01 level=ERROR event=forged \ufffd[2J")
    assert second.endswith("event=failed")
    assert len(traceback) > 3
    assert all(line.startswith("  | ") and "\x1b" not in line for line in traceback)


@pytest.mark.parametrize("name", ["\x1b]0;owned\x07", "x\nINTERNAL: all is lost", "y" * 100_000, "\u202eabc"])
def test_an_unknown_field_of_a_message_is_quoted(name: str) -> None:
    """Its name is whoever's who wrote the message, and part of what we say about it."""
    message = {"code": "A", "what": "b", "remedy": "C.", "fault": "validator"}
    assert parse(ErrorMessage, json.dumps(message)).code == "A"
    with pytest.raises(Rejected) as caught:
        parse(ErrorMessage, json.dumps(message | {name: 1}))
    assert ascii(name[:80])[1:-1] in caught.value.what
    assert caught.value.what.isascii()
    assert caught.value.what.isprintable()
    assert len(caught.value.what) < 400


def test_an_error_is_json_where_json_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    error = ChainError("A", "b", "C.")
    console.run(program(error), ["--json"], "x")
    assert json.loads(capsys.readouterr().out) == {"error": error.to_json()}
    console.run(program(error), ["--json"], "x", writes_json=False)  # there it names a file
    assert capsys.readouterr().out == ""
    console.run(program(error), [], "x", events=True)
    assert json.loads(capsys.readouterr().out) == {"event": "error", "error": error.to_json()}
    console.run(program(KeyboardInterrupt()), [], "x", events=True)
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "INTERRUPTED"


@pytest.mark.parametrize(
    "raised", [click.UsageError("d"), OSError(28, "full"), ZeroDivisionError(), KeyboardInterrupt()]
)
@pytest.mark.parametrize("events", [False, True])
def test_every_error_object_has_the_same_keys(
    raised: BaseException,
    events: bool,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    console.run(program(raised), ["--json"], "x", events=events)
    printed = capsys.readouterr().out
    if printed or not isinstance(raised, KeyboardInterrupt):
        assert [*json.loads(printed)["error"]] == [*ChainError("A", "b", "C.").to_json()]


def test_a_crash_is_kept_in_a_file_and_not_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert console.run(program(ZeroDivisionError("secret")), [], "x") == ExitCode.FAILED
    shown = capsys.readouterr()
    assert "secret" not in shown.out + shown.err
    (kept,) = tmp_path.iterdir()
    assert str(kept) in shown.err
    assert "ZeroDivisionError: secret" in kept.read_text()


@pytest.mark.parametrize("result", [None, 0, 5])
def test_the_status_is_what_the_command_returns(result: int | None) -> None:
    assert console.run(program(result=result), [], "x") == (result or 0)


@pytest.mark.parametrize("module", PROGRAMS)
def test_every_program_has_this_edge(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--nonsense", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
    )
    assert done.returncode == ExitCode.USAGE
    if module == "trainer.evaluate":  # there --json names a file
        assert done.stdout == ""
    else:
        assert json.loads(done.stdout)["error"]["code"] == "USAGE"
    (line,) = done.stderr.splitlines()
    assert line.startswith("USAGE: No such option")
    assert line.endswith("--help")


@pytest.mark.parametrize(
    ("module", "word", "name"),
    [
        ("validator", "keys", "curiosity validator"),
        ("validator", "import", "curiosity ledger"),
        ("witness", "keys", "curiosity witness"),
        ("trainer", "run", "curiosity trainer"),
        ("trainer", "phases", "python -m trainer"),
    ],
)
def test_a_program_s_help_has_the_name_that_people_call_it_by(module: str, word: str, name: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, word, "--help"], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith(f"Usage: {name} {word} "), done.stdout
    wrong = subprocess.run([sys.executable, "-m", module, word, "--nonsense"], capture_output=True, text=True, cwd=ROOT)
    assert wrong.stderr.endswith(f"See: {name} {word} --help\n")


@pytest.mark.parametrize(
    ("program", "shared"),
    [(validator_program, {"--config", "-v", "--json"}), (witness_program, {"--config", "-v", "--json"}),
     (trainer_program, {"-v", "--json"})],
)  # fmt: skip
def test_the_commands_of_a_program_share_options(program: click.Group, shared: set[str]) -> None:
    for command in program.commands.values():
        inner = list(command.commands.values()) if isinstance(command, click.Group) else [command]
        for one in inner:
            assert shared <= {name for parameter in one.params for name in parameter.opts}, one.name


@pytest.mark.parametrize("module", ["validator", "witness"])
def test_a_program_reads_the_settings_file_of_its_folder(module: str, tmp_path: Path) -> None:
    """As every command of `curiosity` does: docs/cli.md, "Settings"."""
    (tmp_path / "curiosity.toml").write_text(f'[{module}]\nname = "named.example"\ndata_dir = "{tmp_path / "d"}"\n')
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CURIOSITY_")}
    done = subprocess.run(
        [sys.executable, "-m", module, "keys", "-v"],
        capture_output=True, text=True, cwd=tmp_path, env=kept | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "named.example" in done.stdout, done.stderr
