"""Audits: pairs that a beacon drew are judged again before they vest, and what came of it goes into the ledger."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from curiosity.embedding.checkpoint import load
from curiosity.protocol.errors import ConfigError, CuriosityError, Rejected
from curiosity.protocol.judgement import Embedded
from curiosity.protocol.pair import Envelope, Part
from curiosity.protocol.verdict import Outcome, Reason
from curiosity.protocol.wire import parse
from curiosity.serving.decode import Decoder
from curiosity.serving.embedder import Embedder
from curiosity.serving.in_force import put_on_device
from validator.epochs import Epochs
from validator.store import Store, StoredSubmission
from validator.threads import Threads

log = logging.getLogger(__name__)

JudgeAgain = Callable[[StoredSubmission], Awaitable[bool]]
"""Says whether a pair passes its audit. What it costs, and what it knows that the first judge did not, is its own."""


class Audits:
    """Has the pairs judged again that wait for it. The rule of pay demands no judge of its own: ``judge`` is given.

    ``auditor`` are the encoders that it alone uses, closed with this.
    """

    def __init__(
        self, *, store: Store, threads: Threads, epochs: Epochs, judge: JudgeAgain, auditor: Embedder | None = None
    ) -> None:
        self._store = store
        self._threads = threads
        self._epochs = epochs
        self._judge = judge
        self._auditor = auditor

    def close(self) -> None:
        """Close the auditor's encoders."""
        if self._auditor is not None:
            self._auditor.close()

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


def load_auditor(path: Path, device: str | None, rule: str) -> Embedder:
    """Return the encoders of a checkpoint that judges audits and nothing else.

    It has learned from nobody's pairs: whoever is audited did not teach it.

    Args:
        path: The checkpoint's folder.
        device: "cuda" or "cpu"; None picks.
        rule: The judge's about curiosity, which no audit asks.

    Raises:
        CheckpointError: If it does not verify.
        ConfigError: AUDITOR_LEARNED, DEVICE_NOT_USABLE.
    """
    checkpoint = load(path)
    manifest = checkpoint.manifest
    if manifest.parent or manifest.ledger is not None:
        what = f"the checkpoint in {path} follows 0x{manifest.parent}, and may have learned from who is audited"
        remedy = "Name a genesis checkpoint as [validator] audit_checkpoint: such learned from no ledger."
        raise ConfigError("AUDITOR_LEARNED", what, remedy)
    return Embedder(put_on_device(checkpoint, device, rule))


def judge_by(
    store: Store, threads: Threads, decoder: Decoder, in_force: Embedder, auditor: Embedder | None
) -> JudgeAgain:
    """Return the judge of audits: a pair fails that ``auditor`` would reject, a single item that says too little.

    The checkpoint in force is asked about pairs of modalities that the auditor does not judge, or without one. It
    knows more than the first judge only if the checkpoint was switched since, and then it may have learned from the
    contributor who is audited.
    """

    async def embed(part: Part, by: Embedder) -> Embedded:
        content = await threads.on_reader(partial(store.blob, part.sha256))
        if content is None:
            raise Rejected("ITEM_GONE", f"item 0x{part.sha256.hex()} is not in the store", "Restore the blobs.")
        array = await decoder.decode(part.modality, part.media_type, content)
        return await by.embed(part.modality, part.sha256, array)

    async def judge_item(part: Part) -> bool:
        """Return whether a single item says enough: what is new to one checkpoint need not be to another."""
        by = in_force
        if auditor is not None and part.modality in auditor.in_force.judge.items.modalities:
            by = auditor
        opinion = by.in_force.judge.opine_item(part.modality, await embed(part, by))
        return opinion.reason is not Reason.ITEM_UNINFORMATIVE

    async def judge(row: StoredSubmission) -> bool:
        submission = parse(Envelope, row.envelope).submission
        if submission.is_single:
            return await judge_item(submission.a)
        knows = auditor is not None and submission.modalities in auditor.in_force.judge.pairs
        by = auditor if auditor is not None and knows else in_force
        a, b = await asyncio.gather(embed(submission.a, by), embed(submission.b, by))
        return by.in_force.judge.opine(submission.modalities, a, b).outcome is not Outcome.REJECTED

    return judge
