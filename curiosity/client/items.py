"""Asking a validator for an item: everybody for those of accepted pairs, with a signature for those of refused ones."""

import secrets
import time
from hashlib import sha256

from curiosity.client.client import ValidatorClient
from curiosity.protocol.errors import ProofError, Rejected
from curiosity.protocol.item_request import MAX_LIFETIME_S, ItemRequest, sign_item_request
from curiosity.protocol.messages import Network


async def fetch_item(
    client: ValidatorClient, network: Network, pair: bytes, digest: bytes, *, private_key: bytes | None = None
) -> bytes:
    """Return the item with a SHA-256, one half of a pair, its bytes compared with that.

    With ``private_key``, of the pair's contributor or an auditor, also what is not given to everybody.

    Raises:
        Rejected: With the validator's code: ITEM_GONE, ITEM_EXPIRED, ITEM_NOT_KEPT, ITEM_OF_ANOTHER.
        ProofError: ITEM_DIFFERS.
    """
    try:
        data = await client.item(digest)
    except Rejected as refusal:
        if refusal.code != "ITEM_GONE" or private_key is None:
            raise
        expiry = int(time.time()) + MAX_LIFETIME_S
        request = ItemRequest(network.network_id, pair, digest, secrets.token_bytes(32), expiry)
        data = await client.signed_item(sign_item_request(request, network.domain, private_key))
    if sha256(data).digest() != digest:
        raise ProofError("ITEM_DIFFERS", f"item 0x{digest.hex()} came with digest {sha256(data).hexdigest()}")
    return data
