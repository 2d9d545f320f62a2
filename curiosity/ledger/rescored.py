"""What came of repeating a verdict: recorded numbers against the outcome, and against what this machine measures."""

from collections.abc import Sequence
from dataclasses import dataclass

from curiosity.protocol.calibration import Calibration
from curiosity.protocol.entry import PairEntry
from curiosity.protocol.judgement import Embedded, Numbers, Opinion, decide
from curiosity.protocol.scoring import MICRO
from curiosity.protocol.single import ItemRule
from curiosity.protocol.verdict import ItemMeasurement, Measurement, Reason, Weighed, told_belief
from curiosity.serving.embedder import Embedder

_NUMBERS = (
    ("8", "raw_distance_micro"),
    ("7", "loss_a_micro"),
    ("7", "loss_b_micro"),
    ("9", "null_a_micro"),
    ("9", "null_b_micro"),
    ("9", "distance_micro"),
    ("9", "csls_micro"),
    ("9", "familiarity_micro"),
    ("9", "domains_micro"),
    ("9", "change_a_micro"),
    ("9", "change_b_micro"),
)
"""Steps of docs/protocol.md with the numbers of theirs that are compared within the margin."""
AGREES, DIFFERS, UNKNOWN = "agrees", "differs", "cannot tell"


@dataclass(frozen=True)
class Rescored:
    """What came of repeating one verdict.

    ``result`` is "agrees", "differs" or "cannot tell"; ``step`` the step of docs/protocol.md that differs or that could
    not be repeated, and ``why``. ``largest_micro``: how far the number that is farthest off is from the recorded one.
    ``is_equal``: the embeddings are the recorded ones bit for bit.
    """

    index: int
    pair: bytes
    outcome: str
    result: str
    step: str = ""
    why: str = ""
    largest_micro: int = 0
    is_equal: bool = False


def why_unmeasured(entry: PairEntry, detail: str) -> str:
    """Return why an opening without numbers cannot be judged again; ``detail`` is what it says of the verdict."""
    if entry.verdict.reason is not Reason.PAIR_COPY:
        return f"the pair was refused before it was embedded ({_reason(entry)})"
    named = detail.removesuffix(" holds near copies of both")
    is_named = named.removeprefix("entry ").isdecimal()
    original = named if is_named else "an earlier entry"
    return f"the pair was refused as a near copy of {original}; this command does not repeat that comparison"


def _reason(entry: PairEntry) -> str:
    return entry.verdict.reason.value


def contradiction(entry: PairEntry, recorded: Measurement, embedder: Embedder) -> str:
    """Return how the recorded numbers contradict the recorded outcome; empty if they give it. Exact integers."""
    numbers, calibration = Numbers.of(recorded), embedder.calibration
    beliefs = calibration.beliefs.get(entry.modalities)
    if (beliefs is not None) != isinstance(recorded, Weighed):
        return "the opening has a belief and the checkpoint publishes none, or the reverse"
    if beliefs is not None and isinstance(recorded, Weighed):
        domains = recorded.domains_micro or ()
        named = None if recorded.domains_micro is None else len(domains)
        if named != (1 + len(beliefs.others) if beliefs.others else None):
            return f"the opening names {len(domains)} domains, the checkpoint has {1 + len(beliefs.others)}"
        nearest = beliefs.nearest(domains)[1] if domains else recorded.familiarity_micro
        if nearest != recorded.familiarity_micro:
            return f"familiarity_micro is {recorded.familiarity_micro}, the nearest domain's {nearest}"
        belief = beliefs.at(recorded.csls_micro, recorded.familiarity_micro, domains)
        if belief != recorded.belief_micro:
            return f"belief_micro is {recorded.belief_micro}, the checkpoint's curve gives {belief}"
        changes = zip(entry.modalities.split("-"), (recorded.change_a_micro, recorded.change_b_micro), strict=True)
        for item, (modality, change) in zip("ab", changes, strict=True):
            if wrong := _change_contradiction(f"change_{item}_micro", modality, change, calibration):
                return wrong
    outcome, reason = decide(numbers, entry.modalities, calibration)
    if (outcome, reason) != (entry.verdict.outcome, entry.verdict.reason):
        return (
            f"the recorded numbers give {outcome.value} ({reason.value}), "
            f"the entry says {entry.verdict.outcome.value} ({_reason(entry)})"
        )
    return ""


def _change_contradiction(name: str, modality: str, change: int | None, calibration: Calibration) -> str:
    """Return that a change is recorded that the checkpoint does not ask for, or none that it asks for."""
    if (change is not None) == (modality in calibration.plain_max_micro):
        return ""
    said = "none" if change is None else change
    return f"{name} is {said}, the checkpoint asks for {'none' if change is not None else 'one'} of {modality}"


