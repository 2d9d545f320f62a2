"""Retrieval metrics: what share of queries finds its partner among the first k of a gallery."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Recall:
    """One direction of one pair of modalities. Shares from 0 to 1; ``median_rank`` counts from 1."""

    r1: float
    r5: float
    r10: float
    median_rank: float
    queries: int
    gallery: int
    chance10: float  # recall at 10 of a random order
    emergent: bool = False  # the two modalities were never trained as a pair

    def to_micro(self) -> dict[str, int | bool]:
        """The same in integers: shares and ranks in millionths."""
        return {
            "r1_micro": round(1e6 * self.r1),
            "r5_micro": round(1e6 * self.r5),
            "r10_micro": round(1e6 * self.r10),
            "median_rank_micro": round(1e6 * self.median_rank),
            "queries": self.queries,
            "gallery": self.gallery,
            "chance10_micro": round(1e6 * self.chance10),
            "emergent": self.emergent,
        }


def measure_recall(
    queries: NDArray[np.float32],
    gallery: NDArray[np.float32],
    query_labels: Sequence[str],
    gallery_labels: Sequence[str],
    *,
    emergent: bool = False,
) -> Recall:
    """Recall of unit embeddings float[Q, D] in float[G, D]; a gallery entry is right when its label is the query's.

    The rank of a query is that of the best right entry, and a wrong entry that scores the same goes before it: a
    constant encoder finds nothing. ``chance10`` is exact: the mean over queries of 1 - C(G - R, 10) / C(G, 10) with R
    right entries.

    Raises:
        ValueError: when a query has no right entry, or there is no query.
    """
    right = np.asarray(query_labels)[:, None] == np.asarray(gallery_labels)[None, :]
    if not len(queries) or not right.any(axis=1).all():
        raise ValueError("every query needs at least one right entry in the gallery, and there must be a query")
    scores = queries.astype(np.float64) @ gallery.astype(np.float64).T
    # Noise of the last bits must not decide between equal entries.
    scores = np.round(scores, 6)
    best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
    ranks = 1 + ((scores >= best) & ~right).sum(axis=1)
    size = len(gallery)
    missed = np.ones(len(queries))
    for drawn in range(min(10, size)):
        missed *= np.maximum(0, size - right.sum(axis=1) - drawn) / (size - drawn)
    return Recall(
        r1=float((ranks <= 1).mean()),
        r5=float((ranks <= 5).mean()),
        r10=float((ranks <= 10).mean()),
        median_rank=float(np.median(ranks)),
        queries=len(queries),
        gallery=size,
        chance10=float(1 - missed.mean()),
        emergent=emergent,
    )
