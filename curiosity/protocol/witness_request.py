"""What a log asks of a witness and what comes back (c2sp.org/tlog-witness): text made and parsed, nothing checked.

    old <size of the tree head that the witness cosigned last>
    <base64 of a hash>                              the consistency proof, at most 63
                                                    an empty line
    <the new tree head's note, verbatim>

The answer is one or more signature lines, merged by `curiosity.protocol.tlog.add_signatures`; or, with status 409, the
size that the witness has.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from curiosity.protocol.errors import ProofError
from curiosity.protocol.note import MAX_NOTE_CHARS, MAX_SIZE, from_base64, from_decimal, parse_note, to_base64

MAX_PATH = 63
SIZE_MEDIA_TYPE = "text/x.tlog.size"


@dataclass(frozen=True)
class WitnessRequest:
    """A body of add-checkpoint, unchecked. ``path`` holds hashes of 32 bytes."""

    old_size: int
    path: tuple[bytes, ...]
    note: str = field(repr=False)


def make_witness_request(old_size: int, path: Sequence[bytes], note: str) -> str:
    """Return the body of add-checkpoint.

    Raises:
        ValueError: For what cannot be written.
        ProofError: For a bad note.
    """
    if not 0 <= old_size <= MAX_SIZE or len(path) > MAX_PATH or any(len(hash_) != 32 for hash_ in path):
        raise ValueError(f"a request has a size up to {MAX_SIZE} and at most {MAX_PATH} hashes of 32 bytes")
    parse_note(note)
    return "\n".join([f"old {old_size}", *map(to_base64, path)]) + "\n\n" + note


def parse_witness_request(body: str) -> WitnessRequest:
    """Return what a body of add-checkpoint spells.

    Raises:
        ProofError: WITNESS_REQUEST_TOO_LONG, WITNESS_REQUEST_MALFORMED without an empty line, WITNESS_REQUEST_OLD,
            WITNESS_REQUEST_HASH, PROOF_TOO_LONG above 63 hashes, NOTE_ codes.
    """
    if len(body) > MAX_NOTE_CHARS + 4096:
        raise ProofError("WITNESS_REQUEST_TOO_LONG", f"the request has {len(body)} characters")
    top, separator, note = body.partition("\n\n")
    first, *lines = top.split("\n")
    if not separator:
        raise ProofError("WITNESS_REQUEST_MALFORMED", "no empty line and no tree head follow the consistency proof")
    if not first.startswith("old "):
        raise ProofError("WITNESS_REQUEST_OLD", f"the first line is {first[:60]!r}, expected old and a size")
    old_size = from_decimal(first.removeprefix("old "), "WITNESS_REQUEST_OLD", "the old size")
    if len(lines) > MAX_PATH:
        raise ProofError("PROOF_TOO_LONG", f"the proof has {len(lines)} hashes, at most {MAX_PATH}")
    path = tuple(from_base64(line, "WITNESS_REQUEST_HASH", "a hash") for line in lines)
    for hash_ in path:
        if len(hash_) != 32:
            raise ProofError("WITNESS_REQUEST_HASH", f"a hash has {len(hash_)} bytes, expected 32")
    parse_note(note)
    return WitnessRequest(old_size, path, note)


def parse_witness_size(body: str) -> int:
    """Return the size that a witness answers with status 409.

    Raises:
        ProofError: WITNESS_SIZE.
    """
    if not body.endswith("\n"):
        raise ProofError("WITNESS_SIZE", f"the answer {body[:60]!r} is not one line")
    return from_decimal(body[:-1], "WITNESS_SIZE", "the witness's size")
