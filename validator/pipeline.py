"""The spine: what happens to a pair from its bytes to its receipt, in one place and in order (`Pipeline.decide`)."""

import asyncio
from dataclasses import dataclass, replace

from curiosity.embedding.modality import Array
from curiosity.embedding.sketch import Sketch, sketch_item
from curiosity.embedding.work import Budget
from curiosity.host.port.address import UNKNOWN, Sender
from curiosity.host.port.shares import keys_of
from curiosity.protocol.errors import CuriosityError, Overloaded, Rejected
from curiosity.protocol.judgement import Embedded
from curiosity.protocol.messages import Decision
from curiosity.protocol.pair import Envelope, Item
from curiosity.serving.block_list import BlockList
from curiosity.serving.decode import Decoder, Unjudged
from curiosity.serving.embedder import Embedder
from curiosity.serving.quotas import Payer
from validator.batches import Batches, interrupted
from validator.blocking import BlockedItems
from validator.decided import replay
from validator.forgotten import Forgotten
from validator.intake import Admitted, Intake, nonce_reused
from validator.judging import StaleEmbeddings
from validator.threads import Threads
from validator.turn import Turn

_MAX_EMBED_ROUNDS = 5  # a checkpoint switch makes a pair's embeddings stale; more than a few in a row is a fault


@dataclass(frozen=True)
class _InFlight:
    digest: bytes
    decision: "asyncio.Future[Decision]"


