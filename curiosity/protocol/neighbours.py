"""The nearest known points of a joint point: exact, and about as fast as a search in single precision.

Squared lengths and dot products of int16 vectors are integers below 2**53, which float64 holds exactly; reading the
whole history in float64 is what costs. So single precision looks first, and float64 looks again at every point that
single precision cannot tell from the nearest: the result is that of `curiosity.protocol.scoring.measure_gap`, to the
last bit, whatever the processor, the library or the number of threads.

The bound. Nearer means a larger ``s(h) = h.p - |h|^2 / 2``. int16 components are exact in float32, and a dot product of
n terms in float32, summed in any order, with or without fused multiplication, is off by at most
``gamma(n) * sum |h_i p_i| <= gamma(n) |h| |p|`` with ``gamma(n) = n u / (1 - n u)``, ``u = 2**-24`` (Higham 2002,
section 3.1). Rounding ``|h|^2 / 2`` and the difference adds u each; all together no computed score is off by more than
``e = gamma(n + 1) (|h| |p| + |h|^2 / 2)``. If the k-th best exact score so far is s, no point with a computed score
below ``s - e`` can be nearer; among the points of one block, none below the k-th best computed score less ``2 e``.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from curiosity.protocol.scoring import NEIGHBOURS, Floats, Gap, Quantised, gap_of

NOBODY = -1
"""In place of a ledger index, for the checkpoint's own points: nothing removes them."""

Singles = npt.NDArray[np.float32]

_BLOCK_ROWS = 8192  # a search looks at the scores of so many points at once; a removal moves no more of them than this
_FIRST_ROWS = 256  # room of a new block, doubled up to `_BLOCK_ROWS`
_CHUNK_ROWS = 1024  # rows in float32 at a time: 1 MiB at 256 components, what a core's cache holds
_TOGETHER = 64  # points searched for in one pass over the history
_UNIT = 2.0**-24  # unit roundoff of float32


class _Block:
    """Up to `_BLOCK_ROWS` points in order; beside each, half its squared length and whose it is."""

    def __init__(self, dim: int, room: int = _FIRST_ROWS) -> None:
        self._rows = np.zeros((room, dim), dtype=np.int16)
        self._halves = np.zeros(room, dtype=np.float32)
        self._entries = np.zeros(room, dtype=np.int64)
        self.size = 0

    @property
    def rows(self) -> Quantised:
        return self._rows[: self.size]

    @property
    def halves(self) -> Singles:
        return self._halves[: self.size]

    @property
    def entries(self) -> npt.NDArray[np.int64]:
        return self._entries[: self.size]

    def extend(self, rows: Quantised, halves: Singles, entries: npt.NDArray[np.int64]) -> None:
        end = self.size + len(rows)
        if end > len(self._rows):
            room = min(max(2 * len(self._rows), end), _BLOCK_ROWS) - self.size
            self._rows, self._halves, self._entries = (
                np.concatenate([kept[: self.size], np.zeros((room, *kept.shape[1:]), kept.dtype)])
                for kept in (self._rows, self._halves, self._entries)
            )
        self._rows[self.size : end] = rows
        self._halves[self.size : end] = halves
        self._entries[self.size : end] = entries
        self.size = end

    def remove(self, place: int) -> None:
        for kept in (self._rows, self._halves, self._entries):
            kept[place : self.size - 1] = kept[place + 1 : self.size]
            kept[self.size - 1] = 0  # what is removed may have to be forgotten
        self.size -= 1


