"""Entries, ledgers and direct access to their databases, for the tests of the store and of the ledger."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pysqlite3 import dbapi2
from sqlalchemy import Connection, create_engine, event

from curiosity.protocol.entry import PairEntry, encode_entry
from curiosity.protocol.pair import Item, SignedPair, sign_pair
from curiosity.protocol.signing import Domain
from curiosity.protocol.tlog import Signer
from curiosity.protocol.verdict import Measurement, Opening, Outcome, Reason, Verdict
from curiosity.protocol.wire import encode
from validator.ledger import Ledger, NewEntry, NewSubmission
from validator.store import Store

ORIGIN = "ledger.example/test"
LOG = Signer("log.example", b"\x11" * 32)
RECEIPTS = Signer("receipts.example", b"\x22" * 32)
RECEIPT_VKEY = RECEIPTS.verifier.vkey()
NOW = 1_800_000_000
DOMAIN = Domain(31_337, b"\x33" * 20)


def make_pair(
    number: int, *, image: bytes | None = None, text: bytes | None = None, nonce: int | None = None
) -> SignedPair:
    """Return a really signed pair; the same for the same arguments. Every seventh picture is a large one."""
    picture = image if image is not None else b"picture %d " % number * (20_000 if number % 7 == 3 else 20)
    return sign_pair(
        Item("image", "image/png", picture),
        Item("text", "text/plain", text if text is not None else b"caption %d" % number),
        private_key=sha256(b"wallet %d" % (number % 5)).digest(),
        domain=DOMAIN,
        network_id=b"\x44" * 32,
        nonce=sha256(b"nonce %d" % (number if nonce is None else nonce)).digest(),
        expiry=NOW + 3600,
        license="CC0-1.0",
    )


def make_entry(number: int, *, accepted: bool = True, pair: SignedPair | None = None) -> NewEntry:
    """Return the entry that decides about pair ``number``."""
    return decide(pair or make_pair(number), DOMAIN, number, accepted=accepted)


def decide(pair: SignedPair, domain: Domain, number: int = 0, *, accepted: bool = True) -> NewEntry:
    """Return an entry that decides about a signed pair; vectors and salt are made from ``number``."""
    submission = pair.envelope.submission
    digest = submission.digest(domain)
    verdict = Verdict(
        Outcome.ACCEPTED if accepted else Outcome.REJECTED,
        Reason.BELONGS_TOGETHER if accepted else Reason.PAIR_TOO_FAR,
        b"\x55" * 32,
    )
    vectors = [b"vector %d of %010d" % (n, number) for n in range(4)]
    measured = Measurement(*range(9), *(sha256(vector).digest() for vector in vectors))
    opening = Opening(sha256(b"salt %d" % number).digest(), pair.a.digest, pair.b.digest, measurement=measured)
    leaf = encode_entry(
        PairEntry(
            digest,
            submission.contributor,
            pair.envelope.signature,
            submission.modalities,
            submission.license,
            verdict,
            opening.commitment(),
        )
    )
    return NewEntry(
        leaf,
        NewSubmission(
            pair=digest,
            contributor=submission.contributor,
            nonce=submission.nonce,
            envelope=encode(pair.envelope),
            a=pair.a,
            b=pair.b,
            accepted=accepted,
            embeddings=b"".join(vectors),
            opening=encode(opening),
        ),
    )


def make_entries(start: int, end: int) -> list[NewEntry]:
    """Return the entries of pairs ``start`` up to, without, ``end``."""
    return [make_entry(number) for number in range(start, end)]


def submission_of(entry: NewEntry) -> NewSubmission:
    """Return the submission behind an entry that has one."""
    if entry.submission is None:
        raise ValueError("this entry is not about a pair")
    return entry.submission


@dataclass(frozen=True)
class Opened:
    """A ledger with its store."""

    store: Store
    ledger: Ledger


@contextmanager
def open_ledger(url: str, head_path: Path, *, origin: str = ORIGIN, log: Signer = LOG) -> Iterator[Opened]:
    """A started ledger at ``url``; closed at the end, as if the process had ended."""
    with Store.open(url) as store:
        yield Opened(
            store,
            Ledger(
                store, origin=origin, log_signer=log, receipt_signer=RECEIPTS, head_path=head_path, clock=lambda: NOW
            ),
        )


@contextmanager
def tamper(url: str) -> Iterator[Connection]:
    """A connection past the store, as somebody with the database's password has one; commits at the end."""
    if url.startswith("sqlite"):
        engine = create_engine(url, module=dbapi2)

        @event.listens_for(engine, "connect")
        def wait(connection: dbapi2.Connection, _record: object) -> None:
            connection.execute("PRAGMA busy_timeout=240000")

    else:
        engine = create_engine(url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()
