"""The store on real SQLite and real PostgreSQL: lookups, items, epochs, migrations, refusals."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pysqlite3 import dbapi2
from sqlalchemy import text

from curiosity.protocol.errors import StoreError
from curiosity.protocol.pair import Envelope, Item
from curiosity.protocol.wire import parse
from tests.material.ledger import (
    LOG,
    ORIGIN,
    RECEIPTS,
    make_entries,
    make_entry,
    make_pair,
    open_ledger,
    submission_of,
    tamper,
)
from tests.material.waiting import PATIENCE_S
from validator.ledger import Ledger, NewEntry
from validator.store import Store, StoredItem, claim, engine, schema, schema_version
from validator.store.blocks import whole_blocks
from validator.store.packs import MAX_INLINE_BYTES


def code_of(caught: pytest.ExceptionInfo[StoreError]) -> str:
    """The error's code, after a look that it says what to do."""
    assert caught.value.what
    assert caught.value.remedy.endswith(".")
    return caught.value.code


def test_decisions_are_found_by_nonce_by_pair_and_by_contents(store_url: str, tmp_path: Path) -> None:
    entries = [make_entry(number, accepted=number % 3 != 0) for number in range(20)]
    with open_ledger(store_url, tmp_path / "head") as opened:
        receipts = opened.ledger.append(entries)
        store = opened.store
        for index, (entry, receipt) in enumerate(zip(entries, receipts, strict=True)):
            submission = submission_of(entry)
            key = (submission.contributor, submission.nonce)
            decision = store.find_nonces([key])[key]
            assert decision == store.find_pair(submission.pair)
            assert (decision.index, decision.pair, decision.leaf) == (index, submission.pair, entry.leaf)
            assert decision.embeddings == submission.embeddings
            assert decision.to_receipt() == receipt
            contents = (submission.a.digest, submission.b.digest)
            assert store.known_contents([contents]) == ({contents: index} if submission.accepted else {})
            assert store.known_contents([contents[::-1]]) == {}
            assert store.find_nonces([(bytes(20), submission.nonce)]) == {}
        assert store.find_pair(bytes(32)) is None
        assert store.size() == 20


def test_lookups_of_more_keys_than_one_query_takes(store_url: str, tmp_path: Path) -> None:
    entries = make_entries(0, 3)
    with open_ledger(store_url, tmp_path / "head") as opened:
        opened.ledger.append(entries)
        strangers = [(b"\x01" * 20, sha256(b"%d" % n).digest()) for n in range(1200)]
        keys = [(submission_of(entry).contributor, submission_of(entry).nonce) for entry in entries]
        assert set(opened.store.find_nonces([*strangers, *keys])) == set(keys)
        assert opened.store.find_nonces([]) == {}


def test_nonces_of_all_pairs_that_are_not_erased(store_url: str, tmp_path: Path) -> None:
    entries = make_entries(0, 11)
    with open_ledger(store_url, tmp_path / "head") as opened:
        assert list(opened.store.nonces()) == []
        opened.ledger.append(entries)
        opened.ledger.append([NewEntry(b"{}", None, erases=(0, 3, 9))])
        left = [submission_of(entry) for number, entry in enumerate(entries) if number not in (0, 3, 9)]
        keys = sorted((submission.contributor, submission.nonce) for submission in left)
        for page in (1, 2, 3, 8, 9):
            assert list(opened.store.nonces(page)) == keys


