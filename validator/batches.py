"""Steps 4 and 5 of the spine below its calls: whose turn it is, what makes a batch, and what the writer does with it.

A batch is judged and appended in one stretch on the writer thread, so that the order of judging is the order of the
ledger. A pair whose turn has come is decided whether or not anybody still waits for the answer.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from curiosity.embedding.sketch import Sketch
from curiosity.host.port.shares import Shares
from curiosity.protocol.errors import Rejected, StoreError
from curiosity.protocol.judgement import Embedded
from curiosity.protocol.messages import Decision
from curiosity.protocol.receipt import Receipt
from curiosity.protocol.verdict import Verdict
from curiosity.serving.crowds import Crowds
from curiosity.serving.embedder import Embedder
from curiosity.serving.fair import FairQueue
from curiosity.serving.in_force import InForce
from validator.decided import replay, to_embeddings, unpack_embeddings
from validator.forgotten import Forgotten
from validator.intake import Admitted
from validator.judging import Judgement, Judging
from validator.ledger import Ledger
from validator.lookup import SharedLookup
from validator.store import Store, StoredDecision
from validator.threads import Threads
from validator.turn import PAIR_BYTES, Turn

log = logging.getLogger(__name__)

T = TypeVar("T")
Nonces = SharedLookup[tuple[bytes, bytes], StoredDecision]
"""Finds what was answered to a contributor's (address, nonce)."""
_GATHER_S = 0.01  # about what a batch of one takes
_GATHER_STEP_S = 0.001
_GATHER_STILL = 3  # steps in which nobody came
_FINALS = slice(2, 4)  # of the four embeddings that are kept of a pair


