"""Hubs: indexed items that are near to every query, whether they fit it or not.

An item's crowding is the mean cosine with its ten nearest probes; probes are the checkpoint's references of the query's
modality, so that no stranger chooses them. A search ranks by the cosine less half the crowding, which orders as the
cross-domain similarity of Conneau et al. 2018, eq. 5 does: the query's own share is the same for every item.

An item is a hub if it is among the ten nearest of far more probes than others are: by a robust z-score (distance from
the median in median absolute deviations) and by a share of the probes. Hubs are left out of searches from that
modality. docs/scoring.md has what both do.
"""

import math

import numpy as np
import numpy.typing as npt

from curiosity.protocol.scoring import CSLS_NEIGHBOURS, MICRO, Quantised, dequantise

OCCURRENCES = 10  # results of a probe that are counted
HUB_Z = 10.0  # honest items of real pair sets stay below 7
HUB_SHARE = 0.05  # of the probes
_AT_ONCE = 1 << 20  # cosines of probes and rows in memory
_MAD_TO_SIGMA = 1.4826  # of a normal distribution

Singles = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


class Hubness:
    """How crowded the rows of an index are with the probes of one modality, and which of them are hubs.

    ``means`` float32[N] are the crowdings, off by no more than a float32 cosine of unit vectors is.
    """

    def __init__(self, probes: Quantised) -> None:
        """Start without rows; ``probes`` int16[P, d]."""
        self.probes = probes
        self._units: Singles = dequantise(probes).astype(np.float32)
        self.means = np.zeros(0, dtype=np.float32)
        self.size = 0  # rows that were rated
        self._scores = np.full((len(probes), OCCURRENCES), -np.inf, dtype=np.float32)
        self._rows = np.full((len(probes), OCCURRENCES), -1, dtype=np.int64)  # of each probe's nearest, in no order
        self._hubs: Rows | None = None

    def rate(self, units: Singles) -> None:
        """Rate the rows of ``units`` float32[N, d] behind those that were rated."""
        start, self.size = self.size, len(units)
        if self.size > len(self.means):
            room = np.zeros(max(2 * len(self.means), self.size) - start, dtype=np.float32)
            self.means = np.concatenate([self.means[:start], room])
        if start == self.size:
            return
        self._hubs = None
        cosines = units[start:] @ self._units.T
        self.means[start : self.size] = _mean_of_largest(cosines, CSLS_NEIGHBOURS)
        self._merge(np.arange(len(self.probes)), cosines.T, np.arange(start, self.size))

    def drop(self, rows: Rows, units: Singles, dead: Rows) -> None:
        """Forget ``rows`` of ``units`` float32[N, d]; ``dead`` are these and all that were dropped before."""
        self.means[rows[rows < self.size]] = 0.0
        self._hubs = None
        bereft = np.flatnonzero(np.isin(self._rows, rows).any(axis=1))
        self._scores[bereft], self._rows[bereft] = -np.inf, -1
        step = max(_AT_ONCE // self.size, 1)
        for start in range(0, len(bereft), step):
            some = bereft[start : start + step]
            cosines = self._units[some] @ units[: self.size].T
            cosines[:, dead[dead < self.size]] = -np.inf
            self._merge(some, cosines, np.arange(self.size))

    def hubs(self, live: int) -> Rows:
        """Return the rows that are hubs among ``live`` rows, in order."""
        if self._hubs is None:
            rows, counts = np.unique(self._rows[self._rows >= 0], return_counts=True)
            absent = max(live - len(rows), 0)
            median = spread = 0.0  # as they are where most rows are nobody's nearest
            if absent <= len(rows) and live:
                all_counts = np.concatenate([counts, np.zeros(absent, dtype=np.int64)])
                median = float(np.median(all_counts))
                spread = float(np.median(np.abs(all_counts - median)))
            by_chance = math.sqrt(max(counts.sum() / max(live, 1), 1.0))
            scale = max(_MAD_TO_SIGMA * spread, by_chance)
            self._hubs = rows[(counts - median >= HUB_Z * scale) & (counts >= HUB_SHARE * len(self.probes))]
        return self._hubs

    def exact_micro(self, vectors: Quantised) -> npt.NDArray[np.int64]:
        """Return the crowdings of ``vectors`` int16[N, d] in millionths, the same on every machine."""
        exact, probes = vectors.astype(np.float64), self.probes.astype(np.float64)
        lengths = np.sqrt((exact * exact).sum(axis=1))[:, None] * np.sqrt((probes * probes).sum(axis=1))
        cosines = np.rint(MICRO * ((exact @ probes.T) / np.where(lengths == 0.0, 1.0, lengths)))
        crowding: npt.NDArray[np.int64] = np.rint(_mean_of_largest(cosines, CSLS_NEIGHBOURS)).astype(np.int64)
        return crowding

    def _merge(self, probes: Rows, cosines: Singles, rows: Rows) -> None:
        """Let each of ``probes`` keep the nearest of what it has and of ``rows``, by ``cosines`` [probes, rows]."""
        least = self._scores[probes].min(axis=1)
        better = np.flatnonzero((cosines > least[:, None]).any(axis=1))
        if not len(better):
            return
        at = probes[better]
        scores = np.concatenate([self._scores[at], cosines[better]], axis=1)
        named = np.concatenate([self._rows[at], np.broadcast_to(rows, (len(at), len(rows)))], axis=1)
        kept = np.argpartition(scores, scores.shape[1] - OCCURRENCES, axis=1)[:, -OCCURRENCES:]
        self._scores[at] = np.take_along_axis(scores, kept, axis=1)
        self._rows[at] = np.take_along_axis(named, kept, axis=1)
        self._rows[self._scores == -np.inf] = -1


def _mean_of_largest(cosines: npt.NDArray[np.floating], count: int) -> npt.NDArray[np.floating]:
    """Return the mean of the ``count`` largest of each row, or of all where there are fewer."""
    if cosines.shape[1] > count:
        cosines = np.partition(cosines, cosines.shape[1] - count, axis=1)[:, -count:]
    means: npt.NDArray[np.floating] = cosines.mean(axis=1)
    return means
