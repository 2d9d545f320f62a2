"""What `curiosity payouts` shows: as JSON values, and as tables for people."""

from curiosity.client.amounts import show_exactly, show_tokens
from curiosity.protocol.counts import number_of
from curiosity.protocol.epoch_payout import EpochPayout, PaidPair
from curiosity.protocol.signing import checksum
from curiosity.protocol.wire import to_plain
from curiosity.rewards.check import Recomputed
from curiosity.rewards.payouts import ChainCheck, EpochCheck
from node.screen import Screen

_SHOWN = 20  # differing leaves that people are shown; --json has all


def payouts_json(found: Recomputed, *, with_pairs: bool) -> dict[str, object]:
    """Return what was recomputed as plain JSON values, amounts as decimal digits of wei."""
    epochs = [_epoch_json(one, with_pairs=with_pairs) for one in found.epochs]
    result: dict[str, object] = {
        "entries": found.entries,
        "parameters": {"version": found.parameters.version, "digest": "0x" + found.parameters.digest().hex()},
        "epochs": epochs,
    }
    if found.check is not None:
        for plain, one in zip(epochs, found.check.epochs, strict=True):
            plain["check"] = one.to_json()
        error = found.check.error
        result |= {"chain": found.check.to_json(), "error": error.to_json() if error is not None else None}
    return result


def _epoch_json(payout: EpochPayout, *, with_pairs: bool) -> dict[str, object]:
    pairs = [
        {
            "entry": pair.index,
            "pair": "0x" + pair.pair.hex(),
            "account": "0x" + pair.contributor.hex(),
            "score_micro": pair.curiosity_micro,
            "amount_wei": None if pair.amount_wei is None else str(pair.amount_wei),
        }
        for pair in payout.paid
    ]
    unvested: dict[str, int] = {}
    for award in payout.unvested:
        account = "0x" + award.contributor.hex()
        unvested[account] = unvested.get(account, 0) + award.unvested_wei
    return {
        "epoch": payout.epoch,
        "closed": payout.entry is not None,
        "rule": 1 if payout.rule is None else payout.rule.version,
        "closing": to_plain(payout.closing) if payout.closing is not None else None,
        "awarded_wei": str(sum(one.unvested_wei for one in payout.awarded)),
        "unvested_wei": {account: str(wei) for account, wei in sorted(unvested.items())},
        "first": payout.first,
        "size": payout.size,
        "paid_pairs": len(payout.paid),
        "emission_wei": str(payout.emission_wei),
        "cumulative_total_wei": str(payout.cumulative_total_wei),
        "reward_root": "0x" + payout.reward_root.hex(),
        "amounts_wei": {"0x" + account.hex(): str(wei) for account, wei in payout.amounts_wei.items()},
        "cumulative_wei": {"0x" + account.hex(): str(wei) for account, wei in payout.cumulative_wei.items()},
    } | ({"pairs": pairs} if with_pairs else {})


def show_payouts(screen: Screen, found: Recomputed, *, with_pairs: bool) -> None:
    """Print a table for each epoch, with what came of the comparison."""
    checked = found.check
    checks = checked.epochs if checked is not None else (None,) * len(found.epochs)
    for payout, check in zip(found.epochs, checks, strict=True):
        state = "closed" if payout.entry is not None else "open, so far"
        rows = [
            (checksum(account), show_tokens(wei), show_tokens(payout.cumulative_wei[account]))
            for account, wei in payout.amounts_wei.items()
        ]
        title = (
            f"epoch {payout.epoch} ({state}): {number_of(len(payout.paid), 'pair')} paid, "
            f"{show_tokens(payout.emission_wei)} in all, root 0x{payout.reward_root.hex()}"
        )
        if rows:
            screen.table(title, ("account", "in this epoch", "in all"), rows)
        else:
            screen.line(f"epoch {payout.epoch} ({state}): pays nobody")
        if payout.unvested:
            left = sum(one.unvested_wei for one in payout.unvested)
            screen.line(f"{number_of(len(payout.unvested), 'pair')} will get {show_tokens(left)} more as pay vests.")
        if with_pairs and payout.paid:
            last = "score (millionths)" if payout.rule is None else "in this epoch"
            screen.table(
                "the pairs that it pays",
                ("entry", "pair", "account", last),
                [(p.index, "0x" + p.pair.hex(), checksum(p.contributor), _decided(p)) for p in payout.paid],
            )
        if check is not None:
            _show_check(screen, check)
    if checked is not None:
        screen.line(_summary(checked))


def _decided(pair: PaidPair) -> int | str:
    return pair.curiosity_micro if pair.amount_wei is None else show_tokens(pair.amount_wei)


def _show_check(screen: Screen, check: EpochCheck) -> None:
    words = {
        "open": "is open and was not compared",
        "closed": "is not on the chain yet",
        "waiting": "waits for activation; the chain holds the same root and total",
        "active": "is active; the chain holds the same root and total",
    }
    note = f" ({check.note})" if check.note else ""
    if not check.problems:
        screen.line(f"Epoch {check.epoch} {words[check.state]}{note}.")
        return
    for problem in check.problems:
        screen.line(f"{problem.code}: {problem.what}.")
    if check.leaves:
        screen.table(
            f"epoch {check.epoch}: the leaves that differ",
            ("account", "by the ledger", "by the validator"),
            [(checksum(one.account), _amount(one.derived_wei), _amount(one.said_wei)) for one in check.leaves[:_SHOWN]],
        )
        if len(check.leaves) > _SHOWN:
            screen.line(f"... and {len(check.leaves) - _SHOWN} more (--json lists all).")
    if check.note:
        screen.line(f"Epoch {check.epoch}: {check.note}.")


def _amount(amount_wei: int | None) -> str:
    return "no leaf" if amount_wei is None else show_exactly(amount_wei)


def _summary(checked: ChainCheck) -> str:
    compared = [one for one in checked.epochs if one.is_compared]
    wrong = [one.epoch for one in checked.epochs if one.problems]
    missing = [one.epoch for one in checked.epochs if one.state == "closed"]
    words = []
    if compared:
        numbers = f"{len(compared)} of {number_of(len(checked.epochs), 'epoch')}"
        words.append(f"Compared with the chain, where {checked.active_epoch} is active: {numbers}")
    else:
        words.append(f"Nothing was compared: the chain's latest epoch is {checked.latest_epoch}")
    if missing:
        words.append(f"not posted yet: {', '.join(map(str, missing))}")
    if wrong:
        words.append(f"NOT as the ledger gives it: {', '.join(map(str, wrong))}")
    elif compared and not checked.problems:
        words.append("all agree with the ledger")
    words += [f"{one.code}: {one.what}" for one in checked.problems]
    return "; ".join(words) + "."