class Batches:
    """The line of pairs that wait to be judged and appended. One instance decides on the writer thread.

    ``places`` counts the pairs on their way through all steps. ``takes_items``: whether the rule of pay has a pool for
    new items. ``on_decision`` is told of every verdict.
    """

    def __init__(
        self,
        *,
        threads: Threads,
        embedder: Embedder,
        ledger: Ledger,
        store: Store,
        forgotten: Forgotten,
        crowds: Crowds,
        places: Shares,
        max_batch_pairs: int,
        is_fair: bool = True,
        takes_items: Callable[[], bool] = lambda: False,
        on_decision: Callable[[Verdict], None] = lambda _verdict: None,
    ) -> None:
        self.places = places
        self.nonces: Nonces = SharedLookup(store.find_nonces, threads.readers, store.nonces())
        self.failure: StoreError | None = None  # why nothing is decided any more
        self.failed = asyncio.Event()  # set with it
        self._threads = threads
        self._embedder = embedder
        self._building: InForce | None = None
        self._ledger = ledger
        self._store = store
        self._forgotten = forgotten
        self.crowds = crowds
        self._max_batch_pairs = max_batch_pairs
        self.takes_items = takes_items
        self._on_decision = on_decision
        self._judging = Judging(embedder, store, crowds, check_forgotten=self.check_forgotten, takes_items=takes_items)
        self._queue: FairQueue[Turn] = FairQueue(is_fair=is_fair)
        self._is_queued = asyncio.Event()
        self._gate = asyncio.Lock()
        self._sequencer: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        ledger.on_stop = self.stop

    # -- life

    def start(self) -> None:
        """Begin to decide. Call once, from the event loop."""
        self._loop = asyncio.get_running_loop()
        self._sequencer = asyncio.create_task(self._sequence())

    async def close(self) -> None:
        """Stop. What still waits is not decided."""
        if self._sequencer is not None:
            self._sequencer.cancel()
            await asyncio.gather(self._sequencer, return_exceptions=True)

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

    async def paused(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` while no batch is being decided; pairs that arrive meanwhile wait."""
        async with self._gate:
            return await work

    @contextmanager
    def building(self, beside: InForce) -> Iterator[None]:
        """Let ``beside``, which is to be in force after it, forget what is taken down inside the block."""
        self._building = beside
        try:
            yield
        finally:
            self._building = None

    def forget(self, index: int, modalities: str) -> None:
        """Leave the pair of this entry out of searches and of the history. Thread-safe."""
        # In this order: what is being built may be in force by the time that we look there.
        for state in (self._building, self._embedder.in_force):
            if state is not None:
                state.forget(index, modalities)
        self.crowds.leave(index)

    def check_forgotten(self, admitted: Admitted) -> None:
        """Check that the pair may come back; if it may not, forget its embeddings too.

        Raises:
            Rejected: CONTENT_TAKEN_DOWN.
        """
        pair = admitted.pair
        try:
            self._forgotten.check_contents(pair.envelope.submission.contributor, *pair.contents)
        except Rejected:
            self._embedder.forget(pair.contents)
            raise

    # -- the two steps, for one pair

    async def judge(
        self, admitted: Admitted, embedded: tuple[Embedded, ...] | Rejected, sketches: tuple[Sketch, ...] = ()
    ) -> Turn:
        """Wait for the pair's turn and return it once the pair is judged; the writer goes on to append it.

        A pair with ``embedded`` Rejected could not be decoded, and is judged by that; one without ``sketches`` is a
        copy of none but that of the same bytes.

        Raises:
            StaleEmbeddings: If the checkpoint was switched meanwhile.
            Rejected: CONTENT_TAKEN_DOWN.
            StoreError: If the store cannot be read.
        """
        turn = Turn(admitted, embedded, sketches)
        self._queue.put(admitted.payer.path, turn)
        self._is_queued.set()
        await turn.judged
        return turn

    async def append(self, turn: Turn) -> Decision:
        """Return the decision once it is durable.

        Raises:
            StoreError: If it cannot be written.
        """
        return await turn.decision

    # -- the sequencer

    async def _sequence(self) -> None:
        batch: list[Turn] = []
        while True:
            await self._is_queued.wait()
            if max(len(batch), self.places.used) > 1:  # the only pair in flight, now and before, does not wait
                expected = len(batch) + len(self._queue)  # those who were answered just now come again
                await gathered(lambda: len(self._queue), min(expected, self._max_batch_pairs))
            async with self._gate:
                batch = [self._next() for _ in range(min(len(self._queue), self._max_batch_pairs))]
                if not len(self._queue):
                    self._is_queued.clear()
                try:
                    answers = await self._threads.on_writer(lambda batch=batch: self._decide(batch))  # type: ignore[misc]
                except Exception as error:  # noqa: BLE001
                    # The process edge of the writer: whatever it was, no receipt may leave and nothing may follow.
                    if not is_away(error) or self._ledger.is_stopped:
                        self.stop(error)
                        error = self.failure or interrupted()
                    for turn in batch:  # nothing was written if the store is away; the next batch tries again
                        turn.fail(error)
                    continue
            for turn, decision in answers:
                if not (turn.judged.cancelled() or turn.decision.done()):
                    self._on_decision(decision.verdict)
                    turn.decision.set_result(decision)

    def _next(self) -> Turn:
        taken = self._queue.take(PAIR_BYTES)
        self._queue.settle(taken, taken.item.cost)
        return taken.item

    # -- on the writer thread

    def _decide(self, batch: Sequence[Turn]) -> list[tuple[Turn, Decision]]:
        """Judge a batch in order and append it in one transaction; return the decisions of those that were judged."""
        if self.failure is not None:
            raise self.failure
        judged, refused = self._judging.judge(batch, self._ledger.size)
        assert self._loop is not None, "a batch is decided after `start`"
        self._loop.call_soon_threadsafe(_announce, list(judged), refused)
        decisions = self._append(judged) if judged else []
        return list(zip(judged, decisions, strict=True))

    def _append(self, judged: dict[Turn, Judgement]) -> list[Decision]:
        """Append in one transaction; return what is answered to each pair."""
        entries = [entry for entry, _, _ in judged.values()]
        self.nonces.expect((new.contributor, new.nonce) for entry in entries if (new := entry.submission) is not None)
        first = self._ledger.size
        try:
            receipts = self._ledger.append(entries)
        except StoreError:
            self._judging.place(judged, first, [None] * len(judged))
            raise
        fresh = [
            receipt.index == first + n or receipt.entry.encode() == entry.leaf
            for n, (receipt, entry) in enumerate(zip(receipts, entries, strict=True))
        ]
        self._judging.place(judged, first, [r.index if new else None for r, new in zip(receipts, fresh, strict=True)])
        in_force = self._embedder.in_force
        for receipt, (entry, verdict, _) in zip(receipts, judged.values(), strict=True):
            if verdict.is_accepted and (new := entry.submission) is not None and new.embeddings is not None:
                final_a, final_b = unpack_embeddings(new.embeddings)[_FINALS]
                in_force.show(receipt.index, f"{new.a.modality}-{new.b.modality}", (final_a, final_b))
        return [self._answer(*row) for row in zip(receipts, judged.values(), strict=True)]

    def _answer(self, receipt: Receipt, judgement: Judgement) -> Decision:
        entry, verdict, opening = judgement
        new = entry.submission
        assert new is not None, "every entry of a batch decides about a pair"
        if receipt.entry.encode() != entry.leaf:  # decided earlier: that receipt goes with that opening
            stored = self._store.find_pair(new.pair)
            assert stored is not None, "the ledger has just named it"
            return replay(stored)
        return Decision(receipt, verdict, opening, to_embeddings(new.embeddings))


def _announce(judged: Sequence[Turn], refused: Sequence[tuple[Turn, Exception]]) -> None:
    """Tell those who wait that step 4 is done."""
    for turn, error in refused:
        turn.fail(error)
    for turn in judged:
        if not turn.judged.done():
            turn.judged.set_result(None)


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


def is_away(error: Exception) -> bool:
    """Return whether the store could not be reached before anything was written."""
    return isinstance(error, StoreError) and error.code == "STORE_UNREACHABLE"


def interrupted() -> StoreError:
    """Return what is raised about a decision that nobody knows to be durable."""
    return StoreError(
        "COMMIT_FAILED", "the decision could not be made durable", "Send the same bytes again after the restart."
    )
