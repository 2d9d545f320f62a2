"""A tree head's signature for the stake contract, as a line of the head's own note (c2sp.org/signed-note).

A note carries signatures of any type; readers pass over those that they do not know. So the EIP-712 signature travels
with the head, through witnesses, mirrors and monitors, and any two notes of a log that forked are evidence that costs
the signer its stake. The type is 0xff, which the specification keeps for types without a number of their own: a name of
the type comes first in what the key is hashed and spelled from. The "public key" is what a verifier must know: chain
id (8 bytes), stake contract and signer (20 bytes each).
"""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from curiosity.chain.attestation import recover_signer, sign_digest
from curiosity.chain.evidence import ChainTreeHead, StakeDomain
from curiosity.protocol.errors import ProofError
from curiosity.protocol.note import from_base64, is_key_name, to_base64
from curiosity.protocol.tlog import NoteSignature, parse_note, parse_tree_head

_TYPE = b"\xffcuriosity-stake-head/v1\n"
_KEY_BYTES = 8 + 20 + 20
_SIGNATURE_BYTES = 65


@dataclass(frozen=True)
class StakeKey:
    """Whose signatures count, for which stake contract. ``name``: that of the key, the log's with ``/stake``."""

    name: str
    domain: StakeDomain
    signer: bytes

    @cached_property
    def _encoded(self) -> bytes:
        return _TYPE + self.domain.chain_id.to_bytes(8, "big") + self.domain.stake + self.signer

    @property
    def key_id(self) -> bytes:
        """First four bytes of SHA-256(name || newline || type || key), as c2sp.org/signed-note says."""
        return sha256(self.name.encode() + b"\n" + self._encoded).digest()[:4]

    def vkey(self) -> str:
        """Return the text form ``name+id+base64(type || key)``."""
        return f"{self.name}+{self.key_id.hex()}+{to_base64(self._encoded)}"


def parse_stake_vkey(text: str) -> StakeKey:
    """Return the key of its text form.

    Raises:
        ProofError: ``STAKE_VKEY`` for anything but the one spelling.
    """
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    data = from_base64(encoded, "STAKE_VKEY", "a stake key")
    body = data.removeprefix(_TYPE)
    if not is_key_name(name) or not data.startswith(_TYPE) or len(body) != _KEY_BYTES:
        raise ProofError("STAKE_VKEY", f"{text[:80]!r} is not a tree-head key for a stake contract")
    key = StakeKey(name, StakeDomain(int.from_bytes(body[:8], "big"), body[8:28]), body[28:])
    if key.key_id.hex() != key_id:
        raise ProofError("STAKE_VKEY", f"the id of the key is {key.key_id.hex()}, it says {key_id[:80]!r}")
    return key


def sign_head(note: str, key: StakeKey, private_key: bytes) -> str:
    """Return a tree head's note with the signer's line for the stake contract.

    Sign only heads of the one ledger that there is: two that cannot both be true cost the stake.

    Raises:
        ProofError: If the note is not a tree head.
        WalletError: For a key that is none.
    """
    head = _head_of(note)
    signature = NoteSignature(key.name, key.key_id, sign_digest(head.digest(key.domain), private_key))
    return note + signature.line()


def signature_for_stake(note: str, key: StakeKey) -> bytes | None:
    """Return the key's signature on a tree head, 65 bytes, once it is checked; None if the note carries none.

    Raises:
        ProofError: ``STAKE_SIGNATURE`` if it is not by the key, else as `parse_note` and `parse_tree_head`.
    """
    head = _head_of(note)
    _, signatures = parse_note(note)
    found = next((one for one in signatures if (one.name, one.key_id) == (key.name, key.key_id)), None)
    if found is None:
        return None
    if len(found.signature) != _SIGNATURE_BYTES:
        raise ProofError("STAKE_SIGNATURE", f"the signature of {key.name} has {len(found.signature)} bytes, not 65")
    try:
        signer = recover_signer(head.digest(key.domain), found.signature)
    except ProofError as error:
        raise ProofError("STAKE_SIGNATURE", f"the signature of {key.name}: {error.what}") from None
    if signer != key.signer:
        raise ProofError(
            "STAKE_SIGNATURE", f"the head is signed for the stake by 0x{signer.hex()}, not by 0x{key.signer.hex()}"
        )
    return found.signature


def head_for_chain(note: str) -> ChainTreeHead:
    """Return a note's tree head as the chain knows it.

    Raises:
        ProofError: As `parse_note` and `parse_tree_head`.
    """
    return _head_of(note)


def _head_of(note: str) -> ChainTreeHead:
    head = parse_tree_head(parse_note(note)[0])
    return ChainTreeHead(head.origin, head.size, head.root)
