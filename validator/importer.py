"""A validator's store built again from an exported ledger: verified entry by entry, resumable, nothing believed.

In order, for each bundle of the export's tiles: the leaves are held to the signed head; each pair's signature, receipt,
opening and embeddings to its entry; each item to its hash; then all of it is written in one transaction. What is there
already must be of the same tree. A takedown erases again what an earlier import brought.

Whoever holds the log's key goes on with the log. Anybody else gets a *read-only mirror*: it answers everything that is
asked of a ledger, under the owner's last head, and takes nothing in (`Mirrored`).
"""

import base64
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from protocol.decision import ExportedPair, check_exported, pairs_path
from protocol.entry import CheckpointEntry, PairEntry, TakedownEntry, parse_entry
from protocol.errors import ConfigError, ProofError, Rejected, StoreError
from protocol.messages import Network
from protocol.pair import Envelope, Item, Part
from protocol.tiles import WIDTH, bundles_for
from protocol.tlog import Bundle, Signer, TileReader, TreeHead, sign_note, verify_checkpoint
from protocol.wire import STRICT, encode, parse
from validator.ledger import NewSubmission
from validator.store import Store
from validator.store.hashes import TreeHashes
from validator.store.head import KeptHead
from validator.store.rows import ErasedPair, NewRow
from validator.store.tree import Edge

