"""Fixtures that many tests share: real databases, made fresh for each test."""

import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis  # noqa: F401 - its plug-in would load it in the summary, where CPython 3.11.7 cannot parse it
import pgserver
import psycopg
import pytest

pytest_plugins = ("tests.material.fixtures",)

_numbers = itertools.count()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before each test and its fixtures: an ordinary priority.

    The AV1 encoder that some tests make material with turns the thread that calls it into a real-time one where it may
    (root). What that thread starts then inherits it, and two such processes leave two cores to nobody else.
    """
    if hasattr(os, "sched_setscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[str]:
    """The socket folder of a PostgreSQL server of our own, started once and stopped at the end."""
    # Not below pytest's folder: a socket's path is short, and the server runs as a user who may not enter that one.
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        server = pgserver.get_server(folder)  # type: ignore[attr-defined]
        try:
            yield str(server.get_uri()).rpartition("host=")[2]
        finally:
            server.cleanup()


@pytest.fixture
def postgres_url(postgres_socket: str) -> Iterator[str]:
    """The URL of an empty database on a real PostgreSQL server."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(host=postgres_socket, user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield f"postgresql+psycopg://postgres@/{name}?host={postgres_socket}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def own_server() -> Iterator[tuple[Any, str]]:
    """A PostgreSQL server that nobody else uses, and the URL of an empty database on it."""
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        server: Any = pgserver.get_server(folder)  # type: ignore[attr-defined]
        socket = str(server.get_uri()).rpartition("host=")[2]
        with psycopg.connect(host=socket, user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(b"CREATE DATABASE ledger")
        try:
            yield server, f"postgresql+psycopg://postgres@/ledger?host={socket}"
        finally:
            server.cleanup()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store; every test that takes it runs on SQLite and on PostgreSQL."""
    return str(request.getfixturevalue({"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]))
