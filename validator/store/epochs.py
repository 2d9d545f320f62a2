"""Closed epochs, the amounts in their reward trees, and small values by name."""

from collections.abc import Mapping

from sqlalchemy import RowMapping, delete, insert, select, update

from protocol.errors import StoreError
from validator.store import schema
from validator.store.database import Database
from validator.store.rows import EpochStatus, StoredEpoch


class EpochRows:
    """The part of a store that knows nothing of pairs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save_epoch(self, epoch: StoredEpoch, cumulative_wei: Mapping[bytes, int]) -> None:
        """Write a closed epoch and its reward leaves in place of what was there, so that closing may be repeated."""
        c = schema.epochs.c
        with self._database.write() as connection:
            connection.execute(delete(schema.rewards).where(schema.rewards.c.epoch == epoch.epoch))
            connection.execute(delete(schema.epochs).where(c.epoch == epoch.epoch))
            connection.execute(
                insert(schema.epochs).values(
                    epoch=epoch.epoch,
                    entry=epoch.entry,
                    first=epoch.first,
                    paid_pairs=epoch.paid_pairs,
                    emission_wei=str(epoch.emission_wei),
                    cumulative_wei=str(epoch.cumulative_wei),
                    reward_root=epoch.reward_root,
                    status=epoch.status.value,
                    transaction=epoch.transaction,
                    activates_at=epoch.activates_at,
                )
            )
            leaves = [
                {"epoch": epoch.epoch, "account": account, "cumulative_wei": str(amount_wei)}
                for account, amount_wei in cumulative_wei.items()
            ]
            if leaves:
                connection.execute(insert(schema.rewards), leaves)

    def mark_epoch(
        self, epoch: int, status: EpochStatus, *, transaction: str | None = None, activates_at: int | None = None
    ) -> None:
        """Note how far an epoch has come; a ``transaction`` or ``activates_at`` of None leaves what was known.

        Raises StoreError EPOCH_UNKNOWN if that epoch was never saved.
        """
        values: dict[str, object] = {"status": status.value}
        if transaction is not None:
            values["transaction"] = transaction
        if activates_at is not None:
            values["activates_at"] = activates_at
        with self._database.write() as connection:
            done = connection.execute(update(schema.epochs).where(schema.epochs.c.epoch == epoch).values(**values))
            if done.rowcount != 1:
                raise StoreError("EPOCH_UNKNOWN", f"epoch {epoch} is not in the store", "Save it before marking it.")

    def epochs(self) -> list[StoredEpoch]:
        """Return all closed epochs in order."""
        return [_epoch(row) for row in self._database.read(select(schema.epochs).order_by(schema.epochs.c.epoch))]

    def latest_epoch(self) -> StoredEpoch | None:
        """Return the last closed epoch."""
        rows = self._database.read(select(schema.epochs).order_by(schema.epochs.c.epoch.desc()).limit(1))
        return _epoch(rows[0]) if rows else None

    def rewards(self, epoch: int) -> dict[bytes, int]:
        """Return the cumulative wei of each account in the epoch's reward tree, by account."""
        c = schema.rewards.c
        rows = self._database.read(select(c.account, c.cumulative_wei).where(c.epoch == epoch).order_by(c.account))
        return {row["account"]: int(row["cumulative_wei"]) for row in rows}

    def meta_get(self, name: str) -> str | None:
        """Return the small value of that name."""
        rows = self._database.read(select(schema.meta.c.value).where(schema.meta.c.name == name))
        return str(rows[0]["value"]) if rows else None

    def meta_set(self, name: str, value: str) -> None:
        """Set the small value of that name, durably."""
        with self._database.write() as connection:
            connection.execute(delete(schema.meta).where(schema.meta.c.name == name))
            connection.execute(insert(schema.meta).values(name=name, value=value))


def _epoch(row: RowMapping) -> StoredEpoch:
    return StoredEpoch(
        epoch=row["epoch"],
        entry=row["entry"],
        first=row["first"],
        paid_pairs=row["paid_pairs"],
        emission_wei=int(row["emission_wei"]),
        cumulative_wei=int(row["cumulative_wei"]),
        reward_root=row["reward_root"],
        status=EpochStatus(row["status"]),
        transaction=row["transaction"],
        activates_at=row["activates_at"],
    )
