"""One process that decodes, and the pipe to it (see `curiosity.serving.sandbox`). What it answers is untrusted."""

import asyncio
import contextlib
import os
import struct
import sys
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from curiosity.embedding.modality import Array
from curiosity.embedding.work import ITEM_UNITS, Budget
from curiosity.protocol.errors import StoreError
from curiosity.protocol.json_reader import read_json
from curiosity.serving.quotas import Payer
from curiosity.serving.sandbox import frame

START_TIMEOUT_S = 60.0
_EXIT_GRACE_S = 5.0  # the kernel frees a large process slowly on a busy machine
_MAX_HEADER_BYTES = 1 << 16
_MAX_ANSWER_BYTES = 64 << 20  # of an array; the largest, 64 frames of video, has 12 MB


@dataclass(frozen=True)
class DecodeJob:
    """An item to decode, who pays for it, and where its array goes."""

    modality: str
    media_type: str
    data: bytes = field(repr=False)
    payer: Payer
    budget: Budget | None
    kept: bool
    done: "asyncio.Future[Array]"

    @property
    def least_units(self) -> int:
        """What the item costs at the least."""
        return ITEM_UNITS + len(self.data)


class WorkerDied(Exception):
    """The process closed its side of the pipe."""


class WorkerLies(Exception):
    """The process wrote something that no honest worker writes."""


class DecodeWorker:
    """One process and the pipe to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.protections: list[str] = []

    @classmethod
    async def spawn(cls) -> "DecodeWorker":
        """Start a process and return it once it is ready.

        Raises:
            StoreError: DECODER_NOT_STARTING.
        """
        # Neither keys nor the database's password are in the environment that a worker inherits.
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL")}
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "curiosity.serving.sandbox", limit=1 << 20,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment | threads,
            )  # fmt: skip
        except OSError as error:
            raise _not_starting(str(error)) from error
        worker = cls(process)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                header, _ = await worker.read()
            worker.protections = [str(name) for name in header.get("protections", ())]
        except TimeoutError:
            await worker.kill()
            raise _not_starting(f"no answer in {START_TIMEOUT_S:g} s") from None
        except (WorkerDied, WorkerLies):
            raise _not_starting(f"it ended with status {await worker.kill()}") from None
        except BaseException:  # cancelled: leave no process behind
            await worker.kill()
            raise
        return worker

    async def read(self) -> tuple[dict[str, Any], bytes]:
        """Return header and bytes of the next answer.

        Raises:
            WorkerDied: WorkerLies.
        """
        assert self.process.stdout is not None
        try:
            (length,) = struct.unpack(">I", await self.process.stdout.readexactly(4))
            if length > _MAX_HEADER_BYTES:
                raise WorkerLies
            header = read_json(await self.process.stdout.readexactly(length))
            if not isinstance(header, dict) or type(size := header.get("size")) is not int:
                raise WorkerLies
            if not 0 <= size <= _MAX_ANSWER_BYTES:
                raise WorkerLies
            return header, await self.process.stdout.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise WorkerDied from None
        except (ValueError, RecursionError):
            raise WorkerLies from None

    async def ask(self, job: DecodeJob) -> tuple[dict[str, Any], bytes]:
        """Hand over an item and return the answer.

        Raises:
            WorkerDied: WorkerLies.
        """
        assert self.process.stdin is not None
        try:
            budget = None if job.budget is None else astuple(job.budget)
            header = {"modality": job.modality, "media_type": job.media_type, "budget": budget, "kept": job.kept}
            self.process.stdin.write(frame(header, job.data))
            self.process.stdin.write(job.data)
            await self.process.stdin.drain()
        except ConnectionError:
            raise WorkerDied from None
        return await self.read()

    def processor_s(self) -> float | None:
        """Return seconds of processor time that the process has used; None where /proc does not tell."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def end(self) -> int | None:
        """Return the exit status of a process that closed its pipe; None if it did not end and had to be killed."""
        try:
            async with asyncio.timeout(_EXIT_GRACE_S):
                return await self.process.wait()
        except TimeoutError:
            await self.kill()
            return None

    async def kill(self) -> int:
        """End the process and return its exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        return await self.process.wait()


def _not_starting(why: str) -> StoreError:
    return StoreError(
        "DECODER_NOT_STARTING",
        f"a decode worker did not start: {why}",
        "Run `python -m curiosity.serving.sandbox` by hand to see why.",
    )
