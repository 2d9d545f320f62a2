"""The ledger: an append-only RFC 6962 log of decisions, one durable transaction a batch, one writer.

`Ledger.append` in order: check the batch, sign receipts, commit everything in one transaction, sign the tree head and
keep it outside the database, answer. A receipt leaves only after the commit. Whatever fails from the commit on stops
the ledger: a new start finds out what became durable, and a replay is answered with the identical receipt.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from protocol.entry import MAX_ENTRY_BYTES
from protocol.errors import ProofError, Rejected, StoreError
from protocol.merkle import Frontier, leaf_hash
from protocol.receipt import Receipt, issue_receipt
from protocol.tlog import Signer, TreeHead, sign_note
from validator.store import NewRow, NewSubmission, Node, Store
from validator.store.head import KeptHead
from validator.store.tree import Place, Span, consistency_spans, cover, fold, grow, inclusion_spans

__all__ = ["Ledger", "NewEntry", "NewSubmission"]

_log = logging.getLogger(__name__)
_PAGE = 4096  # leaves that a full check holds at a time


@dataclass(frozen=True)
class NewEntry:
    """A leaf (`protocol.entry.encode_entry`) to append; with the submission behind it if it decides about a pair."""

    leaf: bytes
    submission: NewSubmission | None = None


@dataclass(frozen=True)
class _State:
    """What is durable: swapped whole, so that readers see one size, one root and one head."""

    frontier: Frontier
    head: str  # signed note


class Ledger:
    """The one writer of a store's entries.

    ``head_path`` is where the last signed tree head is kept outside the database; ``clock`` gives Unix seconds.
    Raises StoreError at start: LEDGER_IN_USE if another process writes this ledger, LEDGER_SMALLER or
    LEDGER_DIFFERENT, naming the first bad index, if the database does not extend the kept head, LEDGER_HEAD_MISSING
    if there are entries but no head, LEDGER_HEAD_INVALID if the head is not one of ours, LEDGER_CORRUPT if nodes are
    missing.
    """

    def __init__(
        self,
        store: Store,
        *,
        origin: str,
        log_signer: Signer,
        receipt_signer: Signer,
        head_path: Path,
        clock: Callable[[], int],
    ) -> None:
        self._store = store
        self._origin = origin
        self._log_signer = log_signer
        self._receipt_signer = receipt_signer
        self._clock = clock
        self._lock = threading.Lock()
        self._stopped: str | None = None
        self._kept = KeptHead(head_path, origin, log_signer.verifier.vkey())
        store.claim_ledger()
        self._state = self._start()

    def _start(self) -> _State:
        size = self._store.size()
        head = self._kept.read()
        if head is None and size > 0:
            raise StoreError(
                "LEDGER_HEAD_MISSING",
                f"the database holds {size} entries, {self._kept.path} with the last signed tree head is missing",
                "Put a copy of any tree head that this ledger signed there (GET /checkpoint gave them out).",
            )
        if head is not None:
            if size < head.size:
                bad = self._kept.first_difference(self._store, size)
                raise StoreError(
                    "LEDGER_SMALLER",
                    f"the database holds {size} entries, the ledger has signed {head.size}; first bad index {bad}",
                    "Restore the newest copy of the database; going on with an older one would fork the ledger.",
                )
            if self._frontier_at(head.size).root() != head.root:
                raise self._different(head)
        state = self._sign(self._frontier_at(size))
        self._kept.refill(self._store, head.size if head is not None else 0, size)
        self._kept.write(state.head)
        return state

    def _different(self, head: TreeHead) -> StoreError:
        bad = self._kept.first_difference(self._store, head.size)
        if bad == head.size:  # the leaf hashes are as they were, so a node above them is not
            damage = self._first_damage(head.size, head.root)
            bad = damage[0] if damage is not None else 0
        return StoreError(
            "LEDGER_DIFFERENT",
            f"the first {head.size} entries are not those that the ledger has signed; first bad index {bad}",
            "Restore the database; what was signed cannot be changed.",
        )

    def _sign(self, frontier: Frontier) -> _State:
        head = TreeHead(self._origin, frontier.size, frontier.root())
        return _State(frontier, sign_note(head.text(), self._log_signer))

    def append(self, entries: Sequence[NewEntry]) -> list[Receipt]:
        """Make the entries durable in order and return the receipt of each.

        An entry whose submission was decided before, in this batch or earlier, is not appended again: its receipt is
        the one issued then. Nothing is written if this raises before the commit: Rejected NONCE_REUSED for a known
        (contributor, nonce) with another pair digest, StoreError CONTENT_TWICE for accepted contents that are in the
        ledger already, ValueError for a leaf above 65,535 bytes. Any StoreError from writing stops the ledger, and
        later calls raise LEDGER_STOPPED.
        """
        with self._lock:
            if self._stopped is not None:
                raise StoreError(
                    "LEDGER_STOPPED",
                    f"the ledger stopped at {self._state.frontier.size} entries: {self._stopped}",
                    "Mend that, then start the validator again; contributors may send the same pairs again.",
                )
            fresh, receipts = self._plan(entries)
            if fresh:
                with self._stopping():
                    self._commit(fresh)
        return receipts

    def _plan(self, entries: Sequence[NewEntry]) -> tuple[list[tuple[NewRow, bytes]], list[Receipt]]:
        """Return the rows to write with their leaf hashes, and the receipt of each entry."""
        keys = [(e.submission.contributor, e.submission.nonce) for e in entries if e.submission is not None]
        answered = {
            key: (decision.pair, decision.to_receipt()) for key, decision in self._store.find_nonces(keys).items()
        }
        issued_at = self._clock()
        index = self._state.frontier.size
        fresh: list[tuple[NewRow, bytes]] = []
        receipts: list[Receipt] = []
        for entry in entries:
            submission = entry.submission
            if submission is not None:
                known = answered.get((submission.contributor, submission.nonce))
                if known is not None:
                    _check_same_pair(submission, known[0])
                    receipts.append(known[1])
                    continue
            if len(entry.leaf) > MAX_ENTRY_BYTES:
                raise ValueError(f"a leaf of {len(entry.leaf)} bytes, at most {MAX_ENTRY_BYTES}")
            receipt = issue_receipt(entry.leaf, index, self._origin, issued_at, self._receipt_signer)
            fresh.append((NewRow(index, entry.leaf, receipt.note, submission), leaf_hash(entry.leaf)))
            receipts.append(receipt)
            if submission is not None:
                answered[submission.contributor, submission.nonce] = (submission.pair, receipt)
            index += 1
        self._check_contents([row for row, _ in fresh])
        return fresh, receipts

    def _check_contents(self, rows: Sequence[NewRow]) -> None:
        accepted = [row for row in rows if row.submission is not None and row.submission.accepted]
        keys = [(s.a.digest, s.b.digest) for s in (row.submission for row in accepted) if s is not None]
        known = self._store.known_contents(keys)
        for row, key in zip(accepted, keys, strict=True):
            if key in known:
                raise StoreError(
                    "CONTENT_TWICE",
                    f"entries {known[key]} and {row.index} accept the same two contents {key[0].hex()}, {key[1].hex()}",
                    "Judge a pair only after looking up its contents, those of its own batch included.",
                )
            known[key] = row.index

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """Stop the ledger for good if the block fails, whatever the reason."""
        try:
            yield
        except BaseException as error:
            self._stopped = str(error) or type(error).__name__
            _log.error("ledger=stopped size=%d reason=%s", self._state.frontier.size, self._stopped)
            raise

    def _commit(self, fresh: Sequence[tuple[NewRow, bytes]]) -> None:
        frontier = self._state.frontier.copy()
        hashes = [hash_ for _, hash_ in fresh]
        nodes = grow(frontier, hashes)
        state = self._sign(frontier)
        self._store.append([row for row, _ in fresh], nodes)
        self._kept.append_hashes(hashes)
        self._kept.write(state.head)
        self._state = state

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._state.frontier.size

    def root(self) -> bytes:
        """Return the RFC 6962 root of all entries."""
        return self._state.frontier.root()

    def tree_head(self) -> str:
        """Return the signed tree head of the current size, a note."""
        return self._state.head

    def root_at(self, size: int) -> bytes:
        """Return the RFC 6962 root of the first ``size`` entries.

        Raises ProofError PROOF_INDEX_OUT_OF_RANGE unless ``0 <= size <= self.size``.
        """
        if not 0 <= size <= self.size:
            raise ProofError(
                "PROOF_INDEX_OUT_OF_RANGE",
                f"no root of {size} entries, the ledger has {self.size}",
                "Ask for a size that the ledger has reached.",
            )
        return self._frontier_at(size).root()

    def tree_head_at(self, size: int) -> str:
        """Return a signed tree head of the first ``size`` entries, a note; one size has one root for ever.

        Raises ProofError as `root_at` does.
        """
        return sign_note(TreeHead(self._origin, size, self.root_at(size)).text(), self._log_signer)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Return the audit path of an entry in the tree of the first ``size`` entries, nearest sibling first.

        Raises ProofError PROOF_INDEX_OUT_OF_RANGE unless ``0 <= index < size <= self.size``.
        """
        if not 0 <= index < size <= self.size:
            raise ProofError(
                "PROOF_INDEX_OUT_OF_RANGE",
                f"no proof of entry {index} in {size} entries, the ledger has {self.size}",
                "Ask for an index below the size, and a size that the ledger has reached.",
            )
        return self._hashes_of(inclusion_spans(index, size))

    def consistency_proof(self, first: int, size: int) -> list[bytes]:
        """Return the proof that the first ``first`` entries are a prefix of the first ``size``; empty from 0.

        Raises ProofError PROOF_INDEX_OUT_OF_RANGE unless ``0 <= first <= size <= self.size``.
        """
        if not 0 <= first <= size <= self.size:
            raise ProofError(
                "PROOF_INDEX_OUT_OF_RANGE",
                f"no proof from {first} to {size} entries, the ledger has {self.size}",
                "Ask for two sizes, the smaller first, that the ledger has reached.",
            )
        return [] if first == 0 else self._hashes_of(consistency_spans(first, size))

    def _hashes_of(self, spans: Sequence[Span]) -> list[bytes]:
        covers = [cover(span) for span in spans]
        hashes = iter(self._hashes_at([place for places in covers for place in places]))
        return [fold(list(islice(hashes, len(places)))) for places in covers]

    def _frontier_at(self, size: int) -> Frontier:
        return Frontier(size, self._hashes_at(cover((0, size))))

    def _hashes_at(self, places: Sequence[Place]) -> list[bytes]:
        found = self._store.nodes(places)
        for level, position in places:
            if (level, position) not in found:
                raise StoreError(
                    "LEDGER_CORRUPT",
                    f"first bad index {position << level}: the tree node of level {level} at {position} is missing",
                    "Restore the newest copy of the database.",
                )
        return [found[place] for place in places]

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Hash every leaf and node again and compare with what is stored and what was signed.

        ``progress`` is called with (entries checked, entries). Raises StoreError LEDGER_CORRUPT naming the first bad
        index: of a leaf that changed or is missing, or the first leaf below a node that did.
        """
        frontier = self._state.frontier
        damage = self._first_damage(frontier.size, frontier.root(), progress)
        if damage is not None:
            raise StoreError(
                "LEDGER_CORRUPT",
                f"first bad index {damage[0]}: {damage[1]}",
                "Restore the newest copy of the database; until then trust no proof from it.",
            )

    def _first_damage(
        self, size: int, root: bytes, progress: Callable[[int, int], None] | None = None
    ) -> tuple[int, str] | None:
        """Return the first bad index among ``size`` entries that should have this root, and what is wrong with it.

        A leaf that disagrees with its stored hash is bad itself. Where nodes or the root disagree with the leaves, the
        leaf hashes kept outside the database tell which leaf was rewritten; they accuse nobody on their own.
        """
        frontier = Frontier()
        rewritten: tuple[int, str] | None = None
        for start in range(0, size, _PAGE):
            count = min(_PAGE, size - start)
            leaves = {index: leaf for index, leaf, _ in self._store.entries(start, count)}
            stored = self._store.nodes_between(0, start, count)
            kept = self._kept.hashes(start, count)
            hashes: list[bytes] = []
            for index in range(start, start + count):
                if index not in leaves:
                    return index, "the entry is missing"
                hash_ = leaf_hash(leaves[index])
                if stored.get(index) != hash_:
                    return index, _describe(0, index, hash_, stored.get(index))
                if rewritten is None and kept.get(index, hash_) != hash_:
                    rewritten = index, f"the leaf hashes to {hash_.hex()}, signed was {kept[index].hex()}"
                hashes.append(hash_)
            damaged = self._damaged_nodes(start, count, grow(frontier, hashes))
            if damaged:
                return rewritten or min(damaged)
            if progress is not None:
                progress(start + count, size)
        if frontier.root() != root:
            return rewritten or (0, f"all hashes agree, but on root {frontier.root().hex()}, signed was {root.hex()}")
        return None

    def _damaged_nodes(self, start: int, count: int, made: Sequence[Node]) -> list[tuple[int, str]]:
        """Return (first leaf below, what is wrong) of each node above these leaves that is not as computed."""
        expected = {(node.level, node.position): node.hash for node in made}
        damaged: list[tuple[int, str]] = []
        for level in range(1, (start + count).bit_length()):
            low, high = start >> level, (start + count) >> level
            stored = self._store.nodes_between(level, low, high - low)
            for position in range(low, high):
                if stored.get(position) != expected[level, position]:
                    what = _describe(level, position, expected[level, position], stored.get(position))
                    damaged.append((position << level, what))
        return damaged


def _describe(level: int, position: int, expected: bytes, actual: bytes | None) -> str:
    first, last = position << level, ((position + 1) << level) - 1
    place = f"entry {first}" if level == 0 else f"entries {first} to {last}"
    return f"{place} hash to {expected.hex()}, stored is {'nothing' if actual is None else actual.hex()}"


def _check_same_pair(submission: NewSubmission, known: bytes) -> None:
    if submission.pair != known:
        raise Rejected(
            "NONCE_REUSED",
            f"nonce 0x{submission.nonce.hex()} was used for pair 0x{known.hex()}, now for 0x{submission.pair.hex()}",
            "Sign each pair with a nonce of its own.",
            status=409,
        )
