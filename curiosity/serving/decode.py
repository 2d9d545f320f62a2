"""Untrusted bytes to arrays, in processes that can do nothing else and can be killed (see `curiosity.serving.sandbox`).

A worker takes one item at a time, so that a crash or a time-out is the fault of exactly that item. The others go on.
A worker that something else ended (a SIGKILL, which no item can cause) or that got no processor time is our fault: the
item is tried once more, and then the sender is told to come back. What a worker answers is untrusted too: a codec that
was taken over may answer anything, and must gain nothing but the refusal of its item.

Whose turn it is: the sender who was given least (`curiosity.serving.fair`), in declared units of work
(`curiosity.embedding.work`), which also count against its quotas. An item over its budget is refused by its headers.
"""

import asyncio
import logging
import re
import signal
from typing import Any

import numpy as np

from curiosity.embedding.modalities import find
from curiosity.embedding.modality import Array, check_contract
from curiosity.embedding.work import ITEM_UNITS, LOST_PROCESS_UNITS, Budget
from curiosity.host.port.shares import Shares, keys_of
from curiosity.protocol.errors import CuriosityError, Overloaded, Rejected, StoreError
from curiosity.serving.decode_worker import DecodeJob, DecodeWorker, WorkerDied, WorkerLies
from curiosity.serving.fair import FairQueue, TakenItem
from curiosity.serving.quotas import OWN, Payer, QuotaLimits, Quotas

log = logging.getLogger(__name__)

ITEM_TIMEOUT_S = 5.0
MAX_WAITING = 4096
MAX_WAITING_BYTES = 256 << 20
ATTEMPTS = 2  # for an item whose worker was lost through no visible fault of its own
_MAX_UNITS = 1 << 50
_CODE = re.compile("[A-Z][A-Z0-9_]{1,63}")


class Unjudged(Rejected):
    """A refusal that says nothing about the pair: its item is too much work, or its sender has sent too much."""


class _Refused(Exception):
    """The item is refused, and what it cost to find that out, in units."""

    def __init__(self, refusal: Rejected, units: int) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.units = units


class _WorkerLost(Exception):
    """The process is gone, and nothing shows that the item did it."""