MARK_FILE = "mirror.json"
IMPORTED = "imported"
"""Name of the small value that says that a store was built from an export: the weights did not come with it."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Mirrored:
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


class Export:
    """An exported folder. Raises ProofError IMPORT_MALFORMED if it has no head or network message, or others."""

    def __init__(self, folder: Path, log_vkey: str = "") -> None:
        self.folder = folder
        try:
            self.network = parse(Network, (folder / "network.json").read_bytes())
            self.note = (folder / "checkpoint").read_text()
        except (OSError, UnicodeDecodeError, Rejected) as error:
            raise ProofError(
                "IMPORT_MALFORMED", f"{folder}: {error}", "Name a folder of `curiosity ledger export` that is complete."
            ) from None
        self.log_vkey = log_vkey or self.network.log_vkey
        self.head = verify_checkpoint(self.note, self.network.origin, [self.log_vkey])
        self.reader = TileReader(self.head, self._fetch)

    def _fetch(self, path: str) -> bytes | None:
        try:
            return (self.folder / path).read_bytes()
        except FileNotFoundError:
            return None

    def pairs(self, bundle: Bundle) -> dict[int, ExportedPair]:
        """Return the pairs of a bundle by index, not yet checked. Raises ProofError IMPORT_PAIRS naming the first."""
        first = bundle.index * WIDTH
        try:
            lines = (self.folder / pairs_path(bundle)).read_bytes().splitlines()
        except OSError as error:
            raise _bad(first, "IMPORT_PAIRS", f"{pairs_path(bundle)}: {error.strerror}") from None
        pairs: dict[int, ExportedPair] = {}
        for line in lines:
            try:
                pair = parse(ExportedPair, line)
            except Rejected as error:
                last = max(pairs, default=first - 1)
                raise _bad(last + 1, "IMPORT_PAIRS", f"{pairs_path(bundle)}: {error.what}") from None
            if pair.index in pairs or not first <= pair.index < first + bundle.width:
                raise _bad(pair.index, "IMPORT_PAIRS", f"{pairs_path(bundle)} has it twice, or not at its place")
            pairs[pair.index] = pair
        return pairs

    def item(self, index: int, part: Part) -> Item:
        """Return an item. Raises ProofError IMPORT_ITEM if it is missing or another."""
        try:
            data = (self.folder / "blobs" / part.sha256.hex()).read_bytes()
        except OSError as error:
            raise _bad(index, "IMPORT_ITEM", f"item 0x{part.sha256.hex()}: {error.strerror}") from None
        if sha256(data).digest() != part.sha256:
            raise _bad(index, "IMPORT_ITEM", f"item 0x{part.sha256.hex()} has SHA-256 {sha256(data).hexdigest()}")
        return Item(part.modality, part.media_type, data)


@contextmanager
def opened_export(path: Path, log_vkey: str = "") -> Iterator[Export]:
    """An exported folder, or one packed into a tar file, which is unpacked for as long as it is open.

    Raises ProofError IMPORT_MALFORMED.
    """
    if path.is_dir():
        yield Export(path, log_vkey)
        return
    with tempfile.TemporaryDirectory(prefix="curiosity-import-") as folder:
        try:
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
        except (OSError, tarfile.TarError) as error:
            raise ProofError("IMPORT_MALFORMED", f"{path}: {error}", "Name an exported folder or tar file.") from None
        yield Export(Path(folder), log_vkey)


def _bad(index: int, code: str, what: str) -> ProofError:
    return ProofError(
        code, f"first bad index {index}: {what}", "Export again, or remove the bad file and export again."
    )


def import_ledger(
    export: Export,
    store: Store,
    *,
    log_signer: Signer,
    head_path: Path,
    receipt_vkey: str = "",
    progress: Progress | None = None,
) -> Imported:
    """Bring a store up to the head of an export. ``log_signer`` is this validator's own key.

    Raises ProofError naming the first bad index: IMPORT_DIFFERS if the store holds another history, IMPORT_PAIRS,
    IMPORT_ITEM, IMPORT_MISSING for an accepted pair that is neither there nor taken down, TILE_ and BUNDLE_ codes, what
    `check_exported` raises; StoreError IMPORT_OLDER if this ledger has signed more than the export holds.
    """
    network, head = export.network, export.head
    kept = KeptHead(head_path, network.origin, log_signer.verifier.vkey())
    store.claim_ledger()
    signed = kept.read()
    size = store.size()
    if max(signed.size if signed is not None else 0, size) > head.size:
        raise StoreError(
            "IMPORT_OLDER",
            f"this ledger holds {size} entries and has signed {signed.size if signed else 0}, the export {head.size}",
            "Export again; going back would fork the log.",
        )
    hashes = TreeHashes(store)
    edge = hashes.load_edge(size)
    if size and edge.root() != export.reader.root(size):
        raise _bad(_first_difference(export, store, size), "IMPORT_DIFFERS", "the store holds another entry there")
    writer = _Importer(export, store, edge, receipt_vkey or network.receipt_vkey)
    for bundle in bundles_for(head.size, size):
        writer.take(bundle)
        if progress is not None:
            progress(edge.size, head.size)
    kept.begin(sign_note(TreeHead(network.origin, edge.size, edge.root()).text(), log_signer))
    kept.refill(store, 0, edge.size)
    store.meta_set(IMPORTED, str(edge.size))
    is_owner = log_signer.verifier.vkey() == export.log_vkey
    return Imported(edge.size, edge.root(), edge.size - size, writer.pairs, writer.items, not is_owner)


def _first_difference(export: Export, store: Store, size: int) -> int:
    for first in range(0, size, WIDTH):
        mine = dict(store.indexed_leaves(first, min(WIDTH, size - first)))
        for offset, leaf in enumerate(export.reader.entries(first // WIDTH)[: size - first]):
            if mine.get(first + offset) != leaf:
                return first + offset
    return 0


class _Importer:
    """Writes the bundles of an export, in order, after the entries that ``edge`` ends with."""

    def __init__(self, export: Export, store: Store, edge: Edge, receipt_vkey: str) -> None:
        self._export, self._store, self._edge, self._receipt_vkey = export, store, edge, receipt_vkey
        self._erased = set(_taken_down(export))
        self.pairs = self.items = 0

    def take(self, bundle: Bundle) -> None:
        """Verify what a bundle adds and write it in one transaction."""
        reader, first = self._export.reader, bundle.index * WIDTH
        try:
            leaves, hashes = reader.entries(bundle.index), reader.leaf_hashes(bundle.index)
        except ProofError as error:
            what = error.what if error.what.startswith("entry ") else f"from entry {first} on: {error.what}"
            raise ProofError(error.code, f"first bad index in it, {what}", error.remedy) from None
        pairs = self._export.pairs(bundle)
        skip = self._edge.size - first
        rows = [
            self._row(index, leaf, pairs.get(index)) for index, leaf in enumerate(leaves[skip:], start=self._edge.size)
        ]
        self._store.append(rows, self._edge.append(hashes[skip:]))

    def _row(self, index: int, leaf: bytes, pair: ExportedPair | None) -> NewRow:
        entry = parse_entry(leaf)
        if isinstance(entry, TakedownEntry):
            return NewRow(index, leaf, "", None, (entry.index,))
        if not isinstance(entry, PairEntry):
            return NewRow(index, leaf, "", None)
        if index in self._erased:
            return NewRow(index, leaf, "", ErasedPair(entry.pair, entry.contributor, entry.verdict.is_accepted))
        if pair is None:
            if entry.verdict.is_accepted:
                raise _bad(index, "IMPORT_MISSING", "the pair is accepted, not taken down, and not in the export")
            return NewRow(index, leaf, "", None)
        try:
            digest = check_exported(
                pair, leaf, self._export.network.domain, self._export.network.origin, self._receipt_vkey
            )
        except ProofError as error:
            raise _bad(index, error.code, error.what) from None
        submission, decision = pair.submission, pair.decision
        items = [self._export.item(index, part) for part in (submission.a, submission.b)]
        self.pairs, self.items = self.pairs + 1, self.items + 2
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
                b=items[1],
                accepted=entry.verdict.is_accepted,
                embeddings=b"".join(map(base64.b64decode, texts)) or None,
                opening=encode(decision.opening),
            ),
        )


def _taken_down(export: Export) -> Iterator[int]:
    """Indices of the pairs that the export's ledger takes down, each by a later entry."""
    for bundle in bundles_for(export.head.size):
        for leaf in export.reader.entries(bundle.index):
            if b'"kind":"takedown"' in leaf and isinstance(entry := parse_entry(leaf), TakedownEntry):
                yield entry.index


