"""A search among sketches: which earlier items of one modality are near copies of this one, exactly."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from curiosity.embedding.sketch import Bits

MAX_ROWS = 1 << 20
"""Rows of 256 bits that are kept of one modality, 45 MB: about 11,000 pictures, 70,000 sounds or a million texts."""

ALONE_SHARE = 4
"""Items that came alone have a room of their own, so many times smaller: a flood of them pushes out none of a pair."""

MAX_FOUND = 1024
"""Items that one search returns."""

_FIRST_BITS_SHARE = 5  # a copy differs in at most a fifth of its limit's bits in the first 64: see benchmarks.copies
_FIRST_MIN = 14


class _Room:
    """Items by how many rows they have, the oldest first, and how many rows all may have."""

    def __init__(self, max_rows: int) -> None:
        self.counts: OrderedDict[int, int] = OrderedDict()
        self.max_rows = max_rows
        self.live = 0

    def add(self, item: int, count: int) -> list[int]:
        """Take an item in; return the oldest ones that have to go for it."""
        gone: list[int] = []
        while self.counts and self.live + count > self.max_rows:
            gone.append(next(iter(self.counts)))
            self.remove(gone[-1])
        self.counts[item] = count
        self.live += count
        return gone

    def remove(self, item: int) -> None:
        self.live -= self.counts.pop(item, 0)


class NearItems:
    """Items by number, with their banks. Used by one thread at a time.

    Beyond ``max_rows`` the oldest items are let go of: copies of them are then found by their exact contents only.
    Items that came alone have a smaller room of their own, until a pair holds them.
    """

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._first = np.zeros(1024, dtype=np.uint64)  # the lowest waves of each row, side by side
        self._rows = np.zeros((1024, 4), dtype=np.uint64)
        self._items = np.full(1024, -1, dtype=np.int64)
        self._used = 0
        self._paired, self._alone = _Room(max_rows), _Room(max_rows // ALONE_SHARE)
        self._kept: dict[int, bytes] = {}

    def __len__(self) -> int:
        """Return how many items can be found."""
        return len(self._kept)

    def add(self, item: int, bank: Bits, kept: bytes = b"", *, alone: bool = False) -> None:
        """Let an item be found by its bank, uint64[n, 4].

        Args:
            item: Its number. One that is there stays as it is, but for its room if it came alone and does not now.
            bank: Its rows.
            kept: What a second look needs.
            alone: Whether no pair holds it.
        """
        if item in self._kept or not len(bank):
            if not alone:
                self.pair(item)
            return
        self._forget((self._alone if alone else self._paired).add(item, len(bank)))
        if self._used + len(bank) > len(self._items):
            self._make_room(len(bank))
        place = slice(self._used, self._used + len(bank))
        self._rows[place], self._first[place], self._items[place] = bank, bank[:, 0], item
        self._used += len(bank)
        self._kept[item] = kept

    def pair(self, item: int) -> None:
        """Count an item that came alone among those of pairs, since one holds it now."""
        if (count := self._alone.counts.get(item)) is not None:
            self._alone.remove(item)
            self._forget(self._paired.add(item, count))

    def remove(self, item: int) -> None:
        """Let an item not be found any more, and drop its bits."""
        if item in self._kept:
            self._alone.remove(item)
            self._paired.remove(item)
            self._forget([item])

    def _forget(self, items: Sequence[int]) -> None:
        for item in items:
            del self._kept[item]
            held = np.flatnonzero(self._items[: self._used] == item)
            self._items[held], self._rows[held], self._first[held] = -1, 0, 0

    def kept(self, item: int) -> bytes:
        """Return what is kept of an item for a second look; nothing of one that cannot be found."""
        return self._kept.get(item, b"")

    def find(self, probes: Bits, limit: int) -> dict[int, int]:
        """Return items with a row that differs in at most ``limit`` of 256 bits from a probe, with the fewest bits.

        At most `MAX_FOUND`: those with the fewest bits, and of these the oldest.
        """
        first_limit = max(_FIRST_MIN, limit // _FIRST_BITS_SHARE)
        first, items = self._first[: self._used], self._items[: self._used]
        near_items, near_bits = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for probe in probes:
            close = np.flatnonzero((np.bitwise_count(first ^ probe[0]) <= first_limit) & (items >= 0))
            if not len(close):
                continue
            bits: npt.NDArray[np.int64] = np.bitwise_count(self._rows[close] ^ probe).sum(axis=1, dtype=np.int64)
            near = bits <= limit
            near_items.append(items[close[near]])
            near_bits.append(bits[near])
        found, of_bits = np.concatenate(near_items), np.concatenate(near_bits)
        order = np.lexsort((found, of_bits))
        numbers, places = np.unique(found[order], return_index=True)  # an item's first place has its fewest bits
        nearest = np.argsort(places)[:MAX_FOUND]
        fewest = of_bits[order][places[nearest]]
        return dict(zip(numbers[nearest].tolist(), fewest.tolist(), strict=True))

    def _make_room(self, more: int) -> None:
        """Pack what is left of the rows, into arrays with as much room again."""
        live = np.flatnonzero(self._items[: self._used] >= 0)
        size = max(1024, 2 * (len(live) + more))
        rows, first, items = np.zeros((size, 4), np.uint64), np.zeros(size, np.uint64), np.full(size, -1, np.int64)
        rows[: len(live)], first[: len(live)], items[: len(live)] = (
            self._rows[live],
            self._first[live],
            self._items[live],
        )
        self._rows, self._first, self._items, self._used = rows, first, items, len(live)