class _Nearest:
    """The k nearest to one point among the rows seen so far: nearer first, equally near in the order of the rows."""

    def __init__(self, point: Quantised, longest: float, k: int) -> None:
        self._point = point.astype(np.float64)
        self._own = float((self._point * self._point).sum())
        self._k = k
        gamma = (len(point) + 2) * _UNIT / (1 - (len(point) + 2) * _UNIT)  # one more than needed: float64 rounds it
        self._error = gamma * longest * (math.sqrt(self._own) + longest / 2)
        self.squared = np.zeros(0, dtype=np.float64)
        self.rows = np.zeros((0, len(point)), dtype=np.int16)
        self.least = np.float32(-np.inf)  # a row with a lower computed score is not among the nearest

    def look(self, rows: Quantised, scores: Singles) -> None:
        """Take what is near of ``rows`` int16[N, n] by their computed scores float32[N]."""
        places = np.flatnonzero(scores >= self.least)
        if len(places) > 2 * self._k:
            found = scores[places]
            kth = float(np.partition(found, len(found) - self._k)[len(found) - self._k])
            places = places[found >= _below(kth - 2 * self._error)]
        self.take(rows[places])

    def take(self, rows: Quantised) -> None:
        """Take what is near of ``rows`` int16[N, n], which come after all that was seen."""
        exact = rows.astype(np.float64)
        squared = (exact * exact).sum(axis=1) - 2.0 * (exact @ self._point) + self._own
        squared = np.concatenate([self.squared, squared])
        order = np.argsort(squared, kind="stable")[: self._k]
        self.squared, self.rows = squared[order], np.concatenate([self.rows, rows])[order]
        if len(order) == self._k:
            self.least = _below((self._own - float(self.squared[-1])) / 2 - self._error)

    def gap(self) -> Gap:
        if len(self.rows) < self._k:
            raise ValueError(f"the history holds {len(self.rows)} points, fewer than k={self._k}")
        return gap_of(self._point, self.rows.astype(np.float64), float(self.squared[0]))


def _below(value: float) -> np.float32:
    """Return a float32 that is less than ``value``."""
    below: np.float32 = np.nextafter(np.float32(value), np.float32(-np.inf))
    return below


