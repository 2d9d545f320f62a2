"""Signed notes: text under one or more signature lines (c2sp.org/signed-note). Keys, parsing, and strict encodings.

Nothing here checks a signature: `curiosity.protocol.note_signature` does, and `curiosity.protocol.tlog` decides whom to
believe. What a note says is not to be used before that.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from hashlib import sha256

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from curiosity.protocol.errors import ConfigError, ProofError

ED25519 = 0x01
COSIGNATURE_V1 = 0x04
"""Ed25519 cosignature of a tree head with its time (c2sp.org/tlog-cosignature)."""
MLDSA44_COSIGNATURE = 0x06
"""ML-DSA-44 cosignature of a tree head with its time (c2sp.org/tlog-cosignature)."""
PUBLIC_KEY_BYTES = {ED25519: 32, COSIGNATURE_V1: 32, MLDSA44_COSIGNATURE: 1312}

MAX_NOTE_CHARS = 128 * 1024  # 16 signatures must be accepted, each of up to 5 kB before base64
MAX_SIGNATURES = 100
MAX_VKEY_CHARS = 4096
MAX_SIZE = 2**63 - 1
"""The largest number in any of the formats: tree sizes and indices fit a signed 64-bit integer, as timestamps must."""

_FIELD = 2**255 - 19
_ORDER_8 = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER = frozenset({0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8})
"""The y of the eight Ed25519 points of small order: a signature that needs no secret verifies under such a key."""

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_NEVER_IN_A_NOTE = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")  # ASCII control characters; what has no UTF-8 form
_KEY_NAME = re.compile("[^\\s+\x00-\x1f\ud800-\udfff]+")  # \s is every Unicode space
_DASH = "\u2014 "


@dataclass(frozen=True)
class Verifier:
    """A public key with its name, as the signed-note format identifies it. ``algorithm`` is the signature type byte."""

    name: str
    algorithm: int
    public_key: bytes

    @cached_property
    def key_id(self) -> bytes:
        """First four bytes of SHA-256(name || newline || algorithm || key)."""
        return sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public_key).digest()[:4]

    @cached_property
    def public(self) -> Ed25519PublicKey | MLDSA44PublicKey:
        """The key as the library holds it.

        Raises:
            ValueError, UnsupportedAlgorithm: For bytes that are not such a key.
        """
        if self.algorithm == MLDSA44_COSIGNATURE:
            return MLDSA44PublicKey.from_public_bytes(self.public_key)
        return Ed25519PublicKey.from_public_bytes(self.public_key)

    def vkey(self) -> str:
        """Return the text form ``name+id+base64(algorithm || key)``."""
        return f"{self.name}+{self.key_id.hex()}+{to_base64(bytes([self.algorithm]) + self.public_key)}"


@dataclass(frozen=True)
class Signer:
    """A private key with its name; ``seed`` is 32 bytes, of Ed25519 or (MLDSA44_COSIGNATURE) of ML-DSA-44."""

    name: str
    seed: bytes = field(repr=False)
    algorithm: int = ED25519

    @cached_property
    def private_key(self) -> Ed25519PrivateKey:
        """The Ed25519 key, made once: making one costs as much as a signature."""
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @cached_property
    def ml_dsa_key(self) -> MLDSA44PrivateKey:
        """The ML-DSA-44 key, made once.

        Raises:
            ConfigError: ALGORITHM_UNSUPPORTED where the library has none.
        """
        try:
            return MLDSA44PrivateKey.from_seed_bytes(self.seed)
        except UnsupportedAlgorithm:
            raise ConfigError(
                "ALGORITHM_UNSUPPORTED", "this build of cryptography has no ML-DSA-44", "Use an Ed25519 key."
            ) from None

    @cached_property
    def verifier(self) -> Verifier:
        """The public half."""
        key = self.ml_dsa_key if self.algorithm == MLDSA44_COSIGNATURE else self.private_key
        return Verifier(self.name, self.algorithm, key.public_key().public_bytes_raw())

    @cached_property
    def witness(self) -> Verifier:
        """The public half under which this key's cosignatures verify: an Ed25519 key has another id as a witness."""
        own = self.verifier
        return Verifier(self.name, COSIGNATURE_V1, own.public_key) if self.algorithm == ED25519 else own


@dataclass(frozen=True)
class NoteSignature:
    """One signature line, unchecked: who is said to have signed, the id of the key, the signature's bytes."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """Return the line as it stands in a note, ending in a newline."""
        return f"{_DASH}{self.name} {to_base64(self.key_id + self.signature)}\n"


def to_base64(data: bytes) -> str:
    """Return the one base64 text of ``data`` that the parsers accept (RFC 4648 section 4)."""
    return base64.b64encode(data).decode()


def from_base64(text: str, code: str, what: str) -> bytes:
    """Return the bytes that base64 ``text`` spells, or raise ProofError ``code`` unless it is the text for them."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProofError(code, f"{what} is not base64: {text[:60]!r}") from None
    if to_base64(data) != text:
        raise ProofError(code, f"{what} is not canonical base64: {text[:60]!r}")
    return data


def from_decimal(text: str, code: str, what: str) -> int:
    """Return the number from 0 to `MAX_SIZE` that ``text`` spells in ASCII digits without leading zeros.

    Raises:
        ProofError: ``code`` if it spells none.
    """
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_SIZE:
        raise ProofError(code, f"{what} {text[:30]!r} is not a canonical decimal of at most {MAX_SIZE}")
    return int(text)


