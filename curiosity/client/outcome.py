"""What came of one pair, file by file and in words: what `curiosity submit` and `curiosity receipts` show."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from curiosity.client.explain import explain, explain_code, explain_pay, fault_of
from curiosity.client.journal import Result
from curiosity.protocol.entry import PairEntry, parse_entry
from curiosity.protocol.errors import CuriosityError, Rejected
from curiosity.protocol.messages import Decision
from curiosity.protocol.verdict import CrowdCounts, Opening, Outcome, Verdict
from curiosity.protocol.weighing import Compared, Weighing, weigh, weigh_item, without_bounds
from curiosity.sources.pairset import SourceItem, SourcePair

if TYPE_CHECKING:
    from curiosity.protocol.calibration import Calibration

ACCEPTED: Final = Outcome.ACCEPTED.value
REJECTED: Final = Outcome.REJECTED.value
HELD: Final = Outcome.HELD.value
GREY: Final = Outcome.GREY.value
REFUSED: Final = "refused"  # no decision was made, nothing is logged
UNREADABLE: Final = "unreadable"  # never sent
NOT_SENT: Final = "not sent"  # it can be read, and this network would not take it
OUTCOMES: Final = (ACCEPTED, REJECTED, HELD, GREY, REFUSED, NOT_SENT, UNREADABLE)
KEPT_OUTCOMES: Final = OUTCOMES[:5]
"""What is kept of a pair after a run."""
_OF_THE_NETWORK: Final = ("LICENSE_MISSING", "LICENSE_NOT_ALLOWED", "PAIR_NOT_TAKEN", "ITEM_ALONE", "ITEM_TOO_LARGE")
TAKEN_DOWN: Final = "taken down: what was paid, if anything, stays paid (curiosity receipts --pay tells)"
PAY_OF_KNOWN: Final = "fills a gap: curiosity receipts --pay tells whether it is paid"
_SHOWN_TEXT: Final = 60  # characters of a text that is no file of its own


@dataclass(frozen=True)
class PairOutcome:
    """One pair: where its items came from, what was decided, why, what to do, and whether it can be paid.

    ``belief_micro`` is the probability that the two belong together, where the checkpoint says one; ``numbers`` are
    what decided, beside the thresholds that the checkpoint publishes, and ``problem`` is "a" or "b" for the item that
    was the problem, "pair" where it was the two together. Empty where nothing was measured.

    ``fault`` is contributor, validator, infrastructure, or empty where nobody is to blame; ``entry`` is the index in
    the ledger, ``pair`` the digest in hex, both missing where no decision was made. ``is_known``: it was decided in an
    earlier run. ``crowd``: of a novel pair, how many earlier ones hold the same items, which its pay falls with.
    ``new_items`` of its items are new, for which the rule of pay may have a pool. A single item has no ``b``.
    """

    a: str
    b: str
    outcome: str
    code: str
    what: str
    remedy: str
    fault: str = ""
    pay: str = ""
    entry: int | None = None
    pair: str = ""
    is_known: bool = False
    is_novel: bool = False
    is_taken_down: bool = False
    belief_micro: int | None = None
    problem: str = ""
    numbers: tuple[Compared, ...] = ()
    crowd: CrowdCounts | None = None
    new_items: int = 0

    @property
    def may_be_paid(self) -> bool:
        """True for an accepted pair that fills a gap, and for what holds new items where the rule pays them."""
        return self.outcome == ACCEPTED and (self.is_novel or self.new_items > 0)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def name_of(item: SourceItem) -> str:
    """Return where an item came from: its file, or the beginning of a text that stands in a table."""
    if item.content is not None and item.modality == "text":
        text = item.content.decode(errors="replace")
        return repr(text if len(text) <= _SHOWN_TEXT else text[: _SHOWN_TEXT - 1] + "…")
    return str(item.path)


def names_of(source: SourcePair) -> tuple[str, str]:
    """Return where the two items of a pair came from, a first; of a single item the second is empty."""
    return name_of(source.a), name_of(source.b) if len(source.items) > 1 else ""


def short(name: str) -> str:
    """Return the last part of a path, for a table; a text stays as it is."""
    return name if name[:1] in "'\"" else Path(name).name


def decided(
    names: tuple[str, str],
    decision: Decision,
    pair: bytes,
    entry: int,
    calibration: "Calibration | None" = None,
) -> PairOutcome:
    """Return what came of a pair that a validator decided about; ``calibration`` is of the verdict's checkpoint."""
    told = judged(names, decision.verdict, decision.opening, _weigh(decision, calibration))
    leaf = parse_entry(decision.receipt.entry.encode())
    pay = explain_pay(
        decision.verdict,
        decision.opening.detail,
        (short(names[0]), short(names[1])),
        generated=isinstance(leaf, PairEntry) and bool(leaf.generated),
    )
    return replace(told, pay=pay, entry=entry, pair=pair.hex())


def judged(names: tuple[str, str], verdict: Verdict, opening: Opening, weighing: Weighing | None) -> PairOutcome:
    """Return what a verdict says of a pair, decided or not: no pay, no entry."""
    words = explain(verdict, opening, (short(names[0]), short(names[1])), weighing)
    return PairOutcome(
        *names,
        outcome=verdict.outcome.value,
        code=verdict.reason.value,
        what=words.what,
        remedy=words.remedy,
        fault=fault_of(verdict),
        is_novel=verdict.is_accepted and verdict.novel and verdict.curiosity_micro > 0,
        belief_micro=weighing.belief_micro if weighing else None,
        problem=weighing.problem if weighing else "",
        numbers=weighing.numbers if weighing else (),
        crowd=verdict.crowd,
        new_items=verdict.items or 0,
    )


def _weigh(decision: Decision, calibration: "Calibration | None") -> Weighing | None:
    measurement, reason = decision.opening.measurement, decision.verdict.reason
    if decision.opening.item is not None:
        return weigh_item(decision.opening.item, reason)
    if measurement is None:
        return None
    entry = parse_entry(decision.receipt.entry.encode())
    if calibration is None or not isinstance(entry, PairEntry) or entry.modalities not in calibration.pairs:
        return without_bounds(measurement, reason, decision.opening.detail)
    return weigh(measurement, reason, entry.modalities, calibration, decision.opening.detail)


def failed(names: tuple[str, str], outcome: str, error: CuriosityError) -> PairOutcome:
    """Return what came of a pair that was refused or could not be read."""
    fault = error.fault.value if isinstance(error, Rejected) else ""
    return PairOutcome(*names, outcome, error.code, error.what, error.remedy, fault)


def withheld(names: tuple[str, str], error: CuriosityError) -> PairOutcome:
    """Return what came of a pair that was never sent: it cannot be read, or this network does not take such."""
    return failed(names, NOT_SENT if error.code in _OF_THE_NETWORK else UNREADABLE, error)


def recalled(names: tuple[str, str], result: Result) -> PairOutcome:
    """Return what a journal holds of a pair that was decided in an earlier run."""
    words = explain_code(result.code)
    what, remedy = result.what or words.what, result.remedy or words.remedy
    known = result.outcome != REFUSED
    return PairOutcome(
        *names, result.outcome, result.code, what, remedy, entry=result.index, pair=result.pair, is_known=known
    )