def test_pages_of_leaves_and_submissions(store_url: str, tmp_path: Path) -> None:
    entries = [make_entry(number, accepted=number % 2 == 0) for number in range(9)]
    with open_ledger(store_url, tmp_path / "head") as opened:
        opened.ledger.append(entries)
        store = opened.store
        leaves = [entry.leaf for entry in entries]
        assert store.leaves(0, 100) == leaves
        assert store.leaves(3, 4) == leaves[3:7]
        assert store.leaves(9, 4) == []
        assert store.indexed_leaves(3, 4) == list(enumerate(leaves[3:7], 3))
        assert store.tiles(0, 0, 10) == {}
        page = store.submissions(2, 3)
        assert [row.index for row in page] == [2, 3, 4]
        for row in page:
            submission = submission_of(entries[row.index])
            assert (row.envelope, row.embeddings) == (submission.envelope, submission.embeddings)
            assert (row.pair, row.accepted, row.leaf) == (submission.pair, row.index % 2 == 0, leaves[row.index])
            assert parse(Envelope, row.envelope).submission.nonce == submission.nonce
        assert [row.index for row in store.accepted()] == [0, 2, 4, 6, 8]
        assert [row.index for row in store.accepted(3, 2)] == [4, 6]
        assert list(store.accepted(0, 0)) == []


def test_accepted_pairs_are_paged(sqlite_url: str, tmp_path: Path) -> None:
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        opened.ledger.append(make_entries(0, 600))
        assert [row.index for row in opened.store.accepted()] == list(range(600))
        assert [row.index for row in opened.store.accepted(10, 513)] == list(range(10, 523))


def test_items_small_and_large_come_back(store_url: str, tmp_path: Path) -> None:
    sizes = [0, 1, MAX_INLINE_BYTES, MAX_INLINE_BYTES + 1, 3 * MAX_INLINE_BYTES]
    contents = [b"\x80" * size for size in sizes]
    entries = [make_entry(n, pair=make_pair(n, image=content, text=b"%d" % n)) for n, content in enumerate(contents, 1)]
    with open_ledger(store_url, tmp_path / "head") as opened:
        opened.ledger.append(entries)
        for content in contents:
            digest = sha256(content).digest()
            assert opened.store.blob(digest) == content
            assert opened.store.item(digest) == StoredItem(digest, "image", "image/png", len(content), 1)
        assert opened.store.blob(bytes(32)) is None
        assert opened.store.item(bytes(32)) is None
    packs = [path.stat().st_size for path in tmp_path.glob("ledger.db.blobs/*")]
    assert packs == ([whole_blocks(4 * MAX_INLINE_BYTES + 1)] if store_url.startswith("sqlite") else [])


@pytest.mark.parametrize("page", [1, 2, 5, 10_000])
def test_contents_of_an_earlier_run_are_known(store_url: str, tmp_path: Path, page: int) -> None:
    large = b"picture" * MAX_INLINE_BYTES

    def entry(number: int, image: bytes) -> NewEntry:
        return make_entry(number, pair=make_pair(number, image=image, text=b"caption %d" % number))

    def key(entry: NewEntry) -> tuple[bytes, bytes]:
        pair = submission_of(entry)
        return pair.a.digest, pair.b.digest

    earlier = [entry(1, large), entry(2, b"small")]
    with open_ledger(store_url, tmp_path / "head") as opened:
        opened.ledger.append(earlier)
    with open_ledger(store_url, tmp_path / "head") as opened:
        opened.store.remember_contents(page)
        later = [entry(3, large), entry(4, b"new"), entry(5, b"small")]
        keys = [key(one) for one in (*earlier, *later)]
        assert opened.store.known_contents(keys) == {keys[0]: 0, keys[1]: 1}
        for one in later:
            opened.ledger.append([one])
        again = [entry(6, b"new"), entry(7, large)]
        opened.ledger.append(again)
        keys += [key(one) for one in again]
        swapped = [keys[0][::-1], (keys[0][0], keys[1][1])]
        assert opened.store.known_contents([*keys, *swapped]) == {one: index for index, one in enumerate(keys)}
        assert [opened.store.blob(digest) for digest, _ in keys] == [
            large,
            b"small",
            large,
            b"new",
            b"small",
            b"new",
            large,
        ]
        with pytest.raises(StoreError, match="CONTENT_TWICE"):
            opened.ledger.append([make_entry(8, pair=make_pair(8, image=large, text=b"caption 1"))])
    packs = [path.stat().st_size for path in tmp_path.glob("ledger.db.blobs/*")]
    assert packs == ([whole_blocks(len(large))] if store_url.startswith("sqlite") else [])


