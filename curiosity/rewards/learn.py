"""Where the figures of a claim come from: the ledger where it can be had, else the validator's ticket."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from curiosity.ledger.source import LedgerSource, Progress, counted, untold
from curiosity.protocol.errors import CuriosityError, ProofError, Rejected, ServiceError
from curiosity.protocol.messages import Network
from curiosity.protocol.rewards import RewardParameters
from curiosity.rewards.claims import check_offer, fetch_ticket
from curiosity.rewards.earnings import Earnings, derive_earnings, earnings_of_ticket

if TYPE_CHECKING:
    from curiosity.client.client import ValidatorClient


@dataclass(frozen=True)
class Known:
    """What could be learned of an account.

    ``offered``: what the validator's ticket says, where it was asked. ``source``: "validator", "ticket", or the path of
    the copy. ``notes`` are for people, ``problems`` what did not hold.
    """

    network: Network
    earnings: Earnings
    offered: Earnings | None
    source: str
    notes: tuple[str, ...] = ()
    problems: tuple[CuriosityError, ...] = ()

    def beside(self, latest_epoch: int) -> "Known":
        """Return it with a note if the ledger ends before an epoch that the chain knows."""
        if not self.earnings.is_behind(latest_epoch):
            return self
        note = (
            f"{self.source} ends with epoch {self.earnings.closed_epochs}, the chain is at {latest_epoch}: what came "
            "after is not shown here. Bring the copy up to date (curiosity ledger mirror)."
        )
        return replace(self, notes=(*self.notes, note))


def learn(
    source: LedgerSource,
    account: bytes,
    *,
    derives: bool | None = None,
    as_posted: bool = False,
    progress: Progress = untold,
) -> Known:
    """Return what an account earned: derived from the ledger, else by the validator's ticket.

    Args:
        source: The ledger, and the validator that gives tickets.
        account: Who earned.
        derives: True insists on the ledger, False does without; None derives if it can be done.
        as_posted: Ask for the ticket in any case, to claim by it what the chain holds in place of what is derived.
        progress: Told how far it is.

    Raises:
        ServiceError: SERVICE_UNREACHABLE.
        SourceError: MIRROR_UNREADABLE.
        ProofError: If the ledger, on which ``derives`` insists, does not hold; what `fetch_ticket` raises.
    """
    why = ""
    problems: list[CuriosityError] = []
    earnings: Earnings | None = None
    if derives is not False:
        try:
            leaves = source.leaves(progress)
            earnings = derive_earnings(counted(leaves, progress), account, RewardParameters())
            problems += earnings.problems
        except CuriosityError as error:
            # A ledger that does not hold is told, and what the chain pays by the ticket is paid all the same.
            if error.code == "SERVICE_UNREACHABLE":  # then neither can its ticket be had
                remedy = f"{error.remedy} A mirror does without it (--entries FOLDER, in a program copy)."
                raise ServiceError(error.code, error.what, remedy) from None
            if derives or source.copy is not None:
                raise
            problems += [error] if isinstance(error, ProofError) else []
            why = f", since the ledger cannot be used ({error.code}: {error.what})"
    if earnings is not None and source.knows_network and not as_posted:
        return Known(source.network(), earnings, None, source.name, (), tuple(problems))
    network, offered = source.ask(lambda client: _ask(client, account))
    if earnings is None:
        note = f"The amounts come from the validator, and its proofs are valid{why}."
        return Known(network, offered, offered, "ticket", (note,), tuple(problems))
    if not as_posted:
        try:
            check_offer(offered, earnings)
        except ProofError as error:
            problems.append(error)
    return Known(network, earnings, offered, source.name, (), tuple(problems))


async def _ask(client: "ValidatorClient", account: bytes) -> tuple[Network, Earnings]:
    """Return the network, and what the validator's ticket says: nothing earned, if it has none."""
    network = await client.network()
    try:
        return network, earnings_of_ticket(await fetch_ticket(client, account))
    except Rejected as error:
        if error.code != "CLAIM_NONE":
            raise
        return network, Earnings(account, ())
