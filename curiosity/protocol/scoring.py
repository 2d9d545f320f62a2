"""Scoring: differential loss, cross-average, distance, acceptance, curiosity. Numbers that decide money are integers.

Embeddings enter as ``int16[d]``: 32767 times a unit vector, rounded. Every dot product is then a sum of integers below
2**53, which float64 holds exactly in any order of summation, so that a BLAS library, a thread count or a processor
cannot change it; what follows uses only operations that IEEE 754 rounds correctly. Results leave as integers in
millionths ("micro"). Symbols and measurements: docs/scoring.md; numbered steps: docs/protocol.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Quantised = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float64]

MICRO = 1_000_000
SCALE = 32_767  # largest int16: a unit vector's component fits with a step of 3.1e-5
TAU = 0.1  # temperature of the differential loss
TOTAL_PULL_MICRO = 500_000  # eta: the final angle is (1 - eta) times the raw one
CSLS_NEIGHBOURS = 10
CSLS_TWIN_MICRO = 950_000  # bank entries nearer than this to the partner are copies of it, not rivals
NEIGHBOURS = 8  # k of the gap


def quantise(vectors: npt.ArrayLike) -> Quantised:
    """Return ``int16[..., d]`` from real vectors ``[..., d]`` scaled to unit length; a zero vector stays zero."""
    values = np.asarray(vectors, dtype=np.float64)
    norms = np.sqrt((values * values).sum(axis=-1, keepdims=True))
    return np.rint(SCALE * values / np.where(norms == 0.0, 1.0, norms)).astype(np.int16)


def dequantise(quantised: Quantised) -> Floats:
    """Return unit vectors ``float64[..., d]`` from ``int16[..., d]``; a zero vector stays zero."""
    values = quantised.astype(np.float64)
    norms = np.sqrt((values * values).sum(axis=-1, keepdims=True))
    unit: Floats = values / np.where(norms == 0.0, 1.0, norms)
    return unit


def _cosines(point: Quantised, others: Quantised) -> Floats:
    """Return the cosines of ``point`` (d) with each row of ``others`` (N, d), from exact integer dot products."""
    p, o = point.astype(np.float64), others.astype(np.float64)
    norms = np.sqrt((p * p).sum()) * np.sqrt((o * o).sum(axis=-1))
    cosines: Floats = (o @ p) / np.where(norms == 0.0, 1.0, norms)
    return cosines


def cosines_micro(point: Quantised, others: Quantised) -> npt.NDArray[np.int64]:
    """Return the cosines of ``point`` (d) with each row of ``others`` (N, d) in millionths, int64[N]."""
    return np.rint(MICRO * _cosines(point, others)).astype(np.int64)


def cosine_table_micro(rows: Quantised, others: Quantised) -> npt.NDArray[np.int64]:
    """Return the cosine of each row of ``rows`` (M, d) with each of ``others`` (N, d) in millionths, int64[M, N].

    A row of it is what `cosines_micro` returns.
    """
    r, o = rows.astype(np.float64), others.astype(np.float64)
    norms = np.sqrt((r * r).sum(axis=-1))[:, None] * np.sqrt((o * o).sum(axis=-1))[None, :]
    return np.rint(MICRO * ((r @ o.T) / np.where(norms == 0.0, 1.0, norms))).astype(np.int64)


def cosine_micro(a: Quantised, b: Quantised) -> int:
    """Return the cosine of two embeddings ``int16[d]`` in millionths; 0 where one of them is zero."""
    return int(cosines_micro(a, b[None, :])[0])


def highest_cosine_micro(point: Quantised, others: Quantised, below_micro: int) -> int | None:
    """Return the highest cosine of ``point`` (d) with a row of ``others`` (N, d) that is at most ``below_micro``.

    None if there is no such row.
    """
    return highest_micro(cosines_micro(point, others), below_micro)


def highest_micro(cosines: npt.NDArray[np.int64], below_micro: int) -> int | None:
    """Return the highest of cosines int64[N] in millionths that are at most ``below_micro``, None if there is none."""
    kept = cosines[cosines <= below_micro]
    return int(kept.max()) if len(kept) else None


def distance_micro(a: Quantised, b: Quantised) -> int:
    """Return ``round(1e6 * (1 - cos))``: 0 for equal directions, 2_000_000 for opposite ones."""
    return MICRO - cosine_micro(a, b)


def differential_loss_micro(
    whole: Quantised, masked: Quantised, halves: Quantised, references: Quantised, tau: float = TAU
) -> int:
    """Return how badly the embedding of the whole equals the sum of its parts, in millionths.

    ``whole`` (d) is the item, ``masked`` (d) the fully masked item ``e_0``, ``halves`` (K, 2, d) the complementary
    halves of K masks, ``references`` (N, d) real items of the same modality pinned by the checkpoint.

    ``u_k = unit(e_k + e'_k - e_0)``; the loss is the mean over k of the negative log-likelihood of ``whole`` among
    itself and the references at temperature ``tau``, divided by ``log(N + 1)``: 0 is perfect, 1_000_000 is
    uninformative (a constant encoder gives exactly that). Source: docs/scoring.md, "Differential loss".

    Raises:
        ValueError: If K or N is zero.
    """
    if len(halves) == 0 or len(references) == 0:
        raise ValueError(f"needs at least one mask and one reference, got {len(halves)} and {len(references)}")
    first, second, empty = dequantise(halves[:, 0]), dequantise(halves[:, 1]), dequantise(masked)
    composed = quantise(first + second - empty)
    candidates = np.concatenate([whole[None, :], references])
    losses = []
    for u in composed:
        logits = _cosines(u, candidates) / tau
        top = float(logits.max())
        losses.append(top + math.log(float(np.exp(logits - top).sum())) - float(logits[0]))
    return round(MICRO * math.fsum(losses) / (len(losses) * math.log(len(references) + 1)))


def pulls_micro(median_a_micro: int, median_b_micro: int, total_pull_micro: int = TOTAL_PULL_MICRO) -> tuple[int, int]:
    """Return ``(lambda_a, lambda_b)`` in millionths: how far each item moves towards the other.

    Proportional to the epoch-median differential loss of the two modalities, so that the one that is understood worse
    moves more and no contributor can move either; they always add up to ``total_pull_micro``.
    Source: docs/scoring.md, "The cross-average".
    """
    total = median_a_micro + median_b_micro
    pull_a = total_pull_micro // 2 if total <= 0 else total_pull_micro * median_a_micro // total
    return pull_a, total_pull_micro - pull_a


def _slerp(a: Floats, b: Floats, fraction: float) -> Floats:
    cosine = min(1.0, max(-1.0, float(a @ b)))
    angle = math.acos(cosine)
    sine = math.sin(angle)
    if sine < 1e-9:  # equal, or opposite: no great circle is defined
        return a
    moved: Floats = (math.sin((1.0 - fraction) * angle) * a + math.sin(fraction * angle) * b) / sine
    return moved


def cross_average(a: Quantised, b: Quantised, pull_a_micro: int, pull_b_micro: int) -> tuple[Quantised, Quantised]:
    """Return the final embeddings ``(a', b')``: each moved along the great circle towards the other by its pull.

    The angle between them becomes ``(1 - (pull_a + pull_b) / 1e6)`` times the raw angle.
    """
    x, y = dequantise(a), dequantise(b)
    return quantise(_slerp(x, y, pull_a_micro / MICRO)), quantise(_slerp(y, x, pull_b_micro / MICRO))


def undo_cross_average(a: Quantised, b: Quantised, pull_a_micro: int, pull_b_micro: int) -> tuple[Quantised, Quantised]:
    """Return the embeddings that `cross_average` gave ``(a, b)`` for, up to its rounding.

    Both lie on the great circle of the two that they were made from, each moved by a known share of the angle.
    """
    x, y = dequantise(a), dequantise(b)
    left = MICRO - pull_a_micro - pull_b_micro  # share of the raw angle that is between them now
    return quantise(_slerp(x, y, -pull_a_micro / left)), quantise(_slerp(y, x, -pull_b_micro / left))


def csls_micro(a: Quantised, b: Quantised, bank_a: Quantised, bank_b: Quantised) -> int:
    """Return the cross-domain similarity ``a.b - (r(a) + r(b)) / 2`` in millionths (Conneau et al. 2018, eq. 5).

    ``r(a)`` is the mean cosine of ``a`` with its ten nearest entries of ``bank_b`` (N, d), and the reverse for ``b``;
    entries with a cosine above 0.95 to the partner are left out. A text that is near everything gains nothing.
    """
    crowd_a = crowd_micro(cosines_micro(a, bank_b), cosines_micro(b, bank_b))
    crowd_b = crowd_micro(cosines_micro(b, bank_a), cosines_micro(a, bank_a))
    return cosine_micro(a, b) - (crowd_a + crowd_b) // 2


def crowd_micro(cosines: npt.NDArray[np.int64], partner: npt.NDArray[np.int64]) -> int:
    """Return ``r``: the mean of the ten highest of an item's cosines with its partner's bank, int64[N], in millionths.

    ``partner`` are the cosines of the partner with the same entries; where they are above 0.95 an entry is left out.
    """
    rivals = cosines[partner <= CSLS_TWIN_MICRO]
    top = np.sort(rivals)[::-1][:CSLS_NEIGHBOURS]
    return round(int(top.sum()) / len(top)) if len(top) else 0


def conformal_low(values: Sequence[int], alpha_micro: int) -> int:
    """Return the ``floor(alpha * (n + 1))``-th smallest value: a fresh honest value falls below it with share <= alpha.

    Split conformal prediction (Vovk et al. 2005).

    Raises:
        ValueError: If there are too few values for this alpha.
    """
    rank = alpha_micro * (len(values) + 1) // MICRO
    if rank < 1:
        raise ValueError(
            f"{len(values)} values are too few for alpha {alpha_micro / MICRO}: needs {MICRO // alpha_micro}"
        )
    return sorted(values)[min(rank, len(values)) - 1]


def conformal_high(values: Sequence[int], alpha_micro: int) -> int:
    """Return the threshold that a fresh honest value exceeds with share <= alpha (see `conformal_low`)."""
    return -conformal_low([-v for v in values], alpha_micro)


def joint(a: Quantised, b: Quantised) -> Quantised:
    """Return the joint point ``[a; b] / sqrt(2)`` as ``int16[2d]``; a's modality name sorts before b's."""
    return np.rint(np.concatenate([a, b]).astype(np.float64) / math.sqrt(2.0)).astype(np.int16)


@dataclass(frozen=True)
class Gap:
    """Where a joint point lies in the known space; lengths in millionths of the unit sphere's radius."""

    gap_micro: int  # g: mean distance of the k nearest from their centroid
    offset_micro: int  # o: distance of the point from that centroid
    nearest_micro: int  # distance to the nearest known point

    @property
    def ratio_micro(self) -> int:
        """Offset over gap, in millionths."""
        return MICRO * self.offset_micro // max(self.gap_micro, 1)


def measure_gap(point: Quantised, history: Quantised, k: int = NEIGHBOURS) -> Gap:
    """Return the gap that ``point`` (2d) fills among ``history`` (N, 2d), from its k nearest neighbours.

    Squared lengths are exact integers; neighbours at equal distance are taken in the order of the history.

    Raises:
        ValueError: If the history holds fewer than k points.
    """
    if len(history) < k:
        raise ValueError(f"the history holds {len(history)} points, fewer than k={k}")
    p, h = point.astype(np.float64), history.astype(np.float64)
    squared = (h * h).sum(axis=1) - 2.0 * (h @ p) + (p * p).sum()
    order = np.argsort(squared, kind="stable")[:k]
    return gap_of(p, h[order], float(squared[order[0]]))


def gap_of(p: Floats, neighbours: Floats, nearest_squared: float) -> Gap:
    """Return the gap of a point ``p`` (n) among its k ``neighbours`` (k, n), the nearest at this squared length.

    All are integers: int16 components as float64.
    """
    k = len(neighbours)
    total = neighbours.sum(axis=0)  # k times the centroid, still integers
    spread = np.sqrt(((k * neighbours - total) ** 2).sum(axis=1))
    offset = math.sqrt(float(((k * p - total) ** 2).sum()))
    unit = k * SCALE
    return Gap(
        gap_micro=round(MICRO * math.fsum(spread.tolist()) / (k * unit)),
        offset_micro=round(MICRO * offset / unit),
        nearest_micro=round(MICRO * math.sqrt(max(nearest_squared, 0.0)) / SCALE),
    )


def leave_one_out(history: Quantised, k: int = NEIGHBOURS) -> list[Gap]:
    """Return the gap that each point of ``history`` (N, 2d) fills among the others; thresholds come from these.

    Equal to `measure_gap` of each point among the rest.

    Raises:
        ValueError: If the history holds k points or fewer.
    """
    if len(history) <= k:
        raise ValueError(f"the history holds {len(history)} points, needs more than k={k}")
    h = history.astype(np.float64)
    lengths = (h * h).sum(axis=1)
    gaps = []
    for i, dots in enumerate(h @ h.T):
        squared = lengths - 2.0 * dots + lengths[i]
        squared[i] = np.inf
        order = np.argsort(squared, kind="stable")[:k]
        gaps.append(gap_of(h[i], h[order], float(squared[order[0]])))
    return gaps
