"""The store: entries, tiles, pairs, items, on SQLite or PostgreSQL. The only home of SQLAlchemy."""

from validator.store.rows import (
    ErasedPair,
    LetGo,
    NewEntry,
    NewRow,
    NewSubmission,
    StoredDecision,
    StoredItem,
    StoredSubmission,
)
from validator.store.store import Store
from validator.store.tree import FullTile

__all__ = [
    "ErasedPair",
    "FullTile",
    "LetGo",
    "NewEntry",
    "NewRow",
    "NewSubmission",
    "Store",
    "StoredDecision",
    "StoredItem",
    "StoredSubmission",
]
