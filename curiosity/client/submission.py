"""Submitting many pairs: sign, journal, send, check each receipt; nothing twice and nothing lost after a break."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curiosity.client.client import ValidatorClient
from curiosity.client.conversions import Conversions
from curiosity.client.journal import Result, SubmissionJournal, SubmissionPlan, row_key
from curiosity.client.manifests import Manifests
from curiosity.client.outcome import (
    GREY,
    HELD,
    PAY_OF_KNOWN,
    REFUSED,
    PairOutcome,
    decided,
    failed,
    names_of,
    recalled,
    withheld,
)
from curiosity.client.receipts import read_saved, receipt_path, save_receipt
from curiosity.client.taken import check_taken, stated_license
from curiosity.protocol.counts import number_of
from curiosity.protocol.decision import check_decision
from curiosity.protocol.errors import CuriosityError, ProofError, Rejected, SourceError
from curiosity.protocol.messages import Decision, Network
from curiosity.protocol.pair import Item, SignedPair, sign_pair
from curiosity.sources.own.item import check_item
from curiosity.sources.pairset import SourcePair

CLIENT = "curiosity-node/0.1"
_CHUNK = 128  # rows planned with one sync
_CHUNK_BYTES = 64 << 20  # of items held at once
_EXPIRED = ("SIGNATURE_EXPIRED",)


@dataclass(frozen=True)
class Contributor:
    """Who submits: an unlocked key and where to keep journal and receipts."""

    private_key: bytes = field(repr=False)
    address: bytes
    home: Path


@dataclass(frozen=True)
class Rules:
    """How to submit. ``license`` is for rows whose source states none; ``again`` sends rows that have a result too.

    ``generated`` declares of every row that a program generated an item; else what its source and its files say counts.
    """

    license: str = ""
    concurrency: int = 16
    lifetime_s: int = 12 * 3600
    again: bool = False
    generated: bool = False
    receipt_vkey: str = ""  # pinned; empty trusts what the network shows
    log_vkey: str = ""
    origin: str = ""


@dataclass
class Tally:
    """What came of a run."""

    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)  # by reason, decided and logged
    held: int = 0  # logged, and judged again under the next checkpoints
    grey: int = 0  # undecided and logged
    refused: Counter[str] = field(default_factory=Counter)  # by code, no decision was made
    not_taken: Counter[str] = field(default_factory=Counter)  # by modality pair: this validator does not judge it
    unreadable: list[SourceError] = field(default_factory=list)
    known: int = 0  # rows that have their decision already, from an earlier run or an earlier row
    converted: Conversions = field(default_factory=Conversions)  # of the rows that were sent
    generated: int = 0  # rows that were sent as generated
    pairs: list[PairOutcome] = field(default_factory=list)  # what came of each, also of those of earlier runs
    replayed: int = 0  # decisions that had been made before and came back
    receipts_verified: int = 0
    seconds: float = 0.0

    @property
    def decided(self) -> int:
        """Pairs with a receipt."""
        return self.accepted + self.rejected.total() + self.held + self.grey

    def to_json(self) -> dict[str, Any]:
        """Return the tally as plain JSON values."""
        return {
            "accepted": self.accepted,
            "rejected": dict(sorted(self.rejected.items())),
            "held": self.held,
            "grey": self.grey,
            "refused": dict(sorted(self.refused.items())),
            "not_taken": dict(sorted(self.not_taken.items())),
            "unreadable": [error.to_json() for error in self.unreadable],
            "known": self.known,
            "converted": self.converted.listed,
            "generated": self.generated,
            "replayed": self.replayed,
            "receipts_verified": self.receipts_verified,
            "seconds": round(self.seconds, 2),
            "pairs_per_second": round(self.decided / self.seconds, 1) if self.seconds else 0.0,
            "pairs": [one.to_json() for one in self.pairs],
        }


@dataclass(frozen=True)
class _Row:
    key: str
    a: Item
    b: Item
    license: str
    captured_at: int
    generated: bool
    names: tuple[str, str]  # where the items came from


Watcher = Callable[[SourcePair, Decision | CuriosityError], None]
Told = Callable[[SourcePair, PairOutcome, CuriosityError | None], None]
"""Told of each pair what came of it, those of earlier runs too, and the error where no decision was made."""


def check_network(network: Network, rules: Rules) -> None:
    """Refuse a validator that is not the pinned one.

    Raises:
        ProofError: KEY_NOT_PINNED.
    """
    for name, pinned, shown in (
        ("receipt_vkey", rules.receipt_vkey, network.receipt_vkey),
        ("log_vkey", rules.log_vkey, network.log_vkey),
        ("origin", rules.origin, network.origin),
    ):
        if pinned and pinned != shown:
            raise ProofError(
                "KEY_NOT_PINNED",
                f"the validator shows {name} {shown}, pinned is {pinned}",
                f"Check that you reach the right validator, or correct {name} ([node] {name}, in a program trust).",
            )


async def submit_pairs(
    rows: Iterable[SourcePair | SourceError],
    *,
    client: ValidatorClient,
    network: Network,
    contributor: Contributor,
    rules: Rules,
    watch: Watcher | None = None,
    told: Told | None = None,
    tally: Tally | None = None,
) -> Tally:
    """Submit every row that has no result yet and return what came of it.

    ``tally`` is filled in on the way, for a caller who wants to know how far a run came that ends with an error. Each
    receipt is checked and saved. A row that cannot be read or is refused is counted, and the others go on.

    Raises:
        ServiceError: If the validator cannot be reached.
        ProofError: If a receipt does not hold.
        SourceError: If the journal or a receipt cannot be written; a later run goes on where this one stopped.
    """
    check_network(network, rules)
    tally = Tally() if tally is None else tally
    started = time.monotonic()
    gate = asyncio.Semaphore(rules.concurrency)
    with SubmissionJournal.of(contributor.home, contributor.address, network.network_id) as journal:
        manifests = Manifests(contributor.home)
        run = _Run(
            client, network, contributor, rules, journal, manifests, tally, gate, watch or _ignore, told or _ignore
        )
        chunk: list[tuple[SourcePair, _Row]] = []
        held = 0
        for source in rows:
            row = run.read(source)
            if row is None:
                continue
            assert isinstance(source, SourcePair)
            chunk.append((source, row))
            held += len(row.a.data) + len(row.b.data)
            if len(chunk) == _CHUNK or held >= _CHUNK_BYTES:
                await run.send(chunk)
                chunk, held = [], 0
        await run.send(chunk)
    tally.seconds = time.monotonic() - started
    return tally


def _ignore(*_told: object) -> None:
    """Tell nobody."""


@dataclass
class _Run:
    client: ValidatorClient
    network: Network
    contributor: Contributor
    rules: Rules
    journal: SubmissionJournal
    manifests: Manifests
    tally: Tally
    gate: asyncio.Semaphore
    watch: Watcher
    told: Told
    seen: set[str] = field(default_factory=set)
    checked: set[tuple[str, bytes]] = field(default_factory=set)  # items that were decoded: one may be in many pairs
    failure: CuriosityError | None = None  # what ended the run; rows after it are not sent

    def read(self, source: SourcePair | SourceError) -> _Row | None:
        """Return a row with its content, None if it cannot be read, has a result or is nothing for this validator."""
        if isinstance(source, SourceError):
            self.tally.unreadable.append(source)
            self.tally.pairs.append(withheld(("", ""), source))
            return None
        try:  # nothing that this validator does not take need be read or signed
            check_taken(source, self.network)
        except SourceError as error:
            self.tally.not_taken[source.modalities] += 1
            self.tally.pairs.append(withheld(names_of(source), error))
            return None
        try:
            license = stated_license(source, self.rules.license, self.network.licenses)
            a, b = (Item(part.modality, part.media_type, part.read()) for part in (source.a, source.b))
            names = names_of(source)
            key, generated = row_key(a.digest, b.digest, license), self.rules.generated or source.is_generated
            row = _Row(key, a, b, license, source.captured_at or 0, generated, names)
            if row.key in self.seen:  # the source repeats it
                self.tally.known += 1
                return None
            if self._is_decided(row) and not self.rules.again:
                self.seen.add(row.key)
                self.tally.known += 1
                self._tell(source, self._recall(row))
                return None
            for part, item in zip(source.items, (a, b), strict=False):
                self._check_size(source, item)
                if (item.modality, item.digest) not in self.checked:
                    check_item(part, item.data, where=source.id)
                    self.checked.add((item.modality, item.digest))
                self.tally.converted.note(part, item.digest)
        except SourceError as error:
            self.tally.unreadable.append(error)
            self._tell(source, withheld(names_of(source), error), error)
            self.watch(source, error)
            return None
        self.seen.add(row.key)
        self.tally.generated += row.generated
        return row

    def _recall(self, row: _Row) -> PairOutcome:
        """Return what came of a row in an earlier run: by its receipt, or by the journal where the receipt is gone."""
        result = self.journal.results[row.key]
        try:
            saved = read_saved(receipt_path(self.contributor.home / "receipts", bytes.fromhex(result.pair)))
        except CuriosityError:
            return recalled(row.names, result)
        calibration = self.manifests.kept(saved.decision.verdict.checkpoint)
        told = decided(row.names, saved.decision, bytes.fromhex(result.pair), result.index or 0, calibration)
        return replace(told, is_known=True, pay=PAY_OF_KNOWN if told.may_be_paid else told.pay)

    def _is_decided(self, row: _Row) -> bool:
        # A refusal decided nothing: what was wrong may have been repaired since.
        result = self.journal.results.get(row.key)
        return result is not None and result.outcome != "refused"

    def _check_size(self, source: SourcePair, item: Item) -> None:
        limit = self.network.max_item_bytes[item.modality]
        if len(item.data) > limit:
            raise SourceError(
                "ITEM_TOO_LARGE",
                f"{source.id}: the {item.modality} has {number_of(len(item.data), 'byte')}, at most {limit}",
                "Make it smaller.",
            )

    async def send(self, chunk: Sequence[tuple[SourcePair, _Row]]) -> None:
        """Plan the rows durably, then send them; the first failure that is not about one row ends the run."""
        fresh = [row for _, row in chunk if row.key not in self.journal.plans or row.key in self.journal.results]
        self.journal.plan([self._plan(row) for row in fresh])
        async with asyncio.TaskGroup() as group:
            for source, row in chunk:
                group.create_task(self._guarded(source, row))
        if self.failure is not None:
            raise self.failure

    def _plan(self, row: _Row) -> SubmissionPlan:
        expiry = int(time.time()) + self.rules.lifetime_s
        nonce = secrets.token_hex(32)
        return SubmissionPlan(
            row.key, nonce, expiry, row.license, row.captured_at, CLIENT, *row.names, generated=row.generated
        )

    async def _guarded(self, source: SourcePair, row: _Row) -> None:
        """Send one row. A failure that concerns the whole run is kept; what is on its way still comes to its end."""
        async with self.gate:
            if self.failure is not None:
                return
            try:
                try:
                    await self._submit(source, row)
                except Rejected as error:
                    self.tally.refused[error.code] += 1
                    self._tell(source, failed(row.names, REFUSED, error), error)
                    self.journal.record(Result(row.key, REFUSED, error.code, "", None, error.what, error.remedy))
                    self.watch(source, error)
            except CuriosityError as error:
                self.failure = self.failure or error

    async def _submit(self, source: SourcePair, row: _Row) -> None:
        signed = self._sign(row)
        try:
            decision = await self.client.post_pair(signed.encode())
        except Rejected as error:
            if error.code not in _EXPIRED:
                raise
            # Never decided, else the receipt would have come back: sign anew.
            self.journal.plan([self._plan(row)])
            signed = self._sign(row)
            decision = await self.client.post_pair(signed.encode())
        self._tell(source, await self._keep(row, signed, decision))
        self.watch(source, decision)

    def _sign(self, row: _Row) -> SignedPair:
        plan = self.journal.plans[row.key]
        return sign_pair(
            row.a,
            row.b,
            private_key=self.contributor.private_key,
            domain=self.network.domain,
            network_id=self.network.network_id,
            nonce=bytes.fromhex(plan.nonce),
            expiry=plan.expiry,
            license=plan.license,
            captured_at=plan.captured_at,
            client=plan.client,
            generated=plan.generated,
        )

    def _tell(self, source: SourcePair, outcome: PairOutcome, error: CuriosityError | None = None) -> None:
        self.tally.pairs.append(outcome)
        self.told(source, outcome, error)

    async def _keep(self, row: _Row, signed: SignedPair, decision: Decision) -> PairOutcome:
        digest = signed.envelope.submission.digest(self.network.domain)
        vkey = self.rules.receipt_vkey or self.network.receipt_vkey
        checked = check_decision(decision, signed.envelope, digest, self.network.origin, vkey)
        save_receipt(self.contributor.home / "receipts", decision, signed.envelope, self.network)
        verdict = decision.verdict
        self.tally.receipts_verified += 1
        self.tally.replayed += decision.replayed
        if verdict.is_accepted:
            self.tally.accepted += 1
        elif verdict.outcome.value == HELD:
            self.tally.held += 1
        elif verdict.outcome.value == GREY:
            self.tally.grey += 1
        else:
            self.tally.rejected[verdict.reason.value] += 1
        self.journal.record(Result(row.key, verdict.outcome.value, verdict.reason.value, digest.hex(), checked.index))
        calibration = await self.manifests.fetched(self.client, verdict.checkpoint)
        return decided(row.names, decision, digest, checked.index, calibration)
