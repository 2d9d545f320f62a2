"""A search among sketches: which earlier items of one modality are near copies of this one, exactly."""

from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from curiosity.embedding.sketch import Bits

MAX_ROWS = 1 << 20
"""Rows of 256 bits that are kept of one modality, 45 MB: about 11,000 pictures, 70,000 sounds or a million texts."""

MAX_FOUND = 1024
"""Items that one search returns."""

_FIRST_BITS_SHARE = 5  # a copy differs in at most a fifth of its limit's bits in the first 64: see benchmarks.copies
_FIRST_MIN = 14


class NearItems:
    """Items by number, with their banks. Used by one thread at a time.

    Beyond ``max_rows`` the oldest items are let go of: copies of them are then found by their exact contents only.
    """

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._max_rows = max_rows
        self._first = np.zeros(1024, dtype=np.uint64)  # the lowest waves of each row, side by side
        self._rows = np.zeros((1024, 4), dtype=np.uint64)
        self._items = np.full(1024, -1, dtype=np.int64)
        self._used = 0
        self._live = 0
        self._counts: OrderedDict[int, int] = OrderedDict()  # rows by item

        self._kept: dict[int, bytes] = {}

    def __len__(self) -> int:
        """Return how many items can be found."""
        return len(self._counts)

    def add(self, item: int, bank: Bits, kept: bytes = b"") -> None:
        """Let an item be found by its bank, uint64[n, 4]. ``kept`` is what a second look needs."""
        if item in self._counts or not len(bank):
            return
        while self._counts and self._live + len(bank) > self._max_rows:
            self.remove(next(iter(self._counts)))
        if self._used + len(bank) > len(self._items):
            self._make_room(len(bank))
        place = slice(self._used, self._used + len(bank))
        self._rows[place], self._first[place], self._items[place] = bank, bank[:, 0], item
        self._used += len(bank)
        self._live += len(bank)
        self._counts[item] = len(bank)
        self._kept[item] = kept

    def remove(self, item: int) -> None:
        """Let an item not be found any more, and drop its bits."""
        if (count := self._counts.pop(item, None)) is None:
            return
        del self._kept[item]
        held = np.flatnonzero(self._items[: self._used] == item)
        self._items[held], self._rows[held], self._first[held] = -1, 0, 0
        self._live -= count

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
