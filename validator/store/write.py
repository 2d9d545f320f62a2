"""What one transaction of the ledger writes, and what it takes away.

In order: entries, tiles, pairs; contents that are not known yet, in a synced pack or in the table of items; what the
rows erase is removed from the tables and noted as to be scrubbed; commit; scrub. Contents of pairs whose items are not
to be kept are not written at all.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, case, delete, func, insert, or_, select, update

from curiosity.protocol.errors import StoreError
from curiosity.protocol.pair import Item
from validator.store import schema
from validator.store.bulk import (
    SqlRow,
    insert_rows,
    select_rows,
    with_keys,
)
from validator.store.contents import SeenContents
from validator.store.database import Database
from validator.store.held import erase_held, give_way, hold, replaced_by_erased
from validator.store.packs import MAX_INLINE_BYTES, Packs
from validator.store.rows import ErasedPair, LetGo, NewRow, NewSubmission
from validator.store.tree import FullTile

_log = logging.getLogger(__name__)
_KEYS_PER_QUERY = 500


@dataclass(frozen=True)
class _Use:
    """A content of a batch: who describes it, and how many halves of pairs it is."""

    item: Item
    is_accepted: bool
    uses: int
    accepted_uses: int


def _is_large(use: _Use) -> bool:
    return len(use.item.data) > MAX_INLINE_BYTES


class Writer:
    """Writes for one store; the database's lock keeps its transactions apart."""

    def __init__(self, database: Database, packs: Packs | None) -> None:
        self._database = database
        self._packs = packs
        self.seen: SeenContents | None = None  # not every writer keeps it

    def append(self, rows: Sequence[NewRow], tiles: Sequence[FullTile]) -> None:
        """See `Store.append`."""
        erases = [index for row in rows for index in row.erases]
        with self._database.write() as connection:
            if gone := replaced_by_erased(connection, rows):
                _erase(connection, gone)
            rows, here = give_way(connection, rows)
            submissions = [row.submission for row in rows if isinstance(row.submission, NewSubmission)]
            described = _describe(submissions, here)
            known = self._known(connection, described.values())
            if self.seen is not None:
                self.seen.note(described)
            pairs = [_pair_row(row.index, row.submission) for row in rows if row.submission is not None]
            insert_rows(connection, schema.entries, [(row.index, row.leaf, row.note) for row in rows])
            insert_rows(connection, schema.pairs, pairs)
            hold(connection, rows, here)
            insert_rows(connection, schema.sketches, _sketch_rows(rows))
            insert_rows(connection, schema.tiles, [_tile_row(tile) for tile in tiles])
            new = [use for digest, use in described.items() if digest not in known]
            places = self._pack(connection, new)
            items = [_item_row(use, places.get(use.item.digest)) for use in new]
            insert_rows(connection, schema.items, items, on_conflict=_USE_KNOWN_ITEM)
            again = [_use_again(use) for digest, use in described.items() if digest in known]
            if again:
                connection.execute(_USE_AGAIN, again)
            if erases:
                _erase(connection, erases)
        if erases or gone:
            self.scrub()

    def _known(self, connection: Connection, uses: Iterable[_Use]) -> set[bytes]:
        """Return which contents are stored. SQLite need not say it of small ones: their insert finds out."""
        is_asked = _is_large if self._database.is_sqlite else bool
        keys = [(use.item.digest,) for use in uses if is_asked(use)]
        if self.seen is not None:
            keys = [key for key in keys if self.seen.may_hold(*key)]
        known: set[bytes] = set()
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            head, parameters = with_keys(self._database.is_sqlite, keys[start : start + _KEYS_PER_QUERY])
            query = f"{head}SELECT sha256 FROM k CROSS JOIN items WHERE sha256 = k.k0"  # noqa: S608
            known.update(row[0] for row in select_rows(connection, query, parameters))
        return known

    def _pack(self, connection: Connection, new: Sequence[_Use]) -> dict[bytes, tuple[int, int]]:
        """Make the large contents durable in a pack and return where each is, by digest."""
        large = [use.item for use in new if _is_large(use)]
        if self._packs is None or not large:
            return {}
        if not self._packs.is_open:
            self._packs.open_at(*_end_of_packs(connection))
        places = self._packs.append([item.data for item in large])
        return {item.digest: place for item, place in zip(large, places, strict=True)}

    def give_up(self, last: int) -> int:
        """See `Store.give_up`."""
        with self._database.write() as connection:
            return connection.execute(delete(schema.held).where(schema.held.c.leaf_index <= last)).rowcount

    def expire(self, before: int, most: int) -> LetGo:
        """See `Store.expire`."""
        c = schema.pairs.c
        is_held = c.leaf_index.in_(select(schema.held.c.leaf_index))
        is_due = ~c.is_accepted & (c.items_since < before) & ~is_held
        with self._database.write() as connection:
            due = connection.scalars(
                select(c.leaf_index).where(is_due).order_by(c.items_since, c.leaf_index).limit(most)
            ).all()
            if not due:
                return LetGo()
            done = _let_go(connection, c.leaf_index.in_(due))
            connection.execute(update(schema.pairs).where(c.leaf_index.in_(due)).values(items_since=None))
        self.scrub()
        return done

    def check_packs(self) -> None:
        """Cut off what no row knows.

        Raises:
            StoreError: BLOB_CORRUPT, naming the first bad index, if a pack is short.
        """
        if self._packs is None or self._packs.is_open:
            return
        ends = select(_items.pack, func.max(_items.start + _items.size).label("end")).group_by(_items.pack)
        for row in self._database.read(ends.where(_items.pack.is_not(None))):
            if (size := self._packs.size(row["pack"])) < row["end"]:
                c = schema.pairs.c
                held = or_(c.a_sha256 == _items.sha256, c.b_sha256 == _items.sha256)
                lost = (_items.pack == row["pack"]) & (_items.start + _items.size > size)
                first = select(func.min(c.leaf_index).label("first")).where(held, lost)
                (bad,) = self._database.read(first)
                raise StoreError(
                    "BLOB_CORRUPT",
                    f"pack {row['pack']} has {size} bytes, expected {row['end']}; first bad index {bad['first']}",
                    "Restore the packs of the newest copy; they are never shorter than their database.",
                )
        with self._database.write() as connection:
            end = _end_of_packs(connection)
        if end != (0, 0) or self._packs.size(0):
            self._packs.open_at(*end)

    def scrub(self) -> bool:
        """Overwrite the extents that nobody has any more, then SQLite's log.

        False if readers still keep the log from being emptied.

        Raises:
            StoreError: BLOB_UNWRITABLE.
        """
        c = schema.scrubs.c
        extents = self._database.read(select(c.pack, c.start, c.size))
        for extent in extents:
            if self._packs is None:
                raise StoreError(
                    "BLOB_FOLDER", "erased content lies in a pack, no folder is set", "Set the blob folder."
                )
            self._packs.scrub(extent["pack"], extent["start"], extent["size"])
        if extents:
            with self._database.write() as connection:
                for extent in extents:
                    connection.execute(
                        delete(schema.scrubs).where(c.pack == extent["pack"], c.start == extent["start"])
                    )
        if self._database.empty_log():
            return True
        _log.warning("erase=pending reason=readers the write-ahead log is emptied at the next erase or start")
        return False


