"""What is owed to an account: derived, compared with the chain and claimed, in a thread without an event loop."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from curiosity.client.submission import Contributor
from curiosity.ledger.source import LedgerSource
from curiosity.protocol.messages import Network
from curiosity.rewards.claim import ClaimOrder, ClaimOutcome, claim
from curiosity.rewards.claims import ClaimView, view
from curiosity.rewards.learn import Known, learn

if TYPE_CHECKING:
    from curiosity.chain.evm import ChainClient


def learn_earned(source: LedgerSource, account: bytes) -> Known:
    """Return what an account earned by the ledger.

    Raises:
        CuriosityError: For the first thing that does not hold.
    """
    known = learn(source, account, derives=True)
    for problem in known.problems:
        raise problem
    return known


def look_at_claims(source: LedgerSource, connect: "Callable[[Network], ChainClient]", account: bytes) -> ClaimView:
    """Return where the money of each epoch is."""
    known = learn_earned(source, account)
    return view(connect(known.network), known.earnings)


def claim_due(
    source: LedgerSource, connect: "Callable[[Network], ChainClient]", account: Contributor, recipient: bytes | None
) -> ClaimOutcome:
    """Have paid what is due.

    Raises:
        CuriosityError: That of an outcome where nothing was paid.
    """
    order = ClaimOrder(account.address, payer=account.address, recipient=recipient, derives=True)
    outcome = claim(source, connect, order, lambda: account.private_key)
    if outcome.error is not None and outcome.state != "paid":
        raise outcome.error
    return outcome
