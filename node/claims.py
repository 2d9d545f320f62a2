"""Claiming: an account's leaf and proof from the validator, checked, then paid by the contract. Talks to the chain."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from contracts.chain import Addresses, ChainConfig
from node.client import ValidatorClient
from node.config import ChainSettings
from protocol.errors import ChainError, ProofError
from protocol.messages import ClaimTicket, Network
from protocol.payouts import EpochPayout
from protocol.rewards import verify_claim


@dataclass(frozen=True)
class Claimed:
    """A claim that was paid, or would be."""

    account: bytes
    epoch: int
    cumulative_wei: int
    due_wei: int
    paid_wei: int
    balance_before_wei: int
    balance_after_wei: int
    gas_used: int
    transaction: str | None  # None for a dry run or when nothing is due

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, amounts as decimal digits."""
        return {
            "account": "0x" + self.account.hex(),
            "epoch": self.epoch,
            "cumulative_wei": str(self.cumulative_wei),
            "due_wei": str(self.due_wei),
            "paid_wei": str(self.paid_wei),
            "balance_before_wei": str(self.balance_before_wei),
            "balance_after_wei": str(self.balance_after_wei),
            "gas_used": self.gas_used,
            "transaction": self.transaction,
        }


def connect(settings: ChainSettings, network: Network) -> Any:
    """Return a chain client for the network's contracts.

    Raises ChainError: CHAIN_UNREACHABLE, CHAIN_WRONG_ID, CHAIN_NO_CONTRACT.
    """
    from contracts.evm import ChainClient  # here, because it imports web3

    chain_id = settings.chain_id or network.domain.chain_id
    addresses = Addresses(network.domain.chain_id, network.token, network.domain.verifying_contract)
    config = ChainConfig(settings.rpc_url, chain_id, addresses, request_timeout_s=settings.request_timeout_s)
    return ChainClient.connect(config)


async def fetch_ticket(client: ValidatorClient, account: bytes) -> ClaimTicket:
    """Return the account's ticket once its proof holds. Raises Rejected CLAIM_NONE, ProofError REWARD_PROOF_INVALID."""
    ticket = await client.claim(account)
    if ticket.account != account:
        raise ProofError("TICKET_OF_ANOTHER", f"the ticket is for 0x{ticket.account.hex()}")
    verify_claim(ticket.reward_root, account, int(ticket.cumulative_wei), ticket.proof)
    return ticket


def check_ticket(ticket: ClaimTicket, payouts: Iterable[EpochPayout]) -> None:
    """Compare a ticket with what follows from the ledger. Raises ProofError TICKET_DIFFERS."""
    payout = next((one for one in payouts if one.epoch == ticket.epoch and one.entry is not None), None)
    if payout is None:
        raise ProofError(
            "TICKET_DIFFERS", f"the validator offers a claim under epoch {ticket.epoch}, no entry closes it"
        )
    derived = payout.cumulative_wei.get(ticket.account, 0)
    if (payout.reward_root, derived) != (ticket.reward_root, int(ticket.cumulative_wei)):
        raise ProofError(
            "TICKET_DIFFERS",
            f"the validator offers {ticket.cumulative_wei} wei under root 0x{ticket.reward_root.hex()} of epoch "
            f"{ticket.epoch}, the ledger gives {derived} under 0x{payout.reward_root.hex()}",
        )


def claim(chain: Any, ticket: ClaimTicket, private_key: bytes, *, dry_run: bool = False) -> Claimed:
    """Claim what the ticket is good for and return what was paid.

    Raises ChainError: CLAIM_NOT_ACTIVE (with the time when it will be) before activation, CHAIN_ codes.
    """
    state = chain.state()
    if state.active_root != ticket.reward_root:
        raise ChainError(
            "CLAIM_NOT_ACTIVE",
            f"epoch {ticket.epoch} is not active; active is {state.active_epoch}, posted is {state.latest_epoch}",
            f"Claim after {_when(state.latest_activates_at)}.",
        )
    before = chain.balances(ticket.account).token_wei
    due = int(ticket.cumulative_wei) - chain.claimed(ticket.account)
    if dry_run or due <= 0:
        return Claimed(
            ticket.account, ticket.epoch, int(ticket.cumulative_wei), max(due, 0), 0, before, before, 0, None
        )
    receipt = chain.claim(private_key, int(ticket.cumulative_wei), ticket.proof)
    after = chain.balances(ticket.account).token_wei
    return Claimed(
        account=ticket.account,
        epoch=ticket.epoch,
        cumulative_wei=int(ticket.cumulative_wei),
        due_wei=due,
        paid_wei=receipt.paid_wei,
        balance_before_wei=before,
        balance_after_wei=after,
        gas_used=receipt.gas_used,
        transaction="0x" + receipt.hash.hex(),
    )


def _when(timestamp: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(timestamp, UTC).isoformat() if timestamp else "its root is posted"
