"""Takedowns: a pair's content is erased, its tombstone goes into the log (docs/protocol.md, step 21).

In order, on the writer thread: who asks is checked; what must not come back is noted; tombstones and erasure become
durable in one transaction of the ledger; index, history and caches forget. A process that ends in between has either
not begun, and the request may be sent again, or finishes when the ledger is opened the next time.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from curiosity.embedding.sketch import is_of_this_form, unpack
from curiosity.protocol.entry import PairEntry, TakedownEntry, encode_entry
from curiosity.protocol.errors import Overloaded, Rejected
from curiosity.protocol.messages import TakedownReport
from curiosity.protocol.pair import Envelope, Submission
from curiosity.protocol.receipt import Receipt
from curiosity.protocol.scoring import Quantised, joint
from curiosity.protocol.signing import Domain
from curiosity.protocol.takedown import (
    MAX_LIFETIME_S,
    Asker,
    Blocked,
    SignedTakedown,
    TakedownReason,
    check_everywhere,
    check_takedown,
)
from curiosity.protocol.tombstones import find_takedowns
from curiosity.protocol.verdict import Reason
from curiosity.protocol.wire import parse
from curiosity.serving.embedder import Embedder
from curiosity.serving.paid import LIKE_ROWS
from validator.batches import Batches
from validator.decided import unpack_embeddings
from validator.forgotten import Forgotten
from validator.ledger import Ledger, NewEntry
from validator.store import Store, StoredSubmission
from validator.threads import Threads

log = logging.getLogger(__name__)

_PAGE = 4096
_EMPTYING_ROUNDS, _EMPTYING_PAUSE_S = 10, 0.5  # how long a slow reader is waited for


def load_forgotten(store: Store, ledger: Ledger, pepper: bytes) -> Forgotten:
    """Return what the ledger says is taken down, and what the store keeps out.

    Raises:
        ProofError: For a bad leaf.
        StoreError: PEPPER_DIFFERS if the store's hashes are of another pepper, under which everything that was taken
            down could come back.
    """
    forgotten = Forgotten(pepper, store.blocked())
    store.check_pepper(forgotten.pepper_id)
    if store.blocked_under() not in (None, forgotten.pepper_id):  # somebody emptied the table, as the remedy says
        store.block_from(ledger.size)
        store.block((), forgotten.pepper_id)
    if first := store.blocked_from():
        log.warning("event=contents_unknown of takedowns before entry %d what must not come back is not known", first)
    for start in range(0, ledger.size, _PAGE):
        leaves = store.leaves(start, min(_PAGE, ledger.size - start))
        for index, entry in find_takedowns(leaves):
            forgotten.add(entry.pair, start + index)
    return forgotten


class Takedowns:
    """Answers requests to forget pairs."""

    def __init__(
        self,
        *,
        store: Store,
        ledger: Ledger,
        threads: Threads,
        batches: Batches,
        embedder: Embedder,
        forgotten: Forgotten,
        was_paid: Callable[[int], bool],
        network_id: bytes,
        domain: Domain,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._threads = threads
        self._batches = batches
        self._embedder = embedder
        self._forgotten = forgotten
        self._was_paid = was_paid
        self._network_id = network_id
        self._domain = domain
        self._clock = clock

    async def take_down(self, signed: SignedTakedown, *, is_operator: bool) -> TakedownReport:
        """Forget the pair that a request names, and what else it reaches; return the receipts of the tombstones.

        When this returns, content and secrets are gone from the store. For a pair that is taken down already it is the
        receipt of its tombstone again.

        Raises:
            Rejected: WRONG_NETWORK, SIGNATURE_ codes, EXPIRY_TOO_FAR, TAKEDOWN_UNSIGNED, TAKEDOWN_EVERYWHERE, NOT_FOUND
                (404).
            Overloaded: TAKEDOWN_PENDING while older copies may be left in SQLite's log.
            StoreError: When the ledger has stopped.
        """
        self._check_form(signed, is_operator)
        if self._batches.failure is not None:
            raise self._batches.failure
        report = await self._threads.on_writer(lambda: self._take_down(signed, is_operator))
        for _ in range(_EMPTYING_ROUNDS):
            if await self._threads.on_writer(self._store.finish_erasures):
                return report
            await asyncio.sleep(_EMPTYING_PAUSE_S)
        raise Overloaded(
            "TAKEDOWN_PENDING",
            f"pair 0x{signed.request.pair.hex()} is taken down, but readers keep SQLite from emptying its log",
            "Send the same request again until it is answered.",
            retry_after_s=5,
        )

    async def blocked(self) -> Blocked:
        """Return what must not come back, for the operator's export: complete for the ledger as it is on the writer."""

        def read() -> Blocked:
            keys = tuple(sorted(self._store.blocked()))
            return Blocked(self._store.blocked_from(), self._ledger.size, self._forgotten.pepper_id, keys)

        return await self._threads.on_writer(read)

    def _check_form(self, signed: SignedTakedown, is_operator: bool) -> None:
        request = signed.request
        if request.network_id != self._network_id:
            raise Rejected(
                "WRONG_NETWORK",
                f"asked of network 0x{request.network_id.hex()}, this is 0x{self._network_id.hex()}",
                "Fetch /v1/network again.",
            )
        if is_operator:
            return
        if signed.signature is None:
            raise Rejected(
                "TAKEDOWN_UNSIGNED",
                "the request carries neither a signature nor the admin token",
                "Sign it with the wallet that submitted the pair: curiosity takedown.",
                status=401,
            )
        left_s = request.expiry - int(self._clock())
        if left_s < 0:
            raise Rejected("SIGNATURE_EXPIRED", f"the request expired {-left_s} s ago", "Sign again.", status=422)
        if left_s > MAX_LIFETIME_S:
            raise Rejected(
                "EXPIRY_TOO_FAR",
                f"the request expires in {left_s} s, at most {MAX_LIFETIME_S} s are allowed",
                "Sign with an earlier expiry, or correct this machine's clock.",
                status=422,
            )

    def _take_down(self, signed: SignedTakedown, is_operator: bool) -> TakedownReport:
        request = signed.request
        index, entry = self._find(request.pair)
        reach = check_everywhere(request.everywhere, entry.modalities)
        if not is_operator:
            check_takedown(signed, self._domain, entry.contributor)
        known = self._forgotten.entry_of(request.pair)
        if known is not None:
            return TakedownReport(request.pair, (self._receipt(known),), replayed=True)
        rows = self._reached(index, entry, reach, is_operator)
        submissions = {row.index: parse(Envelope, row.envelope).submission for row in rows}
        paid = self._paid_keys(rows, submissions)
        keys = paid | self._keys(rows, entry, submissions, request.reason, reach, is_operator)
        tombstones = [
            TakedownEntry(
                index=row.index,
                pair=row.pair,
                named=request.pair,
                reason=request.reason,
                everywhere=request.everywhere,
                asker=Asker.OPERATOR if is_operator else Asker.CONTRIBUTOR,
                expiry=0 if is_operator else request.expiry,
                signature=None if is_operator else signed.signature,
            )
            for row in rows
        ]
        # First what must not come back: until the tombstones are durable its pairs are in the ledger as they were.
        self._store.block(keys, self._forgotten.pepper_id)
        receipts = self._ledger.append([NewEntry(encode_entry(t), None, erases=(t.index,)) for t in tombstones])
        self._forgotten.block(keys)
        self._forgotten.paid.add(paid)
        for tombstone, receipt in zip(tombstones, receipts, strict=True):
            self._forgotten.add(tombstone.pair, receipt.index)
            self._forget(tombstone.index, submissions[tombstone.index])
        log.info("event=taken_down asker=%s reason=%s pairs=%d", tombstones[0].asker, request.reason, len(receipts))
        return TakedownReport(request.pair, tuple(receipts), replayed=False)

    def _find(self, pair: bytes) -> tuple[int, PairEntry]:
        known = self._forgotten.entry_of(pair)
        if known is None:
            stored = self._store.find_pair(pair)
            if stored is None:
                raise Rejected(
                    "NOT_FOUND",
                    f"pair 0x{pair.hex()} is not in this ledger",
                    "Name a pair by the digest in its receipt.",
                    status=404,
                )
            return stored.index, parse(PairEntry, stored.leaf)
        tombstone = parse(TakedownEntry, self._store.leaves(known, 1)[0])
        return tombstone.index, parse(PairEntry, self._store.leaves(tombstone.index, 1)[0])

    def _reached(
        self, index: int, entry: PairEntry, reach: frozenset[str], is_operator: bool
    ) -> list[StoredSubmission]:
        """Return the living pairs that the request reaches: the one that it names first, the others in order.

        Refused copies of a pair go with it: they hold the same two contents and were never anything else.
        """
        (row,) = self._store.submissions(index, 1)
        named = parse(Envelope, row.envelope).submission
        rows = {row.index: row}
        everywhere = [part.sha256 for part in (named.a, named.b) if part.modality in reach]
        for other in self._store.pairs_with(everywhere) if everywhere else ():
            if is_operator or parse(PairEntry, other.leaf).contributor == entry.contributor:
                rows.setdefault(other.index, other)
        accepted = {_contents(one) for one in rows.values() if one.accepted}
        for other in self._store.refused_copies(accepted):
            if parse(PairEntry, other.leaf).verdict.reason is Reason.CONTENT_DUPLICATE:
                rows.setdefault(other.index, other)
        return [row, *(rows[other] for other in sorted(rows) if other != row.index)]

    def _keys(
        self,
        rows: Sequence[StoredSubmission],
        entry: PairEntry,
        submissions: Mapping[int, Submission],
        reason: TakedownReason,
        reach: frozenset[str],
        is_operator: bool,
    ) -> set[bytes]:
        """Return the keys of what must not come back: from anybody, if the operator asks or the pair was paid.

        Else from its contributor only: who sends others' contents first and takes them down must not keep them out.
        What was accepted and not novel may come back even so, if it was withdrawn: what stood in its way may be gone.
        """
        keys: set[bytes] = set()
        for row in rows:
            a, b = _contents(row)
            other = parse(PairEntry, row.leaf)
            if is_operator or self._was_paid(row.index):
                keys.add(self._forgotten.pair_key(a, b))
                continue
            is_own = other.contributor == entry.contributor
            is_copy = row is not rows[0] and other.verdict.reason is Reason.CONTENT_DUPLICATE
            had_no_place = other.verdict.is_accepted and not other.verdict.novel
            if is_own and not is_copy and not (had_no_place and reason is TakedownReason.WITHDRAWN):
                keys.add(self._forgotten.pair_key(a, b, entry.contributor))
        (named, *_) = submissions.values()
        owner = b"" if is_operator else entry.contributor
        return keys | {
            self._forgotten.item_key(part.sha256, owner) for part in (named.a, named.b) if part.modality in reach
        }

    def _paid_keys(self, rows: Sequence[StoredSubmission], submissions: Mapping[int, Submission]) -> set[bytes]:
        """Return what is kept of the pairs that were paid, so that they earn nothing again."""
        keys: set[bytes] = set()
        for row in rows:
            if self._was_paid(row.index):
                s = submissions[row.index]
                if not s.is_single:
                    keys |= self._forgotten.paid.keys_of((s.a.sha256, s.b.sha256), self._point(row), keys)
                    keys.update(self._likeness(row.index, s))
                if parse(PairEntry, row.leaf).verdict.items:
                    keys |= self._item_keys(row.index, s)
        return keys

    def _item_keys(self, index: int, submission: Submission) -> set[bytes]:
        """Return what is kept of each item of an entry that was paid for new items."""
        packed = self._store.sketches(index, index).get(index, ())
        keys: set[bytes] = set()
        for place, part in enumerate(submission.parts):
            known = packed[place] if place < len(packed) and is_of_this_form(packed[place]) else b""
            keys |= self._forgotten.paid.item_keys(part.sha256, (part.modality, unpack(known)) if known else None)
        return keys

    def _likeness(self, index: int, submission: Submission) -> list[bytes]:
        """Return keyed sketches of a pair with a text, by which a near copy of it is known under any checkpoint."""
        packed = self._store.sketches(index, index).get(index)
        if packed is None or not all(map(is_of_this_form, packed)):
            return []
        names = (submission.a.modality, submission.b.modality)
        kept = dict(zip(names, map(unpack, packed), strict=True))
        text = kept.pop("text", None)
        if text is None:
            return []
        ((modality, shown),) = kept.items()
        return self._forgotten.paid.likeness(modality, shown.bank[:LIKE_ROWS], shown.kept, text.kept)

    def _point(self, row: StoredSubmission) -> Quantised | None:
        """Return the pair's joint point under the checkpoint in force; None if it was never embedded under that."""
        in_force = self._embedder.checkpoint
        if parse(PairEntry, row.leaf).verdict.checkpoint == in_force:
            packed = row.embeddings
            return joint(*unpack_embeddings(packed)[2:4]) if packed is not None else None
        packed = self._store.finals(in_force, row.index, row.index).get(row.index)
        return joint(*unpack_embeddings(packed, 2)) if packed is not None else None

    def _forget(self, index: int, submission: Submission) -> None:
        self._batches.forget(index, submission.modalities)
        self._embedder.forget([part.sha256 for part in submission.parts])

    def _receipt(self, index: int) -> Receipt:
        ((_, leaf, note),) = self._store.entries(index, 1)
        return Receipt(leaf.decode(), index, note)


def _contents(row: StoredSubmission) -> tuple[bytes, bytes]:
    submission = parse(Envelope, row.envelope).submission
    return submission.a.sha256, submission.b.sha256
