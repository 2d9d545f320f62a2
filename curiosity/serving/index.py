"""The search index: final embeddings of accepted items by modality, on usearch.

A float32 copy, or above ``EXACT_BELOW`` items a usearch graph, finds candidates; their cosines are computed again from
the int16 vectors as `curiosity.protocol.scoring` does, so that scores and order are the same on every machine. A search
from a modality that has probes discounts crowded items and leaves hubs out (`curiosity.serving.hubs`).
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from usearch.index import Index

from curiosity.protocol.scoring import MICRO, Quantised, dequantise
from curiosity.serving.hubs import Hubness

# Comparing with everything takes 0.5 ms for 20,000 items of 128 components on one core, and a graph with a recall above
# 0.99 takes 1.1 ms (docs/adr/0006-sandboxed-decoding.md has the figures): below this the graph is slower and not exact.
EXACT_BELOW = 100_000
OVERSAMPLE = 4  # approximate candidates per result wanted
# Rows that the graph takes in for each row added, and in one call: a row costs about 0.2 ms under the lock, so that no
# call stops the searches for long. Until the graph holds every row, the search compares with everything.
_CATCH_UP, _CATCH_UP_MIN, _CATCH_UP_MAX = 4, 16, 4096
_CONNECTIVITY, _EXPAND_ADD, _EXPAND_SEARCH = 32, 128, 512
_INITIAL_ROWS = 1024
_RATE_FROM = 64  # rows that are rated together; a search rates what is left

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _View:
    """What a search reads.

    Rows are only ever appended, so that it stays true while others are added; one that is removed becomes zero, and its
    cosine with it.
    """

    keys: Rows
    vectors: Quantised
    units: npt.NDArray[np.float32]
    dead: Rows  # removed rows
    hubness: Hubness | None  # of the query's modality
    crowding: npt.NDArray[np.float32]  # its means of these rows
    hubs: Rows  # rows that are left out


class _Shelf:
    """One modality: vectors in rows, keys beside them, and the graph over the first ``in_graph`` rows."""

    def __init__(self, dim: int, probes: Mapping[str, Quantised]) -> None:
        self.dim = dim
        self.hubness = {name: Hubness(references) for name, references in probes.items()}
        self.keys = np.zeros(_INITIAL_ROWS, dtype=np.int64)
        self.vectors = np.zeros((_INITIAL_ROWS, dim), dtype=np.int16)
        self.units = np.zeros((_INITIAL_ROWS, dim), dtype=np.float32)
        self.size = 0
        self.row_of: dict[int, int] = {}
        self.dead = np.zeros(0, dtype=np.int64)
        self.graph: Index | None = None
        self.in_graph = 0

    def view(self, source: str | None) -> _View:
        hubness = self.hubness.get(source or "")
        self._rate(1)
        return _View(
            self.keys[: self.size],
            self.vectors[: self.size],
            self.units[: self.size],
            self.dead,
            hubness,
            np.zeros(0, dtype=np.float32) if hubness is None else hubness.means[: self.size],
            np.zeros(0, dtype=np.int64) if hubness is None else hubness.hubs(len(self.row_of)),
        )

    def _rate(self, least: int) -> None:
        for hubness in self.hubness.values():
            if self.size - hubness.size >= least:
                hubness.rate(self.units[: self.size])

    def add(self, keys: Sequence[int], vectors: Quantised) -> None:
        end = self.size + len(keys)
        if end > len(self.keys):
            room = max(2 * len(self.keys), end)
            self.keys, self.vectors, self.units = (
                np.concatenate([old[: self.size], np.zeros((room - self.size, *old.shape[1:]), old.dtype)])
                for old in (self.keys, self.vectors, self.units)
            )
        self.keys[self.size : end] = keys
        self.vectors[self.size : end] = vectors
        self.units[self.size : end] = dequantise(vectors)
        self.row_of.update(zip(keys, range(self.size, end), strict=True))
        self.size = end
        self._rate(_RATE_FROM)
        self._grow_graph(min(max(_CATCH_UP_MIN, _CATCH_UP * len(keys)), _CATCH_UP_MAX))

    def remove(self, keys: Sequence[int]) -> int:
        rows = [self.row_of.pop(key) for key in keys if key in self.row_of]
        if rows:
            self._rate(1)
            if self.graph is not None:
                for row in rows:
                    if row < self.in_graph:
                        self.graph.remove(row)
            self.vectors[rows] = 0  # what is removed may have to be forgotten
            self.units[rows] = 0.0
            gone = np.array(rows, dtype=np.int64)
            self.dead = np.concatenate([self.dead, gone])
            for hubness in self.hubness.values():
                hubness.drop(gone, self.units, self.dead)
        return len(rows)

    def _grow_graph(self, most: int) -> None:
        if self.size <= EXACT_BELOW:
            return
        if self.graph is None:
            self.graph = Index(
                ndim=self.dim, metric="ip", dtype="f16",
                connectivity=_CONNECTIVITY, expansion_add=_EXPAND_ADD, expansion_search=_EXPAND_SEARCH,
            )  # fmt: skip
        end = min(self.size, self.in_graph + most)
        rows = np.setdiff1d(np.arange(self.in_graph, end), self.dead)
        self.graph.add(rows, self.units[rows])
        self.in_graph = end

    def approximate(self, unit: npt.NDArray[np.float32], count: int) -> Rows | None:
        """Return the rows of about the nearest ``count``; None while the graph does not hold every row."""
        if self.graph is None or self.in_graph < self.size:
            return None
        return np.asarray(self.graph.search(unit, min(count, len(self.graph))).keys, dtype=np.int64)


class VectorIndex:
    """Nearest neighbours by cosine among int16 vectors of ``dim`` components. Safe for one writer and many readers.

    ``probes`` are references int16[P, d] by the modality of a query.
    """

    def __init__(self, dim: int, probes: Mapping[str, Quantised] | None = None) -> None:
        self._dim = dim
        self._probes = dict(probes or {})
        self._lock = threading.Lock()
        self._shelves: dict[str, _Shelf] = {}

    def add(self, keys: Sequence[int], modality: str, vectors: Quantised) -> None:
        """Add ``vectors`` int16[N, d] under ``keys``; a key that is there already gets its new vector.

        Raises:
            ValueError: If the shapes do not fit or a key comes twice.
        """
        if vectors.shape != (len(keys), self._dim):
            raise ValueError(f"{len(keys)} keys of {self._dim} components, got vectors {vectors.shape}")
        if len(set(keys)) != len(keys):
            raise ValueError(f"{len(keys)} keys, {len(set(keys))} of them different")
        with self._lock:
            shelf = self._shelves.get(modality)
            if shelf is None:
                shelf = self._shelves[modality] = _Shelf(self._dim, self._probes)
            shelf.remove(keys)
            shelf.add(keys, vectors)

    def remove(self, keys: Sequence[int], modality: str) -> int:
        """Forget the items under ``keys``; return how many there were."""
        with self._lock:
            shelf = self._shelves.get(modality)
            if shelf is None:
                return 0
            count = shelf.remove(keys)
            if len(shelf.dead) > max(len(shelf.row_of), _INITIAL_ROWS):
                live = np.array(sorted(shelf.row_of.values()), dtype=np.int64)
                fresh = self._shelves[modality] = _Shelf(self._dim, self._probes)
                fresh.add(shelf.keys[live].tolist(), shelf.vectors[live])
            return count

    def search(self, modality: str, vector: Quantised, k: int, source: str | None = None) -> list[tuple[int, int]]:
        """Return up to ``k`` (key, cosine in millionths), the best first, equal ones in order of key.

        The best are the nearest; if there are probes of the query's modality ``source``, they are those whose cosine
        less half their crowding is highest, hubs left out.

        Raises:
            ValueError: If ``k`` is below 1.
        """
        if k < 1:
            raise ValueError(f"k is {k}, expected 1 or more")
        unit = dequantise(vector).astype(np.float32)
        with self._lock:
            shelf = self._shelves.get(modality)
            if shelf is None:
                return []
            view = shelf.view(source)
            rows = shelf.approximate(unit, max(OVERSAMPLE * k, 64) + len(view.hubs))
        rows = _nearest(view, unit, k) if rows is None else rows[~np.isin(rows, view.hubs)]
        keys, vectors, point = view.keys[rows], view.vectors[rows].astype(np.float64), vector.astype(np.float64)
        norms = np.sqrt((point * point).sum()) * np.sqrt((vectors * vectors).sum(axis=1))
        cosines = np.rint(MICRO * ((vectors @ point) / np.where(norms == 0.0, 1.0, norms))).astype(np.int64)
        ranks = 2 * cosines
        if view.hubness is not None:
            ranks -= view.hubness.exact_micro(view.vectors[rows])
        order = np.lexsort((keys, -ranks))[:k]
        return [(int(keys[i]), int(cosines[i])) for i in order]

    def find(self, key: int, modality: str) -> Quantised | None:
        """Return the vector int16[d] under a key, None if there is none."""
        with self._lock:
            shelf = self._shelves.get(modality)
            row = None if shelf is None else shelf.row_of.get(key)
            return None if shelf is None or row is None else shelf.vectors[row].copy()

    def count(self, modality: str) -> int:
        """Return how many items of a modality are indexed."""
        with self._lock:
            shelf = self._shelves.get(modality)
            return 0 if shelf is None else len(shelf.row_of)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._shelves.clear()


def _nearest(view: _View, unit: npt.NDArray[np.float32], k: int) -> Rows:
    """Return the rows among which the ``k`` best by the exact score certainly are, ties with the k-th included.

    A float32 dot product of two unit vectors of d components is off by less than (d + 4) * 2**-24 in any order of
    summation (Higham 2002, section 3.1, with the rounding of the components); both sides of a comparison are. A
    crowding, a mean of such products, is off by that and the rounding of ten additions, and counts by half. In
    millionths the cosine and half the crowding are each off by one half of one.
    """
    scores, error, rounding = view.units @ unit, (len(unit) + 4) * 2.0**-24, 2 / MICRO
    if view.hubness is not None:
        scores -= view.crowding / 2
        error, rounding = 1.5 * error + 16 * 2.0**-24, 3 / MICRO
    left_out = np.union1d(view.dead, view.hubs)
    scores[left_out] = -np.inf
    live = len(scores) - len(left_out)
    if live <= k:
        return np.flatnonzero(scores > -np.inf)
    last = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= last - (2 * error + rounding))
