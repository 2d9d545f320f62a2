"""Claims: what an account earned compared with the chain, epoch by epoch, and what is due paid by the contract."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from curiosity.chain.attestation import ClaimPermission, sign_digest
from curiosity.chain.chain import RewardsState, Share, TransactionReceipt
from curiosity.client.amounts import show_exactly
from curiosity.client.client import ValidatorClient
from curiosity.ledger.source import Progress, untold
from curiosity.protocol.errors import CuriosityError, NotYet, ProofError
from curiosity.protocol.reward_messages import ClaimShare, ClaimTicket
from curiosity.protocol.rewards import verify_claim
from curiosity.rewards.earnings import Earning, Earnings

if TYPE_CHECKING:
    from curiosity.chain.evm import ChainClient

AT_ONCE = 200
"""Epochs in one transaction at most: about 100 KB of call data, of which public nodes take 128."""

_OWN_PERMISSION_S = 3600  # one that is sent at once


class ClaimStatus(StrEnum):
    """Where an account's money of one epoch is."""

    OPEN = "open"  # the epoch is not closed: what it would pay now
    UNPOSTED = "unposted"  # closed, and its root not on the chain yet
    PENDING = "pending"  # posted, and the delay for a veto not over
    CLAIMABLE = "claimable"
    CLAIMED = "claimed"
    NOTHING = "nothing"  # the epoch pays this account nothing
    DIFFERS = "differs"  # the chain holds another root: no proof of ours is worth anything there


@dataclass(frozen=True)
class EpochClaim:
    """One epoch of an account on the chain; ``claimable_at`` in Unix seconds of the chain's clock, None if unknown."""

    earning: Earning
    status: ClaimStatus
    claimable_at: int | None = None
    chain_root: bytes | None = None  # where it differs

    @property
    def epoch(self) -> int:
        """The epoch's number."""
        return self.earning.epoch

    @property
    def amount_wei(self) -> int:
        """What the epoch pays the account."""
        return self.earning.amount_wei

    @property
    def share(self) -> Share:
        """The leaf and its proof, as the contract takes them."""
        return Share(self.epoch, self.amount_wei, self.earning.proof)


@dataclass(frozen=True)
class ClaimView:
    """All epochs of an account, and when claims rest. Times are of the chain's clock, in Unix seconds.

    ``latest_epoch`` is the newest that the chain knows, of anybody.
    """

    account: bytes
    now: int
    paused_until: int
    latest_epoch: int
    epochs: tuple[EpochClaim, ...]

    def of(self, *statuses: ClaimStatus) -> tuple[EpochClaim, ...]:
        """Return the epochs of these statuses, oldest first."""
        return tuple(one for one in self.epochs if one.status in statuses)

    def sum_wei(self, *statuses: ClaimStatus) -> int:
        """Return what the epochs of these statuses pay together."""
        return sum(one.amount_wei for one in self.of(*statuses))

    @property
    def is_paused(self) -> bool:
        """True while the contract pays nobody."""
        return self.paused_until > self.now

    def after(self, paid: Collection[int]) -> "ClaimView":
        """Return the view after these epochs were paid."""
        epochs = (replace(one, status=ClaimStatus.CLAIMED) if one.epoch in paid else one for one in self.epochs)
        return replace(self, epochs=tuple(epochs))

    def seconds_left(self, one: EpochClaim) -> int | None:
        """Return how long until that epoch can be claimed, 0 for now; None if it never can again, or nobody knows."""
        if one.claimable_at is None:
            return None
        return max(one.claimable_at - self.now, self.paused_until - self.now, 0)


@dataclass(frozen=True)
class Claimed:
    """A claim that was paid, or would be.

    ``epochs``: those that are due and active. ``earned_wei``: what the account earned in all closed epochs.
    ``waiting_wei``: the part of it that is not active yet. ``transactions``: their hashes, one for each 200 epochs.
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
    transactions: tuple[str, ...]

    @property
    def transaction(self) -> str | None:
        """The last transaction's hash; None for a dry run or when nothing is due."""
        return self.transactions[-1] if self.transactions else None

    def to_json(self) -> dict[str, object]:
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
            "transactions": list(self.transactions),
        }


