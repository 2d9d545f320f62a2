"""The store: entries, tree nodes, pairs, items, epochs, on SQLite or PostgreSQL. The only home of SQLAlchemy."""

from validator.store.rows import (
    EpochStatus,
    NewRow,
    NewSubmission,
    Node,
    StoredDecision,
    StoredEpoch,
    StoredItem,
    StoredSubmission,
)
from validator.store.store import Store

__all__ = [
    "EpochStatus",
    "NewRow",
    "NewSubmission",
    "Node",
    "Store",
    "StoredDecision",
    "StoredEpoch",
    "StoredItem",
    "StoredSubmission",
]
