"""Embeddings of accepted pairs under checkpoints that did not judge them."""

from collections.abc import Collection, Mapping

from sqlalchemy import delete, insert, select

from validator.store import schema
from validator.store.blocked import BlockedRows

_c = schema.finals.c


class FinalRows(BlockedRows):
    """The part of a store that spares a start what a switch has embedded again."""

    def keep_finals(self, checkpoint: bytes, finals: Mapping[int, bytes]) -> None:
        """Keep embeddings by ledger index, durably. They go when their pair is erased; keep none of one that is."""
        if not finals:
            return
        rows = [
            {"leaf_index": index, "checkpoint": checkpoint, "vectors": vectors} for index, vectors in finals.items()
        ]
        with self._database.write() as connection:
            earlier = _c.leaf_index.in_(list(finals)) & (_c.checkpoint == checkpoint)
            connection.execute(delete(schema.finals).where(earlier))
            connection.execute(insert(schema.finals), rows)

    def finals(self, checkpoint: bytes, first: int, last: int) -> dict[int, bytes]:
        """Return what is kept under a checkpoint of the ledger indices from ``first`` to ``last``, both included."""
        chosen = (_c.checkpoint == checkpoint) & _c.leaf_index.between(first, last)
        rows = self._database.read(select(_c.leaf_index, _c.vectors).where(chosen))
        return {row["leaf_index"]: row["vectors"] for row in rows}

    def drop_finals(self, keep: Collection[bytes]) -> None:
        """Delete what is kept under any other checkpoint than these."""
        with self._database.write() as connection:
            connection.execute(delete(schema.finals).where(_c.checkpoint.not_in(keep)))
