"""Items, pairs and signed pairs: canonical bytes and digests (docs/protocol.md, steps 1 to 3)."""

import struct
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from curiosity.protocol.errors import Rejected
from curiosity.protocol.signing import Domain, address_of, keccak, recover, sign, text_hash, typed_digest, word
from curiosity.protocol.wire import STRICT, Bytes20, Bytes32, Bytes65, ShortText, Uint64, encode, parse

MAX_LIFETIME_S = 24 * 3600  # a signature that is never seen dies within a day
MAX_ENVELOPE_BYTES = 16 * 1024
ZERO32 = bytes(32)
META_GENERATED = keccak(b'{"generated":true}')
"""``meta_hash`` of a pair of which the contributor declares that a program generated an item."""

_PART_TYPE = b"Part(string modality,string mediaType,uint64 size,bytes32 sha256)"
_SUBMISSION_TYPE = (
    b"Submission(bytes32 networkId,address contributor,bytes32 nonce,uint64 expiry,Part a,Part b,string license,"
    b"uint64 capturedAt,string client,bytes32 metaHash,bytes32[] refs)" + _PART_TYPE
)
_PART_HASH = keccak(_PART_TYPE)
_SUBMISSION_HASH = keccak(_SUBMISSION_TYPE)
_NO_REFS_HASH = keccak(b"")


@dataclass(frozen=True)
class Part:
    """What is signed of one item: its kind, media type, size in bytes and SHA-256."""

    modality: ShortText
    media_type: ShortText
    size: Uint64
    sha256: Bytes32

    __pydantic_config__ = STRICT

    def struct_hash(self) -> bytes:
        """Return the EIP-712 struct hash."""
        return keccak(
            _PART_HASH + text_hash(self.modality) + text_hash(self.media_type) + word(self.size) + self.sha256
        )


