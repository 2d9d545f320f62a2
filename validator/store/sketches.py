"""Sketches of accepted pairs: by them copies are found (`curiosity.serving.crowds`)."""

from collections.abc import Mapping

from sqlalchemy import delete, insert, select

from validator.store import schema
from validator.store.held import HeldRows

_c = schema.sketches.c


class SketchRows(HeldRows):
    """The part of a store that knows what copies of accepted pairs look like."""

    def sketches(self, first: int, last: int) -> dict[int, tuple[bytes, bytes]]:
        """Return both items' packed sketches by ledger index, from ``first`` to ``last``, both included."""
        rows = self._database.read(select(_c.leaf_index, _c.a, _c.b).where(_c.leaf_index.between(first, last)))
        return {row["leaf_index"]: (row["a"], row["b"]) for row in rows}

    def keep_sketches(self, sketches: Mapping[int, tuple[bytes, bytes]]) -> None:
        """Keep sketches by ledger index, durably. They go when their pair is erased; keep none of one that is."""
        if not sketches:
            return
        with self._database.write() as connection:
            connection.execute(delete(schema.sketches).where(_c.leaf_index.in_(list(sketches))))
            rows = [{"leaf_index": index, "a": a, "b": b} for index, (a, b) in sketches.items()]
            connection.execute(insert(schema.sketches), rows)
