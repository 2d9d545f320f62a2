"""Connections: one writer and a pool of readers on SQLite or PostgreSQL, durable or refused."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from pysqlite3 import dbapi2 as sqlite
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from curiosity.protocol.errors import StoreError

# The driver asks every parameter but numbers and texts whether it wants to be something else, by four failed look-ups
# with an exception each: a row of seven blobs cost 27 us, of which 25 went into that. bytes are bytes.
sqlite.register_adapter(bytes, bytes)

OLDEST_SQLITE = (3, 51, 3)
"""Older ones can corrupt a database when two connections restart the write-ahead log at once (sqlite.org, 3.51.3)."""

BUSY_TIMEOUT_MS = 10_000
READERS = 8
WRITER_PRAGMAS = {
    "secure_delete": "ON",  # what is deleted is overwritten with zeros
    "cache_size": -64 * 1024,  # KiB: the upper pages of the indexes of many millions of entries
    "wal_autocheckpoint": 4_000,  # pages, 16 MB
}
_BY_INDEX = "-c enable_hashjoin=off -c enable_mergejoin=off -c enable_seqscan=off -c jit=off"
"""Every query of ours goes by an index. A planner that has not seen yet how a table grows would read all of it."""

_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 30,  # seconds without traffic before the first probe
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds that sent bytes may stay unacknowledged
}
"""A server that vanishes without a word (power, a firewall that forgets) is noticed within a minute; Linux by itself
takes two hours. What the store's URL names counts instead. Unix sockets need none of it."""

_SCHEMA_LOCK = 0x6375_7269_0002  # advisory lock: "curi" and a number; the ledger's is 1

_REMEDIES = {
    "STORE_FULL": "Free space on the database's volume, then start the validator again.",
    "STORE_READ_ONLY": "Make the database writable for this user (mount, owner, permissions), then start again.",
    "STORE_IO": "Check the disk and its file system; verify the whole ledger before serving again.",
    "STORE_BUSY": "Stop whatever else holds a lock on the database, then start the validator again.",
    "STORE_CORRUPT": "Restore the newest copy of the database; it must reach at least the last signed tree head.",
    "STORE_UNREACHABLE": "Check the store's URL, and that the database runs and lets this user in.",
    "STORE_CONFLICT": "Something else wrote to the database; make sure that one validator only uses it.",
    "STORE_FAILED": "Look at the database's own log.",
}
_SQLITE_CODES = (
    ("disk is full", "STORE_FULL"),
    ("readonly database", "STORE_READ_ONLY"),
    ("disk i/o error", "STORE_IO"),
    ("is locked", "STORE_BUSY"),
    ("malformed", "STORE_CORRUPT"),
    ("not a database", "STORE_CORRUPT"),
    ("unable to open", "STORE_UNREACHABLE"),
    ("constraint failed", "STORE_CONFLICT"),
)
_SQLSTATES = (  # PostgreSQL, appendix A, by prefix
    ("53100", "STORE_FULL"),
    ("25006", "STORE_READ_ONLY"),
    ("58030", "STORE_IO"),
    ("55P03", "STORE_BUSY"),
    ("XX001", "STORE_CORRUPT"),
    ("XX002", "STORE_CORRUPT"),
    ("08", "STORE_UNREACHABLE"),
    ("28", "STORE_UNREACHABLE"),
    ("3D", "STORE_UNREACHABLE"),
    ("57P", "STORE_UNREACHABLE"),
    ("23", "STORE_CONFLICT"),
)


def to_store_error(error: BaseException | None) -> StoreError:
    """Return the StoreError that says what a driver's error means and what to do."""
    message = " ".join(str(error).split())
    if isinstance(error, psycopg.Error):
        state = error.sqlstate or "08000"  # the driver gives no state where there is no connection
        code = next((code for prefix, code in _SQLSTATES if state.startswith(prefix)), "STORE_FAILED")
        return StoreError(code, f"PostgreSQL says {state}: {message}", _REMEDIES[code])
    lowered = message.lower()
    code = next((code for part, code in _SQLITE_CODES if part in lowered), "STORE_FAILED")
    return StoreError(code, f"SQLite says: {message}", _REMEDIES[code])


@contextmanager
def translated() -> Iterator[None]:
    """Turn database errors inside the block into StoreError."""
    try:
        yield
    except DBAPIError as error:
        raise to_store_error(error.orig) from error
    except (sqlite.Error, psycopg.Error) as error:  # where we talk to the driver ourselves
        raise to_store_error(error) from error
    except PoolTimeoutError as error:
        raise StoreError("STORE_BUSY", "no free connection within 30 s", "Lower the load or raise the pool.") from error


def check_sqlite(version: tuple[int, ...]) -> None:
    """Check that this SQLite cannot corrupt a database.

    Raises:
        StoreError: SQLITE_TOO_OLD.
    """
    if version < OLDEST_SQLITE:
        raise StoreError(
            "SQLITE_TOO_OLD",
            f"SQLite {'.'.join(map(str, version))} is in use, expected at least {'.'.join(map(str, OLDEST_SQLITE))}",
            "Install a newer pysqlite3, which carries its own SQLite.",
        )


