"""`curiosity up` as a process, and what it leaves behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 600  # a safety stop


def command(*arguments: str | Path) -> list[str]:
    """The command line of `curiosity` with these arguments."""
    return [sys.executable, "-m", "node.cli", *map(str, arguments)]


def environment() -> dict[str, str]:
    """This process's environment without settings of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CURIOSITY_")}
    return kept | {"OMP_NUM_THREADS": "1"}


@dataclass
class Up:
    """A running `curiosity up`."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        """What it has printed."""
        return self.log.read_text()

    def url(self) -> str:
        """The address of its validator."""
        return self.said().split("Running. Validator: ")[1].split()[0]

    def line(self, name: str) -> str:
        """One of the facts that it prints when it is ready, such as ``receipt key``."""
        (found,) = [line for line in self.said().splitlines() if line.startswith(f"  {name} ")]
        return found.removeprefix(f"  {name}").strip()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@contextmanager
def network(folder: Path, logs: Path, *options: str, ignore_interrupt: bool = False) -> Iterator[Up]:
    """`curiosity up` on free ports until the block ends. ``ignore_interrupt``: started as a shell starts a job in the
    background, with SIGINT ignored."""
    log = logs / "up.log"
    with log.open("wb") as file:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if ignore_interrupt else None
        try:
            process = subprocess.Popen(
                command("up", "--port", "0", "--chain-port", "0", "--folder", folder, *options),
                stdout=file,
                stderr=file,
                env=environment(),
            )
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)
    up = Up(process, log)
    try:
        until = time.monotonic() + PATIENCE_S
        while "Running. Validator" not in up.said():
            assert process.poll() is None, up.said()[-2000:]
            assert time.monotonic() < until, up.said()[-2000:]
            time.sleep(0.05)
        yield up
    finally:
        if process.poll() is None:
            up.end()


def running_below(folder: Path) -> list[str]:
    """Command lines of processes that name a folder, once all that was told to end has had time to."""
    until = time.monotonic() + 60
    while (found := _processes_of(folder)) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def _processes_of(folder: Path) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes()
        except OSError:
            continue  # it has just ended
        if str(folder).encode() in line:
            found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found
