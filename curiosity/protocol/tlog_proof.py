"""Offline proofs that an entry is in the ledger (c2sp.org/tlog-proof): index, audit path and signed tree head as text.

c2sp.org/tlog-proof@v1
extra <base64 of bytes that nobody signed>      only where there are any
index <decimal>
<base64 of a hash>                              the audit path, nearest sibling first
                                                an empty line
<the tree head's note, verbatim>
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from curiosity.protocol.errors import ProofError
from curiosity.protocol.merkle import leaf_hash, verify_inclusion
from curiosity.protocol.note import MAX_NOTE_CHARS, MAX_SIZE, from_base64, from_decimal, parse_note, to_base64
from curiosity.protocol.signed_note import verify_checkpoint
from curiosity.protocol.tree_head import TreeHead

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PATH = 63
"""No tree is deeper: sizes are below 2 ** 63."""
MAX_EXTRA_BYTES = 256 * 1024


@dataclass(frozen=True)
class Proof:
    """What a tlog-proof spells, unchecked. ``path`` holds hashes of 32 bytes; ``extra`` is nobody's word."""

    index: int
    path: tuple[bytes, ...]
    note: str = field(repr=False)
    extra: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class ProvenEntry:
    """What a tlog-proof proved: the entry is at ``index`` of the tree under ``head``. ``extra`` stays unchecked."""

    index: int
    head: TreeHead
    extra: bytes = field(default=b"", repr=False)


def make_proof(index: int, path: Sequence[bytes], checkpoint_note: str, extra: bytes = b"") -> str:
    """Return the tlog-proof of an entry ("Format"): its audit path in the tree of ``checkpoint_note``.

    The note is kept as it is.

    Raises:
        ValueError: For an index or hashes that cannot be written.
        ProofError: If the note is malformed.
    """
    if not 0 <= index <= MAX_SIZE or len(path) > MAX_PATH or any(len(hash_) != 32 for hash_ in path):
        raise ValueError(f"a proof has an index up to {MAX_SIZE} and at most {MAX_PATH} hashes of 32 bytes")
    if len(extra) > MAX_EXTRA_BYTES:
        raise ValueError(f"a proof carries at most {MAX_EXTRA_BYTES} extra bytes, got {len(extra)}")
    parse_note(checkpoint_note)
    lines = [HEADER, *([f"extra {to_base64(extra)}"] if extra else []), f"index {index}", *map(to_base64, path)]
    return "\n".join(lines) + "\n\n" + checkpoint_note


def parse_proof(proof_text: str) -> Proof:
    """Return what a tlog-proof spells, nothing of it checked ("Format").

    Raises:
        ProofError: PROOF_TEXT_TOO_LONG, PROOF_HEADER for another first line, PROOF_EXTRA, PROOF_INDEX, PROOF_HASH for a
            line that is not canonical, PROOF_TOO_LONG above 63 hashes, PROOF_NO_HEAD without an empty line, NOTE_
            codes.
    """
    if len(proof_text) > MAX_NOTE_CHARS + 2 * MAX_EXTRA_BYTES:
        raise ProofError("PROOF_TEXT_TOO_LONG", f"the proof has {len(proof_text)} characters")
    top, separator, note = proof_text.partition("\n\n")
    header, *lines = top.split("\n")
    if header != HEADER:
        raise ProofError("PROOF_HEADER", f"the first line is {header[:60]!r}, expected {HEADER!r}")
    if not separator:
        raise ProofError("PROOF_NO_HEAD", "no empty line and no tree head follow the audit path")
    extra = b""
    if lines and lines[0].startswith("extra "):
        extra = from_base64(lines.pop(0).removeprefix("extra "), "PROOF_EXTRA", "the extra data")
        if not 0 < len(extra) <= MAX_EXTRA_BYTES:
            raise ProofError("PROOF_EXTRA", f"{len(extra)} extra bytes, expected 1 to {MAX_EXTRA_BYTES} or no line")
    if not lines or not lines[0].startswith("index "):
        raise ProofError("PROOF_INDEX", f"expected an index line, got {lines[0][:60] if lines else ''!r}")
    index = from_decimal(lines.pop(0).removeprefix("index "), "PROOF_INDEX", "the index")
    if len(lines) > MAX_PATH:
        raise ProofError("PROOF_TOO_LONG", f"the proof has {len(lines)} hashes, at most {MAX_PATH}")
    path = tuple(from_base64(line, "PROOF_HASH", "a hash") for line in lines)
    for hash_ in path:
        if len(hash_) != 32:
            raise ProofError("PROOF_HASH", f"a hash has {len(hash_)} bytes, expected 32")
    parse_note(note)
    return Proof(index, path, note, extra)


def verify_proof(
    proof_text: str,
    leaf: bytes,
    origin: str,
    log_vkeys: Sequence[str],
    witness_vkeys: Sequence[str] = (),
    quorum: int = 0,
) -> ProvenEntry:
    """Return where the proof shows ``leaf`` (the entry's bytes) to be in the ledger ("Verifying a tlog proof").

    The size is that of the tree head, which must be of ``origin``, signed by one of ``log_vkeys`` and cosigned by
    ``quorum`` of ``witness_vkeys``.

    Raises:
        ProofError: As `parse_proof`, as `curiosity.protocol.tlog.verify_checkpoint`, as
            `curiosity.protocol.merkle.verify_inclusion`.
    """
    proof = parse_proof(proof_text)
    head = verify_checkpoint(proof.note, origin, log_vkeys, witness_vkeys, quorum)
    verify_inclusion(leaf_hash(leaf), proof.index, head.size, proof.path, head.root)
    return ProvenEntry(proof.index, head, proof.extra)
