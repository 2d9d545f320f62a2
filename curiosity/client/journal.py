"""The journal of submissions: what was planned is durable before it is sent, so that a killed run can go on.

One file of JSON lines a contributor and network. A *plan* fixes a row's nonce and times before the first byte leaves;
a *result* says what came of it. After a kill a plan without a result is sent again, the very same bytes.
"""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from curiosity.host.files import append_to, make_folder, open_locked
from curiosity.protocol.errors import SourceError
from curiosity.protocol.json_reader import read_json
from curiosity.protocol.verdict import Outcome, Reason


@dataclass(frozen=True)
class SubmissionPlan:
    """What makes a repeated submission byte for byte the same."""

    row: str
    nonce: str  # hex
    expiry: int
    license: str
    captured_at: int
    client: str
    a: str = ""  # where item a came from, such as a file's path; stays on this machine
    b: str = ""
    generated: bool = False


@dataclass(frozen=True)
class Result:
    """What came of a row. ``outcome`` is accepted, rejected, held, grey or refused (no decision was made)."""

    row: str
    outcome: str
    code: str
    pair: str  # hex
    index: int | None
    what: str = ""  # of a refusal, in the validator's words
    remedy: str = ""


def row_key(a: bytes, b: bytes, license: str) -> str:
    """Return what makes a row the same in a later run: the two contents' digests and the licence."""
    return sha256(a + b + license.encode()).hexdigest()


class SubmissionJournal:
    """Plans and results of one contributor on one network. Use it as a context manager; one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plans: dict[str, SubmissionPlan] = {}
        self.results: dict[str, Result] = {}  # of a row the latest, or the accepted one that later ones are doubles of
        self.sources: dict[str, tuple[str, str]] = {}  # by pair digest in hex: where its items came from
        self._accepted: dict[str, Result] = {}
        self._file: Any = None
        self._size = 0  # bytes of whole records

    @classmethod
    def of(cls, home: Path, contributor: bytes, network_id: bytes) -> Self:
        """Return the journal of a contributor on a network."""
        return cls(home / "journal" / f"{contributor.hex()}-{network_id.hex()[:16]}.jsonl")

    @classmethod
    def read_all(cls, home: Path) -> "list[SubmissionJournal]":
        """Return what every journal below ``home`` holds, to look at; also while a submit writes to one.

        Raises:
            SourceError: JOURNAL_CORRUPT, JOURNAL_UNREADABLE.
        """
        found = []
        for path in sorted((home / "journal").glob("*.jsonl")):
            journal = cls(path)
            try:
                journal._take_in(path.read_bytes())
            except OSError as error:
                raise SourceError(
                    "JOURNAL_UNREADABLE", f"{path}: {error.strerror}", "Check the file's permissions."
                ) from None
            found.append(journal)
        return found

    def __enter__(self) -> Self:
        try:
            make_folder(self.path.parent)
            self._file = open_locked(self.path)
        except BlockingIOError:
            raise SourceError(
                "JOURNAL_IN_USE", f"another submit uses {self.path}", "Wait for it to end, or stop it."
            ) from None
        except OSError as error:
            raise SourceError("JOURNAL_NOT_WRITABLE", f"{self.path}: {error.strerror}", "Free space there.") from None
        self._load()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _load(self) -> None:
        self._file.seek(0)
        self._take_in(self._file.read())
        # Behind the last newline stands a write that was cut off; what it said was never acted on.
        self._file.truncate(self._size)

    def _take_in(self, content: bytes) -> None:
        lines = content.split(b"\n")
        for number, line in enumerate(lines[:-1], start=1):
            try:
                record = read_json(line)
                kind = record.pop("kind")
                if kind == "plan":
                    self.plans[record["row"]] = SubmissionPlan(**record)
                    self.results.pop(record["row"], None)
                else:
                    self._keep(Result(**record))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise SourceError(
                    "JOURNAL_CORRUPT",
                    f"{self.path} line {number} is not a record ({type(error).__name__})",
                    "Move the file away: what was decided comes back as a content duplicate, receipts are kept.",
                ) from None
        self._size = sum(len(line) + 1 for line in lines[:-1])

    def plan(self, plans: list[SubmissionPlan]) -> None:
        """Make plans durable. Nothing of a row may be sent before this returns."""
        self._write([{"kind": "plan", **asdict(plan)} for plan in plans], durable=True)
        for plan in plans:
            self.plans[plan.row] = plan
            self.results.pop(plan.row, None)

    def record(self, result: Result) -> None:
        """Write a result. It need not be durable: a lost one is asked for again and comes back the same."""
        self._write([{"kind": "result", **asdict(result)}], durable=False)
        self._keep(result)

    def _keep(self, result: Result) -> None:
        plan = self.plans.get(result.row)
        if plan is not None:
            self.sources[result.pair] = (plan.a, plan.b)
        if result.outcome == Outcome.ACCEPTED.value:
            self._accepted[result.row] = result
        # Sent once more, an accepted pair is a double of itself; what counts and is paid is the first decision.
        is_double = result.code == Reason.CONTENT_DUPLICATE.value
        self.results[result.row] = self._accepted.get(result.row, result) if is_double else result

    def _write(self, records: list[dict[str, Any]], *, durable: bool) -> None:
        data = b"".join(json.dumps(record).encode() + b"\n" for record in records)
        try:
            append_to(self._file, data, durable=durable)
        except OSError as error:
            raise SourceError(
                "JOURNAL_NOT_WRITABLE",
                f"{self.path}: {error.strerror}",
                "Free space there and run the same command: it goes on where it stopped.",
            ) from None
        self._size += len(data)