def test_large_items_of_postgresql_go_to_a_folder_if_one_is_named(postgres_url: str, tmp_path: Path) -> None:
    content = b"large" * MAX_INLINE_BYTES
    digest = sha256(content).digest()
    folder = tmp_path / "blobs"
    with Store.open(postgres_url, blob_folder=folder) as store:
        fill(store, tmp_path, content)
        assert store.blob(digest) == content
    assert [path.read_bytes() for path in folder.glob("*")] == [content.ljust(whole_blocks(len(content)), b"\0")]
    with Store.open(postgres_url) as store, pytest.raises(StoreError) as caught:
        store.blob(digest)
    assert code_of(caught) == "BLOB_FOLDER"


def fill(store: Store, tmp_path: Path, content: bytes) -> None:
    ledger = Ledger(
        store, origin=ORIGIN, log_signer=LOG, receipt_signer=RECEIPTS, head_path=tmp_path / "head", clock=lambda: 1
    )
    ledger.append([make_entry(1, pair=make_pair(1, image=content))])


def test_changed_or_lost_content_is_never_served(sqlite_url: str, tmp_path: Path) -> None:
    large, small = b"large" * MAX_INLINE_BYTES, b"small"
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        opened.ledger.append([make_entry(1, pair=make_pair(1, image=large, text=small))])
        (path,) = tmp_path.glob("ledger.db.blobs/*")
        path.write_bytes(large[:-1] + b"x")
        with pytest.raises(StoreError) as caught:
            opened.store.blob(sha256(large).digest())
        assert code_of(caught) == "BLOB_CORRUPT"
        path.write_bytes(large[:-1])
        with pytest.raises(StoreError, match="BLOB_CORRUPT"):
            opened.store.blob(sha256(large).digest())
        path.write_bytes(large)
        assert opened.store.blob(sha256(large).digest()) == large
        path.unlink()
        with pytest.raises(StoreError, match="BLOB_CORRUPT"):
            opened.store.blob(sha256(large).digest())
        with tamper(sqlite_url) as connection:
            connection.execute(
                text("UPDATE items SET data = :d WHERE sha256 = :s"), {"d": b"smell", "s": sha256(small).digest()}
            )
        with pytest.raises(StoreError, match="BLOB_CORRUPT"):
            opened.store.blob(sha256(small).digest())


def test_an_accepted_pair_says_what_an_item_is(store_url: str, tmp_path: Path) -> None:
    """A refused pair that calls a picture a text must not decide how the picture is served later."""
    content = b"really a picture"
    digest = sha256(content).digest()

    def entry(number: int, media_type: str, *, accepted: bool) -> NewEntry:
        made = make_entry(number, accepted=accepted, pair=make_pair(number, image=content))
        submission = submission_of(made)
        item = Item("image", media_type, content)
        return replace(made, submission=replace(submission, a=item))

    with open_ledger(store_url, tmp_path / "head") as opened:
        for number, media_type, accepted, expected in (
            (1, "text/html", False, "text/html"),
            (2, "text/plain", False, "text/html"),
            (3, "image/png", True, "image/png"),
            (4, "text/html", False, "image/png"),
            (5, "image/webp", True, "image/png"),
        ):
            opened.ledger.append([entry(number, media_type, accepted=accepted)])
            item = opened.store.item(digest)
            assert item is not None
            assert item.media_type == expected
    with open_ledger(store_url, tmp_path / "head") as opened:
        content = b"another picture"
        digest = sha256(content).digest()
        opened.ledger.append([entry(6, "text/html", accepted=False), entry(7, "image/png", accepted=True)])
        item = opened.store.item(digest)
        assert item is not None
        assert item.media_type == "image/png"


