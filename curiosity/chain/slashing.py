"""Evidence of a forked log in the form that the stake contract takes: two signed heads that cannot both be true.

It is one file that anybody can check without a chain and send to it. What the contract checks is checked here first, in
the same order, so that nobody pays gas for what it would refuse.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from curiosity.chain.evidence import ChainTreeHead
from curiosity.chain.stake_note import StakeKey, head_for_chain, parse_stake_vkey, signature_for_stake
from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import ProofError, Rejected
from curiosity.protocol.merkle import verify_inclusion
from curiosity.protocol.wire import STRICT, Bytes32, encode, parse

MAX_EVIDENCE_BYTES = 512 * 1024


class SlashableFault(StrEnum):
    """What two heads show, by the contract's own words."""

    DOUBLE_HEAD = "double head"  # one size, two roots
    FORK = "fork"  # two trees that hold different leaves at one index


@dataclass(frozen=True)
class Leaf:
    """What a tree holds at the index: the leaf's hash, and the RFC 6962 proof that leads from it to the root."""

    hash: Bytes32
    proof: tuple[Bytes32, ...]

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class StakeEvidence:
    """Two notes of one log under one stake key. Of a fork also the index at which the trees differ, and both leaves."""

    stake_vkey: str
    first: str
    second: str
    index: int | None = None
    first_leaf: Leaf | None = None
    second_leaf: Leaf | None = None
    kind: Literal["curiosity-slash/v1"] = "curiosity-slash/v1"

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class CheckedFault:
    """Evidence that holds, as the contract takes it."""

    fault: SlashableFault
    key: StakeKey
    first: ChainTreeHead
    first_signature: bytes
    second: ChainTreeHead
    second_signature: bytes
    index: int | None  # of a fork
    first_leaf: Leaf
    second_leaf: Leaf

    def sentence(self) -> str:
        """Return the finding in one sentence."""
        signer, origin = f"0x{self.key.signer.hex()}", self.first.origin
        if self.fault is SlashableFault.DOUBLE_HEAD:
            entries = number_of(self.first.size, "entry")
            return f"{signer} signed two trees of {entries} of {origin} with different roots."
        return (
            f"{signer} signed trees of {self.first.size} and {number_of(self.second.size, 'entry')} of {origin} "
            f"that differ at entry {self.index}."
        )


_NO_LEAF = Leaf(bytes(32), ())


def check_stake_evidence(evidence: StakeEvidence) -> CheckedFault:
    """Return what the evidence shows.

    Raises:
        ProofError: ``EVIDENCE_UNSIGNED`` if a head lacks the key's signature, ``EVIDENCE_HARMLESS`` if both heads can
            be true, ``STAKE_`` codes and those of `verify_inclusion` for what does not hold.
    """
    key = parse_stake_vkey(evidence.stake_vkey)
    first, second = head_for_chain(evidence.first), head_for_chain(evidence.second)
    signatures = [signature_for_stake(note, key) for note in (evidence.first, evidence.second)]
    for number, signature in enumerate(signatures, start=1):
        if signature is None:
            raise ProofError("EVIDENCE_UNSIGNED", f"head {number} carries no signature of {key.name} for the stake")
    if first.origin != second.origin:
        raise ProofError("EVIDENCE_HARMLESS", f"the heads are of two logs, {first.origin!r} and {second.origin!r}")
    leaves = (evidence.first_leaf or _NO_LEAF, evidence.second_leaf or _NO_LEAF)
    if evidence.index is None:
        if first.size != second.size or first.root == second.root:
            raise ProofError("EVIDENCE_HARMLESS", "two sizes, or one root: without leaves both heads can be true")
        fault = SlashableFault.DOUBLE_HEAD
    else:
        for head, leaf in zip((first, second), leaves, strict=True):
            verify_inclusion(leaf.hash, evidence.index, head.size, leaf.proof, head.root)
        if leaves[0].hash == leaves[1].hash:
            raise ProofError("EVIDENCE_HARMLESS", f"both trees hold the same leaf at {evidence.index}")
        fault = SlashableFault.FORK
    one, other = (signature or b"" for signature in signatures)
    return CheckedFault(fault, key, first, one, second, other, evidence.index, *leaves)


def encode_stake_evidence(evidence: StakeEvidence) -> bytes:
    """Return the file of it, once it was checked.

    Raises:
        ProofError: As `check_stake_evidence`.
    """
    check_stake_evidence(evidence)
    return encode(evidence)


def parse_stake_evidence(data: bytes) -> StakeEvidence:
    """Return the evidence in a file, unchecked.

    Raises:
        ProofError: ``EVIDENCE_MALFORMED``.
    """
    if len(data) > MAX_EVIDENCE_BYTES:
        raise ProofError(
            "EVIDENCE_MALFORMED", f"over {MAX_EVIDENCE_BYTES} bytes", "Give the file as the monitor wrote it."
        )
    try:
        return parse(StakeEvidence, data)
    except Rejected as error:
        raise ProofError("EVIDENCE_MALFORMED", error.what, "Give the file as the monitor wrote it.") from None
