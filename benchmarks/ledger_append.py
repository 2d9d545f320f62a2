"""Durable appends beside the driver's own inserts of the same rows; batches of both sides take turns."""

import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pgserver
import psycopg
from pysqlite3 import dbapi2 as sqlite

from curiosity.protocol.entry import PairEntry, encode_entry
from curiosity.protocol.merkle import leaf_hash
from curiosity.protocol.pair import Item, sign_pair
from curiosity.protocol.receipt import issue_receipt
from curiosity.protocol.signing import Domain
from curiosity.protocol.tlog import Signer
from curiosity.protocol.verdict import Opening, Outcome, Reason, Verdict
from curiosity.protocol.wire import encode
from validator.ledger import Ledger, NewEntry
from validator.store import NewRow, NewSubmission, Store, schema
from validator.store.bulk import SqlRow, copy_sql, insert_sql
from validator.store.engine import WRITER_PRAGMAS
from validator.store.tree import Edge

BATCH = 100
_DOMAIN = Domain(31337, bytes(20))
_SIGNER = Signer("bench.example", bytes(32))
_ORIGIN = "bench.example/ledger"
_EMBEDDINGS = 2_048  # bytes: four int16 vectors of 256 dimensions


def make_entries(count: int, picture_bytes: int) -> list[NewEntry]:
    """Return decided pairs of a random picture and a caption, really signed, no two alike."""
    key = secrets.token_bytes(32)
    entries = []
    for number in range(count):
        pair = sign_pair(
            Item("image", "image/png", secrets.token_bytes(picture_bytes)),
            Item("text", "text/plain", b"what is to be seen, %d %s" % (number, secrets.token_hex(8).encode())),
            private_key=key,
            domain=_DOMAIN,
            network_id=bytes(32),
            nonce=secrets.token_bytes(32),
            expiry=1_800_000_000,
            license="CC0-1.0",
        )
        s = pair.envelope.submission
        opening = Opening(secrets.token_bytes(32), pair.a.digest, pair.b.digest)
        verdict = Verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, bytes(32))
        digest = s.digest(_DOMAIN)
        leaf = encode_entry(
            PairEntry(
                digest, s.contributor, pair.envelope.signature, s.modalities, s.license, verdict, opening.commitment()
            )
        )
        submission = NewSubmission(
            pair=digest,
            contributor=s.contributor,
            nonce=s.nonce,
            envelope=encode(pair.envelope),
            a=pair.a,
            b=pair.b,
            accepted=True,
            embeddings=secrets.token_bytes(_EMBEDDINGS),
            opening=encode(opening),
        )
        entries.append(NewEntry(leaf, submission))
    return entries


@dataclass(frozen=True)
class _Batch:
    """A batch for either side: what the store takes, and the rows that the driver takes, contents inline."""

    rows: list[NewRow]
    hashes: list[bytes]
    entries: list[SqlRow]
    items: list[SqlRow]
    pairs: list[SqlRow]


def _batches(count: int, picture_bytes: int) -> list[_Batch]:
    index = 0
    batches = []
    for _ in range(count):
        rows: list[NewRow] = []
        items: list[SqlRow] = []
        pairs: list[SqlRow] = []
        for entry in make_entries(BATCH, picture_bytes):
            s = entry.submission
            if s is None:
                raise TypeError("an entry about a pair has a submission")
            rows.append(NewRow(index, entry.leaf, issue_receipt(entry.leaf, index, _ORIGIN, 1, _SIGNER).note, s))
            items += [
                (i.digest, i.modality, i.media_type, len(i.data), True, 1, i.data, None, None) for i in (s.a, s.b)
            ]
            contents = s.a.digest, s.b.digest
            pairs.append(
                (index, s.pair, s.contributor, s.nonce, *contents, True, False, s.envelope, s.embeddings, s.opening)
            )
            index += 1
        entries = [(row.index, row.leaf, row.note) for row in rows]
        batches.append(_Batch(rows, [leaf_hash(row.leaf) for row in rows], entries, items, pairs))
    return batches


