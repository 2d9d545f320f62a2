"""Permissions to claim: signed by the account, relayed by anybody, who pays the gas and can change nothing of it.

The signature covers account, recipient, nonce and deadline, for one contract on one chain. Which epochs are paid by it
is the relayer's choice among those of the account, and whatever he leaves out stays the account's. A permission for an
account whose key is elsewhere begins unsigned, as typed data that any wallet can sign (EIP-712).
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from curiosity.chain.attestation import (
    DOMAIN_NAME,
    DOMAIN_VERSION,
    ClaimPermission,
    RewardsDomain,
    recover_signer,
    sign_digest,
)
from curiosity.chain.chain import Addresses
from curiosity.host.files import write_new, write_whole
from curiosity.protocol.errors import ConfigError, ProofError, Rejected, SourceError
from curiosity.protocol.reward_messages import ClaimShare
from curiosity.protocol.rewards import verify_claim
from curiosity.protocol.signing import checksum
from curiosity.protocol.wire import STRICT, Bytes20, Bytes65, Uint53, encode, parse

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Permit:
    """What is in a permission file. ``shares``: the epochs that were not claimed when it was made, active or not.

    ``signature`` is None until the account signed.
    """

    chain_id: Uint53
    rewards: Bytes20
    token: Bytes20
    account: Bytes20
    recipient: Bytes20
    nonce: Uint53
    deadline: Uint53  # last block time, in Unix seconds, at which it counts
    signature: Bytes65 | None
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

    @property
    def digest(self) -> bytes:
        """The 32 bytes that the account signs."""
        return self.permission.digest(RewardsDomain(self.chain_id, self.rewards))

    def signed(self, signature: bytes) -> "Permit":
        """Return it with a signature; wallets that count v from 0 are understood."""
        if len(signature) == 65 and signature[64] in (0, 1):
            signature = signature[:64] + bytes([signature[64] + 27])
        return replace(self, signature=signature)

    def signed_with(self, private_key: bytes) -> "Permit":
        """Return it signed with the account's key."""
        return replace(self, signature=sign_digest(self.digest, private_key))

    def typed_data(self) -> dict[str, object]:
        """Return what a wallet shows and signs (EIP-712, ``eth_signTypedData_v4``)."""
        return {
            "types": {
                "EIP712Domain": _fields(
                    "string name", "string version", "uint256 chainId", "address verifyingContract"
                ),
                "ClaimTo": _fields("address account", "address recipient", "uint256 nonce", "uint256 deadline"),
            },
            "primaryType": "ClaimTo",
            "domain": {
                "name": DOMAIN_NAME,
                "version": DOMAIN_VERSION,
                "chainId": self.chain_id,
                "verifyingContract": checksum(self.rewards),
            },
            "message": {
                "account": checksum(self.account),
                "recipient": checksum(self.recipient),
                "nonce": self.nonce,
                "deadline": self.deadline,
            },
        }

    def check(self) -> None:
        """Check all that needs no chain.

        Raises:
            ProofError: PERMIT_UNSIGNED, PERMIT_SIGNATURE unless the account signed these very values,
                REWARD_PROOF_INVALID.
        """
        if self.signature is None:
            raise unsigned(self.account)
        signer = recover_signer(self.digest, self.signature)
        if signer != self.account:
            raise ProofError(
                "PERMIT_SIGNATURE",
                f"0x{signer.hex()} signed it, and not the account 0x{self.account.hex()} that it speaks for",
                "It was changed after it was signed, or is somebody else's: ask the account for a new one.",
            )
        for share in self.shares:
            verify_claim(share.reward_root, self.account, int(share.amount_wei), share.proof)


def unsigned(account: bytes) -> ProofError:
    """Return the error of a permission that the account has not signed."""
    return ProofError(
        "PERMIT_UNSIGNED",
        f"0x{account.hex()} has not signed it",
        "Have its wallet sign the typed data beside the file, and give what comes out to curiosity claim --signature.",
    )


def _fields(*fields: str) -> list[dict[str, str]]:
    return [{"name": name, "type": kind} for kind, name in (one.split() for one in fields)]


def make_permit(addresses: Addresses, permission: ClaimPermission, shares: tuple[ClaimShare, ...]) -> Permit:
    """Return the permission, not yet signed."""
    return Permit(
        chain_id=addresses.chain_id,
        rewards=addresses.rewards,
        token=addresses.token,
        account=permission.account,
        recipient=permission.recipient,
        nonce=permission.nonce,
        deadline=permission.deadline,
        signature=None,
        shares=shares,
    )


def typed_data_path(path: Path) -> Path:
    """Return where the typed data of an unsigned permission is written."""
    return path.with_name(path.name + ".typed-data.json")


def write_permit(path: Path, permit: Permit) -> None:
    """Write a permission to a new file; an unsigned one with what there is to sign beside it.

    Raises:
        SourceError: PERMIT_NOT_WRITTEN.
    """
    try:
        if permit.signature is None:
            write_whole(typed_data_path(path), json.dumps(permit.typed_data(), indent=1).encode() + b"\n")
        write_new(path, encode(permit) + b"\n")
    except OSError as error:
        raise SourceError(
            "PERMIT_NOT_WRITTEN", f"{path}: {error.strerror}", "Name a new file in a folder that can be written."
        ) from None


def read_permit(path: Path, signature: bytes | None = None) -> Permit:
    """Return the permission in a file, signed if it was not, and checked as far as it can be without the chain.

    Raises:
        SourceError: PERMIT_UNREADABLE, and what `Permit.check` raises.
    """
    try:
        permit = parse(Permit, path.read_bytes())
    except OSError as error:
        raise SourceError("PERMIT_UNREADABLE", f"{path}: {error.strerror}", "Name a permission file.") from None
    except Rejected as error:
        raise SourceError(
            "PERMIT_UNREADABLE",
            f"{path} is not a valid permission: {error.what}",
            "Make one with `curiosity claim --permit`.",
        ) from None
    permit = permit.signed(signature) if signature is not None else permit
    permit.check()
    return permit


def parse_address(text: str) -> bytes:
    """Return the 20 bytes that an address spells; mixed case must be its checksum (EIP-55).

    Raises:
        ConfigError: ADDRESS_MALFORMED; ADDRESS_CHECKSUM, where a digit is likely wrong.
    """
    digits = text.removeprefix("0x")
    try:
        address = bytes.fromhex(digits) if len(digits) == 40 and text.startswith("0x") else b""
    except ValueError:
        address = b""
    if len(address) != 20:
        raise ConfigError("ADDRESS_MALFORMED", f"{text[:80]!r} is not a valid address", "Give 0x and 40 hex digits.")
    if digits not in (digits.lower(), digits.upper()) and checksum(address) != text:
        raise ConfigError(
            "ADDRESS_CHECKSUM",
            f"{text} has the digits of {checksum(address)} and another checksum",
            "A digit is likely wrong: copy the address again.",
        )
    return address


def check_recipient(recipient: bytes, addresses: Addresses) -> None:
    """Refuse addresses that nothing could ever be taken out of again.

    Raises:
        ConfigError: ADDRESS_FORBIDDEN.
    """
    if recipient in (bytes(20), addresses.rewards, addresses.token, addresses.stake):
        raise ConfigError(
            "ADDRESS_FORBIDDEN",
            f"nothing that is sent to {checksum(recipient)} can be taken out again",
            "Name an account's address.",
        )
