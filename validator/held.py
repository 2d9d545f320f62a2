"""Held pairs, judged again under each of the next checkpoints (docs/protocol.md, step 9).

After a switch, and after each start, in the background: a page of held pairs is decoded and embedded while others are
decided, judged between two batches in the order of the ledger, and appended in one transaction. Until that nothing of
it is there, and from then on the store does not name these pairs any more: a process may end at any point.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from curiosity.embedding.sketch import Sketch, sketch_item
from curiosity.protocol.entry import PairEntry
from curiosity.protocol.errors import CuriosityError, Rejected
from curiosity.protocol.judgement import Embedded, Opinion
from curiosity.protocol.pair import Envelope, Part, SignedPair
from curiosity.protocol.verdict import Measurement, Opening, Outcome, Reason, Verdict
from curiosity.protocol.wire import parse
from curiosity.serving.crowds import Likeness, Packed
from curiosity.serving.decode import Decoder, Unjudged
from curiosity.serving.embedder import Embedder
from curiosity.serving.quotas import OWN
from curiosity.serving.singles import count_new
from validator.batches import Batches, is_away
from validator.blocking import BlockedItems
from validator.decided import fresh_salts, pack_embeddings, seal_entry, unpack_embeddings, without_bytes
from validator.forgotten import Forgotten
from validator.intake import Admitted
from validator.ledger import Ledger, NewEntry
from validator.reindex import patiently
from validator.store import Store, StoredSubmission
from validator.threads import Threads

log = logging.getLogger(__name__)

_PAGE = 16  # pairs that are embedded, and judged between two batches, at a time
_PAUSE_S = 30.0  # after a failure
_DETAIL_CHARS = 500


@dataclass(frozen=True)
class _Turn:
    """A held pair with its newest entry, ready to be judged again."""

    row: StoredSubmission
    entry: PairEntry
    envelope: Envelope
    embedded: tuple[Embedded, Embedded] | Rejected
    sketches: tuple[Sketch, ...] = ()

    @property
    def contents(self) -> tuple[bytes, bytes]:
        return self.envelope.submission.a.sha256, self.envelope.submission.b.sha256

    def admitted(self) -> Admitted:
        """Return the submission as it was admitted once, without its items' bytes."""
        s = self.envelope.submission
        pair = SignedPair(self.envelope, without_bytes(s.a), without_bytes(s.b))
        return Admitted(self.row.pair, pair, self.row.envelope, OWN)


