"""Handing evidence of a fork to the stake contract, and seeing what it cost the signer."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curiosity.chain.chain import TransactionReceipt
from curiosity.chain.slashing import CheckedFault, StakeEvidence, check_stake_evidence, parse_stake_evidence
from curiosity.client.receipts import read_file
from curiosity.protocol.evidence import parse_evidence

if TYPE_CHECKING:
    from curiosity.chain.evm import StakeClient


@dataclass(frozen=True)
class Slashed:
    """What the signer had at stake before, and has left. ``receipt`` is None if nothing was sent."""

    at_stake_wei: int
    left_wei: int
    is_banned: bool
    receipt: TransactionReceipt | None


def read_fault(path: Path, stake_vkey: str = "") -> CheckedFault:
    """Return the fault that a file proves: as an audit wrote it for the contract, or two heads that a witness kept.

    Args:
        path: The file.
        stake_vkey: Key of the heads' stake lines. The evidence of a witness does not name it, and needs it.

    Raises:
        SourceError: If the file cannot be read.
        ProofError: EVIDENCE_ codes.
    """
    data = read_file(path)
    if not stake_vkey:
        return check_stake_evidence(parse_stake_evidence(data))
    shown = parse_evidence(data)
    return check_stake_evidence(StakeEvidence(stake_vkey, shown.first, shown.second))


def report_fault(client: "StakeClient", fault: CheckedFault, key: Callable[[], bytes] | None) -> Slashed:
    """Hand in a fault with the key of who pays the gas; without one only look what is at stake.

    Raises:
        ChainError: CHAIN_ codes.
    """
    before = client.stake(fault.key.signer)
    receipt = client.report(key(), fault) if key is not None else None
    after = client.stake(fault.key.signer) if receipt is not None else before
    at_stake_wei, left_wei = (one.bonded_wei + one.exiting_wei for one in (before, after))
    return Slashed(at_stake_wei, left_wei, after.is_banned, receipt)
