"""Permissions to claim: signed by the account, relayed by anybody, who pays the gas and can change nothing of it.

The signature covers account, recipient, nonce and deadline, for one contract on one chain. Which epochs are paid by it
is the relayer's choice among those of the account, and whatever he leaves out stays the account's.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from contracts.attestation import ClaimPermission, RewardsDomain, recover_signer, sign_digest
from contracts.chain import Addresses, Share
from node.claims import AT_ONCE, show_time
from protocol.errors import ConfigError, NotYet, ProofError, Rejected, SourceError
from protocol.messages import ClaimShare
from protocol.rewards import verify_claim
from protocol.signing import checksum
from protocol.wire import STRICT, Bytes20, Bytes65, Uint53, encode, parse


@dataclass(frozen=True)
class Permit:
    """What is in a permission file. ``shares``: the epochs that were not claimed when it was made, active or not."""

    chain_id: Uint53
    rewards: Bytes20
    token: Bytes20
    account: Bytes20
    recipient: Bytes20
    nonce: Uint53
    deadline: Uint53  # last block time, in Unix seconds, at which it counts
    signature: Bytes65
    shares: tuple[ClaimShare, ...]
    kind: Literal["curiosity-claim-permission"] = "curiosity-claim-permission"
    v: Literal[1] = 1

    __pydantic_config__ = STRICT

    @property
    def permission(self) -> ClaimPermission:
        """What the account signed."""
        return ClaimPermission(self.account, self.recipient, self.nonce, self.deadline)

    @property
    def addresses(self) -> Addresses:
        """The contracts that it is for."""
        return Addresses(self.chain_id, self.token, self.rewards)

    def check(self) -> None:
        """Check all that needs no chain.

        Raises ProofError: PERMIT_SIGNATURE unless the account signed these very values, REWARD_PROOF_INVALID.
        """
        signer = recover_signer(self.permission.digest(RewardsDomain(self.chain_id, self.rewards)), self.signature)
        if signer != self.account:
            raise ProofError(
                "PERMIT_SIGNATURE",
                f"0x{signer.hex()} signed it, and not the account 0x{self.account.hex()} that it speaks for",
                "It was changed after it was signed, or is somebody else's: ask the account for a new one.",
            )
        for share in self.shares:
            verify_claim(share.reward_root, self.account, int(share.amount_wei), share.proof)


def sign_permit(
    addresses: Addresses,
    permission: ClaimPermission,
    shares: tuple[ClaimShare, ...],
    private_key: bytes,
) -> Permit:
    """Return the permission, signed with the account's key."""
    domain = RewardsDomain(addresses.chain_id, addresses.rewards)
    return Permit(
        chain_id=addresses.chain_id,
        rewards=addresses.rewards,
        token=addresses.token,
        account=permission.account,
        recipient=permission.recipient,
        nonce=permission.nonce,
        deadline=permission.deadline,
        signature=sign_digest(permission.digest(domain), private_key),
        shares=shares,
    )


def write_permit(path: Path, permit: Permit) -> None:
    """Write a permission to a new file. Raises SourceError PERMIT_NOT_WRITTEN."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(encode(permit) + b"\n")
    except OSError as error:
        raise SourceError(
            "PERMIT_NOT_WRITTEN", f"{path}: {error.strerror}", "Name a new file in a folder that can be written."
        ) from None


def read_permit(path: Path) -> Permit:
    """Return the permission in a file, checked as far as it can be without the chain.

    Raises SourceError PERMIT_UNREADABLE, and what `Permit.check` raises.
    """
    try:
        permit = parse(Permit, path.read_bytes())
    except OSError as error:
        raise SourceError("PERMIT_UNREADABLE", f"{path}: {error.strerror}", "Name a permission file.") from None
    except Rejected as error:
        raise SourceError(
            "PERMIT_UNREADABLE", f"{path} is no permission: {error.what}", "Make one with `curiosity claim --permit`."
        ) from None
    permit.check()
    return permit


def payable(chain: Any, permit: Permit) -> tuple[Share, ...]:
    """Return those of a permission's shares that are active and unpaid; at most as many as fit in a transaction.

    Raises ProofError: PERMIT_EXPIRED, PERMIT_SPENT if the account's nonce went on; NotYet CLAIM_PAUSED.
    """
    now, state = chain.now(), chain.state()
    if now > permit.deadline:
        raise ProofError(
            "PERMIT_EXPIRED",
            f"it counted until {show_time(permit.deadline)}, {now - permit.deadline} s ago",
            "Ask the account for a new one.",
        )
    nonce = chain.claim_nonce(permit.account)
    if nonce != permit.nonce:
        raise ProofError(
            "PERMIT_SPENT",
            f"it has the nonce {permit.nonce}, the account's next is {nonce}: it was relayed, or another one was",
            "Nothing is paid twice: ask the account for a new one if something is left.",
        )
    if state.paused_until > now:
        raise NotYet(
            "CLAIM_PAUSED",
            f"the contract pays nobody until {show_time(state.paused_until)}, in {state.paused_until - now} s",
            "Relay it then: it stays good until its own deadline.",
            at=state.paused_until,
            seconds=state.paused_until - now,
        )
    due = []
    for share in permit.shares:
        record = chain.epoch(share.epoch, state)
        if record is None or not record.is_active or record.reward_root != share.reward_root:
            continue
        if not chain.is_claimed(permit.account, share.epoch):
            due.append(Share(share.epoch, int(share.amount_wei), share.proof))
    return tuple(due[:AT_ONCE])


def parse_address(text: str, *, forbidden: tuple[bytes, ...] = ()) -> bytes:
    """Return the 20 bytes that an address spells; mixed case must be its checksum (EIP-55).

    Raises ConfigError: ADDRESS_MALFORMED; ADDRESS_CHECKSUM, where a digit is likely wrong; ADDRESS_FORBIDDEN for zero
    and for those that nothing could ever be taken out of again.
    """
    digits = text.removeprefix("0x")
    try:
        address = bytes.fromhex(digits) if len(digits) == 40 and text.startswith("0x") else b""
    except ValueError:
        address = b""
    if len(address) != 20:
        raise ConfigError("ADDRESS_MALFORMED", f"{text[:80]!r} is no address", "Give 0x and 40 hex digits.")
    if digits not in (digits.lower(), digits.upper()) and checksum(address) != text:
        raise ConfigError(
            "ADDRESS_CHECKSUM",
            f"{text} has the digits of {checksum(address)} and another checksum",
            "A digit is likely wrong: copy the address again.",
        )
    if address in (bytes(20), *forbidden):
        raise ConfigError(
            "ADDRESS_FORBIDDEN", f"nothing that is sent to {text} can be taken out again", "Name an account's address."
        )
    return address
