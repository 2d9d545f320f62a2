"""Receipts: a validator's signed promise that a decision is in its ledger at an index.

The signature is a C2SP signed note over five lines:

    curiosity-receipt/v1
    <origin of the ledger>
    <index of the entry>
    <base64 of the RFC 6962 leaf hash of the entry>
    <Unix seconds at which it was issued>
"""

import base64
from dataclasses import dataclass

from protocol.entry import AnyEntry, parse_entry
from protocol.errors import ProofError
from protocol.merkle import leaf_hash
from protocol.tlog import Signer, open_note, sign_note
from protocol.wire import STRICT

_HEADER = "curiosity-receipt/v1"


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
    digest = base64.b64encode(leaf_hash(leaf)).decode()
    text = f"{_HEADER}\n{origin}\n{index}\n{digest}\n{issued_at}\n"
    return Receipt(leaf.decode(), index, sign_note(text, signer))


def verify_receipt(receipt: Receipt, origin: str, receipt_vkey: str) -> CheckedReceipt:
    """Check a receipt with nothing but the validator's receipt key.

    Raises ProofError: a NOTE_ or SIGNATURE_ code, RECEIPT_MALFORMED, RECEIPT_ORIGIN for another ledger's,
    RECEIPT_INDEX or RECEIPT_ENTRY if the index or the entry is not the one signed.
    """
    lines = open_note(receipt.note, [receipt_vkey]).split("\n")
    if len(lines) != 6 or lines[0] != _HEADER or not lines[2].isdecimal() or not lines[4].isdecimal():
        raise ProofError("RECEIPT_MALFORMED", f"the note is not a {_HEADER} text")
    if lines[1] != origin:
        raise ProofError("RECEIPT_ORIGIN", f"the receipt is of ledger {lines[1]!r}, expected {origin!r}")
    if lines[2] != str(receipt.index):
        raise ProofError("RECEIPT_INDEX", f"the note promises index {lines[2]}, the receipt says {receipt.index}")
    leaf = receipt.entry.encode()
    hash_ = leaf_hash(leaf)
    if lines[3] != base64.b64encode(hash_).decode():
        raise ProofError("RECEIPT_ENTRY", f"the entry hashes to {hash_.hex()}, which is not what the note promises")
    return CheckedReceipt(parse_entry(leaf), receipt.index, hash_, int(lines[4]))