class HeldPairs:
    """Judges held pairs again. ``on_decision`` is told of every verdict; ``clock`` gives Unix seconds."""

    def __init__(
        self,
        *,
        store: Store,
        ledger: Ledger,
        decoder: Decoder,
        embedder: Embedder,
        threads: Threads,
        batches: Batches,
        forgotten: Forgotten,
        blocked: BlockedItems,
        on_decision: Callable[[Verdict], None] = lambda _verdict: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._decoder = decoder
        self._embedder = embedder
        self._threads = threads
        self._batches = batches
        self._forgotten = forgotten
        self._blocked = blocked
        self._on_decision = on_decision
        self._clock = clock
        self._salts = fresh_salts()  # the writer's
        self._woken = asyncio.Event()

    async def count(self) -> int:
        """Return how many held pairs wait to be judged again."""
        return await self._threads.on_reader(self._store.count_held)

    def wake(self) -> None:
        """Judge again what is held: another checkpoint is in force."""
        self._woken.set()

    async def run(self) -> None:
        """Judge again now and after each `wake`, until it is cancelled or the ledger has stopped."""
        while self._batches.failure is None:
            self._woken.clear()
            try:
                await self.judge_again()
            except CuriosityError as error:  # the next round goes on where this one stopped
                log.warning("event=held_failed code=%s what=%s", error.code, error.what)
                await asyncio.sleep(_PAUSE_S)
                continue
            await self._woken.wait()

    async def judge_again(self) -> int:
        """Judge all held pairs that the checkpoint in force has not judged; return how many were decided.

        Pairs of modalities that it does not judge wait for another.

        Raises:
            Overloaded: If decoder or device have no place for long.
            StoreError: If the store cannot be read or written.
        """
        after, decided = -1, 0
        while page := await self._threads.on_reader(
            lambda after=after: self._store.held(self._embedder.checkpoint, after, _PAGE)  # type: ignore[misc]
        ):
            after = page[-1].index
            embedded = await asyncio.gather(*(self._embed(row) for row in page))
            turns = [turn for turn in embedded if turn is not None]
            verdicts = await self._batches.paused(self._threads.on_writer(lambda turns=turns: self._decide(turns)))  # type: ignore[misc]
            for verdict in verdicts:
                self._on_decision(verdict)
            decided += len(verdicts)
        if decided:
            log.info("event=held_judged_again pairs=%d checkpoint=%s", decided, self._embedder.checkpoint.hex())
        return decided

    # -- decoding and embedding

    async def _embed(self, row: StoredSubmission) -> _Turn | None:
        """Return the pair embedded, or why it cannot be decoded; None if it cannot be judged now."""
        entry, envelope = parse(PairEntry, row.leaf), parse(Envelope, row.envelope)
        if entry.modalities not in self._embedder.in_force.judge.pairs:
            return None
        submission = envelope.submission
        try:
            a, b = [await self._embed_item(part) for part in (submission.a, submission.b)]
        except Unjudged:
            raise
        except Rejected as refusal:
            if refusal.code == "ITEM_BLOCKED":  # it was listed after it came; the operator takes it down
                log.warning("event=held_blocked entry=%d", row.index)
                return None
            return _Turn(row, entry, envelope, refusal)
        if a is None or b is None:
            return None
        return _Turn(row, entry, envelope, (a[0], b[0]), (a[1], b[1]))

    async def _embed_item(self, part: Part) -> tuple[Embedded, Sketch] | None:
        content = await self._threads.on_reader(lambda: self._store.blob(part.sha256))
        if content is None:  # taken down since the page was read
            return None
        (await self._blocked.current()).check_bytes([content])
        array = await patiently(lambda: self._decoder.decode(part.modality, part.media_type, content))
        await self._blocked.check_decoded(part.modality, array)
        embedded = await patiently(lambda: self._embedder.embed(part.modality, part.sha256, array))
        return embedded, await self._threads.on_reader(lambda: sketch_item(part.modality, array))

    # -- on the writer thread

    def _decide(self, turns: Sequence[_Turn]) -> list[Verdict]:
        """Judge these pairs in order and append their entries in one transaction."""
        if self._batches.failure is not None:
            raise self._batches.failure
        turns = self._still_held(turns)
        if not turns:
            return []
        first = self._ledger.size
        try:
            entries, verdicts = self._judge(turns)
            self._ledger.append(entries)
        except Exception as error:
            if is_away(error) and not self._ledger.is_stopped:
                for index, turn in enumerate(turns, start=first):  # nothing was written: these points are nobody's
                    self._embedder.in_force.judge.forget(turn.entry.modalities, index)
                    self._batches.crowds.leave(index)
            else:
                self._batches.stop(error)
            raise
        for index, (turn, entry, verdict) in enumerate(zip(turns, entries, verdicts, strict=True), start=first):
            if verdict.is_accepted and entry.submission is not None and entry.submission.embeddings is not None:
                final_a, final_b = unpack_embeddings(entry.submission.embeddings)[2:]
                self._embedder.in_force.show(index, turn.entry.modalities, (final_a, final_b))
        return verdicts

    def _still_held(self, turns: Sequence[_Turn]) -> list[_Turn]:
        """Leave out what was taken down meanwhile, and what was embedded under another checkpoint than is in force."""
        newest = self._store.find_pairs([turn.row.pair for turn in turns])
        checkpoint = self._embedder.checkpoint
        return [
            turn
            for turn in turns
            if newest[turn.row.pair].index == turn.row.index
            and turn.row.pair not in self._forgotten
            and (isinstance(turn.embedded, Rejected) or all(one.checkpoint == checkpoint for one in turn.embedded))
        ]

    def _judge(self, turns: Sequence[_Turn]) -> tuple[list[NewEntry], list[Verdict]]:
        judge = self._embedder.in_force.judge
        accepted = self._store.known_contents([turn.contents for turn in turns])
        opinions = {
            turn.row.index: judge.opine(turn.entry.modalities, *turn.embedded)
            for turn in turns
            if not isinstance(turn.embedded, Rejected)
        }
        judge.look_ahead(opinions.values())
        entries: list[NewEntry] = []
        verdicts: list[Verdict] = []
        now = int(self._clock())
        for index, turn in enumerate(turns, start=self._ledger.size):
            measurement: Measurement | None = None
            embeddings: bytes | None = None
            detail = ""
            sketches: Packed = ()
            if isinstance(turn.embedded, Rejected):
                verdict = judge.refuse(Reason.ITEM_UNDECODABLE)
                detail = f"{turn.embedded.code}: {turn.embedded.what}"[:_DETAIL_CHARS]
            elif copy := self._copy_of(turn, accepted):
                # Whoever came second was decided first: that is nobody's fault.
                verdict, detail = replace(judge.refuse(Reason.CONTENT_DUPLICATE), fault=None), copy
            elif (found := self._find(turn, opinions[turn.row.index])).copy_of is not None:
                verdict, detail = (
                    judge.refuse(Reason.PAIR_COPY, None),
                    f"entry {found.copy_of} holds near copies of both",
                )
            else:
                a, b = turn.embedded
                judged = judge.rank(opinions[turn.row.index], index, found.crowd)
                verdict, measurement, detail = judged.verdict, judged.measurement, judged.detail
                embeddings = pack_embeddings(a.whole, b.whole, judged.final_a, judged.final_b)
                if verdict.is_accepted:
                    accepted[turn.contents] = index
                    sketches = tuple((one.modality, one.pack()) for one in turn.sketches)
                    if self._batches.takes_items():
                        items = count_new(turn.embedded, turn.entry.modalities, judge, found)
                        verdict = replace(verdict, items=items)
                    self._batches.crowds.join(index, turn.contents, sketches, is_novel=verdict.novel)
            opening = Opening(next(self._salts), *turn.contents, detail, measurement)
            entries.append(seal_entry(turn.admitted(), verdict, opening, embeddings, now, turn.row.index, sketches))
            verdicts.append(verdict)
        return entries, verdicts

    def _find(self, turn: _Turn, opinion: Opinion) -> Likeness:
        if opinion.outcome is not Outcome.ACCEPTED:
            return Likeness()
        return self._batches.crowds.find(turn.contents, turn.sketches, opinion.point)

    def _copy_of(self, turn: _Turn, accepted: dict[tuple[bytes, bytes], int]) -> str:
        """Return which pair of the same contents is or was in the ledger; empty if none is."""
        if (known := accepted.get(turn.contents)) is not None:
            return f"entry {known} holds the same two contents"
        try:
            self._forgotten.check_contents(turn.entry.contributor, *turn.contents)
        except Rejected as refusal:
            return refusal.what
        return ""
