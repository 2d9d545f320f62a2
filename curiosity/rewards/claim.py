"""Claiming, from the ledger to the last wei: learn, look at the chain, and pay, quote or permit what is due."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from curiosity.chain.chain import Quote
from curiosity.client.amounts import show_coins
from curiosity.ledger.source import LedgerSource, Progress, untold
from curiosity.protocol.errors import ChainError, CuriosityError, NotYet
from curiosity.protocol.messages import Network
from curiosity.protocol.reward_messages import ClaimShare
from curiosity.protocol.signing import checksum
from curiosity.rewards.claims import (
    AT_ONCE,
    Claimed,
    ClaimStatus,
    ClaimView,
    EpochClaim,
    pay,
    permission_for,
    refusal,
    root_differs,
    view,
)
from curiosity.rewards.learn import Known, learn
from curiosity.rewards.permits import Permit, check_recipient, make_permit, write_permit

if TYPE_CHECKING:
    from curiosity.chain.evm import ChainClient

State = Literal["paid", "dry run", "waiting", "nothing due", "permitted"]
PERMISSION_GAS = 30_000
"""What a permission adds to a claim at most: the account's first nonce, and the recovery of its signature."""
_DAY_S = 86_400


@dataclass(frozen=True)
class ClaimOrder:
    """What to claim, for whom, and how.

    ``account`` earned it. ``payer`` pays the gas; None if nobody has to. ``recipient`` is paid in place of the account.
    ``is_dry`` sends nothing. ``activates`` first activates epochs whose delay is over. ``derives`` and ``as_posted``
    are those of `curiosity.rewards.learn.learn`.
    """

    account: bytes
    payer: bytes | None = None
    recipient: bytes | None = None
    is_dry: bool = False
    activates: bool = False
    derives: bool | None = None
    as_posted: bool = False

    @property
    def sender(self) -> bytes:
        """Who would send a transaction."""
        return self.payer if self.payer is not None else self.account


@dataclass(frozen=True)
class ClaimOutcome:
    """What came of a claim.

    ``before`` is where the money was, ``seen`` where it is now. ``problems`` did not hold; ``error`` decides how it
    ends, None if all is well. ``quote`` and ``balance_wei`` (the payer's coins for gas) belong to a dry run, ``permit``
    is a permission that was written.
    """

    state: State
    known: Known
    before: ClaimView
    seen: ClaimView
    done: Claimed
    problems: tuple[CuriosityError, ...]
    error: CuriosityError | None
    activated: tuple[int, ...] = ()
    quote: Quote | None = None
    balance_wei: int = 0
    permit: Permit | None = None


@dataclass(frozen=True)
class _Looked:
    """An order with what was learned for it."""

    chain: "ChainClient"
    known: Known
    seen: ClaimView
    activated: tuple[int, ...]


def claim(
    source: LedgerSource,
    connect: "Callable[[Network], ChainClient]",
    order: ClaimOrder,
    key: Callable[[], bytes],
    *,
    progress: Progress = untold,
) -> ClaimOutcome:
    """Have everything paid that is due, by one transaction for each 200 epochs.

    Args:
        source: The ledger that says what the account earned.
        connect: Makes the client of the network's contracts.
        order: What to claim.
        key: Gives the payer's private key; called only if something is sent.
        progress: Told how far it is.

    Raises:
        ConfigError: ADDRESS_FORBIDDEN for a recipient that could never spend it.
        ChainError: CHAIN_ codes; what was sent before is paid.
        CuriosityError: What `learn` raises. That nothing can be claimed now is no error here, but ``error``.
    """
    looked = _look(source, connect, order, key, progress)
    chain, seen = looked.chain, looked.seen
    refused = refusal(seen)
    due = seen.of(ClaimStatus.CLAIMABLE) if refused is None else ()
    if due and order.is_dry:
        quote = quote_claim(chain, order, due)
        balance_wei = chain.balances(order.sender).eth_wei
        done = pay(chain, seen, b"", recipient=order.recipient, dry_run=True)
        return _outcome("dry run", looked, done, refused, quote=quote, balance_wei=balance_wei)
    if not due:
        done = pay(chain, seen, b"", recipient=order.recipient, dry_run=True)
        return _outcome("waiting" if isinstance(refused, NotYet) else "nothing due", looked, done, refused)
    try:
        done = pay(chain, seen, key(), recipient=order.recipient)
    except ChainError as error:
        if error.code != "CHAIN_NO_FUNDS":
            raise
        held = show_coins(chain.balances(order.sender).eth_wei)
        raise ChainError(
            error.code,
            f"{checksum(order.sender)} holds {held} for gas, the transaction may need more",
            "Fund it with coins for gas, or let somebody relay the claim: curiosity claim --permit FILE.",
        ) from None
    return _outcome("paid", looked, done, refused)


