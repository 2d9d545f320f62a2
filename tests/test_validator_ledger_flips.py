"""One flipped bit anywhere in a store: the audit names the entry that it belongs to."""

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from curiosity.protocol.errors import StoreError
from curiosity.protocol.pair import Item
from tests.material.ledger import (
    DOMAIN,
    Opened,
    make_entries,
    make_entry,
    make_pair,
    open_ledger,
    submission_of,
    tamper,
)
from validator.ledger import NewEntry
from validator.store.packs import MAX_INLINE_BYTES

PAIR_COLUMNS = ("pair", "contributor", "nonce", "a_sha256", "b_sha256", "envelope", "embeddings", "opening")
PLACES = ("leaf", "note", "tile hashes", "tile middle", "tile root", "item", *PAIR_COLUMNS)


def flip(data: bytes, bit: int) -> bytes:
    """Return the bytes with one bit changed."""
    return data[: bit // 8] + bytes([data[bit // 8] ^ (1 << bit % 8)]) + data[bit // 8 + 1 :]


class Flipper:
    """Flips a bit of a ledger's store and can put it back."""

    def __init__(self, url: str, folder: Path, opened: Opened, chance: random.Random) -> None:
        self._url, self._folder, self._opened, self._chance = url, folder, opened, chance

    def flip(self, place: str) -> tuple[int, Callable[[], None]]:
        """Flip one bit there; return the index that must be named and what undoes it."""
        size = self._opened.ledger.size
        index = self._chance.randrange(size)
        if place.startswith("tile "):
            return self._flip_tile(place.removeprefix("tile "), self._chance.randrange(size // 256))
        if place == "item":
            return self._flip_item(index)
        if place in ("leaf", "note"):
            return self._flip_column("entries", place, "leaf_index = :key", index, index)
        return self._flip_column("pairs", place, "leaf_index = :key", index, index)

    def _flip_tile(self, column: str, position: int) -> tuple[int, Callable[[], None]]:
        tile = self._opened.store.tiles(0, position, 1)[position]
        bit = self._chance.randrange(8 * len(getattr(tile, column)))
        index = tile.leaf_below(bit // 256) if column == "hashes" else tile.first_leaf
        return self._flip_column("tiles", column, "position = :key AND level = 0", position, index, bit)

    def _flip_item(self, index: int) -> tuple[int, Callable[[], None]]:
        item: Item = self._chance.choice([submission_of(make_entry(index)).a, submission_of(make_entry(index)).b])
        bit = self._chance.randrange(8 * len(item.data))
        if len(item.data) <= MAX_INLINE_BYTES or not self._url.startswith("sqlite"):
            return self._flip_column("items", "data", "sha256 = :key", item.digest, index, bit)
        with tamper(self._url) as connection:
            query = text("SELECT pack, start FROM items WHERE sha256 = :key")
            pack, start = connection.execute(query, {"key": item.digest}).one()
        path = self._folder / "ledger.db.blobs" / f"{pack:08d}.pack"

        def put(byte: bytes) -> None:
            file = os.open(path, os.O_WRONLY)
            os.pwrite(file, byte, start + bit // 8)
            os.close(file)

        before = item.data[bit // 8 : bit // 8 + 1]
        put(flip(before, bit % 8))
        return index, lambda: put(before)

    def _flip_column(
        self, table: str, column: str, where: str, key: object, index: int, bit: int | None = None
    ) -> tuple[int, Callable[[], None]]:
        def put(connection: Connection, value: object) -> None:
            connection.execute(
                text(f"UPDATE {table} SET {column} = :value WHERE {where}"), {"value": value, "key": key}
            )

        with tamper(self._url) as connection:
            before = connection.scalar(text(f"SELECT {column} FROM {table} WHERE {where}"), {"key": key})
            data = before.encode() if isinstance(before, str) else bytes(before)
            # A text stays ASCII: a database would refuse, and not keep, a note that is no text.
            at = self._chance.randrange(len(data)) * 8 + self._chance.randrange(7) if bit is None else bit
            flipped = flip(data, at)
            put(connection, flipped.decode(errors="replace") if isinstance(before, str) else flipped)

        def undo() -> None:
            with tamper(self._url) as connection:
                put(connection, before)

        return index, undo


def audit(opened: Opened) -> None:
    """What `curiosity validator check --pairs` does."""
    opened.ledger.verify()
    opened.ledger.verify_pairs(DOMAIN)


def flip_campaign(url: str, folder: Path, size: int, flips: int) -> Counter[str]:
    """Flip one bit of one row, look that the audit names its entry, put it back; again with the next."""
    chance = random.Random(5)
    named: Counter[str] = Counter()
    with open_ledger(url, folder / "head") as opened:
        for start in range(0, size, 250):
            opened.ledger.append(make_entries(start, min(start + 250, size)))
        flipper = Flipper(url, folder, opened, chance)
        for number in range(flips):
            place = PLACES[number % len(PLACES)]
            index, undo = flipper.flip(place)
            with pytest.raises(StoreError, match="LEDGER_CORRUPT") as caught:
                audit(opened)
            assert f"first bad index {index}:" in caught.value.what, place
            undo()
            named[place] += 1
        audit(opened)
    return named


def test_an_audit_names_the_entry_of_a_flipped_bit(sqlite_url: str, tmp_path: Path) -> None:
    named = flip_campaign(sqlite_url, tmp_path, size=300, flips=len(PLACES))
    assert set(named) == set(PLACES)


@pytest.mark.slow
def test_an_audit_names_each_of_a_thousand_flipped_bits(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = flip_campaign(sqlite_url, tmp_path, size=520, flips=1000)
    with capsys.disabled():
        print(f"\n{named.total()} flipped bits, each named: {dict(named)}")


def test_an_audit_names_rows_that_are_missing_or_say_something_else(store_url: str, tmp_path: Path) -> None:
    with open_ledger(store_url, tmp_path / "head") as opened:
        opened.ledger.append([NewEntry(b'{"kind":"other"}'), *make_entries(1, 8), make_entry(8, accepted=False)])
        audit(opened)
        picture = submission_of(make_entry(5)).a.digest
        move = "UPDATE pairs SET leaf_index = {} WHERE leaf_index = {}"
        for index, damage, repair in (
            (2, not_("is_accepted", 2), not_("is_accepted", 2)),
            (3, not_("is_erased", 3), not_("is_erased", 3)),
            (0, move.format(0, 8), move.format(8, 0)),
            (7, move.format(70, 7), move.format(7, 70)),
            (5, f"DELETE FROM items WHERE sha256 = {literal(store_url, picture)}", "SELECT 1"),
        ):
            with tamper(store_url) as connection:
                connection.execute(text(damage))
            with pytest.raises(StoreError, match="LEDGER_CORRUPT") as caught:
                audit(opened)
            assert f"first bad index {index}:" in caught.value.what
            with tamper(store_url) as connection:
                connection.execute(text(repair))


def not_(column: str, index: int) -> str:
    """The statement that turns a yes into a no, and back."""
    return f"UPDATE pairs SET {column} = NOT {column} WHERE leaf_index = {index}"


def literal(url: str, data: bytes) -> str:
    """The bytes as they are written in a statement."""
    return f"x'{data.hex()}'" if url.startswith("sqlite") else f"'\\x{data.hex()}'::bytea"


def test_an_audit_passes_over_what_was_erased_or_never_copied(sqlite_url: str, tmp_path: Path) -> None:
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        opened.ledger.append([make_entry(0), make_entry(1, pair=make_pair(1, image=b"x" * 30_000)), make_entry(2)])
        opened.ledger.append([NewEntry(b'{"kind":"takedown"}', None, erases=(1,)), make_entry(3, accepted=False)])
        audit(opened)
        with tamper(sqlite_url) as connection:
            connection.execute(text("DELETE FROM pairs WHERE leaf_index = 4"))
        audit(opened)
        with tamper(sqlite_url) as connection:
            connection.execute(text("UPDATE pairs SET opening = :left WHERE leaf_index = 1"), {"left": b"a salt"})
        with pytest.raises(StoreError, match="first bad index 1: the pair is erased and still holds something"):
            audit(opened)
