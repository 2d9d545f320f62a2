"""Claiming: an account's shares and proofs from the validator, checked, then paid by the contract."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.chain import Addresses, ChainConfig, Share, journal_path
from node.client import ValidatorClient
from node.config import ChainSettings
from protocol.errors import ChainError, ProofError
from protocol.messages import ClaimShare, ClaimTicket, Network
from protocol.payouts import EpochPayout
from protocol.rewards import verify_claim


@dataclass(frozen=True)
class Claimed:
    """A claim that was paid, or would be.

    ``epochs``: those that are due and active. ``earned_wei``: what the account earned in all closed epochs.
    ``waiting_wei``: the part of it that is not active yet.
    """

    account: bytes
    epochs: tuple[int, ...]
    earned_wei: int
    waiting_wei: int
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
            "epochs": list(self.epochs),
            "earned_wei": str(self.earned_wei),
            "waiting_wei": str(self.waiting_wei),
            "due_wei": str(self.due_wei),
            "paid_wei": str(self.paid_wei),
            "balance_before_wei": str(self.balance_before_wei),
            "balance_after_wei": str(self.balance_after_wei),
            "gas_used": self.gas_used,
            "transaction": self.transaction,
        }


def connect(settings: ChainSettings, network: Network, journal_folder: Path | None = None) -> Any:
    """Return a chain client for the network's contracts; what it sends is kept in the folder until it is final.

    Raises ChainError: CHAIN_UNREACHABLE, CHAIN_WRONG_ID, CHAIN_NO_CONTRACT.
    """
    from contracts.evm import ChainClient  # here, because it imports web3

    chain_id = settings.chain_id or network.domain.chain_id
    addresses = Addresses(network.domain.chain_id, network.token, network.domain.verifying_contract)
    config = ChainConfig(
        settings.rpc_url,
        chain_id,
        addresses,
        request_timeout_s=settings.request_timeout_s,
        other_rpc_urls=settings.other_rpc_urls,
        rpc_quorum=settings.rpc_quorum,
        finality=settings.finality,
        finality_depth=settings.finality_depth,
        journal=journal_path(journal_folder, addresses) if journal_folder else None,
    )
    return ChainClient.connect(config)


async def fetch_ticket(client: ValidatorClient, account: bytes) -> ClaimTicket:
    """Return the account's ticket once its proofs hold. Raises Rejected CLAIM_NONE, ProofError REWARD_PROOF_INVALID."""
    ticket = await client.claim(account)
    if ticket.account != account:
        raise ProofError("TICKET_OF_ANOTHER", f"the ticket is for 0x{ticket.account.hex()}")
    for share in ticket.shares:
        verify_claim(share.reward_root, account, int(share.amount_wei), share.proof)
    return ticket


def check_ticket(ticket: ClaimTicket, payouts: Iterable[EpochPayout]) -> None:
    """Compare a ticket with what follows from the ledger. Raises ProofError TICKET_DIFFERS."""
    derived = {
        one.epoch: (one.amounts_wei[ticket.account], one.reward_root)
        for one in payouts
        if one.entry is not None and ticket.account in one.amounts_wei
    }
    offered = {share.epoch: (int(share.amount_wei), share.reward_root) for share in ticket.shares}
    for epoch in sorted(derived.keys() | offered.keys()):
        if derived.get(epoch) != offered.get(epoch):
            raise ProofError(
                "TICKET_DIFFERS",
                f"for epoch {epoch} the validator offers {_show(offered.get(epoch))}, "
                f"the ledger gives {_show(derived.get(epoch))}",
            )


def claim(chain: Any, ticket: ClaimTicket, private_key: bytes, *, dry_run: bool = False) -> Claimed:
    """Claim every share that is active and was not paid before, in one transaction, and return what was paid.

    Raises ChainError: CLAIM_NOT_ACTIVE (with the time when it will be) if all that is left waits for activation,
    CLAIM_ROOT_DIFFERS if the chain holds another root than the ticket, CHAIN_ codes.
    """
    state = chain.state()
    due, waiting = _sort_shares(chain, ticket, state.active_epoch)
    if not due and waiting:
        raise ChainError(
            "CLAIM_NOT_ACTIVE",
            f"epoch {waiting[0].epoch} is not active; active is {state.active_epoch}, posted is {state.latest_epoch}",
            f"Claim after {_when(state.latest_activates_at)}.",
        )
    before = chain.balances(ticket.account).token_wei
    receipt = None if dry_run or not due else chain.claim(private_key, [_on_chain(share) for share in due])
    return Claimed(
        account=ticket.account,
        epochs=tuple(share.epoch for share in due),
        earned_wei=sum(int(share.amount_wei) for share in ticket.shares),
        waiting_wei=sum(int(share.amount_wei) for share in waiting),
        due_wei=sum(int(share.amount_wei) for share in due),
        paid_wei=receipt.paid_wei if receipt else 0,
        balance_before_wei=before,
        balance_after_wei=chain.balances(ticket.account).token_wei if receipt else before,
        gas_used=receipt.gas_used if receipt else 0,
        transaction="0x" + receipt.hash.hex() if receipt else None,
    )


def _sort_shares(chain: Any, ticket: ClaimTicket, active_epoch: int) -> tuple[list[ClaimShare], list[ClaimShare]]:
    """Return the shares that are active and unpaid, and those that wait for activation."""
    due = []
    for share in ticket.shares:
        if share.epoch > active_epoch or chain.is_claimed(ticket.account, share.epoch):
            continue
        pool = chain.pool(share.epoch)
        if pool.reward_root != share.reward_root:
            raise ChainError(
                "CLAIM_ROOT_DIFFERS",
                f"epoch {share.epoch} has root 0x{pool.reward_root.hex()} on the chain, "
                f"0x{share.reward_root.hex()} in the ticket",
                "Derive the payouts from the ledger (curiosity payouts --derive --check): one of the two is wrong.",
            )
        due.append(share)
    return due, [share for share in ticket.shares if share.epoch > active_epoch]


def _on_chain(share: ClaimShare) -> Share:
    return Share(share.epoch, int(share.amount_wei), share.proof)


def _show(share: tuple[int, bytes] | None) -> str:
    return "nothing" if share is None else f"{share[0]} wei under root 0x{share[1].hex()}"


def _when(timestamp: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(timestamp, UTC).isoformat() if timestamp else "its root is posted"
