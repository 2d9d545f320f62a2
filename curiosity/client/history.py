"""What was submitted from this machine, found by file name: receipts joined with the journals that know the files."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Any

from curiosity.client.amounts import show_tokens
from curiosity.client.journal import SubmissionJournal
from curiosity.client.manifests import Manifests
from curiosity.client.outcome import REFUSED, TAKEN_DOWN, PairOutcome, decided, recalled, short
from curiosity.client.receipts import BROKEN_SUFFIX, SavedReceipt, read_saved
from curiosity.protocol.entry import PairEntry, TakedownEntry, parse_entry
from curiosity.protocol.epoch_payout import EpochPayout
from curiosity.protocol.errors import CuriosityError
from curiosity.protocol.messages import TakedownReport
from curiosity.protocol.payouts import Replay
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import checksum
from curiosity.protocol.vesting import WHOLE_WEIGHT, weigh_belief
from curiosity.protocol.wire import parse
from curiosity.sources.own.item import load_item


@dataclass(frozen=True)
class Record:
    """One pair that was sent: what came of it, and its receipt's file.

    ``digests`` are SHA-256 of the two items as they were sent, ``contributor`` is the address that signed; a refusal
    has neither.
    """

    outcome: PairOutcome
    receipt: Path | None = None
    digests: tuple[bytes, ...] = ()
    contributor: bytes = b""
    issued_at: int = 0  # Unix seconds, when the validator signed the receipt; 0 where it does not say

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        who = checksum(self.contributor) if self.contributor else None
        return self.outcome.to_json() | {
            "contributor": who,
            "issued_at": self.issued_at or None,
            "receipt": str(self.receipt) if self.receipt is not None else None,
        }


def read_history(home: Path) -> tuple[list[Record], list[CuriosityError]]:
    """Return every pair that was sent, by entry, then the refusals; and what could not be read."""
    names, refused = _read_journals(home)
    gone = _read_takedowns(home)
    manifests = Manifests(home)
    records: list[Record] = []
    problems: list[CuriosityError] = []
    for path in sorted((home / "receipts").glob("*.json")):
        if path.name.endswith(BROKEN_SUFFIX):
            continue
        try:
            records.append(_record(path, read_saved(path), names, gone, manifests))
        except CuriosityError as error:
            problems.append(error)
    records.sort(key=lambda one: one.outcome.entry or 0)
    return [*records, *refused], problems


def _read_journals(home: Path) -> tuple[dict[str, tuple[str, str]], list[Record]]:
    """Return by pair digest (hex) where its items came from; and the refusals that no decision came after."""
    names: dict[str, tuple[str, str]] = {}
    refused: list[Record] = []
    for journal in SubmissionJournal.read_all(home):
        for row, result in journal.results.items():
            if result.outcome == REFUSED:
                plan = journal.plans.get(row)
                who = (plan.a, plan.b) if plan is not None else ("", "")
                refused.append(Record(recalled(who, result)))
        names |= journal.sources
    return names, refused


def _read_takedowns(home: Path) -> frozenset[bytes]:
    """Return the digests of the pairs that were taken down from this machine, as the receipts kept of it say."""
    gone = set()
    for path in (home / "takedowns").glob("*.json"):
        try:
            report = parse(TakedownReport, path.read_bytes())
            entries = [parse_entry(receipt.entry.encode()) for receipt in report.receipts]
        except (OSError, CuriosityError):
            continue  # it says nothing; the receipt of the pair is shown as it is
        gone |= {entry.pair for entry in entries if isinstance(entry, TakedownEntry)}
    return frozenset(gone)


def _record(
    path: Path,
    saved: SavedReceipt,
    names: Mapping[str, tuple[str, str]],
    gone: Collection[bytes],
    manifests: Manifests,
) -> Record:
    submission = saved.envelope.submission
    pair = saved.pair
    decision = saved.decision
    calibration = manifests.kept(decision.verdict.checkpoint)
    outcome = decided(names.get(pair.hex(), ("", "")), decision, pair, decision.receipt.index, calibration)
    if pair in gone:
        outcome = replace(outcome, pay=TAKEN_DOWN, is_taken_down=True, remedy="")
    return Record(outcome, path, (submission.a.sha256, submission.b.sha256), submission.contributor, _issued_at(saved))


def _issued_at(saved: SavedReceipt) -> int:
    """Return the time in a receipt's note, not verified here: `curiosity verify` does that."""
    lines = saved.decision.receipt.note.split("\n\n", 1)[-1].splitlines()
    return int(lines[5]) if len(lines) > 5 and lines[5].isascii() and lines[5].isdecimal() else 0


def find(records: Sequence[Record], name: str) -> list[Record]:
    """Return the pairs of a file: by its name or path, in any case, a pattern such as ``*.jpg``, else by its content.

    A receipt that was kept before journals held names, or whose file was renamed since, is found by what was sent.
    """
    path = Path(name)
    for is_meant in (_is_spelled, _is_spelled_in_any_case, _is_like):  # brackets may be a name's own, not a pattern's
        found = [one for one in records if any(is_meant(kept, name) for kept in (one.outcome.a, one.outcome.b) if kept)]
        if found:
            return found
    if not path.is_file():
        return []
    digest = sha256(load_item(path).read()).digest()
    return [one for one in records if digest in one.digests]


def _is_spelled(kept: str, name: str) -> bool:
    if name in (kept, short(kept)):
        return True
    return Path(name).is_absolute() and Path(kept).absolute() == Path(name)


