"""How the modalities lie in the space, beside retrieval: diagonal alignment, kept neighbourhoods, modality gap, a map.

N items, D dimension. Embeddings are of unit length. Pure numpy; everything is deterministic.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RealArray = NDArray[np.float64] | NDArray[np.float32]

NEIGHBOURS = 10
_DECIMALS = 6  # noise of the last bits must not decide between equal entries


@dataclass(frozen=True)
class Alignment:
    """Share of diagonal top-1 in both directions, from 0 to 1, and what a random order would give."""

    a_to_b: float
    b_to_a: float
    pairs: int

    @property
    def score(self) -> float:
        """Mean of both directions."""
        return (self.a_to_b + self.b_to_a) / 2

    @property
    def chance(self) -> float:
        """1 / N."""
        return 1 / self.pairs

    def to_micro(self) -> dict[str, int]:
        """Return the same in integers, shares in millionths."""
        return {
            "a_to_b_micro": round(1e6 * self.a_to_b),
            "b_to_a_micro": round(1e6 * self.b_to_a),
            "score_micro": round(1e6 * self.score),
            "chance_micro": round(1e6 * self.chance),
            "pairs": self.pairs,
        }


def compute_alignment_score(a_ND: RealArray, b_ND: RealArray) -> Alignment:
    """Return how often row i of ``a`` has row i of ``b`` as its one nearest among all rows of ``b``, and the reverse.

    The diagonal top-1 accuracy of the N x N cosine matrix (CLIP's in-batch accuracy: Radford et al. 2021, figure 3).
    A row that another equals does not count as found: a constant or a zero encoder scores 0. Give one pair of each
    concept, or copies of a concept count as misses.

    Raises:
        ValueError: when the shapes differ or there is no pair.
    """
    if a_ND.shape != b_ND.shape or not len(a_ND):
        raise ValueError(f"needs as many embeddings on both sides, at least one, got {a_ND.shape} and {b_ND.shape}")
    cosines = _cosines(a_ND, b_ND)
    own = np.diag(cosines)
    return Alignment(
        a_to_b=float(((cosines >= own[:, None]).sum(axis=1) == 1).mean()),
        b_to_a=float(((cosines >= own[None, :]).sum(axis=0) == 1).mean()),
        pairs=len(a_ND),
    )


@dataclass(frozen=True)
class Neighbourhood:
    """Share of each item's ``k`` nearest of its own modality that are the same before and after, from 0 to 1."""

    kept: float
    k: int
    items: int

    @property
    def chance(self) -> float:
        """What two unrelated spaces share: k / (N - 1)."""
        return self.k / (self.items - 1)

    def to_micro(self) -> dict[str, int]:
        """Return the same in integers, shares in millionths."""
        return {
            "kept_micro": round(1e6 * self.kept),
            "chance_micro": round(1e6 * self.chance),
            "k": self.k,
            "items": self.items,
        }


def measure_neighbourhood(before_ND: RealArray, after_ND: RealArray, k: int = NEIGHBOURS) -> Neighbourhood:
    """Return how much of the neighbourhoods within one modality a change of its embeddings keeps.

    The mean over items of |kNN before and kNN after| / k by cosine, the item itself left out (mutual k-nearest
    neighbours: Huh et al. 2024, "The Platonic Representation Hypothesis", appendix A). An item counts as a neighbour
    when at most k others are as near or nearer, so that equal distances make no neighbours: of a constant encoder
    nothing is kept. ``k`` is less where there are few items: at most N // 2.

    Raises:
        ValueError: when the shapes' lengths differ or there are fewer than three items.
    """
    if len(before_ND) != len(after_ND) or len(before_ND) < 3:
        raise ValueError(f"needs as many items before and after, at least 3, got {len(before_ND)} and {len(after_ND)}")
    k = min(k, len(before_ND) // 2)
    both = _neighbours(before_ND, k) & _neighbours(after_ND, k)
    return Neighbourhood(kept=float(both.sum(axis=1).mean() / k), k=k, items=len(before_ND))


def _neighbours(rows_ND: RealArray, k: int) -> NDArray[np.bool_]:
    """Return bool[N, N], True where the column is one of the row's k nearest."""
    cosines = _cosines(rows_ND, rows_ND)
    np.fill_diagonal(cosines, -np.inf)
    # The rank of an entry is the number of entries that are as near: the last of its equals in descending order.
    ascending = np.sort(cosines, axis=1)
    rank = np.stack(
        [len(row) - np.searchsorted(row, found, side="left") for row, found in zip(ascending, cosines, strict=True)]
    )
    chosen: NDArray[np.bool_] = (rank <= k) & np.isfinite(cosines)
    return chosen


@dataclass(frozen=True)
class ModalityGap:
    """How far apart two modalities lie as clouds, whatever their pairs do.

    ``distance`` of the centroids, from 0 (one cloud) to 2 (opposite points). ``separability`` is the share of items
    whose modality a plane between the centroids tells: 0.5 is none, 1 all.
    """

    distance: float
    separability: float

    def to_micro(self) -> dict[str, int]:
        """Return the same in millionths."""
        return {"distance_micro": round(1e6 * self.distance), "separability_micro": round(1e6 * self.separability)}


def measure_modality_gap(a_ND: RealArray, b_ND: RealArray) -> ModalityGap:
    """Return the gap between two modalities.

    ``distance`` is the length of mean(a) - mean(b) (Liang et al. 2022, "Mind the Gap", section 3). ``separability`` is
    the accuracy of the nearest centroid, the centroids taken from the even rows for the odd ones and the other way
    round: judged on the rows that made them they tell apart even two samples of one cloud.

    Raises:
        ValueError: when a side has fewer than two items.
    """
    if min(len(a_ND), len(b_ND)) < 2:
        raise ValueError(f"needs two items of each modality, got {len(a_ND)} and {len(b_ND)}")
    a, b = a_ND.astype(np.float64), b_ND.astype(np.float64)
    right: list[float] = []
    for first, second in ((0, 1), (1, 0)):
        centre_a, centre_b = a[first::2].mean(axis=0), b[first::2].mean(axis=0)
        normal, middle = centre_a - centre_b, (centre_a + centre_b) / 2
        # On the plane is half right: equal clouds are told apart by chance.
        for rows, sign in ((a[second::2], 1.0), (b[second::2], -1.0)):
            side = np.round(sign * ((rows - middle) @ normal), 2 * _DECIMALS)
            right.append(float(((side > 0) + 0.5 * (side == 0)).mean()))
    return ModalityGap(
        distance=float(np.linalg.norm(a.mean(axis=0) - b.mean(axis=0))), separability=float(np.mean(right))
    )


@dataclass(frozen=True)
class Plane:
    """Two directions of the space, and the share of the variance that each shows.

    They are ``axes`` float64[2, D] through ``centre`` float64[D].
    """

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    shares: tuple[float, float]

    def project(self, rows_ND: RealArray) -> NDArray[np.float64]:
        """Return float64[N, 2]."""
        at: NDArray[np.float64] = (rows_ND.astype(np.float64) - self.centre) @ self.axes.T
        return at


def fit_plane(rows_ND: RealArray) -> Plane:
    """Return the plane of the two main axes of the rows (principal components: Pearson 1901), the same at every call.

    The sign of an axis is fixed by its largest component, which is positive.

    Raises:
        ValueError: when there are fewer than two rows or dimensions.
    """
    if len(rows_ND) < 2 or rows_ND.shape[1] < 2:
        raise ValueError(f"needs two rows and two dimensions, got {rows_ND.shape}")
    rows = rows_ND.astype(np.float64)
    centre = rows.mean(axis=0)
    _, spread, axes = np.linalg.svd(rows - centre, full_matrices=False)
    axes = axes[:2]
    axes = axes * np.where(axes[np.arange(2), np.abs(axes).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]
    variance = spread**2
    total = float(variance.sum()) or 1.0
    return Plane(centre, axes, (float(variance[0]) / total, float(variance[1]) / total))


def _cosines(a_ND: RealArray, b_ND: RealArray) -> NDArray[np.float64]:
    cosines: NDArray[np.float64] = np.round(a_ND.astype(np.float64) @ b_ND.astype(np.float64).T, _DECIMALS)
    return cosines
