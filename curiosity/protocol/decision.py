"""What a validator gives out beside an entry, held to it: the decision with its receipt, the submission, the opening.

Everything here is content or numbers that the log itself does not hold; the entry commits to all of it.
"""

import base64
from dataclasses import dataclass
from hashlib import sha256

from curiosity.protocol.entry import PairEntry, parse_entry
from curiosity.protocol.errors import ProofError, Rejected
from curiosity.protocol.messages import Decision, IndexedSubmission
from curiosity.protocol.pair import Envelope, Submission, check_signature
from curiosity.protocol.receipt import CheckedReceipt, verify_receipt
from curiosity.protocol.signing import Domain
from curiosity.protocol.wire import STRICT, Bytes65


@dataclass(frozen=True)
class ExportedPair:
    """Everything that is given out of the pair at ``index`` but its items: what it was and what was decided."""

    index: int
    submission: Submission
    signature: Bytes65
    decision: Decision

    __pydantic_config__ = STRICT


def check_exported(pair: ExportedPair, leaf: bytes, domain: Domain, origin: str, receipt_vkey: str) -> bytes:
    """Check an exported pair against its entry and return the pair's digest.

    Raises:
        ProofError: EXPORT_SUBMISSION if the contributor did not sign it, EXPORT_ENTRY if its receipt is of another
            entry, and what `check_decision` raises.
    """
    envelope = Envelope(pair.submission, pair.signature)
    try:
        digest = check_signature(envelope, domain)
    except Rejected as error:
        raise ProofError("EXPORT_SUBMISSION", f"entry {pair.index}: {error.what}") from None
    receipt = pair.decision.receipt
    if (receipt.index, receipt.entry.encode()) != (pair.index, leaf):
        raise ProofError("EXPORT_ENTRY", f"entry {pair.index}: the receipt is of entry {receipt.index}, or of another")
    check_decision(pair.decision, envelope, digest, origin, receipt_vkey)
    return digest


def check_decision(decision: Decision, envelope: Envelope, digest: bytes, origin: str, vkey: str) -> CheckedReceipt:
    """Check that a decision is about this very submission, signed by the pinned key, and consistent in itself.

    Raises:
        ProofError: What `check_decided` raises, RECEIPT_OF_ANOTHER, OPENING_OF_ANOTHER.
    """
    checked, entry = check_decided(decision, digest, origin, vkey)
    submission = envelope.submission
    expected = (submission.contributor, envelope.signature, submission.modalities, submission.license)
    said = (entry.contributor, entry.signature, entry.modalities, entry.license)
    if expected != said or submission.is_generated is not bool(entry.generated):
        raise ProofError("RECEIPT_OF_ANOTHER", f"the receipt's entry is not about pair 0x{digest.hex()}")
    opening = decision.opening
    if (opening.a, opening.b) != (submission.a.sha256, submission.b.sha256):
        raise ProofError("OPENING_OF_ANOTHER", "the opening is of other items than those that were signed")
    return checked


def check_decided(decision: Decision, digest: bytes, origin: str, vkey: str) -> tuple[CheckedReceipt, PairEntry]:
    """Check that a decision is about the pair with a digest, signed by the pinned key, and consistent in itself.

    Raises:
        ProofError: What `verify_receipt` raises, RECEIPT_OF_ANOTHER, VERDICT_DIFFERS, OPENING_DIFFERS,
            EMBEDDING_DIFFERS.
    """
    checked = verify_receipt(decision.receipt, origin, vkey)
    entry = checked.entry
    if not isinstance(entry, PairEntry) or entry.pair != digest:
        raise ProofError("RECEIPT_OF_ANOTHER", f"the receipt's entry is not about pair 0x{digest.hex()}")
    if entry.verdict != decision.verdict:
        raise ProofError("VERDICT_DIFFERS", "the verdict beside the receipt is not the one in its entry")
    opening = decision.opening
    if opening.commitment() != entry.commitment:
        raise ProofError(
            "OPENING_DIFFERS", f"the opening gives {opening.commitment().hex()}, not the entry's commitment"
        )
    measured = opening.measurement
    if (measured is None) != (decision.embeddings is None):
        raise ProofError("EMBEDDING_DIFFERS", "embeddings are there without a measurement, or the reverse")
    if measured is not None and decision.embeddings is not None:
        sent = decision.embeddings
        for name, text, wanted in (
            ("a", sent.a, measured.embedding_a),
            ("b", sent.b, measured.embedding_b),
            ("final a", sent.final_a, measured.final_a),
            ("final b", sent.final_b, measured.final_b),
        ):
            try:
                got = sha256(base64.b64decode(text, validate=True)).digest()
            except ValueError:
                raise ProofError("EMBEDDING_DIFFERS", f"embedding {name} is not base64: {text[:40]!r}") from None
            if got != wanted:
                raise ProofError("EMBEDDING_DIFFERS", f"embedding {name} has digest {got.hex()}, not {wanted.hex()}")
    return checked, entry


def check_submission(row: IndexedSubmission, leaf: bytes, domain: Domain) -> bytes:
    """Check that a submission and its opening are those behind an entry, and return the pair's digest.

    Raises:
        ProofError: MIRROR_SUBMISSION if the entry is not about that pair, says otherwise whether it is generated, or
            the contributor did not sign it, MIRROR_OPENING if the entry's commitment hides something else.
    """
    entry = parse_entry(leaf)
    try:
        digest = check_signature(Envelope(row.submission, row.signature), domain)
    except Rejected as error:
        raise ProofError("MIRROR_SUBMISSION", f"entry {row.index}: {error.what}") from None
    if not isinstance(entry, PairEntry) or entry.pair != digest or entry.license != row.submission.license:
        raise ProofError("MIRROR_SUBMISSION", f"entry {row.index} is not about pair 0x{digest.hex()}")
    if row.submission.is_generated is not bool(entry.generated):
        raise ProofError("MIRROR_SUBMISSION", f"entry {row.index} says otherwise than its pair whether it is generated")
    if row.opening.commitment() != entry.commitment:
        raise ProofError("MIRROR_OPENING", f"what came with entry {row.index} is not what its commitment hides")
    return digest
