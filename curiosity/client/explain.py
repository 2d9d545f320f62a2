"""What a verdict means for the contributor: why, what to do now, and whether the pair can be paid."""

import re
from dataclasses import dataclass
from typing import Final

from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import Fault
from curiosity.protocol.rewards import USUAL_BELIEF, RewardParameters
from curiosity.protocol.verdict import (
    BELIEF_STEPS,
    MAX_CROWD,
    NOT_NOVEL,
    OUTSIDE,
    TOO_NEAR,
    CrowdCounts,
    Opening,
    Outcome,
    Reason,
    Verdict,
)
from curiosity.protocol.weighing import Compared, Weighing

MICRO: Final = 1_000_000
_AGAIN: Final = "submit it again under a later checkpoint (curiosity submit --again, in a program again=True)"


@dataclass(frozen=True)
class Words:
    """``what`` happened and what to do about it (``remedy``, empty where there is nothing to do)."""

    what: str
    remedy: str = ""


_REASONS: Final = {
    Reason.BELONGS_TOGETHER: Words("the two belong together"),
    Reason.CONTENT_DUPLICATE: Words(
        "a pair of exactly these two items is in the ledger already", "Nothing: a pair counts once, whoever sends it."
    ),
    Reason.ITEM_NEW: Words("the item says something new"),
    Reason.ITEM_COPY: Words(
        "an entry holds this item or a near copy of it, or it was paid before; this costs you nothing",
        "Nothing: an item counts once. Together with another item that belongs to it, it may be a new pair.",
    ),
    Reason.ITEM_NOT_NOVEL: Words(
        "alone the item is too near to what the checkpoint knows, or too far from it; this costs you nothing",
        "Submit it with another item that belongs to it, as a pair.",
    ),
    Reason.PAIR_COPY: Words(
        "both items are near copies of those of a pair that is in the ledger; this costs you nothing",
        "Nothing, if you changed somebody's pair. If yours was there first, ask its sender or the operator to take the "
        "copy down, and submit again.",
    ),
    Reason.ITEM_UNDECODABLE: Words("an item cannot be decoded", "Open the file, save it again and submit it anew."),
    Reason.ITEM_UNINFORMATIVE: Words(
        "an item says too little: such as a blank picture, silence, noise, or an empty phrase",
        "Send an item that shows, says or names something in particular.",
    ),
    Reason.PAIR_TOO_FAR: Words(
        "to this checkpoint the two do not look as if they belong together",
        f"If they do, the encoders do not know such things yet: {_AGAIN}. Else correct the caption.",
    ),
    Reason.PAIR_NOT_MUTUAL: Words(
        "to this checkpoint each of the two fits many other items just as well",
        f"Name what is particular about it; or {_AGAIN}.",
    ),
    Reason.PAIR_UNLIKELY: Words(
        "the checkpoint finds it unlikely that the two belong together",
        f"Check that the two are of the same thing. If they are, {_AGAIN}.",
    ),
    Reason.PAIR_UNDECIDED: Words(
        "the checkpoint cannot tell whether the two belong together; this costs you nothing",
        "Look whether the two are of the same thing. If they are, nothing now: the validator judges the pair again "
        "under its next checkpoints (curiosity receipts --refresh).",
    ),
    Reason.PAIR_UNFAMILIAR: Words(
        "the pair is unlike everything that the checkpoint can judge; this costs you nothing",
        "Nothing now: the validator judges it again under its next checkpoints (curiosity receipts --refresh).",
    ),
    Reason.GREY_ZONE: Words(
        "too near to a threshold to decide; this costs you nothing", f"Nothing now; {_AGAIN}."
    ),
}  # fmt: skip

_NOT_NOVEL_ITEM: Final = {
    TOO_NEAR: "alone the item adds nothing new to what the checkpoint knows; this costs you nothing",
    OUTSIDE: "alone the item is too unlike what the checkpoint knows; this costs you nothing",
}
"""Of an item alone, by the ``detail`` of its opening."""
_HOLDS: Final = {
    Reason.CONTENT_DUPLICATE: "{} holds exactly these two items already",
    Reason.ITEM_COPY: "{} holds this item or a near copy of it; this costs you nothing",
    Reason.PAIR_COPY: "both items are near copies of those of {}; this costs you nothing",
}
"""Of what came before, where the ``detail`` of an opening names it."""
OF_THIS_RUN: Final = "an earlier one of this run"
_HOLDER: Final = re.compile(rf"(entry [0-9]{{1,15}}|{OF_THIS_RUN}) holds ")

