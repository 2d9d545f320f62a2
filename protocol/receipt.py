"""Receipts: a validator's signed promise that a decision is in its ledger at an index.

The signature is a C2SP signed note over five lines:

    curiosity-receipt/v1
    <origin of the ledger>
    <index of the entry>
    <base64 of the RFC 6962 leaf hash of the entry>
    <Unix seconds at which it was issued>
"""

import base64
import re
from dataclasses import dataclass

from protocol.entry import AnyEntry, parse_entry
from protocol.errors import ProofError
from protocol.merkle import leaf_hash
from protocol.tlog import Signer, open_note, sign_note
from protocol.wire import STRICT, UINT53_MAX

_HEADER = "curiosity-receipt/v1"
_LINES = 5
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
    digest = base64.b64encode(leaf_hash(leaf)).decode()
    text = f"{_HEADER}\n{origin}\n{index}\n{digest}\n{issued_at}\n"
    return Receipt(leaf.decode(), index, sign_note(text, signer))


def verify_receipt(receipt: Receipt, origin: str, receipt_vkey: str) -> CheckedReceipt:
    """Check a receipt with nothing but the validator's receipt key.

    Raises ProofError: a NOTE_ or SIGNATURE_ code; RECEIPT_SIGNATURES for more than the one signature, RECEIPT_LINES,
    RECEIPT_VERSION, RECEIPT_NUMBER or RECEIPT_BASE64 for a text of another form, RECEIPT_ORIGIN for another ledger's,
    RECEIPT_INDEX or RECEIPT_ENTRY if the index or the entry is not the one signed; an ENTRY_ code if what was signed is
    no entry.
    """
    text = open_note(receipt.note, [receipt_vkey])
    if receipt.note.count("\n", len(text)) != 2:
        raise ProofError("RECEIPT_SIGNATURES", "the note carries more than the one signature of a receipt")
    lines = text.split("\n")
    if len(lines) != _LINES + 1:
        raise ProofError("RECEIPT_LINES", f"the note has {len(lines) - 1} lines, expected {_LINES}")
    header, of, index_text, digest_text, time_text = lines[:_LINES]
    if header != _HEADER:
        raise ProofError("RECEIPT_VERSION", f"the note begins with {header[:60]!r}, expected {_HEADER!r}")
    index, issued_at = _number(index_text, "index"), _number(time_text, "time")
    signed = _digest(digest_text)
    if of != origin:
        raise ProofError("RECEIPT_ORIGIN", f"the receipt is of ledger {of!r}, expected {origin!r}")
    if index != receipt.index:
        raise ProofError("RECEIPT_INDEX", f"the note promises index {index}, the receipt says {receipt.index}")
    leaf = receipt.entry.encode(errors="surrogatepass")
    hash_ = leaf_hash(leaf)
    if hash_ != signed:
        raise ProofError("RECEIPT_ENTRY", f"the entry hashes to {hash_.hex()}, the note promises {signed.hex()}")
    return CheckedReceipt(parse_entry(leaf), index, hash_, issued_at)


def _number(text: str, what: str) -> int:
    if not _DECIMAL.fullmatch(text) or int(text) > UINT53_MAX:
        raise ProofError("RECEIPT_NUMBER", f"the {what} is {text[:60]!r}, no whole number in canonical decimals")
    return int(text)


def _digest(text: str) -> bytes:
    try:
        digest = base64.b64decode(text, validate=True)
    except ValueError:
        digest = b""
    if len(digest) != 32 or base64.b64encode(digest).decode() != text:
        raise ProofError("RECEIPT_BASE64", f"the leaf hash is {text[:60]!r}, no canonical base64 of 32 bytes")
    return digest
