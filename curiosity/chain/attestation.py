"""What validators sign to close an epoch, and what a contributor signs to redirect a claim, as EIP-712.

No web3 here: a validator signs and checks attestations without a connection to the chain. The type strings are those of
``contracts/src/CuriosityRewards.sol``; a test compares both digests with eth-account's generic encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from curiosity.protocol import signing
from curiosity.protocol.errors import ConfigError, ProofError, Rejected, WalletError
from curiosity.protocol.signing import keccak

DOMAIN_NAME = "CuriosityRewards"
DOMAIN_VERSION = "1"

_ATTESTATION_TYPE = keccak(
    b"Attestation(uint64 epoch,uint64 ledgerSize,bytes32 ledgerRoot,bytes32 rewardRoot,uint256 cumulativeTotal,"
    b"bytes32 previousRoot,uint64 setId,uint32 attempt)",
)
_CLAIM_TO_TYPE = keccak(b"ClaimTo(address account,address recipient,uint256 nonce,uint256 deadline)")


@dataclass(frozen=True)
class RewardsDomain:
    """The one contract on the one chain that a signature is meant for. ``rewards``: its address, 20 bytes."""

    chain_id: int
    rewards: bytes

    def separator(self) -> bytes:
        """Return the EIP-712 domain separator, 32 bytes."""
        _uint(self.chain_id, 256, "chain_id")
        _address(self.rewards, "rewards")
        return signing.domain_separator(signing.Domain(self.chain_id, self.rewards, DOMAIN_NAME, DOMAIN_VERSION))


@dataclass(frozen=True)
class Attestation:
    """What a quorum of validators signs to close one epoch; the fields of ``ICuriosityRewards.Attestation``.

    ``epoch``: the reward period that closes, 1 for the first. ``ledger_size``, ``ledger_root``: the tree head that the
    rewards were derived from. ``reward_root``: root of the `curiosity.protocol.rewards.RewardTree`.
    ``cumulative_total_wei``: sum of its amounts. ``previous_root``: the epoch before's reward root, 32 zero bytes for
    the first. ``set_id``: the validator set. ``attempt``: number of vetoes so far.
    """

    epoch: int
    ledger_size: int
    ledger_root: bytes
    reward_root: bytes
    cumulative_total_wei: int
    previous_root: bytes
    set_id: int
    attempt: int

    def digest(self, domain: RewardsDomain) -> bytes:
        """Return the 32 bytes that are signed.

        Raises:
            ConfigError: ``ATTESTATION_INVALID`` for a value out of range.
        """
        struct_hash = keccak(
            _ATTESTATION_TYPE
            + _uint(self.epoch, 64, "epoch")
            + _uint(self.ledger_size, 64, "ledger_size")
            + _bytes32(self.ledger_root, "ledger_root")
            + _bytes32(self.reward_root, "reward_root")
            + _uint(self.cumulative_total_wei, 256, "cumulative_total_wei")
            + _bytes32(self.previous_root, "previous_root")
            + _uint(self.set_id, 64, "set_id")
            + _uint(self.attempt, 32, "attempt")
        )
        return keccak(b"\x19\x01" + domain.separator() + struct_hash)


@dataclass(frozen=True)
class ClaimPermission:
    """An account's permission to pay what it is owed to ``recipient``; anybody may relay it.

    ``nonce``: the account's next one in the contract. ``deadline``: last block time in seconds at which it counts.
    """

    account: bytes
    recipient: bytes
    nonce: int
    deadline: int

    def digest(self, domain: RewardsDomain) -> bytes:
        """Return the 32 bytes that are signed.

        Raises:
            ConfigError: ``ATTESTATION_INVALID`` for a value out of range.
        """
        struct_hash = keccak(
            _CLAIM_TO_TYPE
            + _address(self.account, "account")
            + _address(self.recipient, "recipient")
            + _uint(self.nonce, 256, "nonce")
            + _uint(self.deadline, 256, "deadline")
        )
        return keccak(b"\x19\x01" + domain.separator() + struct_hash)


def address_of(private_key: bytes) -> bytes:
    """Return the 20-byte address of a private key.

    Raises:
        WalletError: ``KEY_INVALID``.
    """
    try:
        return signing.address_of(private_key)
    except ValueError:
        raise _invalid_key(private_key) from None


def sign_digest(digest: bytes, private_key: bytes) -> bytes:
    """Return a 65-byte signature (r, s, v): low s, v 27 or 28, deterministic (RFC 6979).

    Raises:
        WalletError: For a key that cannot sign.
    """
    try:
        return signing.sign(digest, private_key)
    except ValueError:
        raise _invalid_key(private_key) from None


def recover_signer(digest: bytes, signature: bytes) -> bytes:
    """Return the 20-byte address that signed the digest.

    Raises:
        ProofError: ``SIGNATURE_INVALID`` for a length but 65, a v but 27 or 28, a high s, or no such point.
    """
    try:
        return signing.recover(digest, signature)
    except Rejected as error:
        raise ProofError("SIGNATURE_INVALID", error.what) from None


def sign_attestation(attestation: Attestation, domain: RewardsDomain, private_key: bytes) -> bytes:
    """Return a validator's 65-byte signature over the attestation.

    Raises:
        CuriosityError: What `Attestation.digest` and `sign_digest` raise.
    """
    return sign_digest(attestation.digest(domain), private_key)


def order_signatures(
    attestation: Attestation, domain: RewardsDomain, signatures: Sequence[bytes]
) -> list[tuple[bytes, bytes]]:
    """Return (signer, signature) in strictly increasing order of signer, as the contract demands; one for each signer.

    Raises:
        ProofError: ``SIGNATURE_INVALID`` as `recover_signer` does.
    """
    digest = attestation.digest(domain)
    return sorted({recover_signer(digest, signature): signature for signature in signatures}.items())


def _invalid_key(private_key: bytes) -> WalletError:
    # The key itself never enters a message.
    return WalletError(
        "KEY_INVALID",
        f"a private key of {len(private_key)} bytes lies outside 1 .. order - 1",
        "Give a secp256k1 key as 32 bytes.",
    )


def _uint(value: int, bits: int, name: str) -> bytes:
    if type(value) is not int or not 0 <= value < 2**bits:
        raise ConfigError("ATTESTATION_INVALID", f"{name} is {value!r}", f"Give a whole number below 2^{bits}.")
    return value.to_bytes(32, "big")


def _bytes32(value: bytes, name: str) -> bytes:
    if not isinstance(value, bytes) or len(value) != 32:
        raise ConfigError("ATTESTATION_INVALID", f"{name} is {value!r}", "Give 32 bytes.")
    return value


def _address(value: bytes, name: str) -> bytes:
    if not isinstance(value, bytes) or len(value) != 20:
        raise ConfigError("ATTESTATION_INVALID", f"{name} is {value!r}", "Give an address as 20 bytes.")
    return bytes(12) + value