def _sqlite_inserts(path: Path) -> Callable[[_Batch], None]:
    Store.open(f"sqlite:///{path}").close()
    connection = sqlite.connect(str(path), isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    for name, value in {"synchronous": "FULL", "fullfsync": "ON", "foreign_keys": "ON", **WRITER_PRAGMAS}.items():
        connection.execute(f"PRAGMA {name}={value}")

    def insert(batch: _Batch) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(insert_sql(schema.entries), batch.entries)
        connection.executemany(insert_sql(schema.items), batch.items)
        connection.executemany(insert_sql(schema.pairs), batch.pairs)
        connection.execute("COMMIT")

    return insert


def _postgres_copies(url: str) -> Callable[[_Batch], None]:
    Store.open(url).close()
    connection = psycopg.connect(url.replace("postgresql+psycopg", "postgresql"), options="-c synchronous_commit=on")

    def insert(batch: _Batch) -> None:
        with connection.transaction(), connection.cursor() as cursor:
            for table, rows in (
                (schema.entries, batch.entries),
                (schema.items, batch.items),
                (schema.pairs, batch.pairs),
            ):
                sql, types = copy_sql(table)
                with cursor.copy(sql) as copy:
                    copy.set_types(types)
                    for row in rows:
                        copy.write_row(row)

    return insert


def _compare(
    url: str, bare: Callable[[_Batch], None], picture_bytes: int, rounds: int, batches: int
) -> dict[str, float]:
    made = _batches((rounds + 1) * batches, picture_bytes)
    edge = Edge()
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    with Store.open(url) as store:
        for number in range(rounds + 1):
            spent = {"ours": 0.0, "bare": 0.0}
            for batch in made[number * batches : (number + 1) * batches]:
                started = time.perf_counter()
                store.append(batch.rows, edge.append(batch.hashes))
                between = time.perf_counter()
                bare(batch)
                spent["ours"] += between - started
                spent["bare"] += time.perf_counter() - between
            if number:  # the first round warms both up
                for side in rates:
                    rates[side].append(batches * BATCH / spent[side])
        _check(store, made)
    ours, peer = (statistics.median(rates[side]) for side in ("ours", "bare"))
    ratio = statistics.median(a / b for a, b in zip(rates["ours"], rates["bare"], strict=True))
    return {"per_s": ours, "bare_per_s": peer, "ratio": ratio}


def _check(store: Store, made: Sequence[_Batch]) -> None:
    """Check that the store gives back what was appended.

    Raises:
        RuntimeError: If it does not.
    """
    for batch in (made[0], made[-1]):
        for row in batch.rows[:: BATCH // 4]:
            s = row.submission
            if not isinstance(s, NewSubmission) or store.entries(row.index, 1) != [(row.index, row.leaf, row.note)]:
                raise RuntimeError(f"entry {row.index} is not what was appended")
            if store.blob(s.a.digest) != s.a.data or store.submissions(row.index, 1)[0].envelope != s.envelope:
                raise RuntimeError(f"the pair of entry {row.index} is not what was appended")
    if store.size() != len(made) * BATCH:
        raise RuntimeError(f"{store.size()} entries, {len(made) * BATCH} were appended")


def measure_sqlite(folder: Path, picture_bytes: int, rounds: int, batches: int) -> dict[str, float]:
    """Return pairs a second through the store, through the driver's inserts, and the median ratio of the rounds."""
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        bare = _sqlite_inserts(Path(inside) / "bare.db")
        return _compare(f"sqlite:///{inside}/ledger.db", bare, picture_bytes, rounds, batches)


@contextmanager
def _postgres() -> Iterator[Callable[[str], str]]:
    """Start a server of our own; yield what gives the URL of a new database of that name."""
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        server: Any = pgserver.get_server(folder)  # type: ignore[attr-defined]
        socket = str(server.get_uri()).rpartition("host=")[2]

        def create(name: str) -> str:
            with psycopg.connect(host=socket, user="postgres", dbname="postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}".encode())
            return f"postgresql+psycopg://postgres@/{name}?host={socket}"

        try:
            yield create
        finally:
            server.cleanup()


def measure_postgres(picture_bytes: int, rounds: int, batches: int) -> dict[str, float]:
    """Return pairs a second through the store, through the driver's COPY, and the median ratio of the rounds."""
    with _postgres() as create:
        return _compare(create("ours"), _postgres_copies(create("bare")), picture_bytes, rounds, batches)


def measure_ledger(folder: Path, picture_bytes: int, batches: int) -> float:
    """Return pairs a second through `Ledger.append`: store, receipts, tree, head kept outside the database."""
    made = [make_entries(BATCH, picture_bytes) for _ in range(batches)]
    with tempfile.TemporaryDirectory(dir=folder) as inside, Store.open(f"sqlite:///{inside}/ledger.db") as store:
        ledger = Ledger(
            store,
            origin=_ORIGIN,
            log_signer=_SIGNER,
            receipt_signer=_SIGNER,
            head_path=Path(inside) / "head",
            clock=lambda: 1,
        )
        started = time.perf_counter()
        for entries in made:
            ledger.append(entries)
        seconds = time.perf_counter() - started
        ledger.verify()
    return batches * BATCH / seconds