class Decoder:
    """Decodes items in ``workers`` sandboxed processes. Start it and close it on the event loop that uses it."""

    def __init__(
        self,
        workers: int,
        *,
        item_timeout_s: float = ITEM_TIMEOUT_S,
        max_waiting: int = MAX_WAITING,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        quotas: Quotas | None = None,
        is_fair: bool = True,
    ) -> None:
        self._count = workers
        self._item_timeout_s = item_timeout_s
        self._places = Shares(max_waiting, is_fair=is_fair)
        self._bytes = Shares(max_waiting_bytes, is_fair=is_fair)
        self._quotas = quotas or Quotas(QuotaLimits())
        self._jobs: FairQueue[DecodeJob] = FairQueue(is_fair=is_fair)
        self._ready = asyncio.Semaphore(0)  # counts the jobs that wait
        self._workers: list[DecodeWorker | None] = [None] * workers
        self._tasks: list[asyncio.Task[None]] = []
        self._protections: list[str] = []
        self._replaced = 0
        self.units = 0  # of work done so far

    async def start(self) -> None:
        """Start the processes.

        Raises:
            StoreError: DECODER_NOT_STARTING if they do not come up.
        """
        started = await asyncio.gather(*(DecodeWorker.spawn() for _ in range(self._count)), return_exceptions=True)
        up = [worker for worker in started if isinstance(worker, DecodeWorker)]
        self._workers = list(up)
        for failure in started:
            if isinstance(failure, BaseException):
                await self.close()
                raise failure
        self._protections = [p for p in up[0].protections if all(p in worker.protections for worker in up)]
        missing = {"system-call-filter"} - set(self._protections)
        if missing:
            log.warning("event=sandbox_incomplete missing=%s", ",".join(missing))
        self._tasks = [asyncio.create_task(self._serve(slot)) for slot in range(self._count)]

    async def close(self) -> None:
        """End the processes; whoever still waits gets Overloaded DECODER_STOPPED."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(worker.kill() for worker in self._workers if worker is not None))
        for job in self._jobs.drain():
            self._leave(job)
            _fail(job, _stopped())

    def describe(self) -> dict[str, Any]:
        """Return which protections are in force, for `curiosity doctor` and the logs."""
        return {
            "workers": self._count,
            "protections": self._protections,
            "item_timeout_s": self._item_timeout_s,
            "waiting": len(self._jobs),
            "replaced": self._replaced,
            "units": self.units,
        }

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are up."""
        return [worker.process.pid for worker in self._workers if worker is not None]

    async def decode(
        self,
        modality: str,
        media_type: str,
        data: bytes,
        payer: Payer = OWN,
        budget: Budget | None = None,
        *,
        kept: bool = False,
    ) -> Array:
        """Return the item's array under its modality's contract, read-only; one that is ``kept`` has few spare bytes.

        Raises:
            Overloaded: DECODER_BUSY if too many items or bytes wait, in all or of this payer, DECODER_STALLED if its
                workers were ended or starved from outside, DECODER_STOPPED when closing.
            Rejected: With the rule that the item breaks, ITEM_TIMEOUT if it keeps a processor busy for too long,
                ITEM_CRASHED_DECODER if the process broke on it.
            Unjudged: ITEM_OVER_BUDGET or QUOTA_EXCEEDED.
        """
        if not self._tasks:
            raise _stopped()
        job = DecodeJob(modality, media_type, data, payer, budget, kept, asyncio.get_running_loop().create_future())
        keys = self._keys(job)
        is_first_bytes = not len(self._jobs)  # an item alone may be as large as it likes
        if not self._places.may_take(keys, 1) or not (is_first_bytes or self._bytes.may_take(keys, len(data))):
            raise Overloaded(
                "DECODER_BUSY",
                f"{self._places.used} items of {self._bytes.used} bytes wait to be decoded, at most "
                f"{self._places.total} items and {self._bytes.total} bytes, of which nobody may have more than is left",
                "Send the same bytes again after the time in Retry-After.",
                retry_after_s=2,
            )
        self._places.take(keys, 1)
        self._bytes.take(keys, len(data))
        self._jobs.put(payer.path, job)
        self._ready.release()
        return await job.done

    @staticmethod
    def _keys(job: DecodeJob) -> tuple[str, ...]:
        """Return under which keys a waiting job counts.

        The validator's own jobs count under none, so that only the total holds them.
        """
        return () if job.payer.is_own else keys_of(job.payer.sender)

    def _leave(self, job: DecodeJob) -> None:
        self._places.give(self._keys(job), 1)
        self._bytes.give(self._keys(job), len(job.data))

    async def _serve(self, slot: int) -> None:
        while True:
            await self._ready.acquire()
            taken = self._jobs.take(ITEM_UNITS)
            self._leave(taken.item)
            if taken.item.done.cancelled():
                self._jobs.settle(taken, 0)
            else:
                await self._serve_one(slot, taken)

    async def _serve_one(self, slot: int, taken: TakenItem[DecodeJob]) -> None:
        job, units = taken.item, 0
        try:
            try:
                self._quotas.check_waiting(job.payer)  # it may have been used up since it was admitted
            except Rejected as refusal:
                raise _unjudged(refusal) from None
            units = job.least_units
            try:
                array, units = await self._run(slot, job)
            except _Refused as refused:
                units = refused.units
                raise refused.refusal from None
        except asyncio.CancelledError:
            _fail(job, _stopped())
            raise
        except CuriosityError as error:
            _fail(job, error)
            if isinstance(error, StoreError):
                await asyncio.sleep(1.0)  # do not spin on a machine that cannot start processes
        else:
            if not job.done.done():
                job.done.set_result(array)
        finally:
            self._jobs.settle(taken, units)
            self._quotas.charge_work(job.payer, units)
            self.units += units

    async def _run(self, slot: int, job: DecodeJob) -> tuple[Array, int]:
        lost = ""
        for _ in range(ATTEMPTS):
            worker = self._workers[slot]
            if worker is None or worker.process.returncode is not None:  # it may have been ended while it had no item
                worker = self._workers[slot] = await DecodeWorker.spawn()
            try:
                return await self._ask(slot, worker, job)
            except _WorkerLost as error:
                lost = str(error)
        raise Overloaded(
            "DECODER_STALLED",
            f"decoding {len(job.data)} bytes of {job.media_type} was given up {ATTEMPTS} times: {lost}",
            "Send the same bytes again after the time in Retry-After.",
            retry_after_s=10,
        )

    async def _ask(self, slot: int, worker: DecodeWorker, job: DecodeJob) -> tuple[Array, int]:
        before_s = worker.processor_s()
        try:
            async with asyncio.timeout(self._item_timeout_s):
                return _to_array(job, *await worker.ask(job))
        except TimeoutError:
            after_s = worker.processor_s()
            used_s = None if before_s is None or after_s is None else after_s - before_s
            await self._replace(slot, worker, f"time-out, processor_s={used_s}")
            if used_s is not None and used_s < self._item_timeout_s / 2:
                raise _WorkerLost(f"in {self._item_timeout_s:g} s it got {used_s:.2f} s of a processor") from None
            refusal = Rejected(
                "ITEM_TIMEOUT",
                f"decoding {len(job.data)} bytes of {job.media_type} took over {self._item_timeout_s:g} s",
                "Make the item smaller or simpler.",
                status=422,
            )
            raise _Refused(refusal, LOST_PROCESS_UNITS) from None
        except WorkerDied:
            status = await worker.end()
            await self._replace(slot, worker, f"status {status}")
            if status == -signal.SIGKILL:
                raise _WorkerLost("something else on this machine ended the process with SIGKILL") from None
            refusal = _crashed(job, f"ended the decoder with status {status}")
            raise _Refused(refusal, LOST_PROCESS_UNITS) from None
        except WorkerLies:
            await self._replace(slot, worker, "answer is none")
            refusal = _crashed(job, "made the decoder answer what is not an item")
            raise _Refused(refusal, LOST_PROCESS_UNITS) from None

    async def _replace(self, slot: int, worker: DecodeWorker, why: str) -> None:
        self._workers[slot] = None
        self._replaced += 1
        await worker.kill()
        log.warning("event=decoder_replaced slot=%d why=%r", slot, why)


