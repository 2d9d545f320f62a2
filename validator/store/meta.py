"""Small values by name."""

from sqlalchemy import delete, insert, select

from validator.store import schema
from validator.store.database import Database


class MetaRows:
    """The part of a store that knows nothing of pairs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def meta_get(self, name: str) -> str | None:
        """Return the small value of that name."""
        rows = self._database.read(select(schema.meta.c.value).where(schema.meta.c.name == name))
        return str(rows[0]["value"]) if rows else None

    def meta_set(self, name: str, value: str) -> None:
        """Set the small value of that name, durably."""
        with self._database.write() as connection:
            connection.execute(delete(schema.meta).where(schema.meta.c.name == name))
            connection.execute(insert(schema.meta).values(name=name, value=value))
