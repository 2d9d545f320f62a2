"""The store: entries, tiles, pairs, items, epochs, on SQLite or PostgreSQL. The only home of SQLAlchemy."""

from validator.store.rows import (
    EpochStatus,
    ErasedPair,
    NewRow,
    NewSubmission,
    StoredDecision,
    StoredEpoch,
    StoredItem,
    StoredSubmission,
)
from validator.store.store import Store
from validator.store.tree import FullTile

__all__ = [
    "EpochStatus",
    "ErasedPair",
    "FullTile",
    "NewRow",
    "NewSubmission",
    "Store",
    "StoredDecision",
    "StoredEpoch",
    "StoredItem",
    "StoredSubmission",
]
