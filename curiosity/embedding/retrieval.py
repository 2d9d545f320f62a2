"""Retrieval metrics: what share of queries finds its partner among the first k of a gallery."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Recall:
    """One direction of one pair of modalities. Shares from 0 to 1; ``median_rank`` counts from 1.

    ``chance1``, ``chance5``, ``chance10`` are the recall at 1, 5, 10 of a random order; ``concepts`` the number of
    different labels among the queries. Queries of one label are found or missed together, so that evidence counts by
    label.
    """

    r1: float
    r5: float
    r10: float
    median_rank: float
    queries: int
    gallery: int
    chance1: float
    chance5: float
    chance10: float
    concepts: int
    emergent: bool = False  # the two modalities were never trained as a pair

    def to_micro(self) -> dict[str, int | bool]:
        """Return the same in integers: shares and ranks in millionths."""
        return {
            "r1_micro": round(1e6 * self.r1),
            "r5_micro": round(1e6 * self.r5),
            "r10_micro": round(1e6 * self.r10),
            "median_rank_micro": round(1e6 * self.median_rank),
            "queries": self.queries,
            "gallery": self.gallery,
            "chance1_micro": round(1e6 * self.chance1),
            "chance5_micro": round(1e6 * self.chance5),
            "chance10_micro": round(1e6 * self.chance10),
            "concepts": self.concepts,
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
    """Return the recall of unit embeddings float[Q, D] in float[G, D].

    A gallery entry is right when its label is the query's. The rank of a query is that of the best right entry, and a
    wrong entry that scores the same goes before it: a constant encoder finds nothing. Chance is exact: the mean over
    queries of 1 - C(G - R, k) / C(G, k) with R right entries.

    Raises:
        ValueError: When a query has no right entry, or there is no query.
    """
    right = np.asarray(query_labels)[:, None] == np.asarray(gallery_labels)[None, :]
    if not len(queries) or not right.any(axis=1).all():
        raise ValueError("every query needs at least one right entry in the gallery, and there must be a query")
    scores = queries.astype(np.float64) @ gallery.astype(np.float64).T
    # Noise of the last bits must not decide between equal entries.
    scores = np.round(scores, 6)
    best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
    ranks = 1 + ((scores >= best) & ~right).sum(axis=1)
    size, entries = len(gallery), right.sum(axis=1)
    chance = {k: _chance(size, entries, k) for k in (1, 5, 10)}
    return Recall(
        r1=float((ranks <= 1).mean()),
        r5=float((ranks <= 5).mean()),
        r10=float((ranks <= 10).mean()),
        median_rank=float(np.median(ranks)),
        queries=len(queries),
        gallery=size,
        chance1=chance[1],
        chance5=chance[5],
        chance10=chance[10],
        concepts=len(set(query_labels)),
        emergent=emergent,
    )


def _chance(size: int, entries_Q: NDArray[np.int64], k: int) -> float:
    """Return the mean over queries of the chance that ``k`` draws from ``size`` entries hit one of its right ones."""
    missed = np.ones(len(entries_Q))
    for drawn in range(min(k, size)):
        missed *= np.maximum(0, size - entries_Q - drawn) / (size - drawn)
    return float(1 - missed.mean())