def test_small_values(store_url: str) -> None:
    with Store.open(store_url) as store:
        assert store.meta_get("name") is None
        store.meta_set("name", "one")
        store.meta_set("name", "two — zwei")
        store.meta_set("other", "")
    with Store.open(store_url) as store:
        assert (store.meta_get("name"), store.meta_get("other")) == ("two — zwei", "")


def test_migrations_make_the_schema_that_the_queries_use(store_url: str) -> None:
    Store.open(store_url).close()
    with tamper(store_url) as connection:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == schema_version.NEWEST
        assert compare_metadata(context, schema.metadata) == []


def test_a_database_of_the_schema_before_is_brought_up_to_date(store_url: str, tmp_path: Path) -> None:
    with open_ledger(store_url, tmp_path / "head") as opened:
        opened.ledger.append([*make_entries(0, 3), make_entry(3, accepted=False)])
    with tamper(store_url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
        for index in ("pairs_refused_contents", "pairs_items_due"):
            connection.execute(text(f"DROP INDEX {index}"))
        for table, column in (("pairs", "items_since"), ("items", "accepted_uses")):
            connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
        for table in ("finals", "held", "earlier", "sketches"):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("CREATE TABLE epochs (epoch INTEGER PRIMARY KEY)"))
        connection.execute(text("CREATE TABLE rewards (epoch INTEGER REFERENCES epochs (epoch))"))
    with open_ledger(store_url, tmp_path / "head") as opened:
        assert opened.ledger.size == 4
        for row in opened.store.submissions(0, 4):
            assert row.items_since is not None
            for part in (parse(Envelope, row.envelope).submission.a, parse(Envelope, row.envelope).submission.b):
                item = opened.store.item(part.sha256)
                assert item is not None
                assert item.accepted_uses == int(row.accepted)
    with tamper(store_url) as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


