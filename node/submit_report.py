"""What `curiosity submit` and `curiosity receipts` show of pairs, for people."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from curiosity.client.explain import say_compared
from curiosity.client.history import Record
from curiosity.client.outcome import ACCEPTED, PairOutcome, short
from curiosity.client.preview import Preview
from curiosity.client.submission import Tally
from curiosity.client.wallet import survey_wallets
from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import CuriosityError, SourceError
from curiosity.protocol.messages import Decision
from curiosity.protocol.verdict import Reason
from curiosity.sources.pairset import SourcePair
from node.conversion_table import show_conversions
from node.screen import ProgressMeter, Screen

SHOWN: Final = 20  # pairs listed for people; --json has all
_AS_ABOVE: Final = "as above"


def show_tally(screen: Screen, tally: Tally, home: Path) -> None:
    """Print what came of a run for people: each pair that was not accepted with its files, all of a short run."""
    is_short = len(tally.pairs) <= SHOWN
    listed = [one for one in tally.pairs if is_short or one.outcome != ACCEPTED]
    if listed:
        show_outcomes(screen, "" if is_short else "not accepted", listed[:SHOWN])
    if len(listed) > SHOWN:
        screen.line(f"... and {len(listed) - SHOWN} more: curiosity receipts lists them, --json all.")
    rows: list[tuple[object, ...]] = [("accepted", tally.accepted, "")]
    rows += [("rejected", count, reason) for reason, count in tally.rejected.most_common()]
    if tally.held:
        rows.append(("held: judged again later, costs nothing", tally.held, ""))
    if tally.grey:
        rows.append(("grey: undecided, costs nothing", tally.grey, Reason.GREY_ZONE.value))
    rows += [("refused: not decided", count, code) for code, count in tally.refused.most_common()]
    codes = Counter(error.code for error in tally.unreadable)
    rows += [("not sent", count, code) for code, count in codes.most_common()]
    rows += [("not sent: not for this validator", count, pair) for pair, count in tally.not_taken.most_common()]
    if tally.known:
        rows.append(("known from an earlier run", tally.known, "--again submits them too"))
    screen.table("", ("", "pairs", "why"), rows)
    show_conversions(tally.converted, screen)
    if tally.not_taken:
        errors = {one.code: one for one in tally.pairs if one.code in ("PAIR_NOT_TAKEN", "ITEM_ALONE")}
        if "PAIR_NOT_TAKEN" in errors:
            screen.line("What is not for this validator was not sent: its checkpoint does not judge such pairs.")
        if (alone := errors.get("ITEM_ALONE")) is not None:
            screen.line(f"Items alone were not sent: its rule of pay has no pool for them. {alone.remedy}")
    fresh = [one for one in tally.pairs if one.outcome == ACCEPTED and not one.is_known]
    paid = sum(one.may_be_paid for one in fresh)
    if fresh:
        screen.line(
            f"{paid} of {number_of(len(fresh), 'accepted pair')} may be paid when the epoch closes; "
            f"{len(fresh) - paid} are near to what the network knows already."
        )
    if tally.generated:
        screen.line(f"{number_of(tally.generated, 'pair')} sent as generated: together they earn a share of the epoch.")
    where = home / "receipts"
    if not tally.receipts_verified:
        screen.line(f"Nothing new was decided. The receipts of earlier runs are in {where}.")
        return
    rate = tally.decided / tally.seconds if tally.seconds else 0.0
    screen.line(
        f"{number_of(tally.receipts_verified, 'receipt')} verified and kept in {where}; {rate:.1f} pairs per second."
    )


def show_unfinished(screen: Screen, tally: Tally, home: Path) -> None:
    """Print how far a run came that ended before its end, and how to go on."""
    show_tally(screen, tally, home)
    screen.line(
        f"The run ended before its end: {number_of(tally.decided, 'pair')} decided by now, the others were not. "
        "Run the same command again: it goes on with these and sends nothing twice. "
        "curiosity receipts lists what was decided."
    )


def show_outcomes(
    screen: Screen, title: str, pairs: Sequence[PairOutcome], more: Sequence[tuple[str, Sequence[str]]] = ()
) -> None:
    """Print pairs as a table: files, verdict, reason and remedy in words, pay; ``more`` columns by name, a cell a pair.

    Pairs with one reason stand together, and its remedy is written once.
    """
    first: dict[tuple[str, str], int] = {}
    for one in pairs:
        first.setdefault((one.code, one.remedy), len(first))
    order = sorted(range(len(pairs)), key=lambda number: first[pairs[number].code, pairs[number].remedy])
    rows: list[tuple[str, ...]] = []
    told = ""
    for number in order:
        one = pairs[number]
        remedy = _AS_ABOVE if one.remedy and one.remedy == told else one.remedy
        told = one.remedy
        cells = (_files(one), one.outcome, f"{one.code}: {one.what}", remedy, one.pay)
        rows.append((*cells, *(column[number] for _, column in more)))
    names = ("files", "verdict", "why", "what to do", "pay", *(name for name, _ in more))
    screen.table(title, names, rows)


_LABELS: Final = {
    "null_a_micro": "likeness of {a} to a blank item",
    "null_b_micro": "likeness of {b} to a blank item",
    "distance_micro": "distance of the two",
    "csls_micro": "how much nearer to each other than to others",
    "familiarity_micro": "how well the checkpoint knows such things",
    "belief_micro": "probability that they belong together",
    "null_slack_micro": "how far {a} is from a blank item, beyond the bound",
    "hub_slack_micro": "how far {a} is from fitting everything, beyond the bound",
    "nearest_micro": "distance of {a} from what the checkpoint knows",
}


def show_numbers(screen: Screen, one: PairOutcome) -> None:
    """Print the numbers of one decision and their thresholds, and what was the problem."""
    a, b = (short(name) or side for name, side in ((one.a, "a"), (one.b, "b")))
    rows = []
    for number in one.numbers:
        said, _, bounds = say_compared(number).partition(", ")
        rows.append((_LABELS[number.name].format(a=a, b=b), said, bounds, "" if number.holds else "no"))
    if rows:
        screen.table(_files(one), ("number", "measured", "accepted if", "holds"), rows)
    if (whose := {"a": a, "b": b}.get(one.problem)) is not None:
        screen.line(f"The problem was {whose}.")


def _files(one: PairOutcome) -> str:
    return " + ".join(short(name) for name in (one.a, one.b) if name)


def show_preview(screen: Screen, found: Preview, checked: str) -> None:
    """Print what a submission would send; ``checked`` says what was compared with the network."""
    counts = [(pair, count) for pair, count in sorted(found.pairs.items())]
    if counts:
        screen.table("would be sent", ("modalities", _noun(found.pairs) + "s"), counts)
    for row in found.rows[:SHOWN]:
        halves = " + ".join(_describe(row[side]) for side in ("a", "b") if side in row)
        screen.line(f"{row['id']} ({row['license']}): {halves}")
    if found.pairs.total() > SHOWN:
        screen.line(f"... and {found.pairs.total() - SHOWN} more; --json lists them.")
    show_conversions(found.converted, screen)
    show_unreadable(screen, found.unreadable)
    if found.generated:
        screen.line(f"{number_of(found.generated, _noun(found.pairs))} would be sent as generated.")
    screen.line(checked)
    screen.line(
        f"{number_of(found.pairs.total(), _noun(found.pairs))} of {number_of(found.items, 'item')}, "
        f"{number_of(found.item_bytes, 'byte')}. "
        "Nothing was sent."
    )


def _noun(kinds: Iterable[str]) -> str:
    return "single item" if (names := [*kinds]) and not any("-" in name for name in names) else "pair"


def _describe(half: dict[str, Any]) -> str:
    said = f" {half['text'][:40]!r}" if "text" in half else f", {half['bytes']} bytes"
    return f"{half['modality']}{said}"


def show_unreadable(screen: Screen, errors: Sequence[SourceError]) -> None:
    """Print why rows could not be read, each remedy once."""
    told = ""
    for error in errors[:10]:
        screen.line(f"{error.code}: {error.what}." + ("" if error.remedy == told else f" {error.remedy}"))
        told = error.remedy
    if len(errors) > 10:
        screen.line(f"... and {len(errors) - 10} more that could not be read.")


def record_columns(home: Path, records: Sequence[Record]) -> list[tuple[str, list[str]]]:
    """Return the columns that `show_outcomes` adds for what is kept of earlier runs: wallet, entry and day."""
    names = {wallet.address: wallet.name for wallet in survey_wallets(home)[0]}
    return [
        ("wallet", [names.get(one.contributor, one.contributor.hex()[:8]) for one in records]),
        ("entry", ["" if one.outcome.entry is None else str(one.outcome.entry) for one in records]),
        ("day", [_day(one.issued_at) for one in records]),
    ]


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat() if seconds else ""


class SubmissionWatch:
    """Shows how a run goes: accepted, the rest by reason, pairs per second."""

    def __init__(self, meter: ProgressMeter) -> None:
        self._meter = meter
        self._codes: Counter[str] = Counter()
        self._read = 0
        self._started = time.monotonic()

    def count(self, rows: Iterable[SourcePair | SourceError]) -> Iterator[SourcePair | SourceError]:
        """Yield the same rows and show how many were read, also while those of an earlier run are passed over."""
        for row in rows:
            self._read += 1
            self._show(0)
            yield row

    def __call__(self, _source: SourcePair, outcome: Decision | CuriosityError) -> None:
        """Count the outcome of a row and show it."""
        code = outcome.code if isinstance(outcome, CuriosityError) else outcome.verdict.reason.value
        self._codes["accepted" if code == Reason.BELONGS_TOGETHER else code] += 1
        self._show(1)

    def _show(self, by: int) -> None:
        counts = ", ".join(f"{count} {name}" for name, count in self._codes.most_common())
        rate = self._codes.total() / max(time.monotonic() - self._started, 1e-3)
        self._meter.advance(
            by, f"of {self._read} read; {counts}; {rate:.1f} pairs/s" if counts else f"{self._read} read"
        )