def belief_contradiction(entry: PairEntry, recorded: Measurement, *, is_told: bool) -> str:
    """Return how the belief that an entry tells differs from the recorded one; empty if it does not.

    Programs of before tell none. ``is_told``: the entry is of a ledger with a rule that pays by belief.
    """
    verdict = entry.verdict
    expected = told_belief(recorded) if verdict.novel else None
    if verdict.belief == expected or (verdict.belief is None and entry.v < 6 and not is_told):
        return ""
    said = "no belief" if verdict.belief is None else f"a belief of {verdict.belief}"
    return f"the entry tells {said}, the recorded numbers give {'none' if expected is None else expected}"


def compare(known: tuple[int, bytes, str], recorded: Measurement, opinion: Opinion, margin_micro: int) -> Rescored:
    """Return what came of measuring a pair again; ``known`` is index, digest and outcome."""
    found = opinion.measurement
    is_equal = (recorded.embedding_a, recorded.embedding_b) == (found.embedding_a, found.embedding_b)
    off = {
        name: _apart(getattr(recorded, name), getattr(found, name)) for _, name in _NUMBERS if hasattr(recorded, name)
    }
    largest = max(off.values())
    if (recorded.pull_a_micro, recorded.pull_b_micro) != (found.pull_a_micro, found.pull_b_micro):
        why = f"pull_a_micro is {recorded.pull_a_micro}, the checkpoint's median losses give {found.pull_a_micro}"
        return Rescored(*known, DIFFERS, "8", why, largest, is_equal)
    for step, name in _NUMBERS:
        if off.get(name, 0) > margin_micro:
            why = (
                f"{name} is {getattr(recorded, name)}, measured here {getattr(found, name)}; "
                f"{margin_micro} may lie between"
            )
            return Rescored(*known, DIFFERS, step, why, largest, is_equal)
    return Rescored(*known, AGREES, largest_micro=largest, is_equal=is_equal)


def _apart(recorded: int | tuple[int, ...] | None, found: int | tuple[int, ...] | None) -> int:
    """Return how far two numbers are apart, or the two of as many that are farthest."""
    one, other = (value if isinstance(value, tuple) else (value or 0,) for value in (recorded, found))
    if len(one) != len(other):
        return MICRO
    return max((abs(a - b) for a, b in zip(one, other, strict=True)), default=0)


def items_contradiction(entry: PairEntry, embedded: Sequence[Embedded], rule: ItemRule) -> str:
    """Return that more of a pair's items are said to be new than the checkpoint can take; empty if not so.

    Fewer may be: an item that an earlier entry holds is not new, which depends on the history.
    """
    said = entry.verdict.items or 0
    names = entry.modalities.split("-") if said else ()
    can = sum(rule.can_be_new(name, rule.measure(name, one)) for name, one in zip(names, embedded, strict=False))
    return f"the entry says that {said} of the items are new, measured here {can} can be" if said > can else ""


def item_contradiction(entry: PairEntry, recorded: ItemMeasurement, rule: ItemRule) -> str:
    """Return how the recorded numbers of a single item contradict the outcome; empty if they give it.

    An item that passes may be refused as a copy, which depends on the history.
    """
    if wrong := _change_contradiction("change_micro", entry.modalities, recorded.change_micro, rule.calibration):
        return wrong
    outcome, reason = rule.decide(entry.modalities, recorded)
    said = entry.verdict.outcome, entry.verdict.reason
    if said == (outcome, reason) or (reason is Reason.ITEM_NEW and entry.verdict.reason is Reason.ITEM_COPY):
        return ""
    return (
        f"the recorded numbers give {outcome.value} ({reason.value}), "
        f"the entry says {entry.verdict.outcome.value} ({_reason(entry)})"
    )


def compare_item(
    known: tuple[int, bytes, str], recorded: ItemMeasurement, found: ItemMeasurement, margin_micro: int
) -> Rescored:
    """Return what came of measuring a single item again; ``known`` is index, digest and outcome."""
    is_equal = recorded.embedding == found.embedding
    names = ("null_slack_micro", "hub_slack_micro", "nearest_micro", "change_micro")
    off = {name: _apart(getattr(recorded, name), getattr(found, name)) for name in names}
    largest = max(off.values())
    for name in names:
        if off[name] > margin_micro:
            why = (
                f"{name} is {getattr(recorded, name)}, measured here {getattr(found, name)}; "
                f"{margin_micro} may lie between"
            )
            return Rescored(*known, DIFFERS, "9", why, largest, is_equal)
    return Rescored(*known, AGREES, largest_micro=largest, is_equal=is_equal)
