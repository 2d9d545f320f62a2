"""Takedowns: a signed request that a pair's content be forgotten, and who may ask for what (docs/protocol.md, step 21).

A contributor may ask for pairs of his own; the operator, who holds the admin token, for any.
"""

from dataclasses import dataclass
from enum import StrEnum

from curiosity.protocol.errors import Rejected
from curiosity.protocol.signing import Domain, keccak, recover, sign, typed_digest, word
from curiosity.protocol.wire import STRICT, Bytes32, Bytes65, ShortText, Uint53

MAX_LIFETIME_S = 24 * 3600  # as of a submission
BLOCKED_FILE = "blocked.json"
"""Where an export keeps its `Blocked`."""

_TYPE = b"Takedown(bytes32 networkId,bytes32 pair,string reason,string everywhere,uint64 expiry)"
_TYPE_HASH = keccak(_TYPE)


class TakedownReason(StrEnum):
    """Why, as far as the log may tell."""

    WITHDRAWN = "WITHDRAWN"  # the contributor changed his mind
    PRIVACY = "PRIVACY"  # it shows or tells of a person who does not want it
    RIGHTS = "RIGHTS"  # somebody else holds the rights
    ILLEGAL = "ILLEGAL"
    OTHER = "OTHER"


class Asker(StrEnum):
    """Who asked."""

    CONTRIBUTOR = "contributor"
    OPERATOR = "operator"


@dataclass(frozen=True)
class TakedownRequest:
    """The typed message that a contributor signs.

    ``everywhere`` is empty, one of the pair's modalities, or both as the pair spells them ("image-text"): the items of
    these modalities are to go from every other pair too that the asker may take down.
    """

    network_id: Bytes32
    pair: Bytes32
    reason: TakedownReason
    everywhere: ShortText
    expiry: Uint53  # Unix seconds; at most 24 h ahead

    __pydantic_config__ = STRICT

    def digest(self, domain: Domain) -> bytes:
        """Return the 32 bytes that the wallet signs."""
        return typed_digest(
            domain,
            keccak(
                _TYPE_HASH
                + self.network_id
                + self.pair
                + keccak(self.reason.value.encode())
                + keccak(self.everywhere.encode())
                + word(self.expiry)
            ),
        )


@dataclass(frozen=True)
class SignedTakedown:
    """A request with its signature; the operator's has none and comes with the admin token."""

    request: TakedownRequest
    signature: Bytes65 | None

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class Blocked:
    """Contents that must not come back, as one validator knows them: HMACs under its pepper, which is not here.

    Complete for the takedown entries from index ``first`` up to, without, ``size``; of others it may lack some. Only
    the operator is told: if the pepper ever leaks, whoever has the list can test guesses with it.
    """

    first: Uint53
    size: Uint53
    pepper: Bytes32  # names the pepper, without telling it
    keys: tuple[Bytes32, ...]

    __pydantic_config__ = STRICT

    def covers(self, index: int) -> bool:
        """Return True if the contents of what the takedown entry at an index took down are in the list."""
        return self.first <= index < self.size


def sign_takedown(request: TakedownRequest, domain: Domain, private_key: bytes) -> SignedTakedown:
    """Return the request signed by ``private_key``."""
    return SignedTakedown(request, sign(request.digest(domain), private_key))


def check_takedown(signed: SignedTakedown, domain: Domain, contributor: bytes) -> None:
    """Check that the contributor of the pair signed.

    Raises:
        Rejected: With a SIGNATURE_ code if not.
    """
    signer = recover(signed.request.digest(domain), signed.signature or b"")
    if signer != contributor:
        raise Rejected(
            "SIGNATURE_OF_ANOTHER",
            f"signed by 0x{signer.hex()}, the pair is of 0x{contributor.hex()}",
            "Sign with the wallet that submitted the pair; for anybody else's pair ask the validator's operator.",
            status=403,
        )


def check_everywhere(everywhere: str, modalities: str) -> frozenset[str]:
    """Return the modalities that ``everywhere`` names.

    Raises:
        Rejected: TAKEDOWN_EVERYWHERE unless the pair has them.
    """
    named = frozenset(everywhere.split("-")) if everywhere else frozenset()
    if everywhere not in ("", modalities, *modalities.split("-")):
        raise Rejected(
            "TAKEDOWN_EVERYWHERE",
            f"{everywhere!r} names no item of a pair of {modalities}",
            f"Name one of {', '.join(modalities.split('-'))}, or {modalities} for both.",
            status=422,
        )
    return named
