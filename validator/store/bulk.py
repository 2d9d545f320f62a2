"""The statements of the hot path, as the drivers take them: many rows at once, many keys at once.

SQLAlchemy's expression language costs more than the inserts themselves, so the statements are spelled here; the names
come from the schema.
"""

from collections.abc import Sequence
from contextlib import closing
from functools import cache
from typing import Any

import psycopg
from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql

_dialect = postgresql.dialect()  # type: ignore[no-untyped-call]

SqlRow = tuple[Any, ...]
_MOST_ROWS = 16  # a power of two


def insert_rows(connection: Connection, table: Table, rows: Sequence[SqlRow], on_conflict: str = "") -> None:
    """Insert rows, values in the order of the table's columns: many a statement on SQLite, binary COPY on PostgreSQL.

    ``on_conflict`` is SQLite's clause about rows whose keys are there already.
    """
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        _insert_into_sqlite(connection, table, rows, on_conflict)
    elif rows:
        sql, types = copy_sql(table)
        with driver.cursor() as cursor, cursor.copy(sql) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)


def _insert_into_sqlite(connection: Connection, table: Table, rows: Sequence[SqlRow], on_conflict: str) -> None:
    """Insert past SQLAlchemy: the caller's transaction has begun.

    The driver gives up Python's lock at each step of a statement, and as many steps as rows are as many changes of
    threads with an event loop that wants it too. So a statement takes up to 16 rows, in few sizes that it remembers;
    of more it costs as much as it spares.
    """
    start, size = 0, _MOST_ROWS
    with closing(connection.connection.cursor()) as cursor:
        while start < len(rows):
            while size > len(rows) - start:
                size //= 2
            some = rows[start : start + size]
            cursor.execute(insert_sql(table, size) + on_conflict, [value for row in some for value in row])
            start += size


def select_rows(connection: Connection, query: str, parameters: SqlRow) -> list[SqlRow]:
    """Return the rows of a query that may be the first statement of its transaction: BEGIN does not wait by itself."""
    driver = connection.connection.driver_connection
    if isinstance(driver, psycopg.Connection):
        with driver.pipeline():
            return list(driver.execute(query.encode(), parameters).fetchall())
    return [tuple(row) for row in connection.exec_driver_sql(query, parameters)]


@cache
def insert_sql(table: Table, rows: int = 1) -> str:
    """Return SQLite's statement for so many rows of a table."""
    names = [column.name for column in table.columns]
    marks = ", ".join([f"({', '.join('?' * len(names))})"] * rows)
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {marks}"  # noqa: S608


@cache
def copy_sql(table: Table) -> tuple[bytes, list[str]]:
    """Return PostgreSQL's COPY for rows of a table, and the types of its columns."""
    names = ", ".join(column.name for column in table.columns)
    types = [column.type.compile(_dialect).lower().partition("(")[0] for column in table.columns]
    return f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)".encode(), types


def with_keys(is_sqlite: bool, keys: Sequence[tuple[bytes, ...]]) -> tuple[str, tuple[Any, ...]]:
    """Return the head of a query that names ``keys`` as the table ``k`` with columns k0, k1..., and its parameters."""
    width = len(keys[0])
    names = ", ".join(f"k{column}" for column in range(width))
    if is_sqlite:
        marks = ", ".join(["(" + ", ".join("?" * width) + ")"] * len(keys))
        return f"WITH k ({names}) AS (VALUES {marks}) ", tuple(value for key in keys for value in key)
    arrays = ", ".join(["%b::bytea[]"] * width)
    head = f"WITH k ({names}) AS (SELECT * FROM unnest({arrays})) "  # noqa: S608
    return head, tuple(list(column) for column in zip(*keys, strict=True))