def last_checkpoint(store: Store) -> bytes | None:
    """Return the checkpoint that the newest entry about one names, None without any."""
    size = store.size()
    for start in range((size - 1) // WIDTH * WIDTH, -1, -WIDTH):
        for leaf in reversed(store.leaves(start, min(WIDTH, size - start))):
            if b'"kind":"checkpoint"' in leaf and isinstance(entry := parse_entry(leaf), CheckpointEntry):
                return entry.checkpoint
    return None


def check_checkpoint(store: Store, loaded: bytes) -> None:
    """Raise ConfigError CHECKPOINT_NEEDED unless the newest checkpoint that the ledger names is the one loaded.

    An import brings no weights, and another encoder would give other search results and other verdicts.
    """
    named = last_checkpoint(store)
    if named is not None and named != loaded:
        raise ConfigError(
            "CHECKPOINT_NEEDED",
            f"the ledger is judged under 0x{named.hex()}, loaded is 0x{loaded.hex()}",
            "Get that checkpoint's folder from whoever published it and set [validator] genesis to it.",
        )


def write_mark(data_dir: Path, mirrored: Mirrored | None) -> None:
    """Make a data folder that of a read-only mirror, or (None) of its ledger's owner."""
    if mirrored is None:
        (data_dir / MARK_FILE).unlink(missing_ok=True)
        return
    temporary = data_dir / f".{MARK_FILE}.tmp"
    temporary.write_bytes(encode(mirrored))
    temporary.replace(data_dir / MARK_FILE)


def read_mark(data_dir: Path) -> Mirrored | None:
    """Return whose ledger a data folder mirrors, None if its own. Raises StoreError MIRROR_MARK if it is unreadable."""
    try:
        return parse(Mirrored, (data_dir / MARK_FILE).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, Rejected) as error:
        raise StoreError("MIRROR_MARK", f"{data_dir / MARK_FILE}: {error}", "Import the ledger again.") from None