class Pipeline:
    """Takes submissions to decisions."""

    def __init__(
        self,
        *,
        intake: Intake,
        decoder: Decoder,
        embedder: Embedder,
        batches: Batches,
        forgotten: Forgotten,
        blocked: BlockedItems,
        threads: Threads,
        budget: Budget | None = None,
    ) -> None:
        self.intake = intake
        self._decoder = decoder
        self._embedder = embedder
        self._batches = batches
        self._forgotten = forgotten
        self._blocked = blocked
        self._threads = threads
        self._budget = budget
        self._in_flight: dict[tuple[bytes, bytes], _InFlight] = {}

    @property
    def queued(self) -> int:
        """Pairs admitted and not yet decided."""
        return len(self._in_flight)

    async def finish(self) -> None:
        """Return once everything that was admitted is decided; at once if nothing can be decided any more."""
        waiting = [asyncio.shield(flight.decision) for flight in self._in_flight.values()]
        if self._batches.failure is None:
            await asyncio.gather(*waiting, return_exceptions=True)

    # -- the spine

    async def decide(self, body: bytes, checked: tuple[Envelope, int, bytes], payer: Payer) -> Decision:
        """Return the decision about a pair that was not decided before.

        1. Admit: signature, network, form, licence, expiry, quota, the operator's list of bytes. Decodes nothing.
        2. Decode its items, in sandboxed processes. A pair with an item that cannot be decoded goes on without.
        3. Embed its items, on the one device thread, and sketch them, on a reader thread; where the operator's list
           has anything, sketch first, and refuse what it lists before anything is embedded.
        4. Judge, in commit order, on the one writer thread. A pair that is too far apart is a verdict, no exception.
        5. Append: one durable transaction for the batch. The receipt is part of the reply.

        A single item takes the same steps. Steps 1 to 3 run for many pairs at once, steps 4 and 5 for one batch after
        another. No step calls back up.
        `validate` calls this and owes what a pair needs beforehand: its nonce is new, no other request decides about
        it, and there is a place for it.
        """
        listed = await self._blocked.current()
        admitted = self._admit(body, checked, payer, listed)  # 1
        arrays = await self._decode(admitted)  # 2
        embedded, sketches = await self._represent(admitted, arrays, listed)  # 3
        turn = await self._judge(admitted, arrays, embedded, sketches)  # 4
        return await self._batches.append(turn)  # 5

    def _admit(self, body: bytes, checked: tuple[Envelope, int, bytes], payer: Payer, listed: BlockList) -> Admitted:
        admitted = self.intake.admit(body, *checked, payer)
        listed.check_bytes(item.data for item in admitted.pair.items)
        self._batches.check_forgotten(admitted)
        return admitted

    async def _decode(self, admitted: Admitted) -> tuple[Array, ...] | Rejected:
        """Return the items' arrays, or why one cannot be decoded.

        Raises:
            Unjudged: For what is not the items' fault.
            Rejected: ITEM_BLOCKED, where one cannot be decoded and the other is listed.
        """
        named = zip("ab", admitted.pair.items, strict=False)
        tasks = (self._decode_one(name, item, admitted.payer) for name, item in named)
        decoded = await asyncio.gather(*tasks, return_exceptions=True)
        arrays = [array for array in decoded if not isinstance(array, BaseException)]
        for failure in decoded:
            if isinstance(failure, Rejected) and not isinstance(failure, Unjudged):
                for item, array in zip(admitted.pair.items, decoded, strict=True):
                    if not isinstance(array, BaseException):
                        await self._blocked.check_decoded(item.modality, array)
                return failure
            if isinstance(failure, BaseException):
                raise failure
        return tuple(arrays)

    async def _decode_one(self, name: str, item: Item, payer: Payer) -> Array:
        try:
            return await self._decoder.decode(item.modality, item.media_type, item.data, payer, self._budget, kept=True)
        except Rejected as refusal:
            raise type(refusal)(
                refusal.code,
                f"item {name}: {refusal.what}",
                refusal.remedy,
                status=refusal.status,
                retry_after_s=refusal.retry_after_s,
            ) from None

    async def _represent(
        self, admitted: Admitted, arrays: tuple[Array, ...] | Rejected, listed: BlockList
    ) -> tuple[tuple[Embedded, ...] | Rejected, tuple[Sketch, ...]]:
        """Return the items' embeddings and sketches.

        Raises:
            Rejected: ITEM_BLOCKED, before anything is embedded.
        """
        if not listed:
            return await asyncio.gather(self._embed(admitted, arrays), self._sketch(admitted, arrays))
        sketches = await self._sketch(admitted, arrays)
        await self._threads.on_reader(lambda: listed.check_sketches(sketches))
        return await self._embed(admitted, arrays), sketches

    async def _embed(self, admitted: Admitted, arrays: tuple[Array, ...] | Rejected) -> tuple[Embedded, ...] | Rejected:
        if isinstance(arrays, Rejected):
            return arrays
        pair = admitted.pair
        # Again: the checkpoint may have been switched to one that judges other pairs.
        self.intake.check_judged(pair.envelope.submission)
        embed = self._embedder.embed
        items = zip(pair.items, arrays, strict=True)
        return tuple(await asyncio.gather(*(embed(item.modality, item.digest, array) for item, array in items)))

    async def _sketch(self, admitted: Admitted, arrays: tuple[Array, ...] | Rejected) -> tuple[Sketch, ...]:
        """Return the sketches of its items, none where they cannot be decoded."""
        if isinstance(arrays, Rejected):
            return ()
        names = [item.modality for item in admitted.pair.items]
        return await self._threads.on_reader(lambda: tuple(map(sketch_item, names, arrays)))

    async def _judge(
        self,
        admitted: Admitted,
        arrays: tuple[Array, ...] | Rejected,
        embedded: tuple[Embedded, ...] | Rejected,
        sketches: tuple[Sketch, ...],
    ) -> Turn:
        """Judge in the pair's turn; embed again for as long as the checkpoint was switched meanwhile."""
        for _ in range(_MAX_EMBED_ROUNDS):
            try:
                return await self._batches.judge(admitted, embedded, sketches)
            except StaleEmbeddings:
                embedded = await self._embed(admitted, arrays)
        raise Overloaded(
            "CHECKPOINT_CHANGING",
            f"the checkpoint was switched {_MAX_EMBED_ROUNDS} times while this pair was embedded",
            "Send the same bytes again.",
            retry_after_s=5,
        )

    # -- before the spine: what was decided already, what is being decided, and whether there is room

    async def check_first(self, first: bytes, length: int | None, sender: Sender) -> tuple[Envelope, int, bytes]:
        """Refuse what the envelope alone shows to be refused, before the items are read; return what `validate` takes.

        ``first`` is the beginning of the body with the whole envelope, ``length`` that of the body if the sender told
        it. What was decided before, or is being decided, passes.

        Raises:
            CuriosityError: What `validate` raises.
        """
        if self._batches.failure is not None:
            raise self._batches.failure
        envelope, offset, digest = self.intake.check_envelope(first)
        key = (envelope.submission.contributor, envelope.submission.nonce)
        if key not in self._in_flight and await self._batches.nonces.find(key) is None:
            self.intake.check_terms(envelope, offset, length, payer_of(envelope, sender))
            submission = envelope.submission
            (await self._blocked.current()).check_digests(part.sha256 for part in submission.parts)
        return envelope, offset, digest

    async def validate(
        self, body: bytes, sender: Sender = UNKNOWN, checked: tuple[Envelope, int, bytes] | None = None
    ) -> Decision:
        """Return the decision about a submission, new or the one that it got before.

        ``checked`` is what `check_first` returned for the beginning of this body.

        Raises:
            Rejected: For what cannot become a decision.
            Overloaded: When the queue is full.
            StoreError: When the ledger has stopped.
        """
        if self._batches.failure is not None:
            raise self._batches.failure
        checked = checked or self.intake.check_envelope(body)
        envelope, _, digest = checked
        key = (envelope.submission.contributor, envelope.submission.nonce)
        earlier = self._in_flight.get(key)
        if earlier is not None:
            if earlier.digest != digest:
                raise nonce_reused(envelope, earlier.digest)
            return replace(await asyncio.shield(earlier.decision), replayed=True)
        keys, places, payer = keys_of(sender), self._batches.places, payer_of(envelope, sender)
        if not places.may_take(keys, 1):
            raise Overloaded(
                "QUEUE_FULL",
                f"{len(self._in_flight)} pairs wait, at most {places.total}, "
                "of which nobody may have more than is left",
                "Send the same bytes again after the time in Retry-After.",
                retry_after_s=2,
            )
        flight = _InFlight(digest, asyncio.get_running_loop().create_future())
        self._in_flight[key] = flight
        try:
            with places.holding(keys, 1), self.intake.quotas.charging_contributor(payer, len(body)):
                decision = await self._find(envelope, digest) or await self.decide(body, checked, payer)
        except BaseException as error:
            flight.decision.set_exception(error if isinstance(error, CuriosityError) else interrupted())
            flight.decision.exception()  # nobody has to be waiting for it
            raise
        else:
            flight.decision.set_result(decision)
            return decision
        finally:
            del self._in_flight[key]

    async def _find(self, envelope: Envelope, digest: bytes) -> Decision | None:
        """Return what was decided about this submission before, None if nothing was."""
        self._forgotten.check_pair(digest)
        decided = await self._batches.nonces.find((envelope.submission.contributor, envelope.submission.nonce))
        if decided is None:
            return None
        if decided.pair != digest:
            raise nonce_reused(envelope, decided.pair)
        return replay(decided)


def payer_of(envelope: Envelope, sender: Sender) -> Payer:
    """Return on whose account a pair is decided."""
    return Payer(sender, f"0x{envelope.submission.contributor.hex()}")
