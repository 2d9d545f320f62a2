"""C2SP signed notes, tree heads and cosignatures.

Formats: c2sp.org/signed-note, c2sp.org/tlog-checkpoint (the only place where "checkpoint" means a signed root; here it
is a *tree head*), c2sp.org/tlog-cosignature. Ed25519 throughout. Parsers are strict: canonical decimals, canonical
base64, no trailing bytes.
"""

import base64
import binascii
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol.errors import ProofError

ED25519 = 0x01
COSIGNATURE_V1 = 0x04
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_MAX_NOTE_CHARS = 64 * 1024
_MAX_SIGNATURES = 100
_DASH = "\u2014 "


@dataclass(frozen=True)
class Verifier:
    """A public key with its name, as the signed-note format identifies it."""

    name: str
    algorithm: int
    public_key: bytes

    @cached_property
    def key_id(self) -> bytes:
        """First four bytes of SHA-256(name || newline || algorithm || key)."""
        return sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public_key).digest()[:4]

    def vkey(self) -> str:
        """Return the text form ``name+id+base64(algorithm || key)``."""
        key = base64.b64encode(bytes([self.algorithm]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"


@dataclass(frozen=True)
class Signer:
    """A private key with its name; 32 bytes of Ed25519 seed."""

    name: str
    seed: bytes
    algorithm: int = ED25519

    @cached_property
    def private_key(self) -> Ed25519PrivateKey:
        """The key, made once: making one costs as much as a signature."""
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @cached_property
    def verifier(self) -> Verifier:
        """The public half."""
        return Verifier(self.name, self.algorithm, self.private_key.public_key().public_bytes_raw())


@dataclass(frozen=True)
class TreeHead:
    """A signed root of the ledger: its origin line, its size in leaves and its RFC 6962 root."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the body of the note, ending in a newline."""
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions]
        return "".join(line + "\n" for line in lines)


def _b64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProofError("NOTE_MALFORMED", f"{what} is not base64: {text[:60]!r}") from None
    if base64.b64encode(data).decode() != text:
        raise ProofError("NOTE_MALFORMED", f"{what} is not canonical base64: {text[:60]!r}")
    return data


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() for c in name)


def parse_vkey(vkey: str) -> Verifier:
    """Return the verifier that a signed-note key spells. Raises ProofError VKEY_MALFORMED."""
    name, _, rest = vkey.partition("+")
    id_text, _, key_text = rest.partition("+")
    try:
        data = _b64(key_text, "key")
    except ProofError:
        data = b""
    if not _is_key_name(name) or len(data) != 33 or data[0] not in (ED25519, COSIGNATURE_V1):
        raise ProofError("VKEY_MALFORMED", f"not a signed-note key: {vkey[:120]!r}", "Use the form name+id+base64.")
    verifier = Verifier(name, data[0], data[1:])
    if verifier.key_id.hex() != id_text:
        raise ProofError(
            "VKEY_MALFORMED", f"key id {id_text!r} does not match {verifier.key_id.hex()}", "Copy the key again, whole."
        )
    return verifier


def sign_note(text: str, signer: Signer, existing: str = "") -> str:
    """Return the note that carries ``text`` and the signer's line; ``existing`` holds signature lines to keep.

    ``text`` ends in a newline. Raises ValueError if it does not, or holds control characters, or if the signer's name
    is empty or holds spaces or plus signs: nobody could open such a note.
    """
    if not _is_key_name(signer.name):
        raise ValueError(f"a key's name is one word without plus signs, got {signer.name!r}")
    if not text.endswith("\n") or any(ord(c) < 0x20 and c != "\n" for c in text):
        raise ValueError("a note's text ends in a newline and holds no control characters")
    signature = signer.private_key.sign(text.encode())
    return f"{text}\n{existing}{_signature_line(signer.verifier, signature)}"


def _signature_line(verifier: Verifier, signature: bytes) -> str:
    return f"{_DASH}{verifier.name} {base64.b64encode(verifier.key_id + signature).decode()}\n"


def _split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Return a note's text and its signatures as (name, id || signature)."""
    if len(note) > _MAX_NOTE_CHARS:
        raise ProofError("NOTE_MALFORMED", f"the note has {len(note)} characters, at most {_MAX_NOTE_CHARS}")
    if any((ord(c) < 0x20 and c != "\n") or 0xD800 <= ord(c) < 0xE000 for c in note):
        raise ProofError("NOTE_MALFORMED", "the note holds control characters or surrogates")
    head, separator, tail = note.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise ProofError("NOTE_MALFORMED", "the note has no blank line before its signatures")
    lines = tail[:-1].split("\n")
    if len(lines) > _MAX_SIGNATURES:
        raise ProofError("NOTE_MALFORMED", f"the note has {len(lines)} signatures, at most {_MAX_SIGNATURES}")
    signatures = []
    for line in lines:
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not _is_key_name(name):
            raise ProofError("NOTE_MALFORMED", f"not a signature line: {line[:60]!r}")
        data = _b64(encoded, "a signature")
        if len(data) < 5:
            raise ProofError("NOTE_MALFORMED", f"a signature has {len(data)} bytes, expected at least 5")
        signatures.append((name, data))
    return head + "\n", signatures


