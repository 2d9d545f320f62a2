"""The statements of the hot path, as the drivers take them: many rows at once, many keys at once.

SQLAlchemy's expression language costs more than the inserts themselves, so the statements are spelled here; the names
come from the schema.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import psycopg
from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql

_dialect = postgresql.dialect()  # type: ignore[no-untyped-call]

Row = tuple[Any, ...]


def insert_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows, values in the order of the table's columns: ``executemany`` on SQLite, binary COPY on PostgreSQL."""
    if not rows:
        return
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        execute_many(connection, insert_sql(table), rows)
        return
    sql, types = copy_sql(table)
    with driver.cursor() as cursor, cursor.copy(sql) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def execute_many(connection: Connection, sql: str, rows: Sequence[Row]) -> None:
    """Run SQLite's statement for each row, past SQLAlchemy: the caller's transaction has begun."""
    cursor = connection.connection.cursor()
    try:
        cursor.executemany(sql, rows)
    finally:
        cursor.close()


def select_rows(connection: Connection, query: str, parameters: Row) -> list[Row]:
    """Return the rows of a query that may be the first statement of its transaction: BEGIN does not wait by itself."""
    driver = connection.connection.driver_connection
    if isinstance(driver, psycopg.Connection):
        with driver.pipeline():
            return list(driver.execute(query.encode(), parameters).fetchall())
    return [tuple(row) for row in connection.exec_driver_sql(query, parameters)]


@cache
def insert_sql(table: Table) -> str:
    """Return SQLite's statement for one row of a table."""
    names = [column.name for column in table.columns]
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608


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
