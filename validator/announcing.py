"""Announcing another rule of pay: an order is checked, in words for the operator, before it stands in the ledger."""

from dataclasses import replace

from curiosity.protocol.entry import RuleEntry
from curiosity.protocol.errors import ConfigError, ProofError, Rejected
from curiosity.protocol.orders import RuleOrder
from curiosity.protocol.payouts import Replay
from curiosity.protocol.rewards import NEWEST, RewardParameters
from curiosity.protocol.vesting import fixed_fields, spell_rule

BY_NUMBER = "the contract on the chain lowers what remains by each epoch's number, whatever the epoch pays"
MOST_AHEAD = 366
"""Epochs by which an order may be ahead of the first that may change: until it begins no other can be given."""
_UNPROCESSABLE, _CONFLICT = 422, 409


def plan_rule(replay: Replay, order: RuleOrder, block: int, at: int, *, returns: bool) -> RuleEntry:
    """Return the entry that an order asks for, which may come next in the ledger.

    Args:
        replay: The payouts of the whole ledger.
        order: What is to change.
        block: Number of the newest block, 0 without a chain.
        at: Its time in Unix seconds.
        returns: Whether the contract lets what is not paid stay for later epochs.

    Raises:
        Rejected: RULE_WAITS, RULE_EPOCH, RULE_SAME, RULE_CONTRACT (409); RULE_UNKNOWN, RULE_FIXED, RULE_INVALID,
            REWARD_PARAMETER_INVALID (422).
    """
    if replay.rules:
        waits = min(replay.rules)
        raise Rejected(
            "RULE_WAITS",
            f"the ledger names a rule for epoch {waits} already, open is epoch {replay.epoch}",
            f"Give the order again when epoch {waits} has begun.",
            status=_CONFLICT,
        )
    first = replay.first_to_change
    if order.epoch and order.epoch < first:
        raise Rejected(
            "RULE_EPOCH",
            f"epoch {order.epoch} is too early: what is earned until then is paid by the rule in force",
            f"Name epoch {first} or a later one (--epoch), or none: then it is the first that may be.",
            status=_CONFLICT,
        )
    if order.epoch > first + MOST_AHEAD:
        raise Rejected(
            "RULE_EPOCH",
            f"epoch {order.epoch} is too far ahead: no other rule could be announced until it begins",
            f"Name an epoch up to {first + MOST_AHEAD} (--epoch).",
            status=_CONFLICT,
        )
    rule = _changed(replay, order)
    if replay.book is not None and _pays_alike(rule, replay.rule):
        raise Rejected("RULE_SAME", "nothing would change", "Name what is to change (--set).", status=_CONFLICT)
    if rule.unpaid_returns and not returns and replay.book is None:
        raise Rejected("RULE_CONTRACT", BY_NUMBER, "Add --set unpaid_returns=0.", status=_CONFLICT)
    entry = RuleEntry(order.epoch or first, spell_rule(rule), block, at)
    try:
        replay.check_rule(entry)
    except ProofError as error:
        least_s = max(rule.epoch_length_s if block else 0, replay.rule.min_epoch_s if replay.book is not None else 0)
        raise Rejected(
            "RULE_INVALID", error.what, f"min_epoch_s is {least_s} at least here.", status=_UNPROCESSABLE
        ) from None
    return entry


def _changed(replay: Replay, order: RuleOrder) -> RewardParameters:
    """Return the parameters in force, or those that the newest version begins with, with the order's changes."""
    is_first = replay.book is None
    fixed = fixed_fields(is_first=is_first)
    values = RewardParameters(version=NEWEST).values() | _kept(replay.rule)
    if unknown := sorted(set(order.changes) - (set(values) - {"version"})):
        raise Rejected(
            "RULE_UNKNOWN",
            f"no parameter is called {', '.join(unknown)}",
            f"Choose from {', '.join(name for name in values if name not in ('version', *fixed))}.",
            status=_UNPROCESSABLE,
        )
    changes = {name: int(value) for name, value in order.changes.items()}
    if wrong := [name for name in fixed if changes.get(name, values[name]) != values[name]]:
        raise Rejected(
            "RULE_FIXED",
            f"{', '.join(wrong)} cannot change: the contracts rely on it, or what was awarded does",
            "Leave it as it is.",
            status=_UNPROCESSABLE,
        )
    try:
        return RewardParameters(**values | changes)
    except ConfigError as error:
        raise Rejected(error.code, error.what, error.remedy, status=_UNPROCESSABLE) from None


def _pays_alike(rule: RewardParameters, before: RewardParameters) -> bool:
    """Return whether parameters pay as those in force do, under another version or the same."""
    steps = {one.step_below for one in (rule, before) if rule.full_belief}
    return replace(rule, version=before.version) == before and len(steps) < 2


def _kept(rule: RewardParameters) -> dict[str, int]:
    """Return what the newest version takes over from the one in force."""
    return {name: value for name, value in rule.values().items() if name != "version"}
