"""Receipts of held pairs, brought up to date: what the validator decided about them since."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from curiosity.client.journal import Result, SubmissionJournal
from curiosity.client.outcome import HELD
from curiosity.client.receipts import BROKEN_SUFFIX, SavedReceipt, proof_path, read_saved, write_saved
from curiosity.host.paths import inside
from curiosity.protocol.decision import check_decision
from curiosity.protocol.entry import PairEntry
from curiosity.protocol.errors import CuriosityError, ProofError, Rejected
from curiosity.protocol.messages import Decision

if TYPE_CHECKING:
    from curiosity.client.client import ValidatorClient

EARLIER = "earlier"
"""Folder below that of the receipts for those that a newer one has replaced."""


async def refresh_receipts(client: "ValidatorClient", home: Path) -> int:
    """Fetch what was decided since about each held pair of the client's ledger; return about how many anything was.

    Each new receipt is checked as that of a submission is, replaces the one before, and becomes the journal's result.
    The one before is kept in a folder of its own: it still proves what was promised then.

    Raises:
        ServiceError: If the validator cannot be reached.
        ProofError: RECEIPT_OF_ANOTHER if an answer does not follow the receipt that is here, and what `check_decision`
            raises.
        SourceError: RECEIPT_NOT_WRITTEN, JOURNAL_ codes.
    """
    held = _held(home / "receipts")
    if not held:
        return 0
    network = await client.network()
    fresh: list[tuple[SavedReceipt, Decision]] = []
    for path, saved in held:
        if saved.envelope.submission.network_id != network.network_id:
            continue
        try:
            decision = await client.receipt(saved.pair)
        except Rejected as refusal:
            if refusal.code in ("PAIR_TAKEN_DOWN", "NOT_FOUND"):
                continue
            raise
        if decision.receipt.index == saved.decision.receipt.index:
            continue
        _check_follows(saved, decision)
        kept = f"{saved.pair.hex()}-{saved.decision.receipt.index}.json"
        write_saved(inside(path.parent / EARLIER, kept, one=True), saved)
        write_saved(path, replace(saved, decision=replace(decision, replayed=False), proof=None))
        proof_path(path).unlink(missing_ok=True)
        fresh.append((saved, decision))
    for contributor in {saved.envelope.submission.contributor for saved, _ in fresh}:
        _record(home, contributor, network.network_id, fresh)
    return len(fresh)


def _held(folder: Path) -> list[tuple[Path, SavedReceipt]]:
    found = []
    for path in sorted(folder.glob("*.json")):
        if path.name.endswith(BROKEN_SUFFIX):
            continue
        try:
            saved = read_saved(path)
        except CuriosityError:
            continue  # whoever lists the receipts is told of it
        if saved.decision.verdict.outcome.value == HELD:
            found.append((path, saved))
    return found


def _check_follows(saved: SavedReceipt, decision: Decision) -> None:
    checked = check_decision(decision, saved.envelope, saved.pair, saved.origin, saved.receipt_vkey)
    before, entry = saved.decision.receipt.index, checked.entry
    if not isinstance(entry, PairEntry) or entry.again is None or not before <= entry.again < checked.index:
        raise ProofError(
            "RECEIPT_OF_ANOTHER",
            f"entry {checked.index} does not decide again about the pair of entry {before}",
            "Keep the receipt that you have: together with the answer it shows that the validator decided twice.",
        )


def _record(home: Path, contributor: bytes, network_id: bytes, fresh: list[tuple[SavedReceipt, Decision]]) -> None:
    with SubmissionJournal.of(home, contributor, network_id) as journal:
        rows = {result.pair: row for row, result in journal.results.items()}
        for saved, decision in fresh:
            row = rows.get(saved.pair.hex())
            if row is not None:
                verdict = decision.verdict
                journal.record(
                    Result(row, verdict.outcome.value, verdict.reason.value, saved.pair.hex(), decision.receipt.index)
                )
