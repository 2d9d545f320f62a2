"""What validators sign for the stake contract to judge: tree heads, promised verdicts and opened ones (EIP-712).

The type strings are those of ``contracts/src/CuriosityStake.sol``; a test compares the digests with those of
eth-account's generic encoder and has the contract slash what was signed here. A tree head signed so has the size and
root of the log's own.
"""

from dataclasses import dataclass

from curiosity.chain.attestation import _address, _bytes32, _uint
from curiosity.protocol import signing
from curiosity.protocol.signing import keccak

DOMAIN_NAME = "CuriosityStake"
DOMAIN_VERSION = "1"

_TREE_HEAD_TYPE = keccak(b"TreeHead(bytes32 origin,uint64 size,bytes32 root)")
_COMMIT_TYPE = keccak(b"VerdictCommit(bytes32 pair,uint64 round,bytes32 commitment)")
_REVEAL_TYPE = keccak(b"VerdictReveal(bytes32 pair,uint64 round,bytes32 verdict,bytes32 salt)")


@dataclass(frozen=True)
class StakeDomain:
    """The one stake contract on the one chain that a signature is meant for. ``stake``: its address, 20 bytes."""

    chain_id: int
    stake: bytes

    def separator(self) -> bytes:
        """Return the EIP-712 domain separator, 32 bytes.

        Raises:
            ConfigError: ``ATTESTATION_INVALID``.
        """
        _uint(self.chain_id, 256, "chain_id")
        _address(self.stake, "stake")
        return signing.domain_separator(signing.Domain(self.chain_id, self.stake, DOMAIN_NAME, DOMAIN_VERSION))


@dataclass(frozen=True)
class ChainTreeHead:
    """A tree head of a ledger for the chain: ``origin`` is its first line, ``root`` 32 bytes (RFC 6962)."""

    origin: str
    size: int
    root: bytes

    @property
    def origin_digest(self) -> bytes:
        """Keccak-256 of the origin, as the struct holds it."""
        return keccak(self.origin.encode())

    def digest(self, domain: StakeDomain) -> bytes:
        """Return the 32 bytes that are signed.

        Raises:
            ConfigError: ``ATTESTATION_INVALID`` for a value out of range.
        """
        fields = self.origin_digest + _uint(self.size, 64, "size") + _bytes32(self.root, "root")
        return _typed(domain, _TREE_HEAD_TYPE + fields)


@dataclass(frozen=True)
class VerdictCommit:
    """A verdict that is promised and hidden: about which pair, in which vote, under which commitment."""

    pair: bytes
    round: int
    commitment: bytes

    def digest(self, domain: StakeDomain) -> bytes:
        """Return the 32 bytes that are signed.

        Raises:
            ConfigError: ``ATTESTATION_INVALID`` for a value out of range.
        """
        fields = _bytes32(self.pair, "pair") + _uint(self.round, 64, "round") + _bytes32(self.commitment, "commitment")
        return _typed(domain, _COMMIT_TYPE + fields)


@dataclass(frozen=True)
class VerdictReveal:
    """What a commit hid: the verdict's digest and the salt, 32 bytes each."""

    pair: bytes
    round: int
    verdict: bytes
    salt: bytes

    def digest(self, domain: StakeDomain) -> bytes:
        """Return the 32 bytes that are signed.

        Raises:
            ConfigError: ``ATTESTATION_INVALID`` for a value out of range.
        """
        fields = _bytes32(self.pair, "pair") + _uint(self.round, 64, "round")
        return _typed(domain, _REVEAL_TYPE + fields + _bytes32(self.verdict, "verdict") + _bytes32(self.salt, "salt"))

    def commit(self, validator: bytes) -> VerdictCommit:
        """Return the commit that this opens.

        It is bound to the validator, so that a copy of it opens for nobody else.
        """
        commitment = keccak(self.verdict + self.salt + _address(validator, "validator"))
        return VerdictCommit(self.pair, self.round, commitment)


def _typed(domain: StakeDomain, encoded: bytes) -> bytes:
    return keccak(b"\x19\x01" + domain.separator() + keccak(encoded))
