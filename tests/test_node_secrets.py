"""Keys, words and passwords of a claimer: whatever crashes, wherever, not a byte of them is written down or shown.

A saboteur makes the program fail at a chosen call after it has the key, with an error of a changing kind. What is
searched: all output at -vvv, every library's logs, the crash report, every file below the home, and the process's
command line and environment.
"""

import base64
import logging
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import node.cli
from contracts.devchain import find_anvil
from curiosity.chain.attestation import address_of
from curiosity.client.phrase import account_path, key_of_phrase
from curiosity.protocol.signing import checksum
from tests.material.payment import PASSWORD, PaidNetwork, Terminal, paid_network, terminal
from tests.material.waiting import PATIENCE_S, eventually

pytestmark = [
    pytest.mark.skipif(find_anvil() is None, reason="anvil is absent: only it can go back in time"),
    # A forced error in a destructor is printed by Python itself.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ALICE, BOB = bytes(range(0xA1, 0xC1)), bytes(range(0x41, 0x61))
WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
PASSPHRASE = "over the rainbow bridge"
PHRASE_KEY = key_of_phrase(WORDS, PASSPHRASE, account_path(0))
_ERRORS: tuple[type[Exception], ...] = (RuntimeError, ValueError, TypeError, KeyError, AttributeError, OSError)
_HOLDERS = {"unlock", "key_of_phrase", "open_keystore", "read_key_file"}  # who calls these has the secret from then on


def find_secrets(text: str) -> list[str]:
    """Names of the secrets of which any eight bytes, or three words, are in a text, however they are written."""
    found = []
    plain = text.lower()
    for name, key in {"alice": ALICE, "bob": BOB, "phrase": PHRASE_KEY}.items():
        windows = [key[start : start + 8] for start in range(len(key) - 7)]
        spelled = {one.hex() for one in windows} | {repr(one)[2:-1].lower() for one in windows}
        spelled |= {", ".join(map(str, one)) for one in windows} | {str(int.from_bytes(key, "big"))}
        spelled |= {base64.b64encode(key[offset:])[:12].decode().lower() for offset in range(3)}
        if any(one in plain for one in spelled):
            found.append(name)
    words = WORDS.split()
    if any(" ".join(words[start : start + 3]) in plain for start in range(len(words) - 2)):
        found.append("words")
    return found + [one for one in (PASSWORD, PASSPHRASE) if one in plain]


def test_the_search_finds_a_secret_in_every_spelling() -> None:
    assert find_secrets("nothing here") == []
    number, encoded = str(int.from_bytes(ALICE, "big")), base64.b64encode(ALICE).decode()
    for leak in (
        ALICE.hex(),
        "0X" + ALICE.hex().upper(),
        repr(ALICE),
        str(list(ALICE)),
        encoded,
        number,
        repr(ALICE[6:15]),
    ):
        assert find_secrets(f"... {leak} ...") == ["alice"], leak
    assert find_secrets(WORDS[6:40]) == ["words"]
    assert find_secrets(f"{PASSWORD} {PASSPHRASE}") == [PASSWORD, PASSPHRASE]


@dataclass
class Saboteur:
    """Fails at the ``at``-th call that begins after somebody got a secret; counts only, if that is never reached.

    Not within logging itself: whoever fails there keeps a handler's lock, which the validator in this process needs.
    """

    at: int
    error: Exception
    calls: int = 0
    armed: bool = False

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event == "return" and frame.f_code.co_name in _HOLDERS:
            self.armed = True
        elif event == "call" and self.armed:
            self.calls += 1
            if self.calls >= self.at > 0 and frame.f_globals.get("__name__") != "logging":
                sys.setprofile(None)
                raise self.error

    def run(self, work: Callable[[], int]) -> int:
        sys.setprofile(self)
        try:
            return work()
        finally:
            sys.setprofile(None)


@dataclass
class Scene:
    """A chain on which alice and bob are owed something, whatever happened before, and where traces are looked for."""

    net: PaidNetwork
    shell: Terminal
    traces: Path
    capture: pytest.CaptureFixture[str]
    snapshot: str = ""

    def reset(self) -> None:
        if self.snapshot:
            self.net.dev.request("evm_revert", [self.snapshot])
        self.snapshot = str(self.net.dev.request("evm_snapshot", []))
        for path in (self.shell.home / "chain", self.traces / "made.permit"):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        for path in (self.shell.home / "wallets").glob("new*.json"):
            path.unlink()

    def commands(self) -> list[tuple[str, ...]]:
        files = self.traces.parent / "given"
        cold = checksum(b"\x77" * 20)
        return [
            ("claim", "--wallet", "alice"),
            ("claim", "--wallet", "alice", "--to", cold),
            ("claim", "--wallet", "bob", "--permit", str(self.traces / "made.permit"), "--to", cold),
            ("claim", "--wallet", "alice", "--relay", str(files / "bob.permit")),
            ("wallet", "import", "new1", "--key-file", str(files / "key")),
            ("wallet", "import", "new2", "--mnemonic-file", str(files / "words"),
             "--passphrase-file", str(files / "passphrase")),
        ]  # fmt: skip

    def play(self, arguments: tuple[str, ...], saboteur: Saboteur) -> tuple[int, str]:
        """Run a command; return its status and everything that it left anywhere."""
        self.reset()
        for old in self.traces.glob("*.log"):
            old.unlink()
        self.capture.readouterr()
        status = saboteur.run(lambda: node.cli.run([*arguments, "-vv"]))
        out, err = self.capture.readouterr()
        kept = [path for path in self.shell.home.rglob("*") if path.is_file() and path.name != "password"]
        kept += self.traces.rglob("*")
        return status, out + err + "\n".join(path.read_text(errors="backslashreplace") for path in kept)


@contextmanager
def all_logs(path: Path) -> Iterator[None]:
    """Every logger of every library, down to the last detail, into a file."""
    handler = logging.FileHandler(path)
    root = logging.getLogger()
    level, named = root.level, [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
    levels = [one.level for one in named]
    root.addHandler(handler)
    for one in (root, *named):
        one.setLevel(1)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
        root.setLevel(level)
        for one, before in zip(named, levels, strict=True):
            one.setLevel(before)


@pytest.fixture
def scene(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    traces, given = tmp_path / "traces", tmp_path / "given"
    traces.mkdir()
    given.mkdir()
    (given / "key").write_text("0x" + ALICE.hex())
    (given / "words").write_text(WORDS)
    (given / "passphrase").write_text(PASSPHRASE)
    with paid_network(tmp_path / "net") as net, terminal(tmp_path / "home", capsys, net) as shell:
        shell.wallet("alice", ALICE)
        shell.wallet("bob", BOB)
        net.client.fund(net.owner, address_of(ALICE), eth_wei=10**17)
        net.earn(ALICE, 5)
        net.earn(BOB, 7)
        net.close()
        net.activate()
        assert shell.run("claim", "--wallet", "bob", "--permit", given / "bob.permit").status == 0
        monkeypatch.setattr("tempfile.tempdir", str(traces))  # where crash reports go
        yield Scene(net, shell, traces, capsys)


def sabotage(scene: Scene, commands: list[tuple[str, ...]], rounds: int) -> tuple[int, list[str]]:
    """Crash the commands in turn, spread over all calls that they make; return how many failed, and what leaked."""
    lengths = []
    for arguments in commands:
        counter = Saboteur(-1, RuntimeError())
        status, _ = scene.play(arguments, counter)
        assert status == 0, arguments
        lengths.append(counter.calls)
    assert min(lengths) > 20
    failed, leaked = 0, []
    for number in range(rounds):
        which = number % len(commands)
        at = 1 + (number * lengths[which]) // rounds
        error = _ERRORS[number % len(_ERRORS)](f"forced, round {number}")
        status, left = scene.play(commands[which], Saboteur(at, error))
        failed += status != 0
        leaked += [f"{commands[which]} at call {at}: {name}" for name in find_secrets(left)]
    return failed, leaked


def check_no_crash_leaks(scene: Scene, rounds: int) -> None:
    with all_logs(scene.traces / "all.txt"):
        failed, leaked = sabotage(scene, scene.commands(), rounds)
    print(f"{rounds} forced crashes, {failed} ended the command, {len(leaked)} leaks")
    assert leaked == []
    assert failed >= rounds // 3  # the others hit what is tried again, or what may fail


def test_forced_crashes_leave_no_secret_anywhere(scene: Scene) -> None:
    check_no_crash_leaks(scene, 12)


@pytest.mark.slow
def test_two_hundred_forced_crashes_leave_no_secret_anywhere(scene: Scene) -> None:
    check_no_crash_leaks(scene, 200)


def test_a_crash_report_with_values_would_leak(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other arm: a report that shows what variables hold, as many tools make it, is found out by this search."""

    def print_with_values(file: Any) -> None:
        for frame, _line in traceback.walk_tb(sys.exc_info()[2]):
            file.writelines(f"{name} = {spell(value)}\n" for name, value in frame.f_locals.items())

    def spell(value: Any) -> str:
        try:
            return repr(value)
        except Exception as error:  # an object whose making was cut short cannot always say what it is
            return f"<{type(error).__name__}>"

    monkeypatch.setattr("curiosity.host.console.traceback.print_exc", print_with_values)
    _, leaked = sabotage(scene, scene.commands()[:1], 3)
    assert any(one.endswith(": alice") for one in leaked)


def test_neither_the_process_table_nor_a_core_dump_shows_a_key(scene: Scene) -> None:
    """A claim is stopped while it waits for its block, with the key in memory."""
    scene.net.dev.request("evm_setAutomine", [False])
    process = subprocess.Popen(
        [sys.executable, "-m", "node.cli", "claim", "--wallet", "alice"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=scene.traces,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
        preexec_fn=_allow_core_dumps,
    )  # fmt: skip
    try:
        pool = scene.net.dev.request
        eventually(lambda: int(pool("txpool_status", [])["pending"], 16) > 0 or process.poll() is not None)
        assert process.poll() is None
        proc = Path("/proc") / str(process.pid)
        shown = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
        assert find_secrets(shown.decode(errors="backslashreplace")) == []
        (limit,) = [line for line in (proc / "limits").read_text().splitlines() if line.startswith("Max core file")]
        assert limit.split()[4] == "0"
        process.send_signal(signal.SIGABRT)
        assert process.wait(PATIENCE_S) == -signal.SIGABRT
        assert not list(scene.traces.glob("core*"))
    finally:
        process.kill()
        process.wait()
        scene.net.dev.request("evm_setAutomine", [True])


def _allow_core_dumps() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