_SAME_ITEM: Final = Words("this item is in the ledger already", "Nothing: an item counts once, whoever sends it.")

_UNDECIDABLE: Final = (
    Reason.PAIR_TOO_FAR,
    Reason.PAIR_NOT_MUTUAL,
    Reason.PAIR_UNLIKELY,
    Reason.PAIR_UNDECIDED,
    Reason.PAIR_UNFAMILIAR,
    Reason.GREY_ZONE,
)
"""What a better checkpoint may decide otherwise: that the encoders know too little is not the contributor's doing."""


_NOBODYS: Final = {
    *_UNDECIDABLE,
    Reason.CONTENT_DUPLICATE,
    Reason.PAIR_COPY,
    Reason.ITEM_COPY,
    Reason.ITEM_NOT_NOVEL,
}


def explain(
    verdict: Verdict,
    opening: Opening | None = None,
    names: tuple[str, str] = ("", ""),
    weighing: Weighing | None = None,
) -> Words:
    """Return a verdict in words.

    ``opening`` adds which rule an item broke, ``names`` (a, b) which file it was, ``weighing`` the numbers that decided
    and their thresholds.
    """
    words = _REASONS[verdict.reason]
    if verdict.reason is Reason.CONTENT_DUPLICATE and verdict.items is not None:
        holder = _HOLDER.match(opening.detail) if opening is not None else None
        return Words(f"{holder[1]} holds this item already", _SAME_ITEM.remedy) if holder else _SAME_ITEM
    if opening is not None and opening.detail:
        words = Words(_say_detail(verdict.reason, opening.detail) or words.what, words.remedy)
    if weighing is None:
        return words
    what = words.what
    if blamed := {"a": names[0], "b": names[1]}.get(weighing.problem):
        if verdict.reason is Reason.ITEM_UNINFORMATIVE:
            what = f"{blamed} says too little: it is near to a blank item"
        elif verdict.reason is Reason.PAIR_UNFAMILIAR:
            what = f"{blamed} is unlike everything that the checkpoint can judge; this costs you nothing"
    said = _say_numbers(verdict.reason, weighing)
    return Words(f"{what} ({said})" if said else what, words.remedy)


def _say_detail(reason: Reason, detail: str) -> str:
    """Return what happened as the ``detail`` of an opening has it, empty where it adds nothing."""
    if reason is Reason.ITEM_UNDECODABLE:
        return f"an item cannot be decoded: {detail}"
    if reason is Reason.ITEM_NOT_NOVEL:
        return _NOT_NOVEL_ITEM.get(detail, "")
    named = _HOLDER.match(detail)
    return _HOLDS[reason].format(named[1]) if named and reason in _HOLDS else ""


_DECIDING: Final = {
    Reason.PAIR_TOO_FAR: ("distance", "distance_micro"),
    Reason.PAIR_NOT_MUTUAL: ("score", "csls_micro"),
    Reason.PAIR_UNFAMILIAR: ("familiarity", "familiarity_micro"),
}


def _say_numbers(reason: Reason, weighing: Weighing) -> str:
    """Return the number that decided, and what it was compared with."""
    if reason is Reason.PAIR_UNFAMILIAR and any(
        one.name == f"change_{weighing.problem}_micro" for one in weighing.numbers
    ):
        likeness = say_compared(weighing.of(f"null_{weighing.problem}_micro"))
        return f"to its encoder it is like a blank item, though it is none: likeness {likeness}"
    if reason in _DECIDING:
        label, name = _DECIDING[reason]
        return f"{label} {say_compared(weighing.of(name))}"
    if reason is Reason.ITEM_UNINFORMATIVE:
        of = [one for one in weighing.numbers if one.item and one.item == weighing.problem]
        return f"likeness {say_compared(of[0])}" if of else ""
    if reason is Reason.GREY_ZONE:
        near = [one for one in weighing.numbers if one.has_bound and abs(one.slack_micro) < weighing.margin_micro]
        return "; ".join(f"{one.name.removesuffix('_micro').replace('_', ' ')} {say_compared(one)}" for one in near)
    if weighing.belief_micro is not None:
        return f"probability {say_compared(weighing.of('belief_micro'))}"
    return ""