def _to_array(job: DecodeJob, header: dict[str, Any], payload: bytes) -> tuple[Array, int]:
    """Return the answer's array and its units of work.

    Raises:
        _Refused: If it is a refusal.
        WorkerLies: If it is neither.
    """
    work = header.get("work", 0)
    if type(work) is not int or not 0 <= work <= _MAX_UNITS:
        raise WorkerLies
    units = max(job.least_units, ITEM_UNITS + work)
    if "code" in header:
        code, what, remedy = (header.get(name) for name in ("code", "what", "remedy"))
        if not (isinstance(code, str) and _CODE.fullmatch(code) and isinstance(what, str) and isinstance(remedy, str)):
            raise WorkerLies
        refusal = Rejected(code, what[:1000], remedy[:1000], status=422)
        if code == "ITEM_OVER_BUDGET":  # it was measured and not decoded
            raise _Refused(_unjudged(refusal), job.least_units)
        raise _Refused(refusal, units)
    try:
        # The dtype is the contract's, whatever the worker says; the shape is checked against it.
        modality = find(job.modality)
        array = np.frombuffer(payload, dtype=modality.contract.dtype).reshape(header["shape"])
        check_contract(modality, array)
    except (Rejected, KeyError, TypeError, ValueError, OverflowError):
        raise WorkerLies from None
    return array, units


def _unjudged(refusal: Rejected) -> Unjudged:
    return Unjudged(
        refusal.code, refusal.what, refusal.remedy, status=refusal.status, retry_after_s=refusal.retry_after_s
    )


def _fail(job: DecodeJob, error: CuriosityError) -> None:
    if not job.done.done():
        job.done.set_exception(error)


def _crashed(job: DecodeJob, how: str) -> Rejected:
    return Rejected(
        "ITEM_CRASHED_DECODER",
        f"decoding {len(job.data)} bytes of {job.media_type} {how}",
        "Write the file again with a common program.",
        status=422,
    )


def _stopped() -> Overloaded:
    return Overloaded(
        "DECODER_STOPPED", "the decoder is not running", "Send the same bytes again in a moment.", retry_after_s=5
    )
