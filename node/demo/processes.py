"""The demo's other processes: a validator and a trainer, which a node only knows as commands. They end with us."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from contracts.devchain import die_with_parent
from curiosity.protocol.errors import ServiceError
from curiosity.protocol.json_reader import read_json

# Safety stops, far above what a busy machine takes: while it waits, a process that has ended is noticed at once.
_START_TIMEOUT_S = 3600.0
_STOP_TIMEOUT_S = 300.0
_TAIL_BYTES = 4096


class ValidatorProcess:
    """A validator in a process of its own, run by its public command."""

    def __init__(self, config: Path, log: Path) -> None:
        self._config = config
        self._log = log
        self._ready = config.with_suffix(".ready")
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0  # where in the log this start's words begin
        self.facts: dict[str, Any] = {}

    def start(self, waiting: Callable[[str], None] = lambda _line: None) -> dict[str, Any]:
        """Start it, wait until it listens, and return what it says of itself; ``waiting`` is told its last line.

        Raises:
            ServiceError: VALIDATOR_NOT_STARTING with the last line that it printed.
        """
        self._ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "validator", "run", "-v"]
        command += ["--config", str(self._config), "--ready-file", str(self._ready)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CURIOSITY_")}
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=environment,
                preexec_fn=die_with_parent(),
                process_group=0,  # Ctrl-C in a terminal is for us, who end it before the chain
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._ready.exists() and (text := self._ready.read_text()):
                self.facts = read_json(text)
                return self.facts
            waiting(self._last_line())
            time.sleep(0.05)
        self.stop()
        raise ServiceError("VALIDATOR_NOT_STARTING", self._last_line().rstrip("."), f"See {self._log}.")

    def check(self) -> None:
        """Check that it has not ended since it was started.

        Raises:
            ServiceError: VALIDATOR_ENDED, with the last line that it printed.
        """
        if self._process is not None and self._process.poll() is not None:
            raise ServiceError(
                "VALIDATOR_ENDED",
                f"the validator ended with status {self._process.returncode}: {self._last_line().rstrip('.')}",
                f"See {self._log}.",
            )

    def _last_line(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(self._log_start, self._log.stat().st_size - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines() or ["nothing was printed"]
        return lines[-1][:300]

    @property
    def pid(self) -> int:
        """Its process id, 0 if it is not running."""
        return 0 if self._process is None else self._process.pid

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Let it finish what it admitted, then end it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # asked a second time
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def run_json_lines(module: str, arguments: list[str], log: Path, *, threads: int = 0) -> Iterator[dict[str, Any]]:
    """Run a Python module that prints one JSON object a line and yield them.

    ``threads`` bounds its numeric threads, 0 leaves the choice to it.

    Raises:
        ServiceError: PROGRAM_FAILED if it ends with another status than 0, unless its last line is a result (``"event":
            "done"``), which says itself what it lacks.
    """
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    # Threads that wait by spinning take the processor from those that they wait for: with another program on two cores
    # twelve steps took 78 s that way and 19 s with threads that sleep.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            preexec_fn=die_with_parent(),
        ) as process,
    ):
        assert process.stdout is not None
        last: dict[str, Any] = {}
        for line in process.stdout:
            last = read_json(line)
            yield last
        status = process.wait()
    if status and last.get("event") != "done":
        error = last.get("error", {})
        what = error.get("what", f"status {status}")
        raise ServiceError(str(error.get("code", "PROGRAM_FAILED")), f"{module}: {what}", f"See {log}.")
