"""The ledger: an append-only RFC 6962 log of decisions, one durable transaction a batch, one writer.

`Ledger.append` in order: check the batch, sign receipts, commit everything in one transaction, sign the tree head and
keep it outside the database, answer. A receipt leaves only after the commit. Whatever fails from the commit on stops
the ledger: a new start finds out what became durable, and a replay is answered with the identical receipt. A database
that went away while nothing was being written stops nothing: it is claimed again, and must hold what it held.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import ProofError, StoreError
from curiosity.protocol.receipt import Receipt
from curiosity.protocol.signing import Domain
from curiosity.protocol.subtrees import Place, Read, consistency_from, inclusion_from, root_from
from curiosity.protocol.tiles import HEIGHT, WIDTH
from curiosity.protocol.tlog import Signer, TreeHead, sign_note
from validator.new_rows import Answered, answered_before, check_contents, plan_rows
from validator.store import NewEntry, NewRow, NewSubmission, Store
from validator.store.audit import first_damage
from validator.store.hashes import TreeHashes
from validator.store.head import KeptHead
from validator.store.pair_audit import PairAudit
from validator.store.tree import HASH_BYTES, Edge

__all__ = ["Ledger", "NewEntry", "NewSubmission"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _State:
    """What is durable: swapped whole, so that readers see one size, one root and one head."""

    edge: Edge
    head: str  # signed note


class Ledger:
    """The one writer of a store's entries.

    ``head_path`` is where the last signed tree head is kept outside the database; ``clock`` gives Unix seconds.

    Raises:
        StoreError: At start: LEDGER_IN_USE if another process writes this ledger, LEDGER_SMALLER or LEDGER_DIFFERENT,
            naming the first bad index, if the database does not extend the kept head, LEDGER_HEAD_MISSING if there are
            entries but no head, LEDGER_HEAD_INVALID if the head is not one of ours, LEDGER_CORRUPT if entries or tiles
            at the tree's right edge are missing, BLOB_CORRUPT if a pack is shorter than the database says.
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
        self._pending: _State | None = None  # what is being committed
        self.on_stop: Callable[[BaseException], None] = lambda _error: None
        self._kept = KeptHead(head_path, origin, log_signer.verifier.vkey())
        self._hashes = TreeHashes(store)
        store.claim_ledger(self._check_unchanged)
        self._state = self._start()
        store.check_packs()
        store.finish_erasures()
        store.remember_contents()

    def _start(self) -> _State:
        size = self._store.size()
        head = self._kept.read()
        if head is None and size > 0:
            raise StoreError(
                "LEDGER_HEAD_MISSING",
                f"the database holds {number_of(size, 'entry')}, and {self._kept.path} with the last signed tree head "
                "is missing",
                "Put a copy of any tree head that this ledger signed there (GET /checkpoint gave them out).",
            )
        if head is not None and size < head.size:
            bad = self._kept.first_difference(self._store, size)
            raise StoreError(
                "LEDGER_SMALLER",
                f"the database holds {number_of(size, 'entry')}, the ledger has signed {head.size}; first bad index "
                f"{bad}",
                "Restore the newest copy of the database; going on with an older one would fork the ledger.",
            )
        edge = self._hashes.load_edge(size)
        if head is not None and root_from(self._reader(edge), head.size) != head.root:
            raise self._different(head)
        state = self._sign(edge)
        self._kept.refill(self._store, head.size if head is not None else 0, size)
        self._kept.begin(state.head)
        return state

    def _reader(self, edge: Edge) -> Read:
        return partial(self._hashes.read, edge)

    def _different(self, head: TreeHead) -> StoreError:
        bad = self._kept.first_difference(self._store, head.size)
        if bad == head.size:  # the leaf hashes are as they were, so a tile above them is not
            damage = first_damage(self._store, self._kept, head.size, head.root)
            bad = damage[0] if damage is not None else 0
        return StoreError(
            "LEDGER_DIFFERENT",
            f"the ledger has signed other entries up to index {head.size - 1}; first bad index {bad}",
            "Restore the database; what was signed cannot be changed.",
        )

    def _sign(self, edge: Edge) -> _State:
        head = TreeHead(self._origin, edge.size, edge.root())
        return _State(edge, sign_note(head.text(), self._log_signer))

    def _check_unchanged(self) -> None:
        """Check that the database holds our last head; the claim was lost for a while.

        Raises:
            StoreError: LEDGER_DIFFERENT.
        """
        size = self._store.size()
        for state in (self._state, self._pending):
            if (
                state is not None
                and size == state.edge.size
                and self._hashes.load_edge(size).root() == state.edge.root()
            ):
                return
        raise StoreError(
            "LEDGER_DIFFERENT",
            f"the database holds {number_of(size, 'entry')}, which differ from our last head of size "
            f"{self._state.edge.size}",
            "Make sure that one validator only writes this ledger, then start it again.",
        )

    @property
    def is_stopped(self) -> bool:
        """True once a write has failed: what it wrote may be durable or not."""
        return self._stopped is not None

    def append(self, entries: Sequence[NewEntry]) -> list[Receipt]:
        """Make the entries durable in order and return the receipt of each.

        An entry whose submission was decided before, in this batch or earlier, is not appended again: its receipt is
        the one issued then. Nothing is written if this raises before the commit. Any StoreError from writing stops the
        ledger.

        Raises:
            Rejected: NONCE_REUSED for a known (contributor, nonce) with another pair digest.
            StoreError: CONTENT_TWICE for accepted contents that are in the ledger already, STORE_UNREACHABLE if the
                database is away before anything is sent, LEDGER_STOPPED once the ledger has stopped; those of writing.
            ValueError: For a leaf above 65,535 bytes or an erasure of an entry that is not there yet.
        """
        with self._lock:
            if self._stopped is not None:
                raise StoreError(
                    "LEDGER_STOPPED",
                    f"the ledger stopped at {number_of(self._state.edge.size, 'entry')}: {self._stopped}",
                    "Repair that, then start the validator again; contributors may send the same pairs again.",
                )
            # The database itself refuses a pair, a nonce or contents that are there already: look them up once it has
            # done so.
            with self._stopping(unless="STORE_UNREACHABLE"):
                self._store.make_ready()
            fresh, receipts = self._plan(entries, {})
            if not fresh or self._is_committed(fresh):
                return receipts
            fresh, receipts = self._plan(entries, answered_before(self._store, entries))
            check_contents(self._store, [row for row, _ in fresh])
            if fresh:
                with self._stopping():
                    self._commit(fresh)
        return receipts

    def _is_committed(self, fresh: Sequence[tuple[NewRow, bytes]]) -> bool:
        """Commit and return True; False, with nothing written, if the database knows a nonce or contents already."""
        try:
            with self._stopping(unless="STORE_CONFLICT"):
                self._commit(fresh)
                return True
        except StoreError as error:
            if error.code != "STORE_CONFLICT":
                raise
        return False

    def _plan(self, entries: Sequence[NewEntry], known: Answered) -> tuple[list[tuple[NewRow, bytes]], list[Receipt]]:
        first = self._state.edge.size
        return plan_rows(entries, known, first, self._origin, self._clock(), self._receipt_signer)

    @contextmanager
    def _stopping(self, unless: str = "") -> Iterator[None]:
        """Stop the ledger for good if the block fails, but for a StoreError with the code ``unless``."""
        try:
            yield
        except BaseException as error:
            if isinstance(error, StoreError) and error.code == unless:
                raise
            self._stopped = str(error) or type(error).__name__
            _log.error("ledger=stopped size=%d reason=%s", self._state.edge.size, self._stopped)
            self.on_stop(error)
            raise

    def _commit(self, fresh: Sequence[tuple[NewRow, bytes]]) -> None:
        edge = self._state.edge.copy()
        hashes = [hash_ for _, hash_ in fresh]
        tiles = edge.append(hashes)
        state = self._pending = self._sign(edge)
        try:
            self._store.append([row for row, _ in fresh], tiles)
            self._kept.append_hashes(self._state.edge.size, hashes)
            self._kept.write(state.head)
            self._state = state
        finally:
            self._pending = None

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._state.edge.size

    def root(self) -> bytes:
        """Return the RFC 6962 root of all entries."""
        return self._state.edge.root()

    def tree_head(self) -> str:
        """Return the signed tree head of the current size, a note."""
        return self._state.head

    def root_at(self, size: int) -> bytes:
        """Return the RFC 6962 root of the first ``size`` entries.

        Raises:
            ProofError: PROOF_INDEX_OUT_OF_RANGE unless ``0 <= size <= self.size``.
        """
        if not 0 <= size <= self.size:
            raise ProofError(
                "PROOF_INDEX_OUT_OF_RANGE",
                f"no root of {number_of(size, 'entry')}, the ledger has {self.size}",
                "Ask for a size that the ledger has reached.",
            )
        return root_from(self._reader(self._state.edge), size)

    def tree_head_at(self, size: int) -> str:
        """Return a signed tree head of the first ``size`` entries, a note; one size has one root for ever.

        Raises:
            ProofError: As `root_at`.
        """
        return sign_note(TreeHead(self._origin, size, self.root_at(size)).text(), self._log_signer)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Return the audit path of an entry in the tree of the first ``size`` entries, nearest sibling first.

        Raises:
            ProofError: PROOF_INDEX_OUT_OF_RANGE unless ``0 <= index < size <= self.size``.
        """
        if not 0 <= index < size <= self.size:
            raise ProofError(
                "PROOF_INDEX_OUT_OF_RANGE",
                f"no proof of entry {index} in {number_of(size, 'entry')}, the ledger has {self.size}",
                "Ask for an index below the size, and a size that the ledger has reached.",
            )
        return inclusion_from(self._reader(self._state.edge), index, size)

    def consistency_proof(self, first: int, size: int) -> list[bytes]:
        """Return the proof that the first ``first`` entries are a prefix of the first ``size``; empty from 0.

        Raises:
            ProofError: PROOF_INDEX_OUT_OF_RANGE unless ``0 <= first <= size <= self.size``.
        """
        if not 0 <= first <= size <= self.size:
            raise ProofError(
                "PROOF_INDEX_OUT_OF_RANGE",
                f"no proof from {first} to {number_of(size, 'entry')}, the ledger has {self.size}",
                "Ask for two sizes, the smaller first, that the ledger has reached.",
            )
        return consistency_from(self._reader(self._state.edge), first, size)

    def subtrees(self, places: Sequence[Place]) -> list[bytes]:
        """Return the hashes of complete subtrees of the tree as it is (`curiosity.protocol.subtrees.Read`)."""
        return self._hashes.read(self._state.edge, places)

    def tile(self, level: int, position: int, width: int = WIDTH) -> bytes:
        """Return the first ``width`` hashes of a tile, 32 bytes each, as c2sp.org/tlog-tiles serves them.

        Raises:
            ProofError: PROOF_INDEX_OUT_OF_RANGE if the tree does not have so many there.
        """
        edge = self._state.edge
        if level >= 0 and position >= 0 and 0 < width <= WIDTH:
            if edge.holds(level, position) and width <= len(edge.hashes(level)):
                return b"".join(edge.hashes(level)[:width])
            if position < edge.size >> HEIGHT * (level + 1):
                return self._hashes.tile(level, position).hashes[: width * HASH_BYTES]
        raise ProofError(
            "PROOF_INDEX_OUT_OF_RANGE",
            f"no tile of level {level} at {position} of width {width}, the ledger has {number_of(edge.size, 'entry')}",
            "Ask for a tile that the tree head's size fills so far.",
        )

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Hash every leaf and tile again and compare with what is stored and what was signed.

        ``progress`` is called with (entries checked, entries).

        Raises:
            StoreError: LEDGER_CORRUPT naming the first bad index: of a leaf that changed or is missing, or the first
                leaf below a hash that did.
        """
        edge = self._state.edge
        _refuse(first_damage(self._store, self._kept, edge.size, edge.root(), progress))

    def verify_pairs(
        self, domain: Domain, progress: Callable[[int, int], None] | None = None, *, receipt_vkey: str = ""
    ) -> None:
        """Compare every pair, receipt, opening, embedding and item with its leaf.

        Call `verify` first: it compares the leaves with the root. ``domain`` is that of the contributors' signatures;
        ``receipt_vkey`` that of receipts which another validator gave, of whose ledger this is a copy.

        Raises:
            StoreError: LEDGER_CORRUPT as `verify` does.
        """
        vkey = receipt_vkey or self._receipt_signer.verifier.vkey()
        audit = PairAudit(self._store, origin=self._origin, receipt_vkey=vkey, domain=domain)
        _refuse(audit.first_damage(self.size, progress))


def _refuse(damage: tuple[int, str] | None) -> None:
    if damage is not None:
        raise StoreError(
            "LEDGER_CORRUPT",
            f"first bad index {damage[0]}: {damage[1]}",
            "Restore the newest copy of the database and its packs; until then trust nothing from them.",
        )
