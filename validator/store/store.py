"""The store: entries, tiles, pairs and items in one database and its packs, behind plain values.

Thread-safe. Reads go through a pool of read-only connections, writes through one connection under a lock; the ledger is
the only caller of `Store.append`. Every database error leaves as a StoreError with its remedy.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, func, select

from curiosity.protocol.errors import StoreError
from curiosity.protocol.pair import NO_PART
from validator.store import schema
from validator.store.bulk import with_keys
from validator.store.contents import SeenContents
from validator.store.database import AnyRow, Database
from validator.store.packs import Packs
from validator.store.rows import LetGo, NewRow, StoredDecision, StoredItem, StoredSubmission
from validator.store.sketches import SketchRows
from validator.store.tree import FullTile
from validator.store.write import Writer

_PAGE = 256  # rows that an iterator holds at a time
_KEYS_PER_QUERY = 500
_CONTENTS = {"is_accepted": "pairs_accepted_contents", "NOT is_accepted": "pairs_refused_contents"}
"""Which pairs each index of contents holds, as it is spelled there."""


class Store(SketchRows):
    """One open store. Made by `Store.open`."""

    def __init__(self, database: Database, packs: Packs | None) -> None:
        super().__init__(database)
        self._packs = packs
        self._writer = Writer(database, packs)

    @classmethod
    def open(cls, url: str, *, blob_folder: Path | None = None) -> "Store":
        """Return the store at ``url``, its schema brought up to date.

        ``sqlite:///path`` keeps items above 16 KiB in packs under ``<path>.blobs``; ``postgresql+psycopg://...`` keeps
        all in the database unless ``blob_folder`` names a folder for the large ones.

        Raises:
            StoreError: As `Database`.
        """
        database = Database(url)
        if blob_folder is None and database.file is not None:
            blob_folder = database.file.with_name(database.file.name + ".blobs")
        return cls(database, Packs(blob_folder) if blob_folder is not None else None)

    def close(self) -> None:
        """Close every connection and let another process write the ledger."""
        if self._packs is not None:
            self._packs.close()
        self._database.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def claim_ledger(self, on_renewal: Callable[[], None] | None = None) -> None:
        """Make this process the only writer of the ledger until it closes the store or ends; see `Database`.

        Raises:
            StoreError: LEDGER_IN_USE if another one is.
        """
        self._database.claim_ledger(on_renewal)

    def make_ready(self) -> None:
        """Make sure of the writing connection and of the claim.

        Raises:
            StoreError: ; nothing is written then.
        """
        self._database.make_ready()

    def append(self, rows: Sequence[NewRow], tiles: Sequence[FullTile]) -> None:
        """Make entries, tiles, pairs and items durable in one transaction. Only the ledger calls this.

        Large contents are synced in their pack before it commits. What the rows erase is gone from the tables with the
        commit and from packs and write-ahead log when this returns.

        Raises:
            StoreError: ; then none of the rows are there, except after STORE_UNREACHABLE during the commit or
                BLOB_UNWRITABLE while erasing, when nobody can know.
        """
        self._writer.append(rows, tiles)

    def check_packs(self) -> None:
        """Cut off what packs hold behind the last content; only once the ledger is known to extend its head.

        Raises:
            StoreError: BLOB_CORRUPT, naming the first bad index, if a pack is shorter than the database says.
        """
        self._writer.check_packs()

    def finish_erasures(self) -> bool:
        """Overwrite what was erased by a process that ended before it had done so.

        False if readers still keep SQLite from emptying its log, which holds older copies of what was erased.

        Raises:
            StoreError: If it cannot be written.
        """
        return self._writer.scrub()

    def give_up(self, last: int) -> int:
        """Judge the held pairs up to index ``last`` no more: their items are those of refused ones. Return how many.

        Raises:
            StoreError: If it cannot be written.
        """
        return self._writer.give_up(last)

    def expire(self, before: int, most: int) -> LetGo:
        """Let go the items of refused pairs that came before a time (Unix seconds): the oldest ``most`` pairs.

        What another pair holds stays; entry, envelope, verdict and hashes stay. The bytes are gone from tables and
        packs when this returns.

        Raises:
            StoreError: If they cannot be removed.
        """
        return self._writer.expire(before, most)

    def remember_contents(self, page: int = 10_000) -> None:
        """Keep in memory which contents there are, so that appending need not ask about new ones.

        Only after `claim_ledger`: what another process stored would not be noticed. Reads the digests of all items,
        ``page`` at a time.
        """
        self._writer.seen = SeenContents(self._digests(page))

    def _digests(self, page: int) -> Iterator[bytes]:
        last = b""
        query = f"SELECT sha256 FROM items WHERE sha256 > {self._mark} ORDER BY sha256 LIMIT {page}"  # noqa: S608
        while rows := self._database.rows(query, (last,)):
            last = rows[-1][0]
            yield from (row[0] for row in rows)

    def read(self, statement: Select[*tuple[Any, ...]]) -> Sequence[RowMapping]:
        """Return the rows of a query over `validator.store.schema`, for the store's own package."""
        return self._database.read(statement)

    def size(self) -> int:
        """Return the number of entries: one more than the highest index."""
        (row,) = self._database.read(select(func.max(schema.entries.c.leaf_index).label("last")))
        return 0 if row["last"] is None else int(row["last"]) + 1

    def entries(self, start: int, count: int) -> list[tuple[int, bytes, str]]:
        """Return (index, leaf, receipt note) of the entries from ``start`` on, at most ``count``; gaps stay gaps."""
        return [(row[0], row[1], row[2]) for row in self._entries("leaf_index, leaf, note", start, count)]

    def leaves(self, start: int, count: int) -> list[bytes]:
        """Return the leaves from ``start`` on, at most ``count``."""
        return [row[0] for row in self._entries("leaf", start, count)]

    def indexed_leaves(self, start: int, count: int) -> list[tuple[int, bytes]]:
        """Return (index, leaf) of the entries from ``start`` on, at most ``count``; gaps stay gaps."""
        return [(row[0], row[1]) for row in self._entries("leaf_index, leaf", start, count)]

    def _entries(self, columns: str, start: int, count: int) -> Sequence[AnyRow]:
        mark = self._mark
        return self._database.rows(
            f"SELECT {columns} FROM entries WHERE leaf_index BETWEEN {mark} AND {mark} ORDER BY leaf_index",  # noqa: S608
            (start, start + count - 1),
        )

    @property
    def _mark(self) -> str:
        return "?" if self._database.is_sqlite else "%b"

    def tiles(self, level: int, start: int, count: int) -> dict[int, FullTile]:
        """Return the full tiles of a tile level from position ``start`` on, at most ``count``, by position."""
        mark = self._mark
        rows = self._database.rows(
            "SELECT position, root, middle, hashes FROM tiles"  # noqa: S608
            f" WHERE level = {mark} AND position BETWEEN {mark} AND {mark}",
            (level, start, start + count - 1),
        )
        return {row[0]: FullTile(level, row[0], row[1], row[2], row[3]) for row in rows}

    def tile_roots(self, level: int, start: int, count: int) -> dict[int, bytes]:
        """Return the hash above each full tile of a tile level, by position, from ``start`` on, at most ``count``."""
        c = schema.tiles.c
        rows = self._database.read(
            select(c.position, c.root).where(c.level == level, c.position.between(start, start + count - 1))
        )
        return {row["position"]: row["root"] for row in rows}

    def find_nonces(self, keys: Sequence[tuple[bytes, bytes]]) -> dict[tuple[bytes, bytes], StoredDecision]:
        """Return what was answered to each known (contributor, nonce)."""
        rows = self._matching(_DECISIONS, "pairs.contributor = k.k0 AND pairs.nonce = k.k1", keys)
        return {(row[1], row[2]): _decision(row) for row in rows}

    def nonces(self, page: int = 10_000) -> Iterator[tuple[bytes, bytes]]:
        """Yield (contributor, nonce) of every pair that is not erased, in their order, ``page`` rows at a time."""
        mark = self._mark
        last = b"", b""
        while rows := self._database.rows(
            "SELECT contributor, nonce FROM pairs"  # noqa: S608
            f" WHERE (contributor, nonce) > ({mark}, {mark}) AND nonce IS NOT NULL"
            f" ORDER BY contributor, nonce LIMIT {page}",
            last,
        ):
            last = rows[-1][0], rows[-1][1]
            yield from ((row[0], row[1]) for row in rows)

    def find_pair(self, pair: bytes) -> StoredDecision | None:
        """Return what was answered to the pair with this digest."""
        return self.find_pairs([pair]).get(pair)

    def find_pairs(self, pairs: Sequence[bytes]) -> dict[bytes, StoredDecision]:
        """Return what was answered to each known pair, erased ones included, whose nonces are gone."""
        rows = self._matching(_DECISIONS, "pairs.pair = k.k0", [(pair,) for pair in pairs])
        return {row[0]: _decision(row) for row in rows}

    def known_contents(self, keys: Sequence[tuple[bytes, bytes]]) -> dict[tuple[bytes, bytes], int]:
        """Return the index of the accepted pair of each (SHA-256 of a, SHA-256 of b) that has one."""
        if (seen := self._writer.seen) is not None:
            keys = [key for key in keys if all(seen.may_hold(one) for one in key if one != NO_PART.sha256)]
        rows = self._matching(
            "SELECT a_sha256, b_sha256, leaf_index FROM k CROSS JOIN pairs",
            "pairs.is_accepted AND pairs.a_sha256 = k.k0 AND pairs.b_sha256 = k.k1",
            keys,
        )
        return {(row[0], row[1]): row[2] for row in rows}

    def _matching(self, selection: str, condition: str, keys: Sequence[tuple[bytes, ...]]) -> list[AnyRow]:
        found: list[AnyRow] = []
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            head, parameters = with_keys(self._database.is_sqlite, keys[start : start + _KEYS_PER_QUERY])
            found += self._database.rows(f"{head}{selection} WHERE {condition}", parameters)
        return found

    def submissions(self, start: int, count: int) -> list[StoredSubmission]:
        """Return the pairs behind the entries from index ``start`` on, at most ``count`` entries, in order.

        A pair that was judged again comes with each of its entries. Erased pairs are left out.
        """
        rows = [*self._submissions(start, count), *self.earlier_submissions(start, count)]
        return sorted(rows, key=lambda row: row.index)[:count]

    def pairs_with(self, digests: Collection[bytes]) -> list[StoredSubmission]:
        """Return the pairs, refused ones too, that hold one of these contents as either half, in order.

        By the two indexes of contents alone: of a first half it is looked up, for a second half all of them is read,
        some 80 bytes a pair. Erased pairs are left out.
        """
        found: set[int] = set()
        for start in range(0, len(digests), _KEYS_PER_QUERY):
            page = list(digests)[start : start + _KEYS_PER_QUERY]
            is_one = f"IN ({', '.join('?' * len(page))})" if self._database.is_sqlite else "= ANY(%b::bytea[])"
            # Told by name, or SQLite would rather look at every pair, of forty times the bytes.
            parts = [
                f"SELECT leaf_index FROM pairs {by} WHERE {which} AND {side} {is_one}"  # noqa: S608
                for which, index in _CONTENTS.items()
                for side in ("a_sha256", "b_sha256")
                for by in [f"INDEXED BY {index}" if self._database.is_sqlite else ""]
            ]
            parameters = tuple(page if self._database.is_sqlite else [page]) * len(parts)
            found.update(row[0] for row in self._database.rows(" UNION ".join(parts), parameters))
        return self._at(sorted(found))

    def refused_copies(self, contents: Collection[tuple[bytes, bytes]]) -> list[StoredSubmission]:
        """Return the refused pairs of one of these two contents (SHA-256 of a, of b), in order, without erased ones."""
        condition = "NOT pairs.is_accepted AND pairs.a_sha256 = k.k0 AND pairs.b_sha256 = k.k1"
        rows = self._matching("SELECT leaf_index FROM k CROSS JOIN pairs", condition, list(contents))
        return self._at(sorted(row[0] for row in rows))

    def _at(self, indices: Sequence[int]) -> list[StoredSubmission]:
        pages = (indices[start : start + _KEYS_PER_QUERY] for start in range(0, len(indices), _KEYS_PER_QUERY))
        return [row for page in pages for row in self._submissions(0, None, schema.pairs.c.leaf_index.in_(page))]

    def accepted(self, start: int = 0, count: int | None = None) -> Iterator[StoredSubmission]:
        """Yield the accepted pairs from index ``start`` on in order, at most ``count``, a page at a time.

        Erased pairs are left out.
        """
        left = count
        while left is None or left > 0:
            page = self._submissions(start, _PAGE if left is None else min(_PAGE, left), schema.pairs.c.is_accepted)
            if not page:
                return
            yield from page
            start = page[-1].index + 1
            left = None if left is None else left - len(page)

    def _submissions(
        self, start: int, count: int | None, condition: ColumnElement[bool] | None = None
    ) -> list[StoredSubmission]:
        c = schema.pairs.c
        statement = (
            select(
                c.leaf_index,
                c.pair,
                c.is_accepted,
                c.envelope,
                c.embeddings,
                c.opening,
                c.items_since,
                schema.entries.c.leaf,
            )
            .join(schema.entries, schema.entries.c.leaf_index == c.leaf_index)
            .where(c.leaf_index >= start, ~c.is_erased)
            .order_by(c.leaf_index)
            .limit(count)
        )
        rows = self._database.read(statement if condition is None else statement.where(condition))
        return [
            StoredSubmission(
                index=row["leaf_index"],
                pair=row["pair"],
                accepted=row["is_accepted"],
                envelope=row["envelope"],
                leaf=row["leaf"],
                embeddings=row["embeddings"],
                opening=row["opening"],
                items_since=row["items_since"],
            )
            for row in rows
        ]

    def item(self, digest: bytes) -> StoredItem | None:
        """Return what is known of the content with this SHA-256."""
        c = schema.items.c
        columns = select(c.sha256, c.modality, c.media_type, c.size, c.accepted_uses)
        rows = self._database.read(columns.where(c.sha256 == digest))
        return StoredItem(**rows[0]) if rows else None

    def blob(self, digest: bytes) -> bytes | None:
        """Return the content with this SHA-256.

        Raises:
            StoreError: BLOB_CORRUPT if what is stored is not it.
        """
        c = schema.items.c
        rows = self._database.read(select(c.data, c.pack, c.start, c.size).where(c.sha256 == digest))
        if not rows:
            return None
        (row,) = rows
        data: bytes | None = row["data"]
        where = "the database"
        if row["pack"] is not None:
            where = f"pack {row['pack']} at {row['start']}"
            data = self._packs_or_refuse().read(row["pack"], row["start"], row["size"])
        if data is None or sha256(data).digest() != digest:
            raise StoreError(
                "BLOB_CORRUPT",
                f"the content {digest.hex()} in {where} is {'missing' if data is None else 'changed'}",
                "Restore it from a copy; its name is its SHA-256.",
            )
        return data

    def _packs_or_refuse(self) -> Packs:
        if self._packs is None:
            raise StoreError("BLOB_FOLDER", "the content lies in a pack, no folder is set", "Set the blob folder.")
        return self._packs


_DECISIONS = (
    "SELECT pairs.pair, pairs.contributor, pairs.nonce, pairs.leaf_index, entries.leaf, entries.note,"
    " pairs.embeddings, pairs.opening, pairs.is_erased"
    " FROM k CROSS JOIN pairs JOIN entries ON entries.leaf_index = pairs.leaf_index"
)


def _decision(row: AnyRow) -> StoredDecision:
    return StoredDecision(
        pair=row[0], index=row[3], leaf=row[4], note=row[5], embeddings=row[6], opening=row[7], erased=bool(row[8])
    )  # fmt: skip
