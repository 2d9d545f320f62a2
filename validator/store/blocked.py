"""Keyed hashes of contents that were taken down: what tells them is the key, which is not here."""

from collections.abc import Collection

from sqlalchemy import insert, select

from validator.store import schema
from validator.store.database import Database


class BlockedRows:
    """The part of a store that knows what must not come back."""

    _database: Database

    def block(self, keys: Collection[bytes]) -> None:
        """Note keyed hashes, durably; those that are known stay."""
        new = [{"key": key} for key in sorted(set(keys) - self.blocked())]
        if new:
            with self._database.write() as connection:
                connection.execute(insert(schema.blocked), new)

    def blocked(self) -> set[bytes]:
        """Return all keyed hashes."""
        return {row["key"] for row in self._database.read(select(schema.blocked.c.key))}
