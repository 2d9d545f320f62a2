"""Recomputing what a ledger pays, and comparing all of it with the chain."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curiosity.ledger.source import Ask, LedgerSource, Progress, counted, untold
from curiosity.protocol.epoch_payout import EpochPayout
from curiosity.protocol.errors import CuriosityError, ProofError, SourceError
from curiosity.protocol.messages import Network
from curiosity.protocol.payouts import derive
from curiosity.protocol.reward_messages import EpochLeaves
from curiosity.protocol.rewards import RewardParameters
from curiosity.rewards.payouts import (
    ChainCheck,
    EpochCheck,
    blame_leaves,
    check_closing,
    check_emission,
    check_epoch,
    with_problems,
    without_leaves,
)

if TYPE_CHECKING:
    from curiosity.chain.evm import ChainClient
    from curiosity.client.client import ValidatorClient

_BLAME_PATIENCE_S = 1.0  # a validator that lied has no reason to answer


@dataclass(frozen=True)
class Recomputed:
    """What a ledger of ``entries`` leaves pays in the epochs that were asked for, the open one last.

    ``check`` is the comparison with the chain, epoch by epoch in the same order; None where none was asked for.
    """

    entries: int
    parameters: RewardParameters
    epochs: tuple[EpochPayout, ...]
    check: ChainCheck | None = None


def recompute(
    source: LedgerSource,
    *,
    epoch: int | None = None,
    connect: "Callable[[Network], ChainClient] | None" = None,
    progress: Progress = untold,
) -> Recomputed:
    """Derive amounts and reward roots from the ledger alone, and compare them with the chain.

    Args:
        source: The ledger.
        epoch: Only this epoch; all of them by default.
        connect: Makes the client of the chain to compare with. Without one nothing is compared, and the first entry of
            the ledger that is not what follows from the entries before it ends the derivation. With one, that is a
            problem of its epoch, and the other epochs are still compared.
        progress: Told how far it is.

    Raises:
        SourceError: EPOCH_MISSING if there is no such epoch; what `LedgerSource.leaves` raises.
        ProofError: What `curiosity.protocol.payouts.derive` raises.
        ChainError: CHAIN_ codes.
    """
    parameters = RewardParameters()
    leaves = source.leaves(progress)
    every = list(derive(counted(leaves, progress), parameters, check_entries=connect is None))
    found = tuple(one for one in every if epoch in (None, one.epoch))
    if not found:
        what = f"the ledger has no epoch {epoch}, the open one is {every[-1].epoch}"
        raise SourceError("EPOCH_MISSING", what, "Ask for one that it has.")
    if connect is None:
        return Recomputed(len(leaves), parameters, found)
    chain = connect(source.network())
    check = compare_epochs(chain, found, parameters, is_whole=epoch is None, progress=progress)
    return Recomputed(len(leaves), parameters, found, name_leaves(source.ask, check, found))


def compare_epochs(
    chain: "ChainClient",
    derived: Sequence[EpochPayout],
    parameters: RewardParameters,
    *,
    is_whole: bool,
    progress: Progress = untold,
) -> ChainCheck:
    """Compare derived epochs with what a chain holds.

    If ``is_whole``, they are all that the ledger has: an epoch that only the chain knows is a problem too.

    Raises:
        ChainError: CHAIN_ codes.
    """
    state = chain.state()
    checks = []
    for payout in derived:
        check = check_epoch(payout, parameters, chain.epoch(payout.epoch, state))
        checks.append(with_problems(check, check_closing(payout, chain)))
        progress("Comparing with the chain", len(checks), len(derived))
    problems: list[ProofError] = []
    compared = [payout for payout, one in zip(derived, checks, strict=True) if one.is_compared]
    if compared:
        problems += check_emission(parameters, compared[-1], chain.emission(compared[-1].epoch))
    last = derived[-1].epoch
    if is_whole and state.latest_epoch > last:
        problems.append(
            ProofError(
                "CHAIN_EPOCH_UNKNOWN",
                f"the chain holds epochs up to {state.latest_epoch}, the ledger has closed none after {last - 1}",
                "Bring the copy of the ledger up to date; if it is, the validators attested what no entry says.",
            )
        )
    return ChainCheck(state.active_epoch, state.latest_epoch, tuple(checks), tuple(problems))


def name_leaves(ask: Ask, check: ChainCheck, derived: Sequence[EpochPayout]) -> ChainCheck:
    """Return the check with the leaves that differ, or why they cannot be named, in each epoch with another root.

    The leaves of such a root are known to the validator only, which is asked for them.
    """
    wanted = [one.epoch for one in check.epochs if one.roots]
    if not wanted:
        return check

    async def fetch(client: "ValidatorClient") -> dict[int, EpochLeaves | CuriosityError]:
        said: dict[int, EpochLeaves | CuriosityError] = {}
        for epoch in wanted:
            try:
                said[epoch] = await client.epoch_leaves(epoch)
            except CuriosityError as error:
                said[epoch] = error
        return said

    said = ask(fetch, patience_s=_BLAME_PATIENCE_S)

    def named() -> Iterator[EpochCheck]:
        for one, payout in zip(check.epochs, derived, strict=True):
            leaves = said.get(one.epoch)
            if leaves is None:
                yield one
            elif isinstance(leaves, CuriosityError):
                yield without_leaves(one, f"{leaves.code}: {leaves.what}")
            else:
                yield blame_leaves(one, payout, [(leaf.account, int(leaf.amount_wei)) for leaf in leaves.leaves])

    return ChainCheck(check.active_epoch, check.latest_epoch, tuple(named()), check.problems)
