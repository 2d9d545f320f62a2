"""Receipts: a validator's signed promise that a decision is in its ledger at an index.

A validator signs once for all entries that it made durable together, a batch: a C2SP signed note over six lines,

    curiosity-batch/v1
    <origin of the ledger>
    <index of the batch's first entry>
    <number of its entries>
    <base64 of the RFC 6962 root over their leaf hashes>
    <Unix seconds at which it was signed>

and the receipt of each entry says how its leaf leads to that root, in the manner of c2sp.org/tlog-proof: the line
``curiosity-receipt/v2``, the base64 of each hash of the audit path in the batch, nearest sibling first, an empty line,
the note. The path of a batch of one is empty.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from curiosity.protocol.entry import AnyEntry, parse_entry
from curiosity.protocol.errors import ProofError
from curiosity.protocol.merkle import leaf_hash, node_hash, split_point, verify_inclusion
from curiosity.protocol.note import from_base64, to_base64
from curiosity.protocol.tlog import Signer, open_note, sign_note
from curiosity.protocol.wire import STRICT, UINT53_MAX

_HEADER = "curiosity-receipt/v2"
_BATCH_HEADER = "curiosity-batch/v1"
_LINES = 6
_MAX_PATH = 64  # longer than that of any number that can be written here
_DECIMAL = re.compile("0|[1-9][0-9]{0,15}")


@dataclass(frozen=True)
class Receipt:
    """An entry with its index and the note that promises both."""

    entry: str  # the leaf, canonical JSON
    index: int
    note: str

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class CheckedReceipt:
    """What a receipt proved."""

    entry: AnyEntry
    index: int
    leaf_hash: bytes
    issued_at: int


def issue_receipt(leaf: bytes, index: int, origin: str, issued_at: int, signer: Signer) -> Receipt:
    """Return the receipt for a leaf that is durable at ``index``. ``issued_at`` is Unix seconds."""
    return issue_receipts([leaf], [leaf_hash(leaf)], index, origin, issued_at, signer)[0]


def issue_receipts(
    leaves: Sequence[bytes], hashes: Sequence[bytes], first: int, origin: str, issued_at: int, signer: Signer
) -> list[Receipt]:
    """Return the receipts of leaves, ``hashes`` their leaf hashes, that are durable together from ``first`` on."""
    if not leaves:
        return []
    root, paths = _audit_paths(hashes)
    text = f"{_BATCH_HEADER}\n{origin}\n{first}\n{len(leaves)}\n{to_base64(root)}\n{issued_at}\n"
    note = sign_note(text, signer)
    return [
        Receipt(leaf.decode(), index, "\n".join([_HEADER, *path, "", note]))
        for index, (leaf, path) in enumerate(zip(leaves, paths, strict=True), first)
    ]


def _audit_paths(hashes: Sequence[bytes]) -> tuple[bytes, list[list[str]]]:
    """Return the root over leaf hashes and the path of each, in base64, every hash spelled once."""
    if len(hashes) == 1:
        return hashes[0], [[]]
    middle = split_point(len(hashes))
    (left, left_paths), (right, right_paths) = _audit_paths(hashes[:middle]), _audit_paths(hashes[middle:])
    for sibling, paths in ((to_base64(right), left_paths), (to_base64(left), right_paths)):
        for path in paths:
            path.append(sibling)
    return node_hash(left, right), left_paths + right_paths


def verify_receipt(receipt: Receipt, origin: str, receipt_vkey: str) -> CheckedReceipt:
    """Check a receipt with nothing but the validator's receipt key.

    Raises:
        ProofError: RECEIPT_VERSION for a text of another form; a NOTE_ or SIGNATURE_ code; RECEIPT_SIGNATURES for more
            than the one signature, RECEIPT_LINES, RECEIPT_BATCH, RECEIPT_NUMBER or RECEIPT_BASE64 for a batch or a path
            of another form, RECEIPT_ORIGIN for another ledger's, RECEIPT_INDEX if the index is not in the batch,
            RECEIPT_PATH if the path has not the length that it has there, RECEIPT_ENTRY if the entry is not the one
            promised at the index; an ENTRY_ code if what was promised is not an entry.
    """
    head, _, note = receipt.note.partition("\n\n")
    header, *path = head.split("\n")
    if header != _HEADER:
        raise ProofError("RECEIPT_VERSION", f"the receipt begins with {header[:60]!r}, expected {_HEADER!r}")
    siblings = [_digest(line, "a hash of the path") for line in path[:_MAX_PATH]]
    text = open_note(note, [receipt_vkey])
    if note.count("\n", len(text)) != 2:
        raise ProofError("RECEIPT_SIGNATURES", "the note carries more than the one signature of a receipt")
    lines = text.split("\n")
    if len(lines) != _LINES + 1:
        raise ProofError("RECEIPT_LINES", f"the note has {len(lines) - 1} lines, expected {_LINES}")
    batch, of, first_text, count_text, root_text, time_text = lines[:_LINES]
    if batch != _BATCH_HEADER:
        raise ProofError("RECEIPT_BATCH", f"the note begins with {batch[:60]!r}, expected {_BATCH_HEADER!r}")
    first, count = _number(first_text, "index"), _number(count_text, "number of entries")
    issued_at, root = _number(time_text, "time"), _digest(root_text, "the root")
    if of != origin:
        raise ProofError("RECEIPT_ORIGIN", f"the receipt is of ledger {of!r}, expected {origin!r}")
    if not first <= receipt.index < first + count:
        what = f"the note promises {count} entries from index {first} on, the receipt says {receipt.index}"
        raise ProofError("RECEIPT_INDEX", what)
    leaf = receipt.entry.encode(errors="surrogatepass")
    hash_ = leaf_hash(leaf)
    try:
        verify_inclusion(hash_, receipt.index - first, count, siblings, root)
    except ProofError as error:
        if error.code != "PROOF_MISMATCH":
            raise ProofError("RECEIPT_PATH", f"the path to the batch's root: {error.what}") from None
        what = f"the entry, which hashes to {hash_.hex()}, is not the one that was promised at index {receipt.index}"
        raise ProofError("RECEIPT_ENTRY", what) from None
    return CheckedReceipt(parse_entry(leaf), receipt.index, hash_, issued_at)


def _number(text: str, what: str) -> int:
    if not _DECIMAL.fullmatch(text) or int(text) > UINT53_MAX:
        raise ProofError("RECEIPT_NUMBER", f"the {what} is {text[:60]!r}, no whole number in canonical decimals")
    return int(text)


def _digest(text: str, what: str) -> bytes:
    digest = from_base64(text, "RECEIPT_BASE64", what)
    if len(digest) != 32:
        raise ProofError("RECEIPT_BASE64", f"{what} is {text[:60]!r}, no base64 of 32 bytes")
    return digest
