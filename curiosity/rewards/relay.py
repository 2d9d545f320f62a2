"""Sending a permission that somebody signed: who relays it pays the gas and can change nothing of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curiosity.chain.chain import Addresses, Quote, Share, TransactionReceipt
from curiosity.protocol.errors import NotYet, ProofError
from curiosity.rewards.claims import AT_ONCE, show_time
from curiosity.rewards.permits import Permit, unsigned

if TYPE_CHECKING:
    from curiosity.chain.evm import ChainClient


@dataclass(frozen=True)
class Relayed:
    """What came of relaying a permission. ``receipt`` is None if nothing was sent, ``quote`` belongs to a dry run.

    ``balance_wei`` is what the payer holds in coins for gas, the other two what the recipient holds in tokens.
    """

    permit: Permit
    due: tuple[Share, ...]
    receipt: TransactionReceipt | None
    quote: Quote | None
    balance_wei: int
    balance_before_wei: int
    balance_after_wei: int

    @property
    def due_wei(self) -> int:
        """What the permission pays now, or has just paid."""
        return sum(share.amount_wei for share in self.due)

    @property
    def due_epochs(self) -> list[int]:
        """The epochs of it."""
        return [share.epoch for share in self.due]

    @property
    def left_epochs(self) -> list[int]:
        """Epochs that the permission names and that are claimed, or not active."""
        return sorted({one.epoch for one in self.permit.shares} - set(self.due_epochs))


def relay(
    connect: "Callable[[Addresses], ChainClient]",
    permit: Permit,
    payer: bytes,
    key: Callable[[], bytes],
    *,
    is_dry: bool = False,
) -> Relayed:
    """Send a permission, once the contracts that it names were found to be ours.

    Args:
        connect: Makes the client of the contracts that the permission names.
        permit: A permission that was read and checked.
        payer: Who pays the gas, and gets nothing for it.
        key: Gives the payer's private key; called only if something is sent.
        is_dry: Send nothing.

    Raises:
        ProofError: PERMIT_UNSIGNED, PERMIT_EXPIRED, PERMIT_SPENT.
        NotYet: CLAIM_PAUSED.
        ChainError: CHAIN_CODE_DIFFERS and other CHAIN_ codes.
    """
    signature = permit.signature
    if signature is None:
        raise unsigned(permit.account)
    chain = connect(permit.addresses)
    chain.verify_code()  # the file names the contract: it must be the one that we know
    due = payable(chain, permit)
    quote = chain.quote_claim_to(payer, permit.permission, signature, due) if due and is_dry else None
    before = chain.balances(permit.recipient).token_wei
    receipt = chain.claim_to(key(), permit.permission, signature, due) if due and not is_dry else None
    after = chain.balances(permit.recipient).token_wei if receipt else before
    return Relayed(permit, due, receipt, quote, chain.balances(payer).eth_wei, before, after)


def payable(chain: "ChainClient", permit: Permit) -> tuple[Share, ...]:
    """Return those of a permission's shares that are active and unpaid; at most as many as fit in a transaction.

    Raises:
        ProofError: PERMIT_EXPIRED, PERMIT_SPENT if the account's nonce is another by now.
        NotYet: CLAIM_PAUSED.
        ChainError: CHAIN_ codes.
    """
    now, state = chain.now(), chain.state()
    if now > permit.deadline:
        raise ProofError(
            "PERMIT_EXPIRED",
            f"it counted until {show_time(permit.deadline)}, {now - permit.deadline} s ago",
            "Ask the account for a new one.",
        )
    nonce = chain.claim_nonce(permit.account)
    if nonce != permit.nonce:
        raise ProofError(
            "PERMIT_SPENT",
            f"it has the nonce {permit.nonce}, the account's next is {nonce}: it was relayed, or another one was",
            "Nothing is paid twice: ask the account for a new one if something is left.",
        )
    if state.paused_until > now:
        raise NotYet(
            "CLAIM_PAUSED",
            f"the contract pays nobody until {show_time(state.paused_until)}, in {state.paused_until - now} s",
            "Relay it then: it stays good until its own deadline.",
            at=state.paused_until,
            seconds=state.paused_until - now,
        )
    due = []
    for share in permit.shares:
        record = chain.epoch(share.epoch, state)
        if record is None or not record.is_active or record.reward_root != share.reward_root:
            continue
        if not chain.is_claimed(permit.account, share.epoch):
            due.append(Share(share.epoch, int(share.amount_wei), share.proof))
    return tuple(due[:AT_ONCE])
