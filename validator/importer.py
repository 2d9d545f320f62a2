"""A validator's store built again from an exported ledger: verified entry by entry, resumable, nothing believed.

In order, for each bundle of the export's tiles: the leaves are held to the signed head; each pair's signature, receipt,
opening and embeddings to its entry; each item to its hash; then all of it is written in one transaction. What is there
already must be of the same tree. A takedown erases again what an earlier import brought.

What must not come back is in no log, but in the operator's own export (`curiosity.protocol.takedown.Blocked`). A
validator that is to go on with the log is not built without it unless its operator says so.

Whoever holds the log's key goes on with the log. Anybody else gets a *read-only mirror*: it answers everything that is
asked of a ledger, under the owner's last head, and takes nothing in (`MirrorRecord`).
"""

import base64
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from curiosity.host.files import write_whole
from curiosity.ledger.reader import LedgerCopy, bad_entry
from curiosity.protocol.counts import number_of
from curiosity.protocol.decision import ExportedPair, check_exported
from curiosity.protocol.entry import CheckpointEntry, PairEntry, TakedownEntry, parse_entry
from curiosity.protocol.errors import ConfigError, ProofError, Rejected, StoreError
from curiosity.protocol.messages import Network
from curiosity.protocol.pair import NO_ITEM, Envelope, Item, Part
from curiosity.protocol.receipt import issue_receipt
from curiosity.protocol.takedown import Blocked
from curiosity.protocol.tiles import WIDTH, bundles_for
from curiosity.protocol.tlog import Bundle, Signer, TreeHead, sign_note
from curiosity.protocol.verdict import Outcome
from curiosity.protocol.wire import STRICT, encode, parse
from validator.decided import without_bytes
from validator.forgotten import pepper_id
from validator.keys import Keys
from validator.ledger import NewSubmission
from validator.store import Store
from validator.store.hashes import TreeHashes
from validator.store.head import KeptHead
from validator.store.rows import ErasedPair, NewRow
from validator.store.tree import Edge

MARK_FILE = "mirror.json"
IMPORTED = "imported"
"""Name of the small value that says that a store was built from an export: the weights did not come with it."""

EntryProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class MirrorRecord:
    """The content of ``mirror.json`` in a data folder: whose ledger it is a read-only copy of, and its last head."""

    network: Network
    note: str

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class Imported:
    """What an import brought."""

    size: int
    root: bytes
    entries: int  # that were not there yet
    pairs: int
    items: int
    read_only: bool
    taken_down: int  # pairs, by all of the ledger's takedown entries
    unknown: int  # of these, whose contents would be taken in again: the export does not tell what must not come back


def import_ledger(
    export: LedgerCopy,
    store: Store,
    *,
    keys: Keys,
    head_path: Path,
    receipt_vkey: str = "",
    without_blocked: bool = False,
    clock: Callable[[], int] = lambda: int(time.time()),
    progress: EntryProgress | None = None,
) -> Imported:
    """Bring a store up to the head of an export. ``keys`` are this validator's own.

    Entries that come without a receipt, since they are of no pair or of one that was taken down, get one of now if this
    validator is to go on with the log. ``without_blocked``: go on even if contents that were taken down would be taken
    in again.

    Raises:
        ProofError: Naming the first bad index: IMPORT_DIFFERS if the store holds another history, IMPORT_PAIRS,
            IMPORT_ITEM, IMPORT_MISSING for an accepted pair that is neither there nor taken down, TILE_ and BUNDLE_
            codes, what `check_exported` raises, TAKEDOWN_ codes; IMPORT_FILTERED for a copy of only some licences.
        StoreError: IMPORT_OLDER if this ledger has signed more than the export holds; PEPPER_DIFFERS and IMPORT_FORGETS
            if this validator is to go on with the log and cannot tell what was taken down.
    """
    if export.licenses.ids:
        raise ProofError(
            "IMPORT_FILTERED",
            f"the export holds only pairs under {', '.join(export.licenses.ids)}, a validator needs all",
            "Export again without --license.",
        )
    network, head, log_signer = export.network, export.head, keys.log
    kept = KeptHead(head_path, network.origin, log_signer.verifier.vkey())
    store.claim_ledger()
    signed = kept.read()
    size = store.size()
    if max(signed.size if signed is not None else 0, size) > head.size:
        raise StoreError(
            "IMPORT_OLDER",
            f"this ledger holds {number_of(size, 'entry')} and has signed {signed.size if signed else 0}, the export "
            f"holds {head.size}",
            "Export again; going back would fork the log.",
        )
    hashes = TreeHashes(store)
    edge = hashes.load_edge(size)
    if size and edge.root() != export.reader.root(size):
        raise bad_entry(_first_difference(export, store, size), "IMPORT_DIFFERS", "the store holds another entry there")
    is_owner = log_signer.verifier.vkey() == export.log_vkey
    takedowns = export.takedowns()
    unknown = _take_blocked(
        export, store, takedowns, size, pepper_id(keys.pepper), must_know=is_owner and not without_blocked
    )
    erased = {entry.index for entry in takedowns.values()}
    promise = partial(_promise, origin=network.origin, issued_at=clock(), signer=keys.receipt) if is_owner else _nothing
    writer = _Importer(export, store, edge, receipt_vkey or network.receipt_vkey, erased, promise, clock())
    for bundle in bundles_for(head.size, size):
        writer.take(bundle)
        if progress is not None:
            progress(edge.size, head.size)
    kept.begin(sign_note(TreeHead(network.origin, edge.size, edge.root()).text(), log_signer))
    kept.refill(store, 0, edge.size)
    store.meta_set(IMPORTED, str(edge.size))
    return Imported(
        size=edge.size,
        root=edge.root(),
        entries=edge.size - size,
        pairs=writer.pairs,
        items=writer.items,
        read_only=not is_owner,
        taken_down=len(takedowns),
        unknown=unknown,
    )


