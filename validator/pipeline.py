"""The spine: what happens to a pair from its bytes to its receipt, in one place and in order.

    1 admit    signature, network, form, licence, expiry, nonce, quota; decodes nothing        intake
    2 decode   both items, in sandboxed processes                                               decode
    3 embed    both items, on the one device thread                                             embedder
    4 judge    in commit order, on the one writer thread                                        judge
    5 append   one durable transaction for the batch; the receipts are the reply                ledger

Steps 1 to 3 run for many pairs at once; steps 4 and 5 for one batch after another, so that the order of judging is the
order of the ledger. No step calls back up. A pair that is too far apart is a verdict, not an exception.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from curiosity.embedding.work import Budget
from curiosity.host.port.address import UNKNOWN, Sender
from curiosity.host.port.shares import Shares, keys_of
from curiosity.protocol.errors import CuriosityError, Overloaded, Rejected, StoreError
from curiosity.protocol.messages import Decision
from curiosity.protocol.pair import Envelope, Item, SignedPair
from curiosity.protocol.receipt import Receipt
from curiosity.protocol.verdict import Reason, Verdict
from curiosity.serving.decode import Decoder, Unjudged
from curiosity.serving.embedder import Embedder
from curiosity.serving.fair import FairQueue
from curiosity.serving.in_force import InForce
from curiosity.serving.index import VectorIndex
from curiosity.serving.judge import Judge
from curiosity.serving.quotas import Payer
from validator.decided import Decided, Ready, fresh_salts, open_for, replay
from validator.forgotten import Forgotten
from validator.intake import Admitted, Intake, nonce_reused
from validator.ledger import Ledger, NewEntry
from validator.lookup import SharedLookup
from validator.store import Store

log = logging.getLogger(__name__)

T = TypeVar("T")
_MAX_EMBED_ROUNDS = 5  # a checkpoint switch makes a pair's embeddings stale; more than a few in a row is a fault
_GATHER_S = 0.01  # about what a batch of one takes
_GATHER_STEP_S = 0.001
_GATHER_STILL = 3  # steps in which nobody came
_PAIR_BYTES = 4096  # what a pair costs the writer beside its items, in bytes written


@dataclass(frozen=True)
class _InFlight:
    digest: bytes
    decision: "asyncio.Future[Decision]"


class _Stale(Exception):
    """The checkpoint was switched between embedding and judging; embed again."""


class Pipeline:
    """Takes submissions to decisions. One instance owns the ledger's writer thread.

    ``fixed`` is for measuring only (`benchmarks.ledger_ingest`): the verdict about every pair whose contents are new,
    in place of steps 2 to 4. No setting leads to it.
    """

    def __init__(
        self,
        *,
        intake: Intake,
        decoder: Decoder,
        embedder: Embedder,
        ledger: Ledger,
        store: Store,
        forgotten: Forgotten,
        max_queue_pairs: int,
        max_batch_pairs: int,
        budget: Budget | None = None,
        is_fair: bool = True,
        fixed: Verdict | None = None,
    ) -> None:
        self.intake = intake
        self.forgotten = forgotten
        self.on_decision: Callable[[Verdict], None] = lambda _verdict: None
        self._decoder = decoder
        self._embedder = embedder
        self._building: InForce | None = None
        self._ledger = ledger
        self._store = store
        self._places = Shares(max_queue_pairs, is_fair=is_fair)
        self._budget = budget
        self._max_batch_pairs = max_batch_pairs
        self._fixed = fixed
        self._in_flight: dict[tuple[bytes, bytes], _InFlight] = {}
        self._salts = fresh_salts()  # the writer's
        self._queue: FairQueue[tuple[Ready, asyncio.Future[Decision]]] = FairQueue(is_fair=is_fair)
        self._is_queued = asyncio.Event()
        self._writer = ThreadPoolExecutor(1, "writer")
        self._readers = ThreadPoolExecutor(4, "reader")
        self._nonces = SharedLookup(store.find_nonces, self._readers, store.nonces())
        self._gate = asyncio.Lock()
        self._sequencer: asyncio.Task[None] | None = None
        self.failure: StoreError | None = None  # why nothing is decided any more
        self.failed = asyncio.Event()  # set with it
        self._loop: asyncio.AbstractEventLoop | None = None
        ledger.on_stop = self.stop

    # -- life

    def start(self) -> None:
        """Begin to decide. Call once, from the event loop."""
        self._loop = asyncio.get_running_loop()
        self._sequencer = asyncio.create_task(self._sequence())

    async def close(self) -> None:
        """Finish what was admitted, then stop."""
        waiting = [asyncio.shield(flight.decision) for flight in self._in_flight.values()]
        if self.failure is None:
            await asyncio.gather(*waiting, return_exceptions=True)
        if self._sequencer is not None:
            self._sequencer.cancel()
            await asyncio.gather(self._sequencer, return_exceptions=True)
        self._writer.shutdown()
        self._readers.shutdown()

    @property
    def judge(self) -> Judge:
        """The judge in force."""
        return self._embedder.in_force.judge

    @property
    def index(self) -> VectorIndex:
        """The index in force."""
        return self._embedder.in_force.index

    @property
    def queued(self) -> int:
        """Pairs admitted and not yet decided."""
        return len(self._in_flight)

    async def on_writer(self, work: Callable[[], T]) -> T:
        """Run ``work`` on the writer thread, between two batches: the way to append anything but a pair."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    async def on_reader(self, work: Callable[[], T]) -> T:
        """Run a blocking read of the store off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    async def paused(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` while no batch is being decided; pairs that arrive meanwhile wait."""
        async with self._gate:
            return await work

    @contextmanager
    def building(self, beside: InForce) -> Iterator[None]:
        """What is taken down inside the block is forgotten by ``beside`` too, which is to be in force after it."""
        self._building = beside
        try:
            yield
        finally:
            self._building = None

    # -- the spine

    async def check_first(self, first: bytes, length: int | None, sender: Sender) -> tuple[Envelope, int, bytes]:
        """Refuse what the envelope alone shows to be refused, before the items are read; return what `validate` takes.

        ``first`` is the beginning of the body with the whole envelope, ``length`` that of the body if the sender told
        it. What was decided before, or is being decided, passes. Raises what `validate` raises.
        """
        if self.failure is not None:
            raise self.failure
        envelope, offset, digest = self.intake.check_envelope(first)
        key = (envelope.submission.contributor, envelope.submission.nonce)
        if key not in self._in_flight and await self._nonces.find(key) is None:
            self.intake.check_terms(envelope, offset, length, payer_of(envelope, sender))
        return envelope, offset, digest

    async def validate(
        self, body: bytes, sender: Sender = UNKNOWN, checked: tuple[Envelope, int, bytes] | None = None
    ) -> Decision:
        """Return the decision about a submission, new or the one that it got before.

        ``checked`` is what `check_first` returned for the beginning of this body.

        Raises Rejected for what cannot become a decision, Overloaded when the queue is full, StoreError when the
        ledger has stopped.
        """
        if self.failure is not None:
            raise self.failure
        envelope, offset, digest = checked or self.intake.check_envelope(body)
        payer = payer_of(envelope, sender)
        key = (envelope.submission.contributor, envelope.submission.nonce)
        earlier = self._in_flight.get(key)
        if earlier is not None:
            if earlier.digest != digest:
                raise nonce_reused(envelope, earlier.digest)
            return replace(await asyncio.shield(earlier.decision), replayed=True)
        keys = keys_of(sender)
        if not self._places.may_take(keys, 1):
            raise Overloaded(
                "QUEUE_FULL",
                f"{len(self._in_flight)} pairs wait, at most {self._places.total}, "
                "of which nobody may have more than is left",
                "Send the same bytes again after the time in Retry-After.",
                retry_after_s=2,
            )
        flight = _InFlight(digest, asyncio.get_running_loop().create_future())
        self._in_flight[key] = flight
        try:
            with self._places.holding(keys, 1), self.intake.quotas.charging_contributor(payer, len(body)):
                decision = await self._decide(body, envelope, offset, digest, payer)
        except BaseException as error:
            flight.decision.set_exception(error if isinstance(error, CuriosityError) else _interrupted())
            flight.decision.exception()  # nobody has to be waiting for it
            raise
        else:
            flight.decision.set_result(decision)
            return decision
        finally:
            del self._in_flight[key]

    async def _decide(self, body: bytes, envelope: Envelope, offset: int, digest: bytes, payer: Payer) -> Decision:
        self.forgotten.check_pair(digest)
        decided = await self._nonces.find((envelope.submission.contributor, envelope.submission.nonce))
        if decided is not None:
            if decided.pair != digest:
                raise nonce_reused(envelope, decided.pair)
            return replay(decided)
        admitted = self.intake.admit(body, envelope, offset, digest, payer)  # 1
        self._check_forgotten(admitted)
        if self._fixed is not None:
            return await self._enqueue(Ready(admitted, self.judge.checkpoint, fixed=self._fixed), payer)
        try:
            arrays = await self._decode(admitted.pair, payer)  # 2
        except Unjudged:
            raise
        except Rejected as refusal:
            ready = Ready(admitted, refusal=(Reason.ITEM_UNDECODABLE, f"{refusal.code}: {refusal.what}"[:500]))
            return await self._enqueue(ready, payer)
        for _ in range(_MAX_EMBED_ROUNDS):
            # Again in each round: the checkpoint may have been switched to one that judges other pairs.
            self.intake.check_pair(envelope.submission.modalities)
            ready = await self._embed(admitted, arrays)  # 3
            try:
                return await self._enqueue(ready, payer)  # 4 and 5
            except _Stale:
                continue
        raise Overloaded(
            "CHECKPOINT_CHANGING",
            f"the checkpoint was switched {_MAX_EMBED_ROUNDS} times while this pair was embedded",
            "Send the same bytes again.",
            retry_after_s=5,
        )

    async def _decode(self, pair: SignedPair, payer: Payer) -> tuple[Any, Any]:
        async def decode(name: str, item: Item) -> Any:
            try:
                return await self._decoder.decode(item.modality, item.media_type, item.data, payer, self._budget)
            except Rejected as refusal:
                raise type(refusal)(
                    refusal.code,
                    f"item {name}: {refusal.what}",
                    refusal.remedy,
                    status=refusal.status,
                    retry_after_s=refusal.retry_after_s,
                ) from None

        decoded = await asyncio.gather(decode("a", pair.a), decode("b", pair.b), return_exceptions=True)
        for value in decoded:
            if isinstance(value, BaseException):
                raise value
        return decoded[0], decoded[1]

    async def _embed(self, admitted: Admitted, arrays: tuple[Any, Any]) -> Ready:
        pair = admitted.pair
        (a, under_a), (b, under_b) = await asyncio.gather(
            self._embedder.embed(pair.a.modality, pair.a.digest, arrays[0]),
            self._embedder.embed(pair.b.modality, pair.b.digest, arrays[1]),
        )
        return Ready(admitted, under_a if under_a == under_b else b"", a, b)

    async def _enqueue(self, ready: Ready, payer: Payer) -> Decision:
        decided: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._queue.put(payer.path, (ready, decided))
        self._is_queued.set()
        return await decided

    # -- the sequencer

    async def _sequence(self) -> None:
        batch: list[tuple[Ready, asyncio.Future[Decision]]] = []
        while True:
            await self._is_queued.wait()
            if max(len(batch), len(self._in_flight)) > 1:  # who is alone, now and before, does not wait
                expected = len(batch) + len(self._queue)  # those who were answered just now come again
                await gathered(lambda: len(self._queue), min(expected, self._max_batch_pairs))
            answers: list[Decision | Exception]
            async with self._gate:
                batch = [self._next() for _ in range(min(len(self._queue), self._max_batch_pairs))]
                if not len(self._queue):
                    self._is_queued.clear()
                try:
                    answers = await self.on_writer(lambda batch=batch: self._commit([ready for ready, _ in batch]))  # type: ignore[misc]
                except Exception as error:  # noqa: BLE001
                    # The process edge of the writer: whatever it was, no receipt may leave and nothing may follow.
                    if _is_away(error) and not self._ledger.is_stopped:
                        answers = [error] * len(batch)  # nothing was written; the next batch tries again
                    else:
                        self.stop(error)
                        answers = [self.failure or _interrupted()] * len(batch)
            for (_, decided), answer in zip(batch, answers, strict=True):
                if decided.cancelled():
                    continue
                if isinstance(answer, BaseException):
                    decided.set_exception(answer)
                else:
                    self.on_decision(answer.verdict)
                    decided.set_result(answer)

    def _next(self) -> tuple[Ready, asyncio.Future[Decision]]:
        """Take whose turn it is to be judged. A pair costs its bytes, which are written, and a constant beside them."""
        taken = self._queue.take(_PAIR_BYTES)
        self._queue.settle(taken, _PAIR_BYTES + sum(len(item.data) for item in _items(taken.item[0])))
        return taken.item

    def stop(self, error: BaseException) -> None:
        """Refuse everything from now on: after a failed commit nobody knows what is durable until the next start.

        Thread-safe. `validator.__main__.serve` then ends the process.
        """
        if self.failure is not None:
            return
        log.error("event=ledger_stopped", exc_info=error)
        self.failure = (
            error
            if isinstance(error, StoreError)
            else StoreError(
                "LEDGER_STOPPED",
                f"a commit failed with {type(error).__name__}: {error}",
                "Restart the validator; it checks the ledger at start.",
            )
        )
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.failed.set)

    def _commit(self, batch: Sequence[Ready]) -> list[Decision | Exception]:
        """Judge a batch in order and append it in one transaction. Runs on the writer thread."""
        if self.failure is not None:
            raise self.failure
        slots: list[int | Exception] = []  # place among the verdicts, or why there is none
        verdicts: list[Decided] = []
        contents = [(r.admitted.pair.a.digest, r.admitted.pair.b.digest) for r in batch if r.refusal is None]
        accepted = self._store.known_contents(contents)  # grows with what this batch accepts
        for ready in batch:
            if ready.refusal is None and ready.checkpoint != self.judge.checkpoint:
                slots.append(_Stale())
                continue
            try:
                self._check_forgotten(ready.admitted)  # again: it may have been taken down since it was admitted
            except Rejected as refusal:
                slots.append(refusal)
                continue
            slots.append(len(verdicts))
            verdicts.append(self._judge(ready, accepted, self._ledger.size + len(verdicts)))
        now = int(time.time())  # decides nothing but when items of refused pairs are let go
        entries = [decided.new_entry(now) for decided in verdicts]
        self._nonces.expect((new.contributor, new.nonce) for entry in entries if (new := entry.submission) is not None)
        receipts = self._ledger.append(entries) if entries else []
        for decided, receipt in zip(verdicts, receipts, strict=True):
            if decided.verdict.is_accepted and decided.judged is not None:
                modalities = decided.ready.admitted.pair.envelope.submission.modalities
                finals = (decided.judged.final_a, decided.judged.final_b)
                self._embedder.in_force.show(receipt.index, modalities, finals)
        answers = [self._answer(*row) for row in zip(receipts, entries, verdicts, strict=True)]
        return [slot if isinstance(slot, Exception) else answers[slot] for slot in slots]

    def _check_forgotten(self, admitted: Admitted) -> None:
        pair = admitted.pair
        try:
            self.forgotten.check_contents(pair.envelope.submission.contributor, pair.a.digest, pair.b.digest)
        except Rejected:
            self._embedder.forget([pair.a.digest, pair.b.digest])
            raise

    def _answer(self, receipt: Receipt, entry: NewEntry, decided: Decided) -> Decision:
        if receipt.entry.encode() != entry.leaf:  # decided earlier: that receipt goes with that opening
            stored = self._store.find_pair(decided.ready.admitted.digest)
            assert stored is not None, "the ledger has just named it"
            return replay(stored)
        return Decision(receipt, decided.verdict, decided.opening, decided.embeddings())

    def _judge(self, ready: Ready, accepted: dict[tuple[bytes, bytes], int], index: int) -> Decided:
        salt = next(self._salts)
        if ready.refusal is not None:
            reason, detail = ready.refusal
            return Decided(ready, self.judge.refuse(reason), open_for(ready, salt, detail), None)
        contents = (ready.admitted.pair.a.digest, ready.admitted.pair.b.digest)
        known = accepted.get(contents)
        if known is not None:
            detail = f"entry {known} holds the same two contents"
            return Decided(ready, self.judge.refuse(Reason.CONTENT_DUPLICATE), open_for(ready, salt, detail), None)
        if ready.fixed is not None:
            if ready.fixed.is_accepted:
                accepted[contents] = index
            return Decided(ready, ready.fixed, open_for(ready, salt), None)
        assert ready.a is not None, "Ready holds two embedded items or a refusal"
        assert ready.b is not None, "Ready holds two embedded items or a refusal"
        judged = self.judge.judge(ready.admitted.pair.envelope.submission.modalities, ready.a, ready.b, index)
        if judged.verdict.is_accepted:
            accepted[contents] = index
        return Decided(ready, judged.verdict, open_for(ready, salt, "", judged.measurement), judged)

    def forget(self, index: int, modalities: str) -> None:
        """Leave the pair of this entry out of searches and of the history. Thread-safe."""
        # In this order: what is being built may be in force by the time that we look there.
        for state in (self._building, self._embedder.in_force):
            if state is not None:
                state.forget(index, modalities)


