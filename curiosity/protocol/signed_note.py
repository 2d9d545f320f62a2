"""Notes signed, opened, cosigned; tree heads verified: where it is decided whose word counts.

Sources: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature, c2sp.org/tlog-witness. All of it is
importable from `curiosity.protocol.tlog`.
"""

from collections.abc import Sequence

from curiosity.protocol.errors import ProofError
from curiosity.protocol.merkle import EMPTY_ROOT
from curiosity.protocol.note import (
    ED25519,
    NoteSignature,
    Signer,
    Verifier,
    is_note_text,
    parse_note,
    parse_signature_lines,
    parse_vkey,
)
from curiosity.protocol.note_signature import Signed, check_signatures, make_cosignature, make_signature
from curiosity.protocol.tree_head import TreeHead, parse_tree_head


def sign_note(text: str, signer: Signer, existing: str = "") -> str:
    """Return the note that carries ``text`` and the signer's line; ``existing`` holds signature lines to keep.

    ``text`` ends in a newline. Source: c2sp.org/signed-note, "Format".

    Raises:
        ValueError: If it does not, or holds characters that no note can, or if the signer's name is empty or holds
            spaces or plus signs, or if its key only cosigns: nobody could open such a note.
    """
    if not is_note_text(text):
        raise ValueError("a note's text ends in a newline and holds no control characters")
    return f"{text}\n{existing}{make_signature(text, signer).line()}"


def cosign(note: str, signer: Signer, timestamp: int) -> str:
    """Return the note of a tree head with one more line: the signer's cosignature at Unix second ``timestamp``.

    An Ed25519 key cosigns as cosignature/v1, an ML-DSA-44 key as subtree/v1; its vkey is that of ``signer.witness``.
    The caller has checked the log's signature and consistency with the last head that it cosigned. Source:
    c2sp.org/tlog-cosignature.

    Raises:
        ProofError: If the note is not a tree head's.
        ValueError: For a time or a name that cannot be written.
    """
    text, _ = parse_note(note)
    return note + make_cosignature(text, signer, timestamp).line()


def add_signatures(note: str, lines: str, vkeys: Sequence[str]) -> str:
    """Return the note with those of the signature ``lines`` that one of ``vkeys`` made; the others are left out.

    What a witness answers to add-checkpoint is merged so (c2sp.org/tlog-witness, "add-checkpoint"). Of each of these
    keys the note holds one line, the newest: one witness with many must not take the room of the others.

    Raises:
        ProofError: A NOTE_ code if the note or the lines are malformed or more together than a note may hold,
            NOTE_UNSIGNED if none of the lines is by these keys, SIGNATURE_ if one of them is wrong.
    """
    text, present = parse_note(note)
    verifiers = [parse_vkey(vkey) for vkey in vkeys]
    signatures = parse_signature_lines(lines)
    newest: dict[Verifier, tuple[int, NoteSignature]] = {}
    others, is_signed = [], False
    for number, signature in enumerate((*present, *signatures)):
        is_new = number >= len(present)
        made = check_signatures(text, [signature], verifiers)
        if not made and not is_new:
            others.append(signature)
        for one in made:
            is_signed = is_signed or is_new
            if one.verifier not in newest or one.timestamp > newest[one.verifier][0]:
                newest[one.verifier] = (one.timestamp, signature)
    if not is_signed:
        raise _unsigned(signatures, vkeys)
    kept = [signature for _, signature in newest.values()]
    in_order = [s for s in present if s in others or s in kept] + [s for s in kept if s not in present]
    merged = f"{text}\n" + "".join(dict.fromkeys(s.line() for s in in_order))
    parse_note(merged)
    return merged


def _unsigned(signatures: Sequence[NoteSignature], vkeys: Sequence[str]) -> ProofError:
    signed_by = ", ".join(repr(s.name[:80]) for s in signatures[:8])  # anybody's words, shown on a terminal
    trusted = ", ".join(vkey[:80] for vkey in vkeys[:8]) or "no keys"
    return ProofError(
        "NOTE_UNSIGNED", f"signed by {signed_by}, trusted are {trusted}", "Check that you hold this network's key."
    )


