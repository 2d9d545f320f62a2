"""One open database: a pool of read-only connections, one writing connection under a lock, every error translated."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RootTransaction, RowMapping, Select
from sqlalchemy.exc import DBAPIError

from curiosity.host.files import sync_directory
from validator.store import engine
from validator.store.claim import Claim
from validator.store.schema_version import upgrade_schema

AnyRow = tuple[Any, ...]
_log = logging.getLogger(__name__)


class Database:
    """Connections to the database at a URL, its schema brought up to date. Thread-safe.

    Raises:
        StoreError: STORE_URL, SQLITE_TOO_OLD, STORE_UNREACHABLE, STORE_NOT_DURABLE, SCHEMA_NEWER and the codes of
            `validator.store.engine`.
    """

    def __init__(self, url: str) -> None:
        self._engines = engine.connect(url)
        self._lock = threading.RLock()
        self._claim: Claim | None = None
        self._on_renewal: Callable[[], None] | None = None
        with engine.translated():
            self._connection = self._engines.writer.connect()
        try:
            with self.write() as connection:
                engine.lock_schema(connection)
                engine.check_durable(connection)
                upgrade_schema(connection)
        except BaseException:
            self.close()
            raise
        if self.file is not None:
            sync_directory(self.file.parent)

    @property
    def file(self) -> Path | None:
        """The database's file on SQLite."""
        return self._engines.database

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite; PostgreSQL otherwise."""
        return self.file is not None

    def close(self) -> None:
        """Close every connection and let another process write the ledger."""
        with self._lock:
            self._connection.close()
            self._engines.writer.dispose()
            self._engines.reader.dispose()
            if self._claim is not None:
                self._claim.close()
                self._claim = None

    def claim_ledger(self, on_renewal: Callable[[], None] | None = None) -> None:
        """Make this process the only writer of the ledger until it closes the database or ends.

        PostgreSQL ends the claim with its session. Before the next write a new session claims the ledger again, and
        ``on_renewal`` refuses with an error if somebody else wrote meanwhile.

        Raises:
            StoreError: LEDGER_IN_USE if another one writes.
        """
        with self._lock, engine.translated():
            self._claim = Claim(self._connection, self.file)
            self._on_renewal = on_renewal

    def make_ready(self) -> None:
        """Make sure of the writing connection, where need be by a new one.

        Raises:
            StoreError: ; nothing is written.
        """
        if not self.is_sqlite:
            with self._lock, engine.translated():
                self._begin().rollback()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction on the writing connection; it is durable when the block has ended."""
        with self._lock, engine.translated(), self._begin():
            yield self._connection

    def _begin(self) -> RootTransaction:
        """Begin a transaction, on a new connection if the server has ended the old one while it was idle.

        SQLAlchemy must never connect again by itself: the new session would write without the claim.
        """
        if self.is_sqlite:
            return self._connection.begin()
        if not (self._connection.invalidated or self._connection.closed):
            transaction = self._connection.begin()
            try:
                self._connection.exec_driver_sql("SELECT 1")
            except DBAPIError as error:
                transaction.close()
                if not error.connection_invalidated:
                    raise
            else:
                return transaction
        self._renew()
        return self._connection.begin()

    def _renew(self) -> None:
        self._connection.close()
        connection = self._engines.writer.connect()
        try:
            with connection.begin():
                engine.check_durable(connection)
            if self._claim is not None:
                self._claim = Claim(connection, self.file)
                if self._on_renewal is not None:
                    self._on_renewal()
        except BaseException:
            connection.invalidate()  # ends the session, and a claim with it
            connection.close()
            raise
        self._connection = connection
        _log.warning("event=store_reconnected")

    def read(self, statement: Select[*tuple[Any, ...]]) -> Sequence[RowMapping]:
        """Return the rows of a query, from a connection that cannot write."""
        with engine.translated(), self._engines.reader.connect() as connection:
            return connection.execute(statement).mappings().all()

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> Sequence[AnyRow]:
        """Return the rows of a query in the driver's own SQL, from a connection that cannot write.

        Past SQLAlchemy but for its pool: what it puts around a statement takes longer than finding a few keys.
        """
        with (
            engine.translated(),
            closing(self._engines.reader.raw_connection()) as connection,
            closing(connection.cursor()) as cursor,
        ):
            cursor.execute(sql, parameters)
            return cursor.fetchall()

    def empty_log(self) -> bool:
        """Move all of SQLite's write-ahead log into the database and truncate it; say whether that could be done.

        The log holds older copies of pages, with what has been deleted since. PostgreSQL keeps its log to itself.
        """
        if not self.is_sqlite:
            return True
        with self._lock, engine.translated():
            cursor = self._connection.connection.cursor()
            try:
                (busy, _, _) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                cursor.close()
        return not busy