def _is_spelled_in_any_case(kept: str, name: str) -> bool:
    return short(kept).casefold() == name.casefold()


def _is_like(kept: str, name: str) -> bool:
    return fnmatchcase(short(kept), name) or fnmatchcase(short(kept).casefold(), name.casefold())


def pay_by_entry(leaves: Iterable[bytes], parameters: RewardParameters) -> dict[int, str]:
    """Return whether each accepted pair in a ledger is paid, and why not, in words, by entry.

    Raises:
        ProofError: As `curiosity.protocol.payouts.derive` does.
    """
    replay = Replay(parameters, check_entries=False)
    told: dict[int, str] = {}
    accepted: dict[int, bool] = {}  # of the open epoch: whether it is novel, or holds new items
    gone: set[int] = set()
    vesting = _Vesting()
    for index, leaf in enumerate(leaves):
        entry = parse_entry(leaf)
        if isinstance(entry, PairEntry) and entry.verdict.is_accepted:
            accepted[index] = entry.verdict.curiosity_micro > 0 or bool(entry.verdict.items)
            if not (entry.verdict.items or weigh_belief(WHOLE_WEIGHT, entry.verdict.belief, replay.rule)):
                vesting.unsure.add(index)
        elif isinstance(entry, TakedownEntry):
            gone.add(entry.index)
            vesting.gone.add(entry.index)
        payout = replay.take(entry)
        if payout is not None:
            told |= _tell_pay(payout, accepted, gone) if payout.rule is None else vesting.take(payout, accepted)
            accepted, gone = {}, set()
    open_ = replay.open_epoch()
    return told | (_tell_pay(open_, accepted, gone) if open_.rule is None else vesting.take(open_, accepted))


class _Vesting:
    """What became of pairs under version 2 of the rule of pay, epoch by epoch."""

    def __init__(self) -> None:
        self.gone: set[int] = set()
        self.unsure: set[int] = set()  # whose belief leaves them nothing
        self._epochs: dict[int, int] = {}  # of each novel pair
        self._awarded: set[int] = set()
        self._paid_wei: Counter[int] = Counter()

    def take(self, payout: EpochPayout, accepted: Mapping[int, bool]) -> dict[int, str]:
        """Take in the next epoch; return what there is to say by now of all pairs."""
        told = {}
        for index, novel in accepted.items():
            if novel:
                self._epochs[index] = payout.epoch
            else:
                told[index] = f"epoch {payout.epoch}: not paid: near to what the network knows already"
        is_open = payout.entry is None
        if not is_open:
            self._awarded.update(one.index for one in payout.awarded)
            for pair in payout.paid:
                self._paid_wei[pair.index] += pair.amount_wei or 0
        unvested = {one.index: one.unvested_wei for one in payout.unvested if one.index in self._awarded}
        if is_open:
            for pair in payout.paid:  # what would vest if it closed now has not
                unvested[pair.index] = unvested.get(pair.index, 0) + (pair.amount_wei or 0)
        for index, epoch in self._epochs.items():
            told[index] = f"epoch {epoch}: {self._word(index, epoch, unvested.get(index, 0), payout.epoch)}"
        return told

    def _word(self, index: int, epoch: int, unvested_wei: int, now: int) -> str:
        paid_wei = self._paid_wei[index]
        if index not in self._awarded:
            if index in self.gone:
                return "not paid: taken down before it was drawn"
            if index in self.unsure:
                return "not paid: the judge is too unsure that the two belong together"
            return "novel: drawn at the close of the next epoch" if epoch >= now - 1 else "not paid: not drawn"
        paid = f"paid {show_tokens(paid_wei)}" if paid_wei else "awarded"
        if unvested_wei:
            return f"{paid}, {show_tokens(unvested_wei)} to vest"
        if index in self.gone:
            return f"{paid}, taken down since"
        return paid if paid_wei else "not paid: stopped by an audit"


def pair_shares(payout: EpochPayout) -> dict[int, int]:
    """Return by entry what each paid pair adds to what its contributor earns in an epoch, in wei, rounded down."""
    scores: Counter[bytes] = Counter()
    for pair in payout.paid:
        scores[pair.contributor] += pair.curiosity_micro
    return {
        pair.index: payout.amounts_wei[pair.contributor] * pair.curiosity_micro // scores[pair.contributor]
        for pair in payout.paid
    }


def with_pay(records: Iterable[Record], told: Mapping[int, str]) -> list[Record]:
    """Return the records with what `pay_by_entry` says of their pairs."""
    return [
        replace(one, outcome=replace(one.outcome, pay=told.get(one.outcome.entry, one.outcome.pay)))
        if one.outcome.entry is not None
        else one
        for one in records
    ]


def _tell_pay(payout: EpochPayout, accepted: Mapping[int, bool], gone: Collection[int]) -> dict[int, str]:
    paid = {pair.index for pair in payout.paid}
    is_open = payout.entry is None
    shares = pair_shares(payout)
    told = {}
    for index, novel in accepted.items():
        if index in paid:
            amount = show_tokens(shares[index])
            word = f"would be paid {amount} if it closed now" if is_open else f"paid {amount}"
            word += ", taken down since" if index in gone else ""
        elif index in gone:
            word = "not paid: taken down before it closed"
        elif novel:
            word = "not paid: others filled wider gaps"
        else:
            word = "not paid: near to what the network knows already"
        told[index] = f"epoch {payout.epoch}: {word}"
    return told
