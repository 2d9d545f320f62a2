"""Audits: pairs that a beacon drew are judged again before they vest, and what came of it goes into the ledger."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from curiosity.protocol.errors import CuriosityError, Rejected
from curiosity.protocol.judgement import Embedded
from curiosity.protocol.pair import Envelope, Part
from curiosity.protocol.verdict import Outcome
from curiosity.protocol.wire import parse
from curiosity.serving.decode import Decoder
from curiosity.serving.embedder import Embedder
from validator.epochs import Epochs
from validator.store import Store, StoredSubmission
from validator.threads import Threads

log = logging.getLogger(__name__)

JudgeAgain = Callable[[StoredSubmission], Awaitable[bool]]
"""Says whether a pair passes its audit. What it costs, and what it knows that the first judge did not, is its own."""


class Audits:
    """Has the pairs judged again that wait for it. The rule of pay demands no judge of its own: ``judge`` is given."""

    def __init__(self, *, store: Store, threads: Threads, epochs: Epochs, judge: JudgeAgain) -> None:
        self._store = store
        self._threads = threads
        self._epochs = epochs
        self._judge = judge

    async def audit(self) -> int:
        """Judge every pair again that is drawn and not audited; return how many audits were logged.

        A pair that cannot be judged now waits for the next round; what falls due of it before is lost.

        Raises:
            StoreError: If the store cannot be read or the entry cannot be made durable.
        """
        count = 0
        for award in await self._epochs.drawn():
            rows = await self._threads.on_reader(lambda at=award.index: self._store.submissions(at, 1))  # type: ignore[misc]
            if not rows or rows[0].index != award.index:
                continue  # taken down meanwhile
            try:
                passed = await self._judge(rows[0])
            except CuriosityError as error:
                log.warning("event=audit_failed entry=%d code=%s what=%r", award.index, error.code, error.what)
                continue
            count += await self._epochs.log_audit(award, passed=passed)
        return count

    async def run(self, interval_s: float) -> None:
        """Audit again and again, for ever."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.audit()
            except CuriosityError as error:  # the database is away: the next round looks again
                log.warning("event=audits_failed code=%s what=%r", error.code, error.what)


def judge_under_force(store: Store, threads: Threads, decoder: Decoder, embedder: Embedder) -> JudgeAgain:
    """Return the judge that asks the checkpoint in force: a pair fails that this would reject.

    It knows more than the first judge only if the checkpoint was switched since.
    """

    async def embed(part: Part) -> Embedded:
        content = await threads.on_reader(partial(store.blob, part.sha256))
        if content is None:
            raise Rejected("ITEM_GONE", f"item 0x{part.sha256.hex()} is not in the store", "Restore the blobs.")
        array = await decoder.decode(part.modality, part.media_type, content)
        return await embedder.embed(part.modality, part.sha256, array)

    async def judge(row: StoredSubmission) -> bool:
        submission = parse(Envelope, row.envelope).submission
        a, b = await asyncio.gather(embed(submission.a), embed(submission.b))
        opinion = embedder.in_force.judge.opine(submission.modalities, a, b)
        return opinion.outcome is not Outcome.REJECTED

    return judge