@pytest.mark.parametrize(("version", "code"), [("9999", "SCHEMA_NEWER"), ("0001", "SCHEMA_ABANDONED")])
def test_a_database_of_newer_software_or_of_an_abandoned_schema_is_refused(
    store_url: str, version: str, code: str
) -> None:
    Store.open(store_url).close()
    with tamper(store_url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
    with pytest.raises(StoreError) as caught:
        Store.open(store_url)
    assert code_of(caught) == code
    assert version in caught.value.what


OPEN = "import sys; from validator.store import Store; Store.open(sys.argv[1]).meta_set(sys.argv[2], 'open')"


def test_processes_that_open_a_new_database_at_once_do_not_race(store_url: str) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", OPEN, store_url, str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    for process in started:
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, errors
    with Store.open(store_url) as store:
        assert [store.meta_get(str(number)) for number in range(4)] == ["open"] * 4


def test_a_new_file_that_another_is_about_to_write_is_waited_for(tmp_path: Path) -> None:
    other = dbapi2.connect(tmp_path / "ledger.db", isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE another (x)")
    other.execute("BEGIN IMMEDIATE")  # SQLite answers "locked" to this at once, whatever the busy timeout
    released = threading.Timer(0.5, other.execute, ["ROLLBACK"])
    released.start()
    with Store.open(f"sqlite:///{tmp_path / 'ledger.db'}") as store:
        assert not released.is_alive()
        store.meta_set("one", "open")
        assert store.meta_get("one") == "open"
    other.close()


def test_two_validators_cannot_write_one_ledger(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "CLAIM_TIMEOUT_S", 0.2)
    with open_ledger(store_url, tmp_path / "head"):
        with pytest.raises(StoreError) as caught, open_ledger(store_url, tmp_path / "head"):
            pass
        assert code_of(caught) == "LEDGER_IN_USE"
    with open_ledger(store_url, tmp_path / "head") as opened:
        opened.ledger.append(make_entries(0, 1))


FORK = """
import os, signal, sys, time
from pathlib import Path
from tests.material.ledger import make_entries, open_ledger
with open_ledger(sys.argv[1], Path(sys.argv[2])) as opened:
    opened.ledger.append(make_entries(0, 1))
    child = os.fork()
    if child == 0:
        time.sleep(600)
    print(child, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_forked_worker_that_outlives_us_does_not_keep_the_ledger(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "CLAIM_TIMEOUT_S", 1.0)
    killed = subprocess.Popen(
        [sys.executable, "-c", FORK, store_url, str(tmp_path / "head")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    if killed.stdout is None:
        raise ValueError("the process has no pipe")
    worker = int(killed.stdout.readline())
    try:
        assert killed.wait(timeout=PATIENCE_S) == -signal.SIGKILL
        os.kill(worker, 0)
        with open_ledger(store_url, tmp_path / "head") as opened:
            assert opened.ledger.size == 1
    finally:
        os.kill(worker, signal.SIGKILL)
        killed.stdout.close()


def test_readers_cannot_write(store_url: str) -> None:
    with Store.open(store_url) as store:
        reader = store._database._engines.reader
        with pytest.raises(StoreError) as caught, engine.translated(), reader.connect() as connection:
            connection.execute(text("INSERT INTO meta (name, value) VALUES ('a', 'b')"))
        assert code_of(caught) == "STORE_READ_ONLY"


def test_readers_and_a_writer_at_once(store_url: str, tmp_path: Path) -> None:
    """While batches are appended, every reader sees whole batches, and whatever it saw stays."""
    problems: list[str] = []
    done = threading.Event()
    with open_ledger(store_url, tmp_path / "head") as opened:

        def read() -> None:
            seen: list[bytes] = []
            while not done.is_set():
                leaves = opened.store.leaves(0, 1000)
                if len(leaves) % 5 or leaves[: len(seen)] != seen:
                    problems.append(f"saw {len(leaves)} entries after {len(seen)}")
                    return
                seen = leaves

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for start in range(0, 100, 5):
            opened.ledger.append(make_entries(start, start + 5))
        done.set()
        for thread in threads:
            thread.join()
        assert problems == []
        assert opened.store.size() == 100


def test_write_transactions_wait_for_each_other(sqlite_url: str) -> None:
    """Two that read before they write: begun as readers, the second would fail as soon as the first has written."""
    add = text("UPDATE meta SET value = CAST(:seen + 1 AS TEXT) WHERE name = 'count'")
    problems: list[StoreError] = []
    with Store.open(sqlite_url) as one, Store.open(sqlite_url) as two:
        one.meta_set("count", "0")

        def count(store: Store) -> None:
            try:
                for _ in range(25):
                    with store._database.write() as connection:
                        seen = int(str(connection.scalar(text("SELECT value FROM meta WHERE name = 'count'"))))
                        connection.execute(add, {"seen": seen})
            except StoreError as error:
                problems.append(error)

        threads = [threading.Thread(target=count, args=[store]) for store in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        assert one.meta_get("count") == "50"


def test_sqlite_is_durable_and_new_enough(sqlite_url: str) -> None:
    with Store.open(sqlite_url) as store, store._database.write() as connection:
        pragmas = {
            name: connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
        version = tuple(map(int, str(connection.scalar(text("SELECT sqlite_version()"))).split(".")))
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}
    assert version >= (3, 51, 3)


def test_postgresql_is_durable(postgres_url: str) -> None:
    with Store.open(postgres_url) as store, store._database.write() as connection:
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"
        assert connection.scalar(text("SHOW fsync")) == "on"


@pytest.mark.parametrize("version", [(3, 45, 1), (3, 51, 2), (3, 8, 0)])
def test_an_old_sqlite_is_refused(version: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dbapi2, "sqlite_version_info", version)
    with pytest.raises(StoreError) as caught:
        Store.open(f"sqlite:///{tmp_path}/x.db")
    assert code_of(caught) == "SQLITE_TOO_OLD"
    monkeypatch.setattr(dbapi2, "sqlite_version_info", (3, 51, 3))
    Store.open(f"sqlite:///{tmp_path}/x.db").close()


@pytest.mark.parametrize(
    "url", ["", "ledger.db", "sqlite://", "sqlite:///:memory:", "mysql://host/name", "sqlite:///file:x?mode=memory"]
)
def test_urls_that_cannot_hold_a_ledger(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(url)
    assert code_of(caught) == "STORE_URL"


def test_databases_that_cannot_be_reached(tmp_path: Path, postgres_socket: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder.db").mkdir()
    urls = [
        f"sqlite:///{tmp_path}/file/x.db",
        f"sqlite:///{tmp_path}/folder.db",
        "postgresql+psycopg://somebody:secret-word@127.0.0.1:1/ledger",
        f"postgresql://postgres@/no_such_database?host={postgres_socket}",
        f"postgresql+psycopg://postgres@/ledger?host={tmp_path}",
    ]
    for url in urls:
        with pytest.raises(StoreError) as caught:
            Store.open(url)
        assert code_of(caught) == "STORE_UNREACHABLE"
        assert "secret-word" not in str(caught.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"this is a picture, not a database" * 100)
    with pytest.raises(StoreError) as caught:
        Store.open(f"sqlite:///{tmp_path}/x.db")
    assert code_of(caught) == "STORE_CORRUPT"


def test_a_server_that_goes_away_and_comes_back(postgres_url: str) -> None:
    """Readers and the writer connect again by themselves."""
    with Store.open(postgres_url) as store:
        store.meta_set("name", "value")
        assert store.meta_get("name") == "value"
        with tamper(postgres_url) as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        assert store.meta_get("name") == "value"
        store.meta_set("name", "other")
        assert store.meta_get("name") == "other"


def test_a_copied_sqlite_store_is_whole(sqlite_url: str, tmp_path: Path) -> None:
    """The folder is the backup: database and blobs, nothing else."""
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        opened.ledger.append(make_entries(0, 8))
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(tmp_path / "ledger.db", copy / "ledger.db")
    shutil.copytree(tmp_path / "ledger.db.blobs", copy / "ledger.db.blobs")
    with Store.open(f"sqlite:///{copy}/ledger.db") as store:
        for entry in make_entries(0, 8):
            submission = submission_of(entry)
            assert store.blob(submission.a.digest) == submission.a.data
            assert store.blob(submission.b.digest) == submission.b.data


def test_blobs_reach_sqlite_without_being_asked_what_they_are() -> None:
    """Without the adapter a row of seven blobs costs 27 us, 25 of which are exceptions that the driver swallows."""
    assert dbapi2.adapters[bytes, dbapi2.PrepareProtocol] is bytes
    connection = dbapi2.connect(":memory:")
    kind, content = connection.execute("SELECT typeof(?1), ?1", (b"\x00\xff",)).fetchone()
    assert (kind, content) == ("blob", b"\x00\xff")
    connection.close()


def test_connections_to_postgresql_notice_a_server_that_vanishes(postgres_url: str) -> None:
    """libpq gets the settings of the probes; what the URL says of them counts."""
    for url, idle in ((postgres_url, "30"), (f"{postgres_url}&keepalives_idle=7", "7")):
        engines = engine.connect(url)
        for one in (engines.writer, engines.reader):
            with one.connect() as connection:
                driver = connection.connection.driver_connection
                assert driver is not None
                given = driver.info.get_parameters()
            one.dispose()
            assert given["keepalives_idle"] == idle
            wanted = {"keepalives_interval": "10", "keepalives_count": "3", "tcp_user_timeout": "60000"}
            assert {name: given.get(name) for name in wanted} == wanted
            assert given.get("keepalives", "1") == "1"  # libpq lists what differs from its defaults


def test_a_store_url_with_a_port_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(StoreError, match="STORE_URL") as caught:
        engine.connect("postgresql://user:hunter2@host:port/name")
    assert "hunter2" not in str(caught.value)