def _take_blocked(
    export: LedgerCopy, store: Store, takedowns: Collection[int], size: int, pepper: bytes, *, must_know: bool
) -> int:
    """Note what must not come back, and return of how many takedowns that is not known.

    Before any entry: an import that is interrupted has then noted too much and never too little.
    """
    store.check_pepper(pepper)
    blocked = export.blocked()
    if blocked is not None and blocked.pepper != pepper:
        if must_know:
            raise StoreError(
                "PEPPER_DIFFERS",
                f"the export's list of what must not come back ({number_of(len(blocked.keys), 'content')}) has another "
                "pepper",
                "Restore keys/takedown.pepper of the validator that was exported, beside its other keys.",
            )
        blocked = None
    mine = Blocked(store.blocked_from(), size, pepper, ())
    unknown = [
        index for index in takedowns if not mine.covers(index) and (blocked is None or not blocked.covers(index))
    ]
    if unknown and must_know:
        raise StoreError(
            "IMPORT_FORGETS",
            f"of {number_of(len(unknown), 'takedown')}, the first entry {unknown[0]}, the export does not tell what "
            "must not come back: this validator would take it in again",
            "Export with --token-file of the validator that took it down. If that is gone, --without-blocked goes on.",
        )
    if blocked is not None:
        store.block(blocked.keys, pepper)
    store.block_from(max(unknown) + 1 if unknown else 0)
    return len(unknown)


def _promise(index: int, leaf: bytes, *, origin: str, issued_at: int, signer: Signer) -> str:
    return issue_receipt(leaf, index, origin, issued_at, signer).note


def _nothing(_index: int, _leaf: bytes) -> str:
    return ""