class Neighbours:
    """The joint points known so far, int16[N, n], in the order in which they were added. For one thread at a time.

    A point takes ``2 n + 12`` bytes, and room for as many again where a block grows or points were removed; a search
    takes 2 MiB and ``4 n`` KiB beside them, whatever N is. Finding the nearest reads every point once for all points
    that are searched for together.
    """

    def __init__(self, points: Quantised, k: int = NEIGHBOURS) -> None:
        """Start with the checkpoint's own ``points`` int16[N, n]; `forget` reaches none of them."""
        self._dim = points.shape[1]
        self._k = k
        self._longest = 0.0
        self._blocks: list[_Block] = []
        self._ahead: dict[bytes, tuple[_Nearest, int]] = {}  # by point: its nearest among so many
        self._pinned = points
        self._own: Neighbours | None = None
        self.extend(points, [NOBODY] * len(points))

    def __len__(self) -> int:
        return sum(block.size for block in self._blocks)

    @property
    def own(self) -> "Neighbours":
        """The checkpoint's own points alone, which nobody adds to."""
        if self._own is None:
            self._own = Neighbours(self._pinned, self._k)
        return self._own

    @property
    def points(self) -> Quantised:
        """A copy of all points, in order."""
        rows = [block.rows for block in self._blocks]
        return np.concatenate(rows) if rows else np.zeros((0, self._dim), dtype=np.int16)

    def add(self, point: Quantised, entry: int) -> None:
        """Add the joint point int16[n] of the pair at ledger index ``entry`` behind all others."""
        self.extend(point[None, :], [entry])

    def extend(self, points: Quantised, entries: Sequence[int]) -> None:
        """Add the joint ``points`` int16[N, n] of the pairs at these ledger indices, in this order."""
        owners = np.array(entries, dtype=np.int64)
        start = 0
        while start < len(points):
            if not self._blocks or self._blocks[-1].size == _BLOCK_ROWS:
                self._blocks.append(_Block(self._dim))
            end = start + min(len(points) - start, _BLOCK_ROWS - self._blocks[-1].size)
            lengths = _squared_lengths(points[start:end])
            self._longest = max(self._longest, math.sqrt(float(lengths.max())))
            self._blocks[-1].extend(points[start:end], (lengths / 2).astype(np.float32), owners[start:end])
            start = end

    def forget(self, entry: int) -> None:
        """Remove and overwrite the points of the pair at ledger index ``entry``; the others keep their order."""
        if entry == NOBODY:
            return
        removed = 0
        for block in self._blocks:
            for place in np.flatnonzero(block.entries == entry)[::-1].tolist():
                block.remove(place)
                removed += 1
        if removed:
            self._ahead.clear()  # it may be among these
            self._blocks = _merged(self._blocks)

    def rename(self, entry: int, index: int) -> None:
        """Let the points of ledger index ``entry`` be those of ``index`` from now on."""
        for block in self._blocks:
            block.entries[block.entries == entry] = index

    def nearest(self, point: Quantised) -> Gap:
        """Return the gap that ``point`` int16[n] fills; equal to `measure_gap` of it and `points`.

        Raises:
            ValueError: If there are fewer than k points.
        """
        found, seen = self._ahead.get(point.tobytes()) or (self._search(point[None, :])[0], len(self))
        if seen < len(self):
            found.take(self._behind(seen))
            self._ahead[point.tobytes()] = found, len(self)
        return found.gap()

    def nearest_batch(self, points: Quantised) -> list[Gap]:
        """Return what `nearest` gives for each of ``points`` int16[B, n], at a fraction of the time.

        Raises:
            ValueError: If there are fewer than k points.
        """
        return [found.gap() for found in self._search(points)]

    def look_ahead(self, points: Quantised) -> None:
        """Search for ``points`` int16[B, n] together: `nearest` of each then only looks at what is added later.

        This replaces what was looked for before, and changes no answer.
        """
        if self._own is not None:
            self._own.look_ahead(points)
        self._ahead = {
            point.tobytes(): (found, len(self)) for point, found in zip(points, self._search(points), strict=True)
        }

    def _search(self, points: Quantised) -> list[_Nearest]:
        found = [_Nearest(point, self._longest, self._k) for point in points]
        for start in range(0, len(found), _TOGETHER):
            self._search_together(points[start : start + _TOGETHER], found[start : start + _TOGETHER])
        return found

    def _search_together(self, points: Quantised, found: Sequence[_Nearest]) -> None:
        queries = points.astype(np.float32)
        chunk = np.empty((_CHUNK_ROWS, self._dim), dtype=np.float32)
        scores = np.empty((len(points), _BLOCK_ROWS), dtype=np.float32)
        least = np.full(len(points), -np.inf, dtype=np.float32)
        for block in self._blocks:
            for start in range(0, block.size, _CHUNK_ROWS):
                end = min(start + _CHUNK_ROWS, block.size)
                np.copyto(chunk[: end - start], block.rows[start:end])
                np.matmul(queries, chunk[: end - start].T, out=scores[:, start:end])
            known = scores[:, : block.size]
            known -= block.halves
            for at in np.flatnonzero(known.max(axis=1) >= least).tolist():
                found[at].look(block.rows, known[at])
                least[at] = found[at].least

    def _behind(self, count: int) -> Quantised:
        """Return the points behind the first ``count``."""
        behind: list[Quantised] = []
        size = len(self)
        for block in reversed(self._blocks):
            size -= block.size
            behind.insert(0, block.rows[max(count - size, 0) :])
            if size <= count:
                break
        return np.concatenate(behind)


def _squared_lengths(points: Quantised) -> Floats:
    exact = points.astype(np.float64)
    lengths: Floats = (exact * exact).sum(axis=1)
    return lengths


def _merged(blocks: Sequence[_Block]) -> list[_Block]:
    """Return the blocks joined with their followers where one has room for both: on average they are half full."""
    merged: list[_Block] = []
    for block in blocks:
        if merged and merged[-1].size + block.size <= _BLOCK_ROWS:
            merged[-1].extend(block.rows, block.halves, block.entries)
        elif block.size:
            merged.append(block)
    return merged
