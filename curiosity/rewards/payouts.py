"""Holding what a ledger gives against what a chain holds: every closed epoch, and the leaf that is to blame."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from curiosity.chain.chain import EpochRecord
from curiosity.client.amounts import show_exactly
from curiosity.protocol.epoch_payout import EpochPayout
from curiosity.protocol.errors import ConfigError, ProofError
from curiosity.protocol.rewards import RewardParameters, RewardTree

if TYPE_CHECKING:
    from curiosity.chain.evm import ChainClient


class EpochState(StrEnum):
    """How far an epoch has come."""

    OPEN = "open"  # pairs still count for it
    CLOSED = "closed"  # its entry is in the ledger, its root not on the chain
    WAITING = "waiting"  # posted, and not active yet
    ACTIVE = "active"  # claims are paid


@dataclass(frozen=True)
class LeafDifference:
    """An account of which the two trees do not say the same; None: it has no leaf there."""

    account: bytes
    derived_wei: int | None
    said_wei: int | None

    def __str__(self) -> str:
        said = "no leaf" if self.said_wei is None else show_exactly(self.said_wei)
        derived = "nothing" if self.derived_wei is None else show_exactly(self.derived_wei)
        return f"0x{self.account.hex()} has {said} where the ledger gives {derived}"

    def to_json(self) -> dict[str, str | None]:
        """Return it as plain JSON values, amounts as decimal digits."""
        return {
            "account": "0x" + self.account.hex(),
            "derived_wei": None if self.derived_wei is None else str(self.derived_wei),
            "said_wei": None if self.said_wei is None else str(self.said_wei),
        }


@dataclass(frozen=True)
class EpochCheck:
    """What came of holding one derived epoch against the ledger's own entry and the chain.

    ``leaves``: every account that differs, by account, where the validator's leaves could be had; ``note``: why that
    does not name the leaf, or what the chain does not remember any more.
    """

    epoch: int
    state: EpochState
    problems: tuple[ProofError, ...] = ()
    roots: tuple[bytes, ...] = ()  # other than the derived one, that the chain or the ledger's entry names
    leaves: tuple[LeafDifference, ...] = ()
    note: str = ""

    @property
    def is_compared(self) -> bool:
        """True if the chain holds the epoch."""
        return self.state in (EpochState.WAITING, EpochState.ACTIVE)

    def to_json(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        return {
            "state": self.state.value,
            "equal": False if self.problems else True if self.is_compared else None,
            "problems": [{"code": one.code, "what": one.what} for one in self.problems],
            "leaves": [one.to_json() for one in self.leaves],
            "note": self.note or None,
        }


def check_epoch(payout: EpochPayout, parameters: RewardParameters, record: EpochRecord | None) -> EpochCheck:
    """Hold a derived epoch against its entry and what the chain says of it; ``record`` is None where it is not posted.

    The problems' codes: PAYOUT_PARAMETERS and PAYOUT_MISMATCH for the entry; CHAIN_ROOT_DIFFERS, CHAIN_TOTAL_DIFFERS,
    CHAIN_SIZE_DIFFERS (the ledger size that the attestation named) for the chain.
    """
    if payout.entry is None:
        problems = [_only_on_chain(record)] if record is not None else []
        return EpochCheck(payout.epoch, EpochState.OPEN, tuple(problems))
    problems = payout.differences(parameters)
    roots = {payout.entry.reward_root} - {payout.reward_root}
    if record is None:
        return EpochCheck(payout.epoch, EpochState.CLOSED, tuple(problems), tuple(roots))
    where = f"epoch {payout.epoch}: the chain holds"
    if record.reward_root != payout.reward_root:
        roots.add(record.reward_root)
        what = f"{where} the root 0x{record.reward_root.hex()}, the ledger gives 0x{payout.reward_root.hex()}"
        problems.append(ProofError("CHAIN_ROOT_DIFFERS", what))
    if record.cumulative_total_wei != payout.cumulative_total_wei:
        held, derived = (show_exactly(one.cumulative_total_wei) for one in (record, payout))
        what = f"{where} {held} in all, the ledger gives {derived}"
        problems.append(ProofError("CHAIN_TOTAL_DIFFERS", what))
    if record.ledger_size not in (None, payout.size):
        what = f"{where} an attestation over {record.ledger_size} entries, the epoch covers those up to {payout.size}"
        problems.append(ProofError("CHAIN_SIZE_DIFFERS", what))
    state = EpochState.ACTIVE if record.is_active else EpochState.WAITING
    note = "" if record.ledger_size is not None else "the chain does not remember the ledger size any more"
    return EpochCheck(payout.epoch, state, tuple(problems), tuple(sorted(roots)), note=note)


def _only_on_chain(record: EpochRecord) -> ProofError:
    return ProofError(
        "CHAIN_EPOCH_UNKNOWN",
        f"epoch {record.epoch}: the chain holds the root 0x{record.reward_root.hex()}, the ledger has not closed it",
        "Bring the copy of the ledger up to date; if it is, the validators attested what no entry says.",
    )


def compare_leaves(derived: Mapping[bytes, int], said: Mapping[bytes, int]) -> tuple[LeafDifference, ...]:
    """Return every account of which two sets of leaves do not say the same, by account."""
    return tuple(
        LeafDifference(account, derived.get(account), said.get(account))
        for account in sorted(derived.keys() | said.keys())
        if derived.get(account) != said.get(account)
    )


def blame_leaves(check: EpochCheck, payout: EpochPayout, said: Sequence[tuple[bytes, int]]) -> EpochCheck:
    """Return the check with the leaves that differ, or with a note why these leaves are not those of the other root."""
    try:
        root = RewardTree(said).root
    except ConfigError as error:
        return without_leaves(check, f"the validator's leaves are none ({error.what})")
    differing = compare_leaves(payout.amounts_wei, dict(said))
    if root in check.roots:
        return _with(check, differing, check.note)
    note = (
        "the validator serves the leaves that the ledger gives, not those of the other root"
        if not differing
        else f"the validator serves leaves of yet another root, 0x{root.hex()}"
    )
    return _with(check, differing, note)


def without_leaves(check: EpochCheck, why: str) -> EpochCheck:
    """Return the check with a note that no leaves are to be had, and why."""
    return _with(check, (), f"which leaf differs cannot be said: {why}")


def with_problems(check: EpochCheck, more: Iterable[ProofError]) -> EpochCheck:
    """Return the check with more problems."""
    return replace(check, problems=(*check.problems, *more))


def _with(check: EpochCheck, leaves: tuple[LeafDifference, ...], note: str) -> EpochCheck:
    return EpochCheck(check.epoch, check.state, check.problems, check.roots, leaves, note)


@dataclass(frozen=True)
class ChainCheck:
    """What came of a whole comparison. ``problems`` are those that belong to no one epoch."""

    active_epoch: int
    latest_epoch: int
    epochs: tuple[EpochCheck, ...]
    problems: tuple[ProofError, ...] = field(default=())

    @property
    def error(self) -> ProofError | None:
        """The first problem, with the first leaf to blame; None when all that was compared agrees."""
        for check in self.epochs:
            if check.problems:
                first = check.problems[0]
                if not check.leaves:
                    return first
                more = f" and {len(check.leaves) - 1} more" if len(check.leaves) > 1 else ""
                return ProofError(first.code, f"{first.what}; {check.leaves[0]}{more}", first.remedy)
        return self.problems[0] if self.problems else None

    def to_json(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        compared = [one.epoch for one in self.epochs if one.is_compared]
        return {
            "active_epoch": self.active_epoch,
            "latest_epoch": self.latest_epoch,
            "compared": compared,
            "not_posted": [one.epoch for one in self.epochs if one.state is EpochState.CLOSED],
            "equal": False if self.error is not None else True if compared else None,
            "problems": [{"code": one.code, "what": one.what} for one in self.problems],
        }


def check_closing(payout: EpochPayout, chain: "ChainClient") -> Iterable[ProofError]:
    """Yield what a closed epoch says of time and beacon that the chain does not.

    The codes are CHAIN_TIME_DIFFERS and CHAIN_BEACON_DIFFERS. There is nothing to say of an epoch without a chain.

    Raises:
        ChainError: CHAIN_ codes.
    """
    closing = payout.closing
    if closing is None or not closing.block:
        return
    time = chain.block(closing.block).time
    if time != closing.time:
        yield ProofError(
            "CHAIN_TIME_DIFFERS",
            f"epoch {payout.epoch}: its entry gives block {closing.block} the time {closing.time}, the chain {time}",
            "Sign nothing on top of it: whoever closed it lies about time, or follows another chain.",
        )
    if payout.beacon_block and (beacon := chain.block(payout.beacon_block).hash) != closing.beacon:
        yield ProofError(
            "CHAIN_BEACON_DIFFERS",
            f"epoch {payout.epoch}: its beacon is 0x{closing.beacon.hex()}, block {payout.beacon_block} has the hash "
            f"0x{beacon.hex()}",
            "Sign nothing on top of it: whoever closed it chose who is paid, or follows another chain.",
        )


def check_emission(parameters: RewardParameters, payout: EpochPayout, on_chain_wei: int) -> Iterable[ProofError]:
    """Yield what is wrong with the emission that the contract allows for an epoch.

    It is the share of what all epochs before have left; that of contracts made before follows a schedule by number.
    """
    left_wei = parameters.pool_wei - payout.cumulative_total_wei + payout.emission_wei
    allowed = parameters.emission_of(left_wei)
    if on_chain_wei not in (allowed, parameters.emission(payout.epoch)):
        yield ProofError(
            "CHAIN_EMISSION_DIFFERS",
            f"epoch {payout.epoch}: the contract lets it pay {show_exactly(on_chain_wei)}, the reward parameters give "
            f"{show_exactly(allowed)}",
            "The contract was deployed under other parameters than this program derives with.",
        )