def _first_difference(export: LedgerCopy, store: Store, size: int) -> int:
    for first in range(0, size, WIDTH):
        mine = dict(store.indexed_leaves(first, min(WIDTH, size - first)))
        for offset, leaf in enumerate(export.reader.entries(first // WIDTH)[: size - first]):
            if mine.get(first + offset) != leaf:
                return first + offset
    return 0


class _Importer:
    """Writes the bundles of an export, in order, after the entries that ``edge`` ends with."""

    def __init__(
        self,
        export: LedgerCopy,
        store: Store,
        edge: Edge,
        receipt_vkey: str,
        erased: set[int],
        promise: Callable[[int, bytes], str],
        now: int,
    ) -> None:
        self._export, self._store, self._edge, self._receipt_vkey = export, store, edge, receipt_vkey
        self._erased, self._promise, self._now = erased, promise, now
        self.pairs = self.items = 0

    def take(self, bundle: Bundle) -> None:
        """Verify what a bundle adds and write it in one transaction."""
        leaves, hashes = self._export.entries(bundle), self._export.reader.leaf_hashes(bundle.index)
        pairs = self._export.pairs(bundle)
        skip = self._edge.size - bundle.index * WIDTH
        rows = [
            self._row(index, leaf, pairs.get(index)) for index, leaf in enumerate(leaves[skip:], start=self._edge.size)
        ]
        # A pair that is judged again has its entries in one bundle, perhaps, and each is of a transaction of its own.
        for start, end in pairwise([*_parts(rows), len(rows)]):
            self._store.append(rows[start:end], self._edge.append(hashes[skip + start : skip + end]))

    def _row(self, index: int, leaf: bytes, pair: ExportedPair | None) -> NewRow:
        entry = parse_entry(leaf)
        if isinstance(entry, TakedownEntry):
            return NewRow(index, leaf, self._promise(index, leaf), None, (entry.index,))
        if not isinstance(entry, PairEntry):
            return NewRow(index, leaf, self._promise(index, leaf), None)
        if index in self._erased:
            again = entry.again is not None
            erased = ErasedPair(entry.pair, entry.contributor, entry.verdict.is_accepted, again)
            return NewRow(index, leaf, self._promise(index, leaf), erased)
        if pair is None:
            if entry.verdict.is_accepted:
                raise bad_entry(index, "IMPORT_MISSING", "the pair is accepted, not taken down, and not in the export")
            return NewRow(index, leaf, self._promise(index, leaf), None)
        try:
            digest = check_exported(
                pair, leaf, self._export.network.domain, self._export.network.origin, self._receipt_vkey
            )
        except ProofError as error:
            raise bad_entry(index, error.code, error.what) from None
        submission, decision = pair.submission, pair.decision
        is_accepted = entry.verdict.is_accepted
        # Of a refused pair the hashes come only: its items are its contributor's and the auditors' to see.
        items = [self._item(index, part, is_accepted) for part in submission.parts]
        self.pairs, self.items = self.pairs + 1, self.items + len(items) * is_accepted
        sent = decision.embeddings
        texts = () if sent is None else (sent.a, sent.b, sent.final_a, sent.final_b)
        return NewRow(
            index,
            leaf,
            decision.receipt.note,
            NewSubmission(
                pair=digest,
                contributor=submission.contributor,
                nonce=submission.nonce,
                envelope=encode(Envelope(submission, pair.signature)),
                a=items[0],
                b=NO_ITEM if submission.is_single else items[1],
                accepted=is_accepted,
                items_since=self._now if is_accepted else None,
                embeddings=b"".join(map(base64.b64decode, texts)) or None,
                opening=encode(decision.opening),
                again=entry.again is not None,
                held_under=entry.verdict.checkpoint if entry.verdict.outcome is Outcome.HELD else None,
            ),
        )

    def _item(self, index: int, part: Part, is_accepted: bool) -> Item:
        if is_accepted:
            return self._export.item(index, part)
        return without_bytes(part)


def _parts(rows: Sequence[NewRow]) -> list[int]:
    """Return where to part rows so that no part has a pair twice, the beginning included."""
    parts, seen = [0], set[bytes]()
    for place, row in enumerate(rows):
        if row.submission is None:
            continue
        if row.submission.pair in seen:
            parts.append(place)
            seen.clear()
        seen.add(row.submission.pair)
    return parts


def last_checkpoint(store: Store) -> bytes | None:
    """Return the checkpoint that the newest entry about one names, None without any."""
    size = store.size()
    for start in range((size - 1) // WIDTH * WIDTH, -1, -WIDTH):
        for leaf in reversed(store.leaves(start, min(WIDTH, size - start))):
            if b'"kind":"checkpoint"' in leaf and isinstance(entry := parse_entry(leaf), CheckpointEntry):
                return entry.checkpoint
    return None


def check_checkpoint(store: Store, loaded: bytes) -> None:
    """Check that the newest checkpoint that the ledger names is the one loaded.

    An import brings no weights, and another encoder would give other search results and other verdicts.

    Raises:
        ConfigError: CHECKPOINT_NEEDED.
    """
    named = last_checkpoint(store)
    if named is not None and named != loaded:
        raise ConfigError(
            "CHECKPOINT_NEEDED",
            f"the ledger is judged under 0x{named.hex()}, loaded is 0x{loaded.hex()}",
            "Get that checkpoint's folder from whoever published it and set [validator] genesis to it.",
        )


def write_mark(data_dir: Path, mirrored: MirrorRecord | None) -> None:
    """Make a data folder that of a read-only mirror, or (None) of its ledger's owner."""
    if mirrored is None:
        (data_dir / MARK_FILE).unlink(missing_ok=True)
        return
    write_whole(data_dir / MARK_FILE, encode(mirrored))


def read_mark(data_dir: Path) -> MirrorRecord | None:
    """Return whose ledger a data folder mirrors, None if its own.

    Raises:
        StoreError: MIRROR_MARK if it is unreadable.
    """
    try:
        return parse(MirrorRecord, (data_dir / MARK_FILE).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, Rejected) as error:
        raise StoreError("MIRROR_MARK", f"{data_dir / MARK_FILE}: {error}", "Import the ledger again.") from None
