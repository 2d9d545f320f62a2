"""The search index: final embeddings of accepted items by modality, on usearch.

usearch finds candidates; their cosines are computed again from the int16 vectors as `protocol.scoring` does, so that
scores and order are the same on every machine. Below ``EXACT_BELOW`` items the search is exhaustive.
"""

import threading
from collections.abc import Sequence

import numpy as np
from usearch.index import Index

from protocol.scoring import MICRO, Quantised, dequantise

EXACT_BELOW = 20_000  # up to here comparing with everything takes less than a millisecond per thousand items
OVERSAMPLE = 4  # approximate candidates per result wanted
_INITIAL_ROWS = 1024


class _Shelf:
    """One modality: vectors in rows, keys beside them, and the graph over the rows."""

    def __init__(self, dim: int) -> None:
        self.vectors = np.zeros((_INITIAL_ROWS, dim), dtype=np.int16)
        self.keys = np.zeros(_INITIAL_ROWS, dtype=np.int64)
        self.size = 0
        self.graph = Index(ndim=dim, metric="cos", dtype="f32")

    def add(self, keys: Sequence[int], vectors: Quantised) -> None:
        end = self.size + len(keys)
        if end > len(self.keys):
            room = max(2 * len(self.keys), end)
            self.keys = np.resize(self.keys, room)
            grown = np.zeros((room, self.vectors.shape[1]), dtype=np.int16)
            grown[: self.size] = self.vectors[: self.size]
            self.vectors = grown
        self.keys[self.size : end] = keys
        self.vectors[self.size : end] = vectors
        self.graph.add(np.arange(self.size, end), dequantise(vectors).astype(np.float32))
        self.size = end

    def candidates(self, vector: Quantised, count: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        if self.size <= EXACT_BELOW:
            return np.arange(self.size)
        found = self.graph.search(dequantise(vector).astype(np.float32), min(count, self.size))
        return np.asarray(found.keys, dtype=np.int64)


class VectorIndex:
    """Nearest neighbours by cosine among int16 vectors of ``dim`` components. Safe for one writer and many readers."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._lock = threading.Lock()
        self._shelves: dict[str, _Shelf] = {}

    def add(self, keys: Sequence[int], modality: str, vectors: Quantised) -> None:
        """Add ``vectors`` int16[N, d] under ``keys``. Raises ValueError if the shapes do not fit."""
        if vectors.shape != (len(keys), self._dim):
            raise ValueError(f"{len(keys)} keys of {self._dim} components, got vectors {vectors.shape}")
        with self._lock:
            self._shelves.setdefault(modality, _Shelf(self._dim)).add(keys, vectors)

    def search(self, modality: str, vector: Quantised, k: int) -> list[tuple[int, int]]:
        """Return up to ``k`` (key, cosine in millionths), the nearest first, equal ones in order of key."""
        with self._lock:
            shelf = self._shelves.get(modality)
            if shelf is None or shelf.size == 0:
                return []
            rows = shelf.candidates(vector, max(OVERSAMPLE * k, 64))
            keys, vectors = shelf.keys[rows], shelf.vectors[rows].astype(np.float64)
        point = vector.astype(np.float64)
        norms = np.sqrt((point * point).sum()) * np.sqrt((vectors * vectors).sum(axis=1))
        cosines = np.rint(MICRO * (vectors @ point) / np.where(norms == 0.0, 1.0, norms)).astype(np.int64)
        order = np.lexsort((keys, -cosines))[:k]
        return [(int(keys[i]), int(cosines[i])) for i in order]

    def count(self, modality: str) -> int:
        """How many items of a modality are indexed."""
        with self._lock:
            shelf = self._shelves.get(modality)
            return 0 if shelf is None else shelf.size

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._shelves.clear()