def say_compared(one: Compared) -> str:
    """Return a number and its bounds in words: a belief in percent, what else there is as it is."""

    def say(micro: int) -> str:
        return f"{micro / 1e4:.0f} %" if one.name == "belief_micro" else f"{micro / 1e6:.3f}"

    said = [say(one.value_micro)]
    if one.name != "belief_micro":
        said += [f"at least {say(one.least_micro)}"] if one.least_micro is not None else []
        said += [f"at most {say(one.most_micro)}"] if one.most_micro is not None else []
        return ", ".join(said)
    if one.least_micro is not None:
        said.append(f"accepted from {say(one.least_micro)}" if one.least_micro <= MICRO else "none is accepted yet")
    if one.reject_below_micro:
        said.append(f"rejected below {say(one.reject_below_micro)}")
    return ", ".join(said)


def explain_code(code: str) -> Words:
    """Return a reason in words by its code alone; no words for a code that is not a verdict's."""
    try:
        return _REASONS[Reason(code)]
    except ValueError:
        return Words("")


def fault_of(verdict: Verdict) -> str:
    """Return whose fault it is that a pair was not accepted, empty if nobody's or not known.

    A pair that the encoders cannot place may be wrong, or be new to them: the contributor is not blamed for that.
    """
    if verdict.is_accepted or verdict.reason in _NOBODYS:
        return ""
    return (verdict.fault or Fault.CONTRIBUTOR).value


def explain_pay(
    verdict: Verdict, detail: str = "", names: tuple[str, str] = ("", ""), *, generated: bool = False
) -> str:
    """Return whether a pair can be paid and why not, as far as its verdict tells, and the ``detail`` of its opening.

    ``names`` (a, b) are of the items' files. ``generated``: the pair is declared as generated.
    """
    if verdict.outcome is Outcome.GREY:
        return "not paid: undecided"
    if verdict.outcome is Outcome.HELD:
        return "not paid yet: held until a better checkpoint can tell"
    if not verdict.is_accepted:
        return "not paid: rejected"
    held = f"from the pool for items: {number_of(verdict.items, 'new item')}" if verdict.items else ""
    if not verdict.novel or not verdict.curiosity_micro:
        if held:
            return f"may be paid when its epoch closes, {held}"
        if detail in NOT_NOVEL:  # nothing else that a validator may write there
            return f"not paid: {detail}"
        return "not paid: near to what the network knows already"
    sure = explain_belief(verdict.belief)
    more = f"; and {held}" if held else ""
    pool = "; declared as generated: such pairs share a part of the epoch" if generated else ""
    said = more + explain_crowd(verdict.crowd, names) + sure + pool
    return "may be paid when its epoch closes: it fills a gap" + said


def explain_belief(belief: int | None) -> str:
    """Return what a low belief leaves of a pair's pay, after a semicolon; empty where it leaves all."""
    if belief is None or belief >= USUAL_BELIEF:
        return ""
    left = "a quarter" if belief == USUAL_BELIEF - 1 else "nothing"
    asked = 100 * USUAL_BELIEF // BELIEF_STEPS
    return (
        f"; its probability is below {asked} %: a network that pays by belief as new ones do leaves {left} of its pay"
    )


def explain_crowd(crowd: CrowdCounts | None, names: tuple[str, str] = ("", "")) -> str:
    """Return what earlier pairs with the same items leave of a pair's pay, after a semicolon; empty without any."""
    if crowd is None or not crowd.largest:
        return ""
    if crowd.largest == MAX_CROWD:
        why = "too many pairs share its items, or a copy was paid before"
        return f"; by version 2 or later of the rule it weighs nothing: {why}"
    held = "both items" if crowd.near == crowd.largest else names[crowd.b > crowd.a] or "an item of it"
    pairs = number_of(crowd.largest, "earlier pair")
    weight = (1 + crowd.largest) ** RewardParameters().crowd_power
    return f"; {pairs} with {held}: by version 2 or later of the rule it weighs 1/{weight} of a pair of new items"