def is_key_name(name: str) -> bool:
    """Return True if a key may have this name.

    It is not empty, and has no Unicode space, no plus sign and nothing that UTF-8 cannot hold.
    """
    return _KEY_NAME.fullmatch(name) is not None


def is_note_text(text: str) -> bool:
    """Return True if ``text`` can be signed: it ends in a newline and holds only characters that a note may hold."""
    return text.endswith("\n") and not _NEVER_IN_A_NOTE.search(text)


@lru_cache(maxsize=256)
def parse_vkey(vkey: str) -> Verifier:
    """Return the verifier that a signed-note key spells (c2sp.org/signed-note, "Verifier keys").

    Raises:
        ProofError: VKEY_MALFORMED for anything but ``name+id+base64``, VKEY_ALGORITHM for a signature type that is not
            one of ours, VKEY_ID if the id is not that of name and key, VKEY_WEAK for an Ed25519 key under which anybody
            can sign, or that is not the one spelling of its point (RFC 8032 section 5.1.3).
    """
    parts = vkey.split("+", 2) if len(vkey) <= MAX_VKEY_CHARS else []
    if len(parts) != 3 or not is_key_name(parts[0]):
        raise ProofError("VKEY_MALFORMED", f"{vkey[:120]!r} is not a signed-note key", "Use the form name+id+base64.")
    name, id_text, key_text = parts
    data = from_base64(key_text, "VKEY_MALFORMED", "the key")
    if not data or data[0] not in PUBLIC_KEY_BYTES:
        raise ProofError(
            "VKEY_ALGORITHM",
            f"the key of {name} has signature type {data[:1].hex() or 'none'}, known are 01, 04 and 06",
            "Use an Ed25519 key, or a cosignature key of Ed25519 or ML-DSA-44.",
        )
    if len(data) != 1 + PUBLIC_KEY_BYTES[data[0]]:
        raise ProofError(
            "VKEY_MALFORMED",
            f"the key of {name} has {len(data) - 1} bytes, expected {PUBLIC_KEY_BYTES[data[0]]}",
            "Copy the key again, whole.",
        )
    verifier = Verifier(name, data[0], data[1:])
    if verifier.key_id.hex() != id_text:
        raise ProofError(
            "VKEY_ID", f"key id {id_text[:16]!r} does not match {verifier.key_id.hex()}", "Copy the key again, whole."
        )
    if verifier.algorithm in (ED25519, COSIGNATURE_V1) and _is_weak(verifier.public_key):
        raise ProofError(
            "VKEY_WEAK", f"anybody can sign under the key of {name}", "Do not trust whoever gave it to you."
        )
    return verifier


def _is_weak(public_key: bytes) -> bool:
    y = int.from_bytes(public_key, "little") & ((1 << 255) - 1)
    return y >= _FIELD or y in _SMALL_ORDER


def parse_note(note: str) -> tuple[str, tuple[NoteSignature, ...]]:
    """Return a note's text, ending in a newline, and its signatures, all unchecked (c2sp.org/signed-note, "Format").

    Raises:
        ProofError: NOTE_TOO_LONG, NOTE_CHARACTERS, NOTE_MALFORMED without a blank line before at least one line,
            NOTE_SIGNATURES if there are too many, NOTE_SIGNATURE_LINE if one of them is not a signature.
    """
    if len(note) > MAX_NOTE_CHARS:
        raise ProofError("NOTE_TOO_LONG", f"the note has {len(note)} characters, at most {MAX_NOTE_CHARS}")
    if _NEVER_IN_A_NOTE.search(note):
        raise ProofError("NOTE_CHARACTERS", "the note holds control characters or surrogates")
    text, separator, tail = note.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise ProofError(
            "NOTE_MALFORMED", "the note has no blank line before its signatures, or does not end in a line"
        )
    return text + "\n", parse_signature_lines(tail)


def parse_signature_lines(lines: str) -> tuple[NoteSignature, ...]:
    """Return the signatures of one or more signature lines, unchecked.

    Raises:
        ProofError: As `parse_note`.
    """
    if len(lines) > MAX_NOTE_CHARS:
        raise ProofError("NOTE_TOO_LONG", f"the signature lines have {len(lines)} characters, at most {MAX_NOTE_CHARS}")
    if not lines.endswith("\n"):
        raise ProofError("NOTE_SIGNATURE_LINE", "a signature line does not end in a newline")
    if lines.count("\n") > MAX_SIGNATURES:
        count = lines.count("\n")
        raise ProofError("NOTE_SIGNATURES", f"the note has {count} signatures, at most {MAX_SIGNATURES}")
    return tuple(map(_parse_signature_line, lines[:-1].split("\n")))


def _parse_signature_line(line: str) -> NoteSignature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not is_key_name(name):
        raise ProofError("NOTE_SIGNATURE_LINE", f"not a signature line: {line[:60]!r}")
    data = from_base64(encoded, "NOTE_SIGNATURE_LINE", "a signature")
    if len(data) < 5:
        raise ProofError("NOTE_SIGNATURE_LINE", f"a signature has {len(data)} bytes, expected at least 5")
    return NoteSignature(name, data[:4], data[4:])
