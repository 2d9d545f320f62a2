"""The calls that pay accounts: a function of the rewards contract, and its arguments."""

from collections.abc import Sequence
from typing import Any

from curiosity.chain.attestation import ClaimPermission
from curiosity.chain.chain import Share
from curiosity.chain.evm.connection import to_checksum


def claim_call(account: bytes, shares: Sequence[Share]) -> tuple[Any, ...]:
    """Return the function and arguments that pay one account."""
    if len(shares) == 1:
        return ("claim", to_checksum(account), *fields_of(shares[0]))
    return "claimMany", [(to_checksum(account), *fields_of(share)) for share in shares]


def claim_to_call(permission: ClaimPermission, signature: bytes, shares: Sequence[Share]) -> tuple[Any, ...]:
    """Return the function and arguments that pay an account's rewards to another, by its permission."""
    fields = [fields_of(share) for share in shares]
    recipient = to_checksum(permission.recipient)
    return "claimTo", to_checksum(permission.account), fields, recipient, permission.deadline, signature


def fields_of(share: Share) -> tuple[int, int, list[bytes]]:
    """Return a share as the contract takes it: epoch, amount in wei, proof."""
    return share.epoch, share.amount_wei, list(share.proof)