@dataclass(frozen=True)
class Item:
    """One half of a pair with its content. The bytes are what is hashed; nobody re-encodes them later."""

    modality: str
    media_type: str
    data: bytes = field(repr=False)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the content."""
        return sha256(self.data).digest()

    def part(self) -> Part:
        """Return what is signed of this item."""
        return Part(self.modality, self.media_type, len(self.data), self.digest)


NO_ITEM = Item("", "", b"")
"""Stands in the place of item b where item a is submitted alone."""
NO_PART = NO_ITEM.part()


@dataclass(frozen=True)
class Submission:
    """The typed message that a contributor signs. ``a`` and ``b`` are in alphabetical order of their modality.

    Of a single item ``b`` is `NO_PART`.
    """

    network_id: Bytes32
    contributor: Bytes20
    nonce: Bytes32  # random; contributor and nonce are the idempotency key
    expiry: Uint64  # Unix seconds; at most 24 h ahead
    a: Part
    b: Part
    license: ShortText  # SPDX expression
    captured_at: Uint64  # Unix seconds, 0 if unknown
    client: ShortText
    meta_hash: Bytes32 = ZERO32
    refs: tuple[Bytes32, ...] = ()

    __pydantic_config__ = STRICT

    def struct_hash(self) -> bytes:
        """Return the EIP-712 struct hash."""
        fields = (
            _SUBMISSION_HASH,
            self.network_id,
            self.contributor.rjust(32, b"\0"),
            self.nonce,
            word(self.expiry),
            self.a.struct_hash(),
            self.b.struct_hash(),
            text_hash(self.license),
            word(self.captured_at),
            text_hash(self.client),
            self.meta_hash,
            keccak(b"".join(self.refs)) if self.refs else _NO_REFS_HASH,
        )
        return keccak(b"".join(fields))

    def digest(self, domain: Domain) -> bytes:
        """Return the pair's digest: the 32 bytes that the wallet signs and the ledger names the pair by."""
        return typed_digest(domain, self.struct_hash())

    @property
    def is_generated(self) -> bool:
        """Whether the contributor declares that a program generated an item, or a part of one."""
        return self.meta_hash == META_GENERATED

    @property
    def modalities(self) -> str:
        """The modality pair, as thresholds are keyed: ``"audio-text"``; of a single item its modality."""
        return "-".join(part.modality for part in self.parts)

    @property
    def is_single(self) -> bool:
        """True if it is one item alone."""
        return self.b == NO_PART

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is signed of each item: two of a pair, one of a single item."""
        return (self.a,) if self.is_single else (self.a, self.b)


@dataclass(frozen=True)
class Envelope:
    """A submission with its signature, as it travels in front of the two items."""

    submission: Submission
    signature: Bytes65

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class SignedPair:
    """A signed submission with the content of both items."""

    envelope: Envelope
    a: Item
    b: Item

    def encode(self) -> bytes:
        """Return the request body: 4-byte big-endian length of the envelope, the envelope, item a, item b."""
        head = encode(self.envelope)
        return struct.pack(">I", len(head)) + head + self.a.data + self.b.data

    @property
    def items(self) -> tuple[Item, ...]:
        """The items: two of a pair, one of a single item."""
        return (self.a,) if self.envelope.submission.is_single else (self.a, self.b)

    @property
    def contents(self) -> tuple[bytes, bytes]:
        """SHA-256 of item a and of item b, that of nothing in the place of one that is not there."""
        return self.a.digest, self.b.digest


def sign_pair(
    a: Item,
    b: Item,
    *,
    private_key: bytes,
    domain: Domain,
    network_id: bytes,
    nonce: bytes,
    expiry: int,
    license: str,
    captured_at: int = 0,
    client: str = "",
    refs: tuple[bytes, ...] = (),
    generated: bool = False,
) -> SignedPair:
    """Return the pair signed by ``private_key``, its items put in canonical order; `NO_ITEM` beside a single item.

    ``nonce`` is 32 random bytes, ``expiry`` Unix seconds. ``generated`` declares that a program generated an item.

    Raises:
        Rejected: PAIR_SAME_MODALITY if both are of one kind.
    """
    first, second = sorted((a, b), key=lambda item: (not item.modality, item.modality))
    submission = Submission(
        network_id=network_id,
        contributor=address_of(private_key),
        nonce=nonce,
        expiry=expiry,
        a=first.part(),
        b=second.part(),
        license=license,
        captured_at=captured_at,
        client=client,
        meta_hash=META_GENERATED if generated else ZERO32,
        refs=refs,
    )
    check_modalities(submission)
    signature = sign(submission.digest(domain), private_key)
    return SignedPair(Envelope(submission, signature), first, second)


def check_modalities(submission: Submission) -> None:
    """Check that a's modality sorts strictly before b's, or that there is no item b.

    Raises:
        Rejected: PAIR_SAME_MODALITY or PAIR_NOT_ORDERED.
    """
    if submission.is_single and submission.a.modality:
        return
    if submission.a.modality == submission.b.modality:
        raise Rejected(
            "PAIR_SAME_MODALITY",
            f"both items are of modality {submission.a.modality!r}",
            "A pair joins two items of different modality, such as a picture and its caption.",
            status=422,
        )
    if submission.a.modality > submission.b.modality:
        raise Rejected(
            "PAIR_NOT_ORDERED",
            f"item a is {submission.a.modality!r}, item b is {submission.b.modality!r}",
            "Put the items in alphabetical order of their modality and sign again.",
            status=422,
        )


def check_signature(envelope: Envelope, domain: Domain) -> bytes:
    """Return the pair's digest if the named contributor signed it.

    Raises:
        Rejected: With a SIGNATURE_ code if not.
    """
    digest = envelope.submission.digest(domain)
    signer = recover(digest, envelope.signature)
    if signer != envelope.submission.contributor:
        raise Rejected(
            "SIGNATURE_OF_ANOTHER",
            f"signed by 0x{signer.hex()}, submitted for 0x{envelope.submission.contributor.hex()}",
            "Sign with the contributor's wallet, for this network's chain id and rewards contract.",
            status=401,
        )
    return digest


def read_envelope(body: bytes) -> tuple[Envelope, int]:
    """Return the envelope at the start of a request body and the offset at which item a begins.

    Decodes neither item.

    Raises:
        Rejected: BODY_TRUNCATED, ENVELOPE_TOO_LARGE or MESSAGE_MALFORMED.
    """
    if len(body) < 4:
        raise Rejected("BODY_TRUNCATED", f"the body has {len(body)} bytes, expected at least 4", _BODY_REMEDY)
    (length,) = struct.unpack_from(">I", body)
    if length > MAX_ENVELOPE_BYTES:
        raise Rejected(
            "ENVELOPE_TOO_LARGE", f"the envelope claims {length} bytes, at most {MAX_ENVELOPE_BYTES}", _BODY_REMEDY
        )
    if len(body) < 4 + length:
        raise Rejected(
            "BODY_TRUNCATED", f"the body has {len(body)} bytes, the envelope needs {4 + length}", _BODY_REMEDY
        )
    return parse(Envelope, body[4 : 4 + length]), 4 + length


def check_size(envelope: Envelope, offset: int, length: int) -> None:
    """Check that a body of this length can hold the items whose sizes were signed.

    Raises:
        Rejected: BODY_SIZE.
    """
    expected = offset + envelope.submission.a.size + envelope.submission.b.size
    if length != expected:
        raise Rejected("BODY_SIZE", f"the body has {length} bytes, the signed sizes need {expected}", _BODY_REMEDY)


def read_items(body: bytes, envelope: Envelope, offset: int) -> SignedPair:
    """Return the signed pair whose items follow the envelope at ``offset``, both matching what was signed.

    Raises:
        Rejected: BODY_SIZE if the items' sizes do not add up to the body, ITEM_HASH if content was changed.
    """
    check_size(envelope, offset, len(body))
    s = envelope.submission
    middle = offset + s.a.size
    items = (
        Item(s.a.modality, s.a.media_type, bytes(body[offset:middle])),
        Item(s.b.modality, s.b.media_type, bytes(body[middle:])),
    )
    for name, item, part in (("a", items[0], s.a), ("b", items[1], s.b)):
        if item.digest != part.sha256:
            raise Rejected(
                "ITEM_HASH",
                f"item {name} hashes to {item.digest.hex()}, signed was {part.sha256.hex()}",
                "Send the bytes that were signed.",
                status=422,
            )
    return SignedPair(envelope, *items)


_BODY_REMEDY = "Send the envelope's length (4 bytes, big-endian), the envelope, item a and item b, nothing else."


def network_id_of(name: str, domain: Domain, genesis_checkpoint: bytes) -> bytes:
    """Return the 32 bytes that bind a signature to one network: its name, chain, contract and first checkpoint."""
    return keccak(
        b"curiosity-network\x00"
        + keccak(name.encode())
        + word(domain.chain_id)
        + domain.verifying_contract.rjust(32, b"\0")
        + genesis_checkpoint
    )
