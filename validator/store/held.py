"""Held pairs that are judged again, and what their earlier entries commit to.

A pair has one row, that of its newest entry. When a held pair is judged again, the row gives way: what the earlier
entry commits to goes into a table of its own, in the transaction that writes the new entry.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sqlalchemy import Connection, RowMapping, delete, func, insert, literal, select, true

from curiosity.protocol.entry import MAX_TRIES
from validator.store import schema
from validator.store.bulk import SqlRow, insert_rows
from validator.store.finals import FinalRows
from validator.store.rows import ErasedPair, NewRow, NewSubmission, StoredDecision, StoredSubmission

_PAGE = 4096
_pairs, _held, _earlier, _entries = schema.pairs.c, schema.held.c, schema.earlier.c, schema.entries.c


class HeldRows(FinalRows):
    """The part of a store that knows which pairs are held, and their earlier entries."""

    def count_held(self) -> int:
        """Return how many held pairs wait to be judged again."""
        (row,) = self._database.read(select(func.count().label("held")).select_from(schema.held))
        return int(row["held"])

    def held(self, checkpoint: bytes, after: int, most: int) -> list[StoredSubmission]:
        """Return up to ``most`` held pairs behind index ``after``, in order, that another checkpoint holds."""
        rows = self._database.read(
            select(
                _pairs.leaf_index, _pairs.pair, _pairs.envelope, _pairs.embeddings, _pairs.opening, _pairs.items_since,
                _entries.leaf,
            )
            .join(schema.held, _held.leaf_index == _pairs.leaf_index)
            .join(schema.entries, _entries.leaf_index == _pairs.leaf_index)
            .where(_held.leaf_index > after, _held.checkpoint != checkpoint, ~_pairs.is_erased)
            .order_by(_held.leaf_index)
            .limit(most)
        )  # fmt: skip
        return [_submission(row) for row in rows]

    def held_beyond(self, most_bytes: int) -> int:
        """Return the index of the newest held pair that is one too many; -1 if none is.

        The items of the held pairs behind it have at most ``most_bytes`` together, each content counted once.
        """
        a, b = schema.items.alias("a"), schema.items.alias("b")
        what = select(
            _held.leaf_index, _pairs.a_sha256, _pairs.b_sha256, a.c.size.label("a_size"), b.c.size.label("b_size")
        ).join(schema.pairs, _held.leaf_index == _pairs.leaf_index)
        what = what.join(a, a.c.sha256 == _pairs.a_sha256).join(b, b.c.sha256 == _pairs.b_sha256)
        seen: set[bytes] = set()
        size, last = 0, None
        while rows := self._database.read(
            what.where(true() if last is None else _held.leaf_index < last)
            .order_by(_held.leaf_index.desc())
            .limit(_PAGE)
        ):
            for row in rows:
                new = {row["a_sha256"]: row["a_size"], row["b_sha256"]: row["b_size"]}
                size += sum(new[digest] for digest in new.keys() - seen)
                seen.update(new)
                last = int(row["leaf_index"])
                if size > most_bytes:
                    return last
        return -1

    def earlier_submissions(self, start: int, count: int) -> list[StoredSubmission]:
        """Return the pairs behind the earlier entries from index ``start`` on, at most ``count``, in order."""
        rows = self._database.read(
            select(
                _earlier.leaf_index, _earlier.pair, _pairs.envelope, _earlier.embeddings, _earlier.opening,
                literal(None).label("items_since"), _entries.leaf,
            )
            .join(schema.pairs, _pairs.pair == _earlier.pair)
            .join(schema.entries, _entries.leaf_index == _earlier.leaf_index)
            .where(_earlier.leaf_index >= start, ~_pairs.is_erased)
            .order_by(_earlier.leaf_index)
            .limit(count)
        )  # fmt: skip
        return [_submission(row) for row in rows]

    def find_earlier(self, pair: bytes, index: int) -> StoredDecision | None:
        """Return what the earlier entry at ``index`` decided about a pair."""
        rows = self._database.read(
            select(_earlier.pair, _earlier.embeddings, _earlier.opening, _entries.leaf, _entries.note)
            .join(schema.entries, _entries.leaf_index == _earlier.leaf_index)
            .where(_earlier.leaf_index == index, _earlier.pair == pair)
        )
        return StoredDecision(**rows[0], index=index, erased=False) if rows else None


def _submission(row: RowMapping) -> StoredSubmission:
    values = dict(row)
    return StoredSubmission(index=values.pop("leaf_index"), accepted=False, **values)


def give_way(connection: Connection, rows: Sequence[NewRow]) -> tuple[list[NewRow], dict[bytes, int]]:
    """Let the rows of pairs that are judged again give way.

    Returns:
        The rows to write; and of each pair whose items are here already, how often it was judged again by now.
    """
    done: list[NewRow] = []
    tries: dict[bytes, int] = {}
    for row in rows:
        pair = row.submission
        known = None
        if pair is not None and pair.again:
            what = select(_pairs.leaf_index, _pairs.items_since, _held.tries)
            what = what.join(schema.held, _held.leaf_index == _pairs.leaf_index, isouter=True)
            known = connection.execute(what.where(_pairs.pair == pair.pair)).one_or_none()
        if pair is None or known is None:
            done.append(row)
            continue
        if isinstance(pair, NewSubmission):
            kept = select(_pairs.leaf_index, _pairs.pair, _pairs.embeddings, _pairs.opening)
            names = ["leaf_index", "pair", "embeddings", "opening"]
            connection.execute(
                insert(schema.earlier).from_select(names, kept.where(_pairs.leaf_index == known.leaf_index))
            )
            if known.items_since is not None:
                tries[pair.pair] = (MAX_TRIES if known.tries is None else known.tries) + 1
                pair = replace(pair, items_since=known.items_since if pair.items_since is None else pair.items_since)
        connection.execute(delete(schema.held).where(_held.leaf_index == known.leaf_index))
        connection.execute(delete(schema.pairs).where(_pairs.leaf_index == known.leaf_index))
        done.append(replace(row, submission=pair))
    return done, tries


def replaced_by_erased(connection: Connection, rows: Iterable[NewRow]) -> list[int]:
    """Return the indices of the pairs here of which a later entry comes that is erased by now."""
    gone = [pair.pair for row in rows if isinstance(pair := row.submission, ErasedPair) and pair.again]
    return list(connection.scalars(select(_pairs.leaf_index).where(_pairs.pair.in_(gone)))) if gone else []


def hold(connection: Connection, rows: Iterable[NewRow], tries: dict[bytes, int]) -> None:
    """Note which of these pairs are judged again: those that are held, have their items and were not too often."""
    held: list[SqlRow] = []
    for row in rows:
        pair = row.submission
        if isinstance(pair, NewSubmission) and pair.held_under is not None and pair.items_since is not None:
            done = tries.get(pair.pair, MAX_TRIES if pair.again else 0)
            if done < MAX_TRIES:
                held.append((row.index, pair.held_under, done))
    insert_rows(connection, schema.held, held)


def erase_held(connection: Connection, indices: Sequence[int]) -> None:
    """Remove what the earlier entries of the pairs at these indices commit to, and judge none of them again."""
    pairs = select(_pairs.pair).where(_pairs.leaf_index.in_(indices))
    connection.execute(delete(schema.earlier).where(_earlier.pair.in_(pairs)))
    connection.execute(delete(schema.held).where(_held.leaf_index.in_(indices)))
