"""A signed request to see an item of a refused pair (docs/protocol.md, step 34): its contributor's, or an auditor's.

Items of accepted pairs are everybody's and need none.
"""

from dataclasses import dataclass

from curiosity.protocol.signing import Domain, keccak, sign, typed_digest, word
from curiosity.protocol.wire import STRICT, Bytes32, Bytes65, Uint53

MAX_LIFETIME_S = 300
"""It is answered once and at once; a validator need not remember its nonce for longer."""

_TYPE = b"ItemRequest(bytes32 networkId,bytes32 pair,bytes32 sha256,bytes32 nonce,uint64 expiry)"
_TYPE_HASH = keccak(_TYPE)


@dataclass(frozen=True)
class ItemRequest:
    """The typed message: the item with this SHA-256, one half of the pair with this digest.

    ``nonce`` is 32 random bytes and counts once for each signer.
    """

    network_id: Bytes32
    pair: Bytes32
    sha256: Bytes32
    nonce: Bytes32
    expiry: Uint53  # Unix seconds; at most 300 s ahead

    __pydantic_config__ = STRICT

    def digest(self, domain: Domain) -> bytes:
        """Return the 32 bytes that the wallet signs."""
        return typed_digest(
            domain, keccak(_TYPE_HASH + self.network_id + self.pair + self.sha256 + self.nonce + word(self.expiry))
        )


@dataclass(frozen=True)
class SignedItemRequest:
    """A request with its signature, from which the asker's address is recovered."""

    request: ItemRequest
    signature: Bytes65

    __pydantic_config__ = STRICT


def sign_item_request(request: ItemRequest, domain: Domain, private_key: bytes) -> SignedItemRequest:
    """Return the request signed by ``private_key``."""
    return SignedItemRequest(request, sign(request.digest(domain), private_key))
