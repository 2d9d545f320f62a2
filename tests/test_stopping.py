"""Every command that goes on until it is stopped ends on SIGTERM, also where SIGINT was ignored when it was started.

That is how a shell starts what runs in its background, and `nohup` and some supervisors.
"""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from curiosity.client.wallet import create_wallet
from curiosity.host.stopping import stop_on_sigterm
from curiosity.protocol.errors import ExitCode
from tests.material.tlog import LOG_VKEY, ORIGIN, Log
from tests.material.waiting import PATIENCE_S, eventually

PASSWORD = "correct horse battery staple"


@contextmanager
def started(home: Path, *command: str | Path, interrupts: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A program of ours as a shell's background job: SIGINT is ignored, unless ``interrupts``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CURIOSITY_")}
    environment = kept | {
        "CURIOSITY_NODE__HOME": str(home),
        "CURIOSITY_NODE__PATIENCE_S": "100000",
        "CURIOSITY_NODE__VALIDATOR_URL": "http://127.0.0.1:9",
        "CURIOSITY_PASSWORD_FILE": str(home / "password"),
    }
    home.mkdir(parents=True, exist_ok=True)
    (home / "password").write_text(PASSWORD)
    before = signal.signal(signal.SIGINT, signal.default_int_handler if interrupts else signal.SIG_IGN)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", *map(str, command)],
            env=environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str]:
    """Send it a signal, and return its status and all that it said when it ends."""
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in out + err, err
    return process.returncode, out + err


def _is_up_or_over(ready: Path, process: subprocess.Popen[str]) -> bool:
    return ready.exists() or process.poll() is not None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_validator_and_a_witness_finish_what_they_took(tmp_path: Path, number: signal.Signals) -> None:
    config = tmp_path / "curiosity.toml"
    config.write_text(
        f'[validator]\nport = 0\ndata_dir = "{tmp_path / "v"}"\ndecode_workers = 1\ngenesis = "tiny"\n'
        f'[witness]\nport = 0\nname = "w.example"\nlogs = ["{ORIGIN} {LOG_VKEY}"]\ndata_dir = "{tmp_path / "w"}"\n'
    )
    for role in ("validator", "witness"):
        ready = tmp_path / f"{role}.ready"
        command = ("node.cli", role, "run", "--config", config, "--ready-file", ready)
        with started(tmp_path, *command) as process:
            eventually(partial(_is_up_or_over, ready, process))
            status, said = stop(process, number)
            assert status == 0, said


def test_a_follower_that_signs_epochs_says_how_many(tmp_path: Path) -> None:
    create_wallet(tmp_path, "second", PASSWORD, scrypt_n=2, private_key=b"\2" * 32)
    with started(tmp_path, "node.cli", "attest", "--wallet", "second", "--follow", "--every", "100000") as process:
        assert process.stderr is not None
        assert "Trying again" in process.stderr.readline()
        assert stop(process) == (ExitCode.INTERRUPTED, "Signed 0 epochs.\n")


def test_a_follower_of_a_log_is_interrupted(tmp_path: Path) -> None:
    static_log, log = tmp_path / "log", Log([b"one", b"two"])
    for path, content in (log.files() | {"checkpoint": log.note.encode()}).items():
        (static_log / path).parent.mkdir(parents=True, exist_ok=True)
        (static_log / path).write_bytes(content)
    command = ("node.cli", "ledger", "audit", static_log, "--foreign", "--log-vkey", LOG_VKEY, "--follow")
    with started(tmp_path, *command, "--interval", "100000") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        assert stop(process)[0] == ExitCode.INTERRUPTED


@pytest.mark.parametrize("interrupts", [False, True])
def test_a_submit_that_waits_for_its_validator_is_interrupted(tmp_path: Path, interrupts: bool) -> None:
    """``interrupts``: with a SIGINT that is not ignored, where asyncio has a handler of its own."""
    create_wallet(tmp_path, "alice", PASSWORD, scrypt_n=2, private_key=b"\3" * 32)
    (tmp_path / "pair.txt").write_text("words")
    Image.new("RGB", (40, 30), (200, 10, 10)).save(tmp_path / "pair.png")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = ("node.cli", "submit", tmp_path / "pair.png", tmp_path / "pair.txt", "--url", url)
        with started(tmp_path, *command, "--wallet", "alice", "--license", "MIT", interrupts=interrupts) as process:
            eventually(lambda: select.select([silent], [], [], 0)[0] or process.poll() is not None)
            assert process.poll() is None, process.communicate()
            connection, _ = silent.accept()  # it was asked, and never answers
            with connection:
                status, said = stop(process)
    assert (status, "run the same command again" in said) == (ExitCode.INTERRUPTED, True)


def test_a_demo_is_interrupted_and_leaves_nothing_running(tmp_path: Path) -> None:
    where = ("--out", tmp_path / "demo.json", "--folder", tmp_path / "demo")
    with started(tmp_path, "node.cli", "demo", *where) as process:
        assert process.stderr is not None
        while "chain" not in (line := process.stderr.readline()).lower():
            assert line, "it ended"
        assert stop(process)[0] == ExitCode.INTERRUPTED

    def left() -> list[bytes]:
        commands = [_read(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
        return [command for command in commands if str(tmp_path).encode() in command]

    eventually(lambda: not left(), left)  # a killed process is there until the kernel has taken it down


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # ended meanwhile
        return b""


def test_an_interruption_that_python_ignores_comes_again(tmp_path: Path) -> None:
    """It comes in a destructor, where Python prints an exception and goes on."""
    (tmp_path / "program.py").write_text(
        "import os, signal, time\n"
        "from curiosity.host.stopping import stop_on_sigterm\n"
        "class Dying:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "stop_on_sigterm()\n"
        "try:\n"
        "    Dying()\n"
        "    print('went on')\n"
        f"    time.sleep({PATIENCE_S})\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    done = subprocess.run([sys.executable, tmp_path / "program.py"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("went on\ninterrupted\n", "")


@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.default_int_handler])
def test_sigterm_does_what_ctrl_c_does(before: Callable[..., object] | signal.Handlers) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    hook = sys.unraisablehook
    try:
        signal.signal(signal.SIGINT, before)
        stop_on_sigterm()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    finally:
        sys.unraisablehook = hook
        for number, handler in handlers.items():
            signal.signal(number, handler)
