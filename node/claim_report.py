"""What `curiosity claim` shows: as JSON values, and as tables for people."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from curiosity.chain.chain import Quote
from curiosity.client.amounts import show_coins, show_tokens
from curiosity.client.wallet import Wallet
from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import CuriosityError, NotYet
from curiosity.protocol.signing import checksum
from curiosity.rewards.claim import ClaimOrder, ClaimOutcome
from curiosity.rewards.claims import Claimed, ClaimStatus, ClaimView, EpochClaim, show_time
from curiosity.rewards.earnings import EpochTally
from curiosity.rewards.permits import Permit, typed_data_path
from curiosity.rewards.relay import Relayed
from node.screen import Screen

_SHOWN_PAIRS = 20  # of one epoch; --json lists all
_SHOWN_EPOCHS = 30


def show_seconds(seconds: int) -> str:
    """Return a length of time as people say it."""
    return f"{seconds} s" if seconds < 120 else f"{seconds} s ({timedelta(seconds=seconds)})"


def claim_json(
    outcome: ClaimOutcome, order: ClaimOrder, wallet: str | None, permit_path: Path | None
) -> dict[str, object]:
    """Return what came of a claim as plain JSON values, amounts as decimal digits of wei."""
    permitted = (permit_path, outcome.permit) if permit_path is not None and outcome.permit is not None else None
    return outcome.done.to_json() | {
        "wallet": wallet,
        "payer": "0x" + order.sender.hex(),
        "recipient": "0x" + (order.recipient or order.account).hex(),
        "state": outcome.state,
        "source": outcome.known.source,
        "notes": list(outcome.known.notes),
        "due_epochs": list(outcome.done.epochs),
        "activated": list(outcome.activated),
        "gas": quote_json(outcome.quote, outcome.balance_wei) if outcome.quote is not None else None,
        "permit": permit_json(*permitted) if permitted is not None else None,
        **view_json(outcome.seen),
        "problems": [error_json(one) for one in outcome.problems],
        "error": error_json(outcome.error) if outcome.error is not None else None,
    }


def show_claim(
    screen: Screen,
    outcome: ClaimOutcome,
    order: ClaimOrder,
    wallet: str | None,
    permit_path: Path | None,
    *,
    with_pairs: bool,
    everything: bool,
) -> None:
    """Print what came of a claim."""
    show_view(screen, outcome.seen, with_pairs=with_pairs, everything=everything)
    for line in [*outcome.known.notes, *(f"Epoch {epoch} was activated." for epoch in outcome.activated)]:
        screen.line(line)
    show_state(screen, outcome.state, outcome.before, outcome.done, order.recipient)
    show_trust(screen, outcome.known.source, outcome.before, outcome.problems)
    if permit_path is not None and outcome.permit is not None:
        show_permit(screen, permit_path, outcome.permit)
    if outcome.quote is not None:
        show_quote(screen, outcome.quote, outcome.balance_wei, wallet or checksum(order.sender))


def relay_json(done: Relayed, wallet: Wallet, path: Path) -> dict[str, object]:
    """Return what came of relaying a permission as plain JSON values, amounts as decimal digits of wei."""
    receipt = done.receipt
    return {
        "state": "relayed" if receipt else "dry run" if done.due else "nothing due",
        "wallet": wallet.name,
        "payer": "0x" + wallet.address.hex(),
        "account": "0x" + done.permit.account.hex(),
        "recipient": "0x" + done.permit.recipient.hex(),
        "due_epochs": done.due_epochs,
        "left_epochs": done.left_epochs,
        "due_wei": str(done.due_wei),
        "paid_wei": str(receipt.paid_wei if receipt else 0),
        "balance_before_wei": str(done.balance_before_wei),
        "balance_after_wei": str(done.balance_after_wei),
        "gas_used": receipt.gas_used if receipt else 0,
        "transactions": ["0x" + receipt.hash.hex()] if receipt else [],
        "gas": quote_json(done.quote, done.balance_wei) if done.quote is not None else None,
        "permit": permit_json(path, done.permit),
        "error": None,
    }


def show_relayed(screen: Screen, done: Relayed, payer: str) -> None:
    """Print what came of relaying a permission."""
    epochs, receipt = list_epochs(done.due_epochs), done.receipt
    whom = f"{checksum(done.permit.account)} earned, to {checksum(done.permit.recipient)}"
    if receipt is not None:
        screen.line(
            f"Relayed: {show_tokens(receipt.paid_wei)} ({epochs}) that {whom}, "
            f"with {receipt.gas_used} gas of {payer} in 0x{receipt.hash.hex()}."
        )
    elif done.due:
        screen.line(f"Would pay {show_tokens(done.due_wei)} ({epochs}) that {whom}; nothing was sent.")
    else:
        screen.line("Nothing is due: what the permission names is claimed, or not active yet. It stays good.")
    if done.quote is not None:
        show_quote(screen, done.quote, done.balance_wei, payer)


def view_json(seen: ClaimView) -> dict[str, object]:
    """Return a view as plain JSON values: amounts as decimal digits, times as Unix seconds."""
    return {
        "now": seen.now,
        "paused_until": seen.paused_until if seen.is_paused else None,
        "latest_epoch": seen.latest_epoch,
        "claimed_wei": str(seen.sum_wei(ClaimStatus.CLAIMED)),
        "open_wei": str(seen.sum_wei(ClaimStatus.OPEN)),
        "differs_wei": str(seen.sum_wei(ClaimStatus.DIFFERS)),
        "epochs": [_epoch_json(seen, one) for one in seen.epochs],
    }


def _epoch_json(seen: ClaimView, one: EpochClaim) -> dict[str, object]:
    why = one.earning.why
    plain: dict[str, object] = {
        "epoch": one.epoch,
        "status": one.status.value,
        "amount_wei": str(one.amount_wei),
        "claimable_at": one.claimable_at,
        "seconds_left": seen.seconds_left(one) if one.status in (ClaimStatus.PENDING, ClaimStatus.CLAIMABLE) else None,
        "reward_root": "0x" + one.earning.reward_root.hex(),
        "chain_root": "0x" + one.chain_root.hex() if one.chain_root is not None else None,
    }
    if why is None:
        return plain | {
            "score_micro": None,
            "whole_score_micro": None,
            "emission_wei": None,
            "unvested_wei": None,
            "pairs": None,
        }
    return plain | {
        "score_micro": why.score_micro,
        "whole_score_micro": why.whole_score_micro,
        "emission_wei": str(why.emission_wei),
        "unvested_wei": str(why.unvested_wei),
        "pairs": [pair.to_json() for pair in why.pairs],
        "sent": vars(why.tally),
    }


def quote_json(quote: Quote, balance_wei: int) -> dict[str, object]:
    """Return what a transaction would cost, and whether the sender can pay it, as plain JSON values."""
    return {
        "gas": quote.gas,
        "fee_wei": str(quote.fee_wei),
        "cost_wei": str(quote.cost_wei),
        "most_wei": str(quote.most_wei),
        "balance_wei": str(balance_wei),
        "enough": balance_wei >= quote.most_wei,
    }


def error_json(error: CuriosityError) -> dict[str, object]:
    """Return an error as plain JSON values; one that is only a matter of time with the time."""
    plain: dict[str, object] = dict(error.to_json())
    if isinstance(error, NotYet):
        plain |= {"at": show_time(error.at) if error.at is not None else None, "seconds": error.seconds}
    return plain


def show_view(screen: Screen, seen: ClaimView, *, with_pairs: bool, everything: bool) -> None:
    """Print what each epoch pays and where that money is, then the pairs behind it, of what was not claimed yet."""
    shown = seen.epochs if everything else seen.epochs[-_SHOWN_EPOCHS:]
    if len(shown) < len(seen.epochs):
        screen.line(f"{len(seen.epochs) - len(shown)} earlier epochs are not shown (--all shows them).")
    if shown:
        screen.table(
            f"what {checksum(seen.account)} earned",
            ("epoch", "pays you", "pairs paid", "your part of all", "status"),
            [(one.epoch, show_tokens(one.amount_wei), _pairs(one), _score(one), _status(seen, one)) for one in shown],
        )
    last = shown[-1].earning.why if shown else None
    if last is not None and last.unvested_wei:
        screen.line(f"{show_tokens(last.unvested_wei)} are awarded and vest with the closes to come.")
    for one in shown:
        if everything or (with_pairs and one.status not in (ClaimStatus.CLAIMED, ClaimStatus.NOTHING)):
            _show_pairs(screen, one)


def _pairs(one: EpochClaim) -> str:
    why = one.earning.why
    if why is None:
        return "?"
    if not why.vests:
        return f"{len(why.pairs)} of {why.tally.decided} sent"
    paid = f"{len(why.pairs)} paid, of earlier epochs" if why.pairs else "0 paid"
    return f"{paid}; {why.tally.decided} sent" if why.tally.decided else paid


def _score(one: EpochClaim) -> str:
    why = one.earning.why
    if why is None:
        return "?"
    if why.vests:
        return f"{100 * one.amount_wei / why.emission_wei:.2f} %" if why.emission_wei else "0"
    if not why.whole_score_micro:
        return "0"
    percent = 100 * why.score_micro / why.whole_score_micro
    return f"{why.score_micro} of {why.whole_score_micro} ({percent:.2f} %)"


def _status(seen: ClaimView, one: EpochClaim) -> str:
    left = seen.seconds_left(one)
    words = {
        ClaimStatus.OPEN: "open: what it would pay if it closed now",
        ClaimStatus.UNPOSTED: "closed, not on the chain yet",
        ClaimStatus.PENDING: "pending: the delay is over, activation is due",
        ClaimStatus.CLAIMABLE: "claimable",
        ClaimStatus.CLAIMED: "claimed",
        ClaimStatus.NOTHING: _nothing(one),
        ClaimStatus.DIFFERS: "THE CHAIN HOLDS ANOTHER ROOT",
    }
    if left and one.status in (ClaimStatus.PENDING, ClaimStatus.CLAIMABLE):
        at = show_time(seen.now + left)
        return f"{'pending' if one.status is ClaimStatus.PENDING else 'paused'}: {show_seconds(left)} left, until {at}"
    return words[one.status]


def _nothing(one: EpochClaim) -> str:
    others = _others(one)
    return f"pays you nothing: {others}" if others else "pays you nothing"


def _others(one: EpochClaim) -> str:
    """Return what became of the pairs that are not paid."""
    tally = one.earning.why.tally if one.earning.why is not None else EpochTally()
    reasons = [
        (tally.decided - tally.accepted - tally.held - tally.grey, "rejected"),
        (tally.held, "held"),
        (tally.grey, "grey"),
        (tally.not_novel, "not novel"),
        (tally.outranked, "outranked by wider gaps"),
        (tally.taken_down, "taken down"),
    ]
    return ", ".join(f"{count} {word}" for count, word in reasons if count)


def _show_pairs(screen: Screen, one: EpochClaim) -> None:
    why = one.earning.why
    if why is None or not why.pairs:
        return
    rows = [
        (pair.entry, "0x" + pair.pair.hex(), pair.modalities, pair.score_micro, show_tokens(pair.share_wei))
        for pair in why.pairs[:_SHOWN_PAIRS]
    ]
    emission = show_tokens(why.emission_wei)
    if why.vests:  # by weight: the gap does not matter
        title = f"epoch {one.epoch} pays {emission}; your pairs in it"
        screen.table(title, ("entry", "pair", "of", "share"), [(*row[:3], row[4]) for row in rows])
    else:
        title = f"epoch {one.epoch} emits {emission} by score; your pairs in it"
        screen.table(title, ("entry", "pair", "of", "score (millionths)", "share"), rows)
    if len(why.pairs) > _SHOWN_PAIRS:
        screen.line(f"... and {number_of(len(why.pairs) - _SHOWN_PAIRS, 'pair')} more (--json lists all).")
    if others := _others(one):
        screen.line(f"Not paid by it: {others}.")


def show_quote(screen: Screen, quote: Quote, balance_wei: int, payer: str) -> None:
    """Print what a transaction would cost whom."""
    screen.line(
        f"It would take about {quote.gas} gas, which costs {show_coins(quote.cost_wei)} at the present price; "
        f"{payer} holds {show_coins(balance_wei)}"
        + (
            "."
            if balance_wei >= quote.most_wei
            else f" and needs {show_coins(quote.most_wei)} to be safe from rising fees: fund it, or let somebody relay "
            "the claim (--permit)."
        )
    )


def permit_json(path: Path, permit: Permit) -> dict[str, object]:
    """Return what a permission says, without its proofs, as plain JSON values."""
    return {
        "file": str(path),
        "signed": permit.signature is not None,
        "typed_data": permit.typed_data(),
        "account": "0x" + permit.account.hex(),
        "recipient": "0x" + permit.recipient.hex(),
        "nonce": permit.nonce,
        "deadline": permit.deadline,
        "until": show_time(permit.deadline),
        "epochs": [share.epoch for share in permit.shares],
        "amount_wei": str(sum(int(share.amount_wei) for share in permit.shares)),
    }


def show_permit(screen: Screen, path: Path, permit: Permit) -> None:
    """Print what a permission allows, and what to do with it."""
    amount_wei = sum(int(share.amount_wei) for share in permit.shares)
    epochs = list_epochs([share.epoch for share in permit.shares])
    screen.line(
        f"{path} lets anybody have {show_tokens(amount_wei)} ({epochs}) paid to {checksum(permit.recipient)}, and to "
        f"nobody else, until {show_time(permit.deadline)}."
    )
    if permit.signature is None:
        screen.line(
            f"It counts once {checksum(permit.account)} has signed {typed_data_path(path)} (EIP-712): "
            f"curiosity claim --wallet THEIRS --relay {path} --signature 0xSIGNATURE"
        )
    else:
        screen.line(f"Give the file to whoever pays the gas: curiosity claim --wallet THEIRS --relay {path}")


def show_state(screen: Screen, state: str, seen: ClaimView, done: Claimed, recipient: bytes | None) -> None:
    """Print what was done, and what is left."""
    whom = checksum(recipient or seen.account)
    epochs = list_epochs(done.epochs)
    if state == "paid":
        screen.line(
            f"Paid {show_tokens(done.paid_wei)} ({epochs}) to {whom} with {done.gas_used} gas in "
            f"{', '.join(done.transactions)}; it held {show_tokens(done.balance_before_wei)} and holds "
            f"{show_tokens(done.balance_after_wei)} now."
        )
    elif state == "dry run":
        screen.line(f"Would pay {show_tokens(done.due_wei)} ({epochs}) to {whom}; nothing was sent.")
    elif state == "nothing due":
        screen.line(f"Nothing is due: {_why_nothing(seen)}.")
    if done.waiting_wei:
        more = " more wait" if done.due_wei else " wait"
        screen.line(f"{show_tokens(done.waiting_wei)}{more} for activation.")
    open_wei = seen.sum_wei(ClaimStatus.OPEN)
    if open_wei:
        screen.line(f"The open epoch would add {show_tokens(open_wei)} if it closed now; others may still share in it.")


def _why_nothing(seen: ClaimView) -> str:
    claimed_wei = seen.sum_wei(ClaimStatus.CLAIMED)
    if claimed_wei:
        return f"{show_tokens(claimed_wei)} were claimed before"
    if seen.of(ClaimStatus.DIFFERS):
        return "what was earned is not what the chain holds"
    if not seen.epochs:
        return f"the ledger holds no pair of {checksum(seen.account)}"
    return "no epoch that is closed pays anything"


def show_trust(screen: Screen, source: str, seen: ClaimView, problems: Sequence[CuriosityError]) -> None:
    """Print what the figures rest on."""
    compared = seen.of(ClaimStatus.PENDING, ClaimStatus.CLAIMABLE)
    if source == "ticket" or problems:
        return
    where = "the validator's ledger" if source == "validator" else source
    words = f"; the chain holds the same root for {list_epochs([one.epoch for one in compared])}" if compared else ""
    screen.line(f"All amounts were derived from {where}{words}.")


def list_epochs(epochs: Sequence[int]) -> str:
    """Return epochs as people say them."""
    if len(epochs) == 1:
        return f"epoch {epochs[0]}"
    return f"{number_of(len(epochs), 'epoch')}, {epochs[0]} to {epochs[-1]}" if epochs else "no epoch"