def permit(
    source: LedgerSource,
    connect: "Callable[[Network], ChainClient]",
    order: ClaimOrder,
    key: Callable[[], bytes],
    path: Path,
    valid_days: int,
    *,
    progress: Progress = untold,
) -> ClaimOutcome:
    """Write a permission that anybody can relay, for all that is not claimed, active or not.

    It is signed if the payer is the account itself, whose key that is, and else written for the account to sign.
    Arguments and errors are those of `claim`.

    Raises:
        SourceError: PERMIT_NOT_WRITTEN.
    """
    looked = _look(source, connect, order, key, progress)
    chain, seen = looked.chain, looked.seen
    done = pay(chain, seen, b"", recipient=order.recipient, dry_run=True)
    wanted = seen.of(ClaimStatus.CLAIMABLE, ClaimStatus.PENDING, ClaimStatus.UNPOSTED)[:AT_ONCE]
    if not wanted:
        return _outcome("nothing due", looked, done, None)
    shares = tuple(
        ClaimShare(one.epoch, str(one.amount_wei), one.earning.proof, one.earning.reward_root) for one in wanted
    )
    permission = permission_for(chain, order.account, order.recipient or order.account, valid_days * _DAY_S)
    made = make_permit(chain.addresses, permission, shares)
    if order.payer == order.account:
        made = made.signed_with(key())
    write_permit(path, made)
    return _outcome("permitted", looked, done, None, permit=made)


def _look(
    source: LedgerSource,
    connect: "Callable[[Network], ChainClient]",
    order: ClaimOrder,
    key: Callable[[], bytes],
    progress: Progress,
) -> _Looked:
    """Learn what was earned, activate what is due if that is asked for, and see where the money is."""
    known = learn(source, order.account, derives=order.derives, as_posted=order.as_posted, progress=progress)
    chain = connect(known.network)
    if order.recipient is not None:
        check_recipient(order.recipient, chain.addresses)
    activated = activate_due(chain, key) if order.activates and not order.is_dry else ()
    seen = view(chain, known.earnings, offered=known.offered if order.as_posted else None, progress=progress)
    return _Looked(chain, known.beside(seen.latest_epoch), seen, activated)


def activate_due(chain: "ChainClient", key: Callable[[], bytes]) -> tuple[int, ...]:
    """Activate every epoch whose delay is over, and return them.

    Raises:
        ChainError: CHAIN_ codes.
    """
    done: list[int] = []
    state = chain.state()
    while state.active_epoch < state.latest_epoch and state.activates_at <= chain.now() >= state.paused_until:
        epoch = state.active_epoch + 1
        chain.activate(key(), epoch)
        done.append(epoch)
        state = chain.state()
    return tuple(done)


def quote_claim(chain: "ChainClient", order: ClaimOrder, due: Sequence[EpochClaim]) -> Quote:
    """Return what all transactions would cost together; a permission's own gas is added as it was measured.

    Raises:
        ChainError: CHAIN_ codes.
    """
    parts = [[one.share for one in due[start : start + AT_ONCE]] for start in range(0, len(due), AT_ONCE)]
    quotes = [chain.quote_claim(order.sender, order.account, part) for part in parts]
    extra = PERMISSION_GAS * len(parts) if order.recipient is not None else 0
    gas = sum(one.gas for one in quotes) + extra
    most_per_gas = max(-(-one.most_wei // one.gas) for one in quotes)
    return Quote(gas, max(one.fee_wei for one in quotes), gas * most_per_gas)


def _outcome(
    state: State,
    looked: _Looked,
    done: Claimed,
    refused: CuriosityError | None,
    *,
    quote: Quote | None = None,
    balance_wei: int = 0,
    permit: Permit | None = None,
) -> ClaimOutcome:
    seen = looked.seen.after(done.epochs if done.transactions else ())
    problems = (*looked.known.problems, *(root_differs(one) for one in seen.of(ClaimStatus.DIFFERS)))
    error = refused if isinstance(refused, NotYet) or not problems else problems[0]
    return ClaimOutcome(
        state, looked.known, looked.seen, seen, done, problems, error, looked.activated, quote, balance_wei, permit
    )