async def fetch_ticket(client: ValidatorClient, account: bytes) -> ClaimTicket:
    """Return the account's ticket, all pages of it, once its proofs hold.

    Raises:
        Rejected: CLAIM_NONE.
        ProofError: REWARD_PROOF_INVALID, TICKET_OF_ANOTHER, TICKET_ORDER if epochs come twice.
    """
    shares: list[ClaimShare] = []
    first: int | None = 1
    while first is not None:
        ticket = await client.claim(account, first)
        if ticket.account != account:
            raise ProofError("TICKET_OF_ANOTHER", f"the ticket is for 0x{ticket.account.hex()}")
        for share in ticket.shares:
            verify_claim(share.reward_root, account, int(share.amount_wei), share.proof)
            if shares and share.epoch <= shares[-1].epoch:
                raise ProofError("TICKET_ORDER", f"epoch {share.epoch} comes after epoch {shares[-1].epoch}")
            shares.append(share)
        first = ticket.next if ticket.shares else None
    return ClaimTicket(account, tuple(shares))


def check_offer(offered: Earnings, derived: Earnings) -> None:
    """Compare a ticket with derived earnings in the epochs that these know.

    Raises:
        ProofError: TICKET_DIFFERS.
    """
    known = range(1, (derived.closed_epochs or 0) + 1)
    theirs, ours = _leaves_of(offered, known), _leaves_of(derived, known)
    for epoch in sorted(theirs.keys() | ours.keys()):
        if theirs.get(epoch) != ours.get(epoch):
            raise ProofError(
                "TICKET_DIFFERS",
                f"for epoch {epoch} the validator offers {_show(theirs.get(epoch))}, "
                f"the ledger gives {_show(ours.get(epoch))}",
            )


def _leaves_of(earnings: Earnings, epochs: range) -> dict[int, tuple[int, bytes]]:
    paid = [one for one in earnings.epochs if one.amount_wei and one.epoch in epochs]
    return {one.epoch: (one.amount_wei, one.reward_root) for one in paid}


def view(
    chain: "ChainClient",
    earnings: Earnings,
    *,
    offered: Earnings | None = None,
    progress: Progress = untold,
) -> ClaimView:
    """Return where the money of each epoch is.

    ``offered`` is what a ticket says: it is taken for epochs of which the chain holds the ticket's root and not that of
    ``earnings``.

    Raises:
        ChainError: CHAIN_ codes.
    """
    state = chain.state()
    instead = {one.epoch: one for one in offered.epochs} if offered is not None else {}
    epochs = []
    for earning in earnings.epochs:
        seen = _look(chain, state, earnings.account, earning)
        other = instead.get(earning.epoch)
        if seen.status is ClaimStatus.DIFFERS and other is not None and other.reward_root == seen.chain_root:
            seen = _look(chain, state, earnings.account, other)
        epochs.append(seen)
        progress("Reading the chain", len(epochs), len(earnings.epochs))
    return ClaimView(earnings.account, chain.now(), state.paused_until, state.latest_epoch, tuple(epochs))


def _look(chain: "ChainClient", state: RewardsState, account: bytes, earning: Earning) -> EpochClaim:
    if earning.is_open:
        return EpochClaim(earning, ClaimStatus.OPEN)
    if not earning.amount_wei:
        return EpochClaim(earning, ClaimStatus.NOTHING)
    if earning.epoch > state.latest_epoch:
        return EpochClaim(earning, ClaimStatus.UNPOSTED)
    if chain.is_claimed(account, earning.epoch):
        return EpochClaim(earning, ClaimStatus.CLAIMED)
    record = chain.epoch(earning.epoch, state)
    if record is None:  # vetoed between two questions
        return EpochClaim(earning, ClaimStatus.UNPOSTED)
    if record.reward_root != earning.reward_root:
        return EpochClaim(earning, ClaimStatus.DIFFERS, chain_root=record.reward_root)
    status = ClaimStatus.CLAIMABLE if record.is_active else ClaimStatus.PENDING
    return EpochClaim(earning, status, record.activates_at or 0)