def _describe(submissions: Sequence[NewSubmission], here: Collection[bytes] = ()) -> dict[bytes, _Use]:
    """Return each content that is to be kept once; the first accepted pair says what it is, not a refused one.

    Pairs with a digest in ``here`` hold their items already.
    """
    described: dict[bytes, _Use] = {}
    for submission in submissions:
        if submission.items_since is None:
            continue
        accepted, more = submission.accepted, int(submission.pair not in here)
        for item in (submission.a, submission.b):
            if not item.modality:  # there is none
                continue
            known = described.get(item.digest)
            if known is None:
                described[item.digest] = _Use(item, accepted, more, int(accepted))
                continue
            says_better = accepted and not known.is_accepted
            described[item.digest] = _Use(
                item if says_better else known.item,
                known.is_accepted or accepted,
                known.uses + more,
                known.accepted_uses + accepted,
            )
    return described


def _tile_row(tile: FullTile) -> SqlRow:
    return tile.level, tile.position, tile.root, tile.middle, tile.hashes


def _item_row(use: _Use, place: tuple[int, int] | None) -> SqlRow:
    item = use.item
    data, pack, start = (item.data, None, None) if place is None else (None, *place)
    said = item.digest, item.modality, item.media_type, len(item.data), use.is_accepted
    return *said, use.uses, data, pack, start, use.accepted_uses


def _pair_row(index: int, pair: NewSubmission | ErasedPair) -> SqlRow:
    key = index, pair.pair, pair.contributor
    if isinstance(pair, ErasedPair):
        return *key, None, None, None, pair.accepted, True, None, None, None, None
    contents = pair.nonce, pair.a.digest, pair.b.digest
    return *key, *contents, pair.accepted, False, pair.envelope, pair.embeddings, pair.opening, pair.items_since


