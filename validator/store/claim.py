"""The claim to be the one process that writes a ledger: a lock that ends with the process, however it ends."""

import fcntl
import logging
import os
import time
import weakref
from pathlib import Path

import psycopg
from sqlalchemy import Connection, text

from curiosity.protocol.errors import StoreError

log = logging.getLogger(__name__)

CLAIM_TIMEOUT_S = 5.0  # PostgreSQL frees a killed validator's lock only once it has noticed
_LEDGER_LOCK = 0x6375_7269_0001  # advisory lock: "curi" and a number


class Claim:
    """A held claim: a locked file beside a SQLite database, an advisory lock of a PostgreSQL session.

    Waits up to CLAIM_TIMEOUT_S for another process to end.

    Raises:
        StoreError: LEDGER_IN_USE if it does not.
    """

    def __init__(self, connection: Connection, database: Path | None) -> None:
        self._lock_file: int | None = None
        self._session: psycopg.Connection[object] | None = None
        if database is not None:
            self._lock_file = os.open(database.with_name(database.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + CLAIM_TIMEOUT_S
        told = False
        while not self._try(connection):
            if time.monotonic() > deadline:
                self.close()
                raise StoreError(
                    "LEDGER_IN_USE",
                    f"another process writes this ledger (waited {CLAIM_TIMEOUT_S:.0f} s)",
                    "Stop the other validator, or give this one a store of its own.",
                )
            if not told:
                log.warning("event=ledger_in_use waits_s=%.0f: another process writes this ledger", CLAIM_TIMEOUT_S)
                told = True
            time.sleep(0.05)
        _let_go_in_forks(self)

    def _try(self, connection: Connection) -> bool:
        if self._lock_file is None:
            with connection.begin():
                session = connection.connection.dbapi_connection
                if isinstance(session, psycopg.Connection):
                    self._session = session
                return bool(connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LEDGER_LOCK}))
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def descriptor(self) -> int | None:
        """Return the file or socket whose end frees the claim; None once it has ended."""
        if self._session is not None:
            return None if self._session.closed else self._session.fileno()
        return self._lock_file

    def close(self) -> None:
        """Let go of the file. On PostgreSQL the lock goes with the session."""
        if self._lock_file is not None:
            os.close(self._lock_file)
        self._lock_file = self._session = None


def _let_go_in_forks(claim: Claim) -> None:
    """Let forked workers give up our file or socket.

    A worker may outlive us, and nobody could go on with the ledger while it has them open.
    """
    held = weakref.ref(claim)

    def let_go() -> None:
        still = held()
        descriptor = None if still is None else still.descriptor()
        if descriptor is not None:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, descriptor, inheritable=False)
            os.close(null)

    os.register_at_fork(after_in_child=let_go)