def _verified_by(text: str, signatures: list[tuple[str, bytes]], verifiers: Sequence[Verifier]) -> set[Verifier]:
    """Return the verifiers whose signature the note carries. A known key with a wrong signature is an error."""
    found: set[Verifier] = set()
    for name, data in signatures:
        for verifier in verifiers:
            if (verifier.name, verifier.key_id) != (name, data[:4]):
                continue
            _check(verifier, text, data[4:])
            found.add(verifier)
    return found


def _check(verifier: Verifier, text: str, signature: bytes) -> None:
    message = text.encode()
    if verifier.algorithm == COSIGNATURE_V1:
        if len(signature) != 72:
            raise ProofError(
                "SIGNATURE_WRONG", f"the cosignature of {verifier.name} has {len(signature)} bytes, not 72"
            )
        (timestamp,) = struct.unpack(">Q", signature[:8])
        message = f"cosignature/v1\ntime {timestamp}\n".encode() + message
        signature = signature[8:]
    try:
        Ed25519PublicKey.from_public_bytes(verifier.public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise ProofError("SIGNATURE_WRONG", f"the signature of {verifier.name} does not verify") from None


def open_note(note: str, vkeys: Sequence[str]) -> str:
    """Return the text of a note signed by at least one of ``vkeys`` (c2sp.org/signed-note).

    Raises ProofError: NOTE_MALFORMED, SIGNATURE_WRONG, or NOTE_UNSIGNED if none of the keys signed it.
    """
    text, signatures = _split_note(note)
    if not _verified_by(text, signatures, [parse_vkey(v) for v in vkeys]):
        raise ProofError(
            "NOTE_UNSIGNED",
            f"signed by {', '.join(name for name, _ in signatures)}, trusted are {', '.join(vkeys) or 'no keys'}",
            "Check that you hold this network's key.",
        )
    return text


def cosign(note: str, signer: Signer, timestamp: int) -> str:
    """Return the note with a witness's cosignature/v1 line added (c2sp.org/tlog-cosignature).

    ``timestamp`` is Unix seconds. The caller has checked consistency with the last head it cosigned.
    """
    text, _ = _split_note(note)
    message = f"cosignature/v1\ntime {timestamp}\n{text}".encode()
    signature = signer.private_key.sign(message)
    verifier = Verifier(signer.name, COSIGNATURE_V1, signer.verifier.public_key)
    return note + _signature_line(verifier, struct.pack(">Q", timestamp) + signature)


def parse_tree_head(text: str) -> TreeHead:
    """Return the tree head that a note's text spells (c2sp.org/tlog-checkpoint). Raises ProofError HEAD_MALFORMED."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] != "" or "" in lines[:-1]:
        raise ProofError("HEAD_MALFORMED", "a tree head has an origin, a size and a root, a line each, no empty line")
    origin, size, root64, *extensions = lines[:-1]
    if not _DECIMAL.fullmatch(size):
        raise ProofError("HEAD_MALFORMED", f"the size {size[:30]!r} is not a canonical decimal")
    root = _b64(root64, "the root")
    if len(root) != 32:
        raise ProofError("HEAD_MALFORMED", f"the root has {len(root)} bytes, expected 32")
    return TreeHead(origin, int(size), root, tuple(extensions))


def verify_checkpoint(
    note: str, origin: str, log_vkeys: Sequence[str], witness_vkeys: Sequence[str] = (), quorum: int = 0
) -> TreeHead:
    """Return the tree head of ``origin`` that one of ``log_vkeys`` signed and ``quorum`` witnesses cosigned.

    Raises ProofError: as `open_note`, HEAD_MALFORMED, HEAD_ORIGIN for another log's head, HEAD_QUORUM if too few of
    ``witness_vkeys`` cosigned. Source: c2sp.org/tlog-checkpoint, "Verifying".
    """
    head = parse_tree_head(open_note(note, log_vkeys))
    if head.origin != origin:
        raise ProofError("HEAD_ORIGIN", f"the head is of {head.origin!r}, expected {origin!r}")
    text, signatures = _split_note(note)
    cosigners = {v.public_key for v in _verified_by(text, signatures, [parse_vkey(v) for v in witness_vkeys])}
    if len(cosigners) < quorum:
        raise ProofError("HEAD_QUORUM", f"{len(cosigners)} of the {quorum} witnesses needed cosigned the head")
    return head
