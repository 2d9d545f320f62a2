"""Untrusted bytes to arrays, in processes that can do nothing else and can be killed (see `validator.sandbox`).

A worker takes one item at a time, so that a crash or a time-out is the fault of exactly that item. The others go on.
"""

import asyncio
import contextlib
import json
import logging
import os
import struct
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.errors import Overloaded, Rejected, StoreError
from validator.sandbox import frame

log = logging.getLogger(__name__)

ITEM_TIMEOUT_S = 5.0
START_TIMEOUT_S = 60.0
MAX_WAITING = 4096
_MAX_HEADER_BYTES = 1 << 16

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Job:
    modality: str
    media_type: str
    data: bytes = field(repr=False)
    done: "asyncio.Future[Array]"


class _WorkerDied(Exception):
    """The process ended or wrote something that is no frame."""


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.protections: list[str] = []

    @classmethod
    async def spawn(cls) -> "_Worker":
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL")}
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "validator.sandbox",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment | threads,
        )  # fmt: skip
        worker = cls(process)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                header, _ = await worker.read()
        except (TimeoutError, _WorkerDied):
            await worker.kill()
            raise StoreError(
                "DECODER_NOT_STARTING",
                f"a decode worker did not start in {START_TIMEOUT_S:g} s",
                "Run `python -m validator.sandbox` by hand to see why.",
            ) from None
        worker.protections = list(header["protections"])
        return worker

    async def read(self) -> tuple[dict[str, Any], bytes]:
        assert self.process.stdout is not None
        try:
            (length,) = struct.unpack(">I", await self.process.stdout.readexactly(4))
            if length > _MAX_HEADER_BYTES:
                raise _WorkerDied
            header = json.loads(await self.process.stdout.readexactly(length))
            return header, await self.process.stdout.readexactly(header["size"])
        except (asyncio.IncompleteReadError, ValueError, KeyError, ConnectionError):
            raise _WorkerDied from None

    async def ask(self, job: _Job) -> tuple[dict[str, Any], bytes]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(frame({"modality": job.modality, "media_type": job.media_type}, job.data))
            self.process.stdin.write(job.data)
            await self.process.stdin.drain()
        except ConnectionError:
            raise _WorkerDied from None
        return await self.read()

    async def kill(self) -> int:
        """End the process and return its exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        return await self.process.wait()


class Decoder:
    """Decodes items in ``workers`` sandboxed processes. Start it and close it on the event loop that uses it."""

    def __init__(self, workers: int, *, item_timeout_s: float = ITEM_TIMEOUT_S, max_waiting: int = MAX_WAITING) -> None:
        self._count = workers
        self._item_timeout_s = item_timeout_s
        self._max_waiting = max_waiting
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._workers: list[_Worker | None] = [None] * workers
        self._tasks: list[asyncio.Task[None]] = []
        self._protections: list[str] = []

    async def start(self) -> None:
        """Start the processes. Raises StoreError DECODER_NOT_STARTING if they do not come up."""
        started = await asyncio.gather(*(_Worker.spawn() for _ in range(self._count)))
        self._workers = list(started)
        self._protections = started[0].protections
        missing = {"system-call-filter"} - set(self._protections)
        if missing:
            log.warning("event=sandbox_incomplete missing=%s", ",".join(missing))
        self._tasks = [asyncio.create_task(self._serve(slot)) for slot in range(self._count)]

    async def close(self) -> None:
        """End the processes; items that still wait are cancelled."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(worker.kill() for worker in self._workers if worker is not None))
        while not self._jobs.empty():
            self._jobs.get_nowait().done.cancel()

    def describe(self) -> dict[str, Any]:
        """Return which protections are in force, for `curiosity doctor` and the logs."""
        return {"workers": self._count, "protections": self._protections, "item_timeout_s": self._item_timeout_s}

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are up."""
        return [worker.process.pid for worker in self._workers if worker is not None]

    async def decode(self, modality: str, media_type: str, data: bytes) -> Array:
        """Return the item's array under its modality's contract.

        Raises Rejected with the rule that the item breaks, ITEM_TIMEOUT if it takes too long, ITEM_CRASHED_DECODER if
        the process died on it; Overloaded DECODER_BUSY if too many items wait.
        """
        if self._jobs.qsize() >= self._max_waiting:
            raise Overloaded(
                "DECODER_BUSY",
                f"{self._jobs.qsize()} items wait to be decoded, at most {self._max_waiting}",
                "Send the same bytes again after the time in Retry-After.",
                retry_after_s=2,
            )
        job = _Job(modality, media_type, data, asyncio.get_running_loop().create_future())
        self._jobs.put_nowait(job)
        return await job.done

    async def _serve(self, slot: int) -> None:
        while True:
            job = await self._jobs.get()
            if job.done.cancelled():
                continue
            try:
                worker = self._workers[slot]
                if worker is None:
                    worker = self._workers[slot] = await _Worker.spawn()
                outcome = await self._run(slot, worker, job)
            except StoreError as error:
                outcome = error
                await asyncio.sleep(1.0)  # do not spin on a machine that cannot start processes
            except asyncio.CancelledError:
                job.done.cancel()
                raise
            if job.done.done():
                continue
            if isinstance(outcome, BaseException):
                job.done.set_exception(outcome)
            else:
                job.done.set_result(outcome)

    async def _run(self, slot: int, worker: _Worker, job: _Job) -> "Array | Rejected | StoreError":
        try:
            async with asyncio.timeout(self._item_timeout_s):
                header, payload = await worker.ask(job)
        except TimeoutError:
            await self._replace(slot, worker)
            return Rejected(
                "ITEM_TIMEOUT",
                f"decoding {len(job.data)} bytes of {job.media_type} took over {self._item_timeout_s:g} s",
                "Make the item smaller or simpler.",
                status=422,
            )
        except _WorkerDied:
            status = await self._replace(slot, worker)
            return Rejected(
                "ITEM_CRASHED_DECODER",
                f"decoding {len(job.data)} bytes of {job.media_type} ended the decoder with status {status}",
                "Write the file again with a common program.",
                status=422,
            )
        if "code" in header:
            return Rejected(header["code"], header["what"], header["remedy"], status=422)
        return np.frombuffer(payload, dtype=header["dtype"]).reshape(header["shape"])

    async def _replace(self, slot: int, worker: _Worker) -> int:
        self._workers[slot] = None
        status = await worker.kill()
        log.warning("event=decoder_replaced slot=%d status=%d", slot, status)
        return status