def refusal(seen: ClaimView) -> CuriosityError | None:
    """Return why nothing can be claimed now though something was earned; None if something can, or nothing is left.

    CLAIM_PAUSED and CLAIM_NOT_ACTIVE say when it can be done; CLAIM_ROOT_DIFFERS if the chain holds another root.
    """
    due = seen.of(ClaimStatus.CLAIMABLE)
    waiting = seen.of(ClaimStatus.PENDING)
    if seen.is_paused and (due or waiting):
        return NotYet(
            "CLAIM_PAUSED",
            f"the contract pays nobody until {show_time(seen.paused_until)}, in {seen.paused_until - seen.now} s",
            "Claim then: the pause ends by itself, and nothing of yours is lost or expires.",
            at=seen.paused_until,
            seconds=seen.paused_until - seen.now,
        )
    if due:
        return None
    if waiting:
        first = waiting[0]
        seconds = seen.seconds_left(first) or 0
        return NotYet(
            "CLAIM_NOT_ACTIVE",
            f"epoch {first.epoch} is not active: it waits for a veto until "
            f"{show_time(first.claimable_at or 0)}, {seconds} s from now",
            f"Claim after {show_time(first.claimable_at or 0)}."
            if seconds
            else "The delay is over: the validator activates it any moment; so can you: curiosity claim --activate.",
            at=first.claimable_at,
            seconds=seconds,
        )
    if seen.of(ClaimStatus.DIFFERS):
        return root_differs(seen.of(ClaimStatus.DIFFERS)[0])
    if seen.of(ClaimStatus.UNPOSTED):
        epoch = seen.of(ClaimStatus.UNPOSTED)[0].epoch
        return NotYet(
            "CLAIM_NOT_POSTED",
            f"epoch {epoch} is closed in the ledger and not on the chain yet",
            "Claim later: the validator has to post its root first.",
            at=None,
            seconds=None,
        )
    return None


def root_differs(one: EpochClaim) -> ProofError:
    """Return the error of an epoch of which the chain holds another root."""
    return ProofError(
        "CLAIM_ROOT_DIFFERS",
        f"epoch {one.epoch} has root 0x{(one.chain_root or b'').hex()} on the chain, "
        f"0x{one.earning.reward_root.hex()} here, where it pays {show_exactly(one.amount_wei)}",
        "Somebody lied: curiosity payouts --derive --check says whose leaf differs. The other epochs can be claimed.",
    )


def permission_for(chain: "ChainClient", account: bytes, recipient: bytes, lifetime_s: int) -> ClaimPermission:
    """Return the account's next permission, unsigned: good for so many seconds of the chain's clock.

    Raises:
        ChainError: CHAIN_ codes.
    """
    return ClaimPermission(account, recipient, chain.claim_nonce(account), chain.now() + lifetime_s)


def pay(
    chain: "ChainClient",
    seen: ClaimView,
    private_key: bytes,
    *,
    recipient: bytes | None = None,
    dry_run: bool = False,
) -> Claimed:
    """Have everything paid that is claimable, in one transaction for each 200 epochs, by whoever has the key.

    Args:
        chain: The network's contracts.
        seen: Where the money is.
        private_key: Who pays the gas. Only the account's own key can have it paid to another ``recipient``.
        recipient: Who is paid in place of the account.
        dry_run: Send nothing.

    Raises:
        ChainError: CHAIN_ codes; what was sent before is paid.
    """
    due = seen.of(ClaimStatus.CLAIMABLE)
    receiver = recipient or seen.account
    before = chain.balances(receiver).token_wei
    parts = [] if dry_run else [due[start : start + AT_ONCE] for start in range(0, len(due), AT_ONCE)]
    receipts = [_send(chain, seen.account, private_key, [one.share for one in part], recipient) for part in parts]
    closed = [status for status in ClaimStatus if status is not ClaimStatus.OPEN]
    return Claimed(
        account=seen.account,
        epochs=tuple(one.epoch for one in due),
        earned_wei=seen.sum_wei(*closed),
        waiting_wei=seen.sum_wei(ClaimStatus.PENDING, ClaimStatus.UNPOSTED),
        due_wei=seen.sum_wei(ClaimStatus.CLAIMABLE),
        paid_wei=sum(one.paid_wei for one in receipts),
        balance_before_wei=before,
        balance_after_wei=chain.balances(receiver).token_wei if receipts else before,
        gas_used=sum(one.gas_used for one in receipts),
        transactions=tuple("0x" + one.hash.hex() for one in receipts),
    )


def _send(
    chain: "ChainClient", account: bytes, private_key: bytes, shares: Sequence[Share], recipient: bytes | None
) -> TransactionReceipt:
    if recipient is None:
        return chain.claim(private_key, shares, account=account)
    permission = permission_for(chain, account, recipient, _OWN_PERMISSION_S)
    signature = sign_digest(permission.digest(chain.domain), private_key)
    return chain.claim_to(private_key, permission, signature, shares)


def show_time(timestamp: int) -> str:
    """Return Unix seconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(timestamp, UTC).isoformat()


def _show(share: tuple[int, bytes] | None) -> str:
    return "nothing" if share is None else f"{show_exactly(share[0])} under root 0x{share[1].hex()}"
