"""Keyed hashes of contents that were taken down: what tells them is the key, which is not here."""

from collections.abc import Collection

from sqlalchemy import insert, select

from curiosity.protocol.errors import StoreError
from validator.store import schema
from validator.store.meta import MetaRows

_PEPPER, _FIRST = "blocked_under", "blocked_from"  # names of small values


class BlockedRows(MetaRows):
    """The part of a store that knows what must not come back."""

    def block(self, keys: Collection[bytes], pepper_id: bytes) -> None:
        """Note hashes under the pepper of that name, durably; those that are known stay."""
        if self.blocked_under() != pepper_id:
            self.meta_set(_PEPPER, pepper_id.hex())
        new = [{"key": key} for key in sorted(set(keys) - self.blocked())]
        if new:
            with self._database.write() as connection:
                connection.execute(insert(schema.blocked), new)

    def blocked(self) -> set[bytes]:
        """Return all keyed hashes."""
        return {row["key"] for row in self._database.read(select(schema.blocked.c.key))}

    def blocked_under(self) -> bytes | None:
        """Return the name of the pepper of the hashes, None if nothing was ever noted."""
        name = self.meta_get(_PEPPER)
        return None if name is None else bytes.fromhex(name)

    def check_pepper(self, pepper_id: bytes) -> None:
        """Check that the hashes are under this pepper: under another one everything could come back.

        Raises:
            StoreError: PEPPER_DIFFERS.
        """
        under = self.blocked_under()
        if under not in (None, pepper_id) and (keys := self.blocked()):
            raise StoreError(
                "PEPPER_DIFFERS",
                f"{len(keys)} contents that must not come back are known under another pepper than that in keys",
                "Restore keys/takedown.pepper from a backup. If it is gone for good, empty the table `blocked`: then "
                "what was taken down can come back.",
            )

    def blocked_from(self) -> int:
        """Return the index from which on the contents of every takedown are noted; of earlier ones some may lack."""
        return int(self.meta_get(_FIRST) or 0)

    def block_from(self, index: int) -> None:
        """Note, durably, that of takedowns before an index the contents may not be known here."""
        self.meta_set(_FIRST, str(index))