def _open(note: str, vkeys: Sequence[str]) -> tuple[str, tuple[NoteSignature, ...]]:
    text, signatures = parse_note(note)
    signed = check_signatures(text, signatures, [parse_vkey(vkey) for vkey in vkeys])
    if not signed:
        raise _unsigned(signatures, vkeys)
    if not any(s.covers_text for s in signed) and parse_tree_head(text).extensions:
        raise ProofError("NOTE_PARTLY_SIGNED", "no signature covers the extension lines of this tree head")
    return text, signatures


def open_note(note: str, vkeys: Sequence[str]) -> str:
    """Return the text of a note signed by at least one of ``vkeys`` (c2sp.org/signed-note, "Signatures").

    Signatures of other keys are ignored; one of these keys that does not verify condemns the note.

    Raises:
        ProofError: VKEY_ codes; NOTE_TOO_LONG, NOTE_CHARACTERS, NOTE_MALFORMED, NOTE_SIGNATURES, NOTE_SIGNATURE_LINE;
            SIGNATURE_WRONG, SIGNATURE_LENGTH, SIGNATURE_TIME; NOTE_UNSIGNED if none of the keys signed it;
            NOTE_PARTLY_SIGNED if only ML-DSA-44 keys did, whose signatures leave out the extension lines that it has.
    """
    return _open(note, vkeys)[0]


def verify_checkpoint(
    note: str, origin: str, log_vkeys: Sequence[str], witness_vkeys: Sequence[str] = (), quorum: int = 0
) -> TreeHead:
    """Return the tree head of ``origin`` that one of ``log_vkeys`` signed and ``quorum`` witnesses cosigned.

    Witnesses that share a name or a public key count as one, and a key of the log is no witness of it. Source:
    c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature.

    Raises:
        ProofError: As `open_note`; HEAD_MALFORMED, HEAD_SIZE, HEAD_ROOT; HEAD_ORIGIN for another log's head;
            HEAD_EMPTY_ROOT if a tree of no leaves has another root than that; VKEY_NOT_A_WITNESS, HEAD_QUORUM if too
            few of ``witness_vkeys`` cosigned.
    """
    text, _ = _open(note, log_vkeys)
    head = parse_tree_head(text)
    if head.origin != origin:
        raise ProofError("HEAD_ORIGIN", f"the head is of {head.origin[:200]!r}, expected {origin!r}")
    if head.size == 0 and head.root != EMPTY_ROOT:
        raise ProofError("HEAD_EMPTY_ROOT", f"a tree of no leaves has root {EMPTY_ROOT.hex()}, not {head.root.hex()}")
    log_keys = {parse_vkey(vkey).public_key for vkey in log_vkeys}
    cosigned = verified_cosignatures(note, witness_vkeys)
    count = _different([s.verifier for s in cosigned if s.verifier.public_key not in log_keys])
    if count < quorum:
        raise ProofError("HEAD_QUORUM", f"{count} of the {quorum} witnesses needed cosigned the head")
    return head


def verified_cosignatures(note: str, witness_vkeys: Sequence[str]) -> tuple[Signed, ...]:
    """Return the cosignatures of these witnesses on a tree head's note, with their times, in the note's order.

    This says nothing about the log's own signature. Source: c2sp.org/tlog-cosignature.

    Raises:
        ProofError: VKEY_NOT_A_WITNESS for a key that makes no cosignatures, else as `open_note`; of no witness there is
            nothing to raise.
    """
    verifiers = [parse_vkey(vkey) for vkey in witness_vkeys]
    for verifier in verifiers:
        if verifier.algorithm == ED25519:
            raise ProofError(
                "VKEY_NOT_A_WITNESS",
                f"the key of {verifier.name} signs notes (type 01), a witness's key is of type 04 or 06",
                "Ask the witness for its cosignature key.",
            )
    text, signatures = parse_note(note)
    return tuple(check_signatures(text, signatures, verifiers))


def _different(verifiers: Sequence[Verifier]) -> int:
    """Return how many witnesses these are at least: keys of one name, and names of one key, belong to one operator."""
    groups: list[set[str | bytes]] = []
    for verifier in verifiers:
        group: set[str | bytes] = {verifier.name, verifier.public_key}
        apart = []
        for other in groups:
            if group & other:
                group |= other
            else:
                apart.append(other)
        groups = [*apart, group]
    return len(groups)