@dataclass(frozen=True)
class Engines:
    """The writer's engine (one connection) and the readers'. ``database`` is the file on SQLite, else None."""

    writer: Engine
    reader: Engine
    database: Path | None


def connect(url: str) -> Engines:
    """Return the engines for ``sqlite:///path`` or ``postgresql+psycopg://user:password@host/name``.

    Raises:
        StoreError: STORE_URL for another kind of URL, SQLITE_TOO_OLD.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a port that is not a number
        raise _url_error("it is not a URL") from None
    if parsed.get_backend_name() == "sqlite":
        return _connect_sqlite(parsed)
    if parsed.get_backend_name() == "postgresql":
        return _connect_postgresql(parsed.set(drivername="postgresql+psycopg"))
    raise _url_error(f"it names {parsed.get_backend_name()!r}")


def _url_error(what: str) -> StoreError:
    return StoreError(
        "STORE_URL",
        f"the store's URL cannot be used: {what}",
        "Use sqlite:///path/to/file.db or postgresql+psycopg://user:password@host/database.",
    )


def _connect_sqlite(url: URL) -> Engines:
    check_sqlite(sqlite.sqlite_version_info)
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise _url_error("SQLite needs a file, a ledger in memory would not last")
    database = Path(url.database).absolute()
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            "STORE_UNREACHABLE", f"cannot make {database.parent}: {error}", _REMEDIES["STORE_UNREACHABLE"]
        ) from None

    def make(is_writer: bool, pool_size: int) -> Engine:
        engine = create_engine(
            URL.create("sqlite", database=str(database)),
            module=sqlite,
            pool_size=pool_size,
            max_overflow=0,
            connect_args={"check_same_thread": False},
        )

        @event.listens_for(engine, "connect")
        def set_up(connection: Any, _record: object) -> None:
            # We say BEGIN ourselves: the driver would start a write as a read and then fail to upgrade its lock.
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            cursor.execute("PRAGMA foreign_keys=ON")
            if is_writer:
                mode = _switch_to_wal(cursor)
                if mode != "wal":
                    raise StoreError(
                        "STORE_NOT_DURABLE",
                        f"SQLite keeps its journal in mode {mode!r} on this file system, expected 'wal'",
                        "Put the database on a local disk.",
                    )
                # NORMAL does not sync at commit: in a trial a power cut then lost 43 % of the receipted rows.
                cursor.execute("PRAGMA synchronous=FULL")
                cursor.execute("PRAGMA fullfsync=ON")
                for name, value in WRITER_PRAGMAS.items():
                    cursor.execute(f"PRAGMA {name}={value}")
            else:
                cursor.execute("PRAGMA query_only=ON")
            cursor.close()

        if is_writer:

            @event.listens_for(engine, "begin")
            def begin(connection: Connection) -> None:
                connection.exec_driver_sql("BEGIN IMMEDIATE")

        return engine

    return Engines(make(True, 1), make(False, READERS), database)


def _switch_to_wal(cursor: Any) -> str:
    """Ask for WAL and return the journal mode afterwards.

    Waits for others: the busy timeout does not hold while another process has begun to write a new file, SQLite then
    answers "locked" at once.
    """
    until = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            (mode,) = cursor.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite.OperationalError as error:
            if error.sqlite_errorcode != sqlite.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(0.02)
        else:
            return str(mode)


def _connect_postgresql(url: URL) -> Engines:
    alive = {name: value for name, value in _KEEPALIVE.items() if name not in url.query}
    writer = create_engine(
        url,
        pool_size=1,
        max_overflow=0,
        connect_args=alive | {"options": f"-c synchronous_commit=on {_BY_INDEX}", "connect_timeout": 10},
    )
    reader = create_engine(
        url,
        pool_size=READERS,
        max_overflow=0,
        pool_pre_ping=True,
        isolation_level="AUTOCOMMIT",
        connect_args=alive | {"options": f"-c default_transaction_read_only=on {_BY_INDEX}", "connect_timeout": 10},
    )
    return Engines(writer, reader, None)


def check_durable(connection: Connection) -> None:
    """Check that a PostgreSQL server writes before it acknowledges.

    Raises:
        StoreError: STORE_NOT_DURABLE.
    """
    if connection.dialect.name != "postgresql":
        return
    for name in ("fsync", "full_page_writes"):
        value = connection.scalar(text(f"SHOW {name}"))
        if value != "on":
            raise StoreError(
                "STORE_NOT_DURABLE", f"the PostgreSQL server runs with {name}={value}", f"Set {name}=on and restart it."
            )


def lock_schema(connection: Connection) -> None:
    """Keep other processes from migrating until this transaction ends. SQLite's BEGIN IMMEDIATE has done so already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})
