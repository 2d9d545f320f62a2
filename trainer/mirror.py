"""The ledger as a trainer reads it: a mirrored folder in which nothing is believed before it is checked.

Step 19 of docs/protocol.md: the leaves lead to the signed root; each submission has its entry's digest and signature;
each item has its signed hash (checked when it is read).
"""

from pathlib import Path
from typing import TypeVar

from curiosity.protocol.entry import PairEntry, parse_entry
from curiosity.protocol.errors import ProofError, Rejected, SourceError
from curiosity.protocol.merkle import Frontier, leaf_hash
from curiosity.protocol.messages import IndexedSubmission, Network
from curiosity.protocol.pair import Envelope, Part, check_signature
from curiosity.protocol.tlog import TreeHead, verify_checkpoint
from curiosity.protocol.tombstones import check_takedowns, find_takedowns
from curiosity.protocol.wire import parse
from trainer.feed import FedItem, FedPair, LedgerSlice

T = TypeVar("T")


def read_mirror(folder: Path, *, log_vkey: str = "") -> tuple[LedgerSlice, list[FedPair]]:
    """Return the whole ledger as a slice, and its accepted pairs in ledger order, without those that are taken down.

    ``folder`` is what `curiosity ledger mirror` writes; ``log_vkey`` pins the key of the tree head, empty trusts the
    one that the mirror names. Raises SourceError MIRROR_MISSING or MIRROR_ROW; ProofError: what `verify_checkpoint`
    raises, MIRROR_ROOT, MIRROR_SUBMISSION, MIRROR_OPENING, TAKEDOWN_ codes.
    """
    network = _parse(Network, _read(folder / "network.json"), "network.json")
    head = verify_checkpoint(
        _read(folder / "tree-head.txt").decode(errors="replace"), network.origin, [log_vkey or network.log_vkey]
    )
    leaves = _read(folder / "entries.jsonl").splitlines()
    _check_root(leaves, head)
    erased = check_takedowns(leaves, network.network_id, network.domain)
    pairs = []
    for line in _read(folder / "submissions.jsonl").splitlines():
        row = _parse(IndexedSubmission, line, "submissions.jsonl")
        if row.index >= head.size or row.index in erased:
            continue  # whatever an old mirror still has of it
        entry = parse_entry(leaves[row.index])
        digest = _signed_digest(row, network)
        if not isinstance(entry, PairEntry) or entry.pair != digest:
            raise ProofError("MIRROR_SUBMISSION", f"entry {row.index} is not about pair 0x{digest.hex()}")
        if row.opening.commitment() != entry.commitment:
            raise ProofError("MIRROR_OPENING", f"what came with entry {row.index} is not what its commitment hides")
        if entry.verdict.is_accepted:
            pairs.append(FedPair(digest, _item(folder, row.submission.a), _item(folder, row.submission.b)))
    takedowns = tuple(index for index, _ in find_takedowns(leaves))
    return LedgerSlice(network.origin, 0, head.size, head.root.hex(), takedowns), pairs


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(
            "MIRROR_MISSING", f"{path}: {error.strerror}", "Make the mirror with `curiosity ledger mirror --out DIR`."
        ) from None


def _parse(type_: type[T], data: bytes, where: str) -> T:
    try:
        return parse(type_, data)
    except Rejected as error:
        raise SourceError("MIRROR_ROW", f"{where}: {error.what}", "Make the mirror again.") from None


def _check_root(leaves: list[bytes], head: TreeHead) -> None:
    if len(leaves) != head.size:
        raise ProofError("MIRROR_ROOT", f"{len(leaves)} leaves, the signed tree head is of {head.size}")
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf_hash(leaf))
    if frontier.root() != head.root:
        raise ProofError("MIRROR_ROOT", f"the leaves lead to {frontier.root().hex()}, signed is {head.root.hex()}")


def _signed_digest(row: IndexedSubmission, network: Network) -> bytes:
    try:
        return check_signature(Envelope(row.submission, row.signature), network.domain)
    except Rejected as error:
        raise ProofError("MIRROR_SUBMISSION", f"entry {row.index}: {error.what}") from None


def _item(folder: Path, part: Part) -> FedItem:
    return FedItem(part.modality, part.media_type, part.sha256.hex(), (folder / "blobs" / part.sha256.hex()).read_bytes)