def payer_of(envelope: Envelope, sender: Sender) -> Payer:
    """Return on whose account a pair is decided."""
    return Payer(sender, f"0x{envelope.submission.contributor.hex()}")


def _items(ready: Ready) -> tuple[Item, Item]:
    return ready.admitted.pair.a, ready.admitted.pair.b


async def gathered(size: Callable[[], int], most: int, clock: Callable[[], float] = time.monotonic) -> None:
    """Return once a queue of ``size()`` holds ``most``, has not grown for 3 ms, or 10 ms have gone by.

    Much of what a batch costs does not depend on its size: three syncs, two signatures, pages of five indexes. Those
    whose answers have just left are about to send again, and would otherwise make every batch half as large as it could
    be; and while a batch waits for the disk, nobody contends with it for Python's lock.
    """
    until, before, still = clock() + _GATHER_S, 0, 0
    while (held := size()) < most and still < _GATHER_STILL and clock() < until:
        still = 0 if held > before else still + 1
        before = held
        await asyncio.sleep(_GATHER_STEP_S)


def _is_away(error: Exception) -> bool:
    return isinstance(error, StoreError) and error.code == "STORE_UNREACHABLE"


def _interrupted() -> StoreError:
    return StoreError(
        "COMMIT_FAILED", "the decision could not be made durable", "Send the same bytes again after the restart."
    )
