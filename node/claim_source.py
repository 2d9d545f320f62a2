"""Where the figures of a claim come from: the ledger where it can be had, else the validator's ticket."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from curiosity.ledger.mirror import read_network
from curiosity.protocol.errors import CuriosityError, ProofError, Rejected, ServiceError
from curiosity.protocol.messages import Network
from curiosity.protocol.rewards import RewardParameters
from curiosity.rewards.claims import check_offer, fetch_ticket
from curiosity.rewards.earnings import Earnings, derive_earnings, earnings_of_ticket
from node.command import Session, open_client
from node.leaves import counted, get_leaves

_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Known:
    """What could be learned of an account.

    ``offered``: what the validator's ticket says, where it was asked. ``source``: "validator", "ticket", or the path of
    the mirror. ``notes`` are for people, ``problems`` what did not hold.
    """

    network: Network
    earnings: Earnings
    offered: Earnings | None
    source: str
    notes: tuple[str, ...] = ()
    problems: tuple[CuriosityError, ...] = ()


def learn(session: Session, account: bytes, entries: Path | None, derived: bool | None, *, as_posted: bool) -> Known:
    """Derive what an account earned, from a mirror or the validator's ledger; else take the validator's ticket.

    ``derived`` True insists on the ledger, False does without. With ``as_posted`` the ticket is asked for in any case.
    Raises what `node.leaves.get_leaves`, `curiosity.rewards.earnings.derive_earnings` and
    `curiosity.rewards.claims.fetch_ticket` raise, where there is no other way.
    """
    why = ""
    problems: list[CuriosityError] = []
    earnings: Earnings | None = None
    if derived is not False:
        try:
            earnings = _derive(session, account, entries)
            problems += earnings.problems
        except CuriosityError as error:
            # A ledger that does not hold is told, and what the chain pays by the ticket is paid all the same.
            if error.code == "SERVICE_UNREACHABLE":  # then neither can its ticket be had
                remedy = f"{error.remedy} A mirror does without it: --entries FOLDER."
                raise ServiceError(error.code, error.what, remedy) from None
            if derived or entries is not None:
                raise
            problems += [error] if isinstance(error, ProofError) else []
            why = f", since the ledger cannot be used ({error.code}: {error.what})"
    mirrored = entries is not None and (entries / "network.json").is_file()
    if earnings is not None and mirrored and not as_posted:
        assert entries is not None
        return Known(read_network(entries), earnings, None, str(entries), (), tuple(problems))
    network, offered = asyncio.run(_ask(session, account))
    if earnings is None:
        note = f"The amounts are the validator's word, with proofs that hold{why}."
        return Known(network, offered, offered, "ticket", (note,), tuple(problems))
    if not as_posted:
        try:
            check_offer(offered, earnings)
        except ProofError as error:
            problems.append(error)
    return Known(network, earnings, offered, str(entries or "validator"), (), tuple(problems))


def _derive(session: Session, account: bytes, entries: Path | None) -> Earnings:
    leaves = get_leaves(session, entries)
    with session.screen.progress("Deriving", len(leaves)) as meter:
        return derive_earnings(counted(leaves, meter), account, RewardParameters())


async def _ask(session: Session, account: bytes) -> tuple[Network, Earnings]:
    """Return the network, and what the validator's ticket says: nothing earned, if it has none."""
    async with open_client(session, patience_s=_PATIENCE_S) as client:
        network = await client.network()
        try:
            return network, earnings_of_ticket(await fetch_ticket(client, account))
        except Rejected as error:
            if error.code != "CLAIM_NONE":
                raise
            return network, Earnings(account, ())