def _sketch_rows(rows: Sequence[NewRow]) -> list[SqlRow]:
    pairs = [(row.index, row.submission) for row in rows]
    return [
        (index, *pair.sketches)
        for index, pair in pairs
        if isinstance(pair, NewSubmission) and pair.sketches is not None
    ]


_items = schema.items.c
_says_better = bindparam("accepted") & ~_items.is_accepted  # an accepted pair, where only refused ones spoke yet
_USE_AGAIN = (
    update(schema.items)
    .where(_items.sha256 == bindparam("digest"))
    .values(
        uses=_items.uses + bindparam("more"),
        accepted_uses=_items.accepted_uses + bindparam("more_accepted"),
        modality=case((_says_better, bindparam("said_modality")), else_=_items.modality),
        media_type=case((_says_better, bindparam("said_media_type")), else_=_items.media_type),
        is_accepted=or_(_items.is_accepted, bindparam("accepted")),
    )
)


_USE_KNOWN_ITEM = (
    " ON CONFLICT (sha256) DO UPDATE SET uses = uses + excluded.uses,"
    " accepted_uses = accepted_uses + excluded.accepted_uses,"
    " modality = CASE WHEN excluded.is_accepted > is_accepted THEN excluded.modality ELSE modality END,"
    " media_type = CASE WHEN excluded.is_accepted > is_accepted THEN excluded.media_type ELSE media_type END,"
    " is_accepted = MAX(is_accepted, excluded.is_accepted)"
)


def _use_again(use: _Use) -> dict[str, object]:
    return {
        "digest": use.item.digest,
        "more": use.uses,
        "more_accepted": use.accepted_uses,
        "accepted": use.is_accepted,
        "said_modality": use.item.modality,
        "said_media_type": use.item.media_type,
    }


def _end_of_packs(connection: Connection) -> tuple[int, int]:
    """Return the last pack and its length as the database knows them, extents that wait for their erasure included."""
    ends = []
    for c in (schema.items.c, schema.scrubs.c):
        last = select(c.pack, c.start + c.size).where(c.pack.is_not(None)).order_by(c.pack.desc(), c.start.desc())
        ends += [(int(pack), int(end)) for pack, end in connection.execute(last.limit(1)) if pack is not None and end]
    return max(ends, default=(0, 0))


def _erase(connection: Connection, indices: Sequence[int]) -> None:
    """Remove what the pairs at these entries hold, and note the extents of packs that nobody needs any more."""
    c = schema.pairs.c
    is_due = c.leaf_index.in_(indices) & ~c.is_erased
    erase_held(connection, indices)
    connection.execute(delete(schema.finals).where(schema.finals.c.leaf_index.in_(indices)))
    connection.execute(delete(schema.sketches).where(schema.sketches.c.leaf_index.in_(indices)))
    _let_go(connection, is_due & c.items_since.is_not(None))
    connection.execute(
        update(schema.pairs)
        .where(is_due)
        .values(
            is_erased=True,
            nonce=None,
            a_sha256=None,
            b_sha256=None,
            envelope=None,
            embeddings=None,
            opening=None,
            items_since=None,
        )
    )


def _let_go(connection: Connection, which: ColumnElement[bool]) -> LetGo:
    """Count the items of these pairs, which hold them, as held by so many fewer, and remove what nobody holds."""
    c = schema.pairs.c
    uses: Counter[bytes] = Counter()
    accepted: Counter[bytes] = Counter()
    pairs = connection.execute(select(c.a_sha256, c.b_sha256, c.is_accepted).where(which)).all()
    for a, b, is_accepted in pairs:
        halves = [digest for digest in (a, b) if digest is not None]
        uses.update(halves)
        if is_accepted:
            accepted.update(halves)
    for digest, count in uses.items():
        fewer = {"uses": _items.uses - count, "accepted_uses": _items.accepted_uses - accepted[digest]}
        connection.execute(update(schema.items).where(_items.sha256 == digest).values(fewer))
    unused = _items.sha256.in_(list(uses)) & (_items.uses <= 0)
    freed = connection.execute(select(_items.pack, _items.start, _items.size).where(unused)).all()
    for pack, start, size in freed:
        if pack is not None:
            connection.execute(insert(schema.scrubs).values(pack=pack, start=start, size=size))
    connection.execute(delete(schema.items).where(unused))
    return LetGo(len(pairs), len(freed), sum(size for _, _, size in freed))
