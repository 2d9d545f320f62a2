"""What each signature type signs, and whether a signature holds.

0x01 signs the text (c2sp.org/signed-note). 0x04 and 0x06 are cosignatures of a tree head: an 8-byte time in front of
the signature, which covers that time too (c2sp.org/tlog-cosignature).
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from curiosity.protocol.errors import ProofError
from curiosity.protocol.note import (
    COSIGNATURE_V1,
    ED25519,
    MAX_SIZE,
    MLDSA44_COSIGNATURE,
    NoteSignature,
    Signer,
    Verifier,
    is_key_name,
)
from curiosity.protocol.tree_head import TreeHead, parse_tree_head

SIGNATURE_BYTES = {ED25519: 64, COSIGNATURE_V1: 8 + 64, MLDSA44_COSIGNATURE: 8 + 2420}


@dataclass(frozen=True)
class Signed:
    """A key whose signature of a text was checked and holds. ``timestamp`` is Unix seconds, 0 if it carries none."""

    verifier: Verifier
    timestamp: int

    @property
    def covers_text(self) -> bool:
        """True if the whole text is signed: an ML-DSA-44 cosignature leaves a tree head's extension lines out."""
        return self.verifier.algorithm != MLDSA44_COSIGNATURE


def cosigned_text(text: str, timestamp: int) -> bytes:
    """Return what a type 0x04 cosignature signs (c2sp.org/tlog-cosignature, "Ed25519 signed message")."""
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def cosigned_message(name: str, head: TreeHead, timestamp: int) -> bytes:
    """Return what a type 0x06 cosignature signs (c2sp.org/tlog-cosignature, "ML-DSA-44 signed message").

    Raises:
        ProofError: COSIGNATURE_NAMES if the cosigner's name or the origin is longer than 255 bytes: the structure
            cannot hold it.
    """
    cosigner, origin = name.encode(), head.origin.encode()
    if not 0 < len(cosigner) < 256 or not 0 < len(origin) < 256:
        raise ProofError(
            "COSIGNATURE_NAMES",
            f"the cosigner's name has {len(cosigner)} bytes, the origin {len(origin)}, at most 255 can be cosigned",
        )
    return (
        b"subtree/v1\n\0"
        + struct.pack(">B", len(cosigner))
        + cosigner
        + struct.pack(">QB", timestamp, len(origin))
        + origin
        + struct.pack(">QQ", 0, head.size)
        + head.root
    )


def make_signature(text: str, signer: Signer) -> NoteSignature:
    """Return the plain signature of a text (c2sp.org/signed-note, "Ed25519 signatures").

    Raises:
        ValueError: For a name that no note can hold and for a key that only cosigns.
    """
    _check_name(signer)
    if signer.algorithm != ED25519:
        raise ValueError(f"a key of type {signer.algorithm:#04x} cosigns tree heads; it signs no plain text")
    signature = signer.private_key.sign(text.encode())
    return NoteSignature(signer.name, signer.verifier.key_id, signature)


def make_cosignature(text: str, signer: Signer, timestamp: int) -> NoteSignature:
    """Return the cosignature of a tree head's text at Unix second ``timestamp`` (c2sp.org/tlog-cosignature).

    An Ed25519 key makes type 0x04, an ML-DSA-44 key type 0x06.

    Raises:
        ProofError: If the text is no tree head.
        ValueError: For a time or a name that cannot be written.
    """
    _check_name(signer)
    if not 0 <= timestamp <= MAX_SIZE:
        raise ValueError(f"a cosignature's time is between 0 and {MAX_SIZE} seconds, got {timestamp}")
    head = parse_tree_head(text)
    if signer.algorithm == MLDSA44_COSIGNATURE:
        message = cosigned_message(signer.name, head, timestamp)
        signature = signer.ml_dsa_key.sign(message)
    else:
        signature = signer.private_key.sign(cosigned_text(text, timestamp))
    return NoteSignature(signer.name, signer.witness.key_id, struct.pack(">Q", timestamp) + signature)


def _check_name(signer: Signer) -> None:
    if not is_key_name(signer.name):
        raise ValueError(f"a key's name is one word without plus signs, got {signer.name!r}")


def check_signatures(text: str, signatures: Iterable[NoteSignature], verifiers: Sequence[Verifier]) -> list[Signed]:
    """Return every signature that is by one of ``verifiers`` (c2sp.org/signed-note, "Signatures").

    Signatures of other keys are ignored.

    Raises:
        ProofError: If one of a known key is wrong: SIGNATURE_LENGTH, SIGNATURE_TIME, SIGNATURE_WRONG, or where a tree
            head is needed a HEAD_ code.
    """
    known = [(verifier.name, verifier.key_id, verifier) for verifier in verifiers]
    return [
        check_signature(text, signature, verifier)
        for signature in signatures
        for name, key_id, verifier in known
        if (signature.name, signature.key_id) == (name, key_id)
    ]


def check_signature(text: str, signature: NoteSignature, verifier: Verifier) -> Signed:
    """Return what one signature proves.

    Raises:
        ProofError: As `check_signatures`.
    """
    data, timestamp = signature.signature, 0
    if len(data) != SIGNATURE_BYTES[verifier.algorithm]:
        raise ProofError(
            "SIGNATURE_LENGTH",
            f"the signature of {verifier.name} has {len(data)} bytes, not {SIGNATURE_BYTES[verifier.algorithm]}",
        )
    if verifier.algorithm != ED25519:
        timestamp, data = int.from_bytes(data[:8], "big"), data[8:]
        if timestamp > MAX_SIZE:
            raise ProofError("SIGNATURE_TIME", f"{verifier.name} cosigned at second {timestamp}, at most {MAX_SIZE}")
    if verifier.algorithm == MLDSA44_COSIGNATURE:
        message = cosigned_message(verifier.name, parse_tree_head(text), timestamp)
    else:
        message = text.encode() if verifier.algorithm == ED25519 else cosigned_text(text, timestamp)
    try:
        verifier.public.verify(data, message)
    except UnsupportedAlgorithm:
        raise ProofError(
            "SIGNATURE_UNSUPPORTED", "this build of cryptography has no ML-DSA-44", "Verify with an Ed25519 key."
        ) from None
    except (InvalidSignature, ValueError):
        raise ProofError("SIGNATURE_WRONG", f"the signature of {verifier.name} does not verify") from None
    return Signed(verifier, timestamp)
