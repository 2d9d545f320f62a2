"""How well the CSLS score tells true pairs of held-out concepts from wrong ones, whatever the thresholds are.

N pairs of N concepts, D dimension. Source of the score: docs/scoring.md, `curiosity.protocol.scoring.csls_micro`.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curiosity.protocol.scoring import CSLS_NEIGHBOURS, CSLS_TWIN_MICRO, MICRO, Quantised, dequantise

JUDGED_MOST: Final = 256  # pairs; their wrong pairs are the square of that
REFUSED_MICRO: Final = (50_000, 100_000)

Rows = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Separation:
    """Shares of 1.

    ``auc`` is the chance that a true pair scores above a wrong one: 0.5 for an encoder that knows nothing.
    ``wrong_at_5`` and ``wrong_at_10`` are the shares of wrong pairs that pass where 5 and 10 % of true ones are
    refused.
    """

    auc: float
    wrong_at_5: float
    wrong_at_10: float
    pairs: int

    def to_micro(self) -> dict[str, int]:
        """Return the same in integers, shares in millionths."""
        return {
            "auc_micro": round(MICRO * self.auc),
            "wrong_at_5_micro": round(MICRO * self.wrong_at_5),
            "wrong_at_10_micro": round(MICRO * self.wrong_at_10),
            "pairs": self.pairs,
        }


def score_all(a_ND: Rows, b_ND: Rows, bank_a: Quantised, bank_b: Quantised) -> Rows:
    """Return CSLS [N, N] of every a with every b."""
    banks = dequantise(bank_a), dequantise(bank_b)
    crowd_a = _crowd(a_ND @ banks[1].T, b_ND @ banks[1].T)
    crowd_b = _crowd(b_ND @ banks[0].T, a_ND @ banks[0].T)
    scores: Rows = a_ND @ b_ND.T - (crowd_a + crowd_b.T) / 2
    return scores


def _crowd(near_NB: Rows, partner_NB: Rows) -> Rows:
    """Return [N, N]: the mean of a point's nearest bank entries, but for those that are twins of the partner."""
    twins = partner_NB > CSLS_TWIN_MICRO / MICRO
    count = min(CSLS_NEIGHBOURS, near_NB.shape[1])
    out = np.repeat(_top(near_NB, count)[:, None], len(partner_NB), axis=1)
    for partner in np.flatnonzero(twins.any(axis=1)):
        kept = near_NB[:, ~twins[partner]]
        out[:, partner] = _top(kept, min(count, kept.shape[1])) if kept.shape[1] else 0.0
    return out


def _top(near_NB: Rows, count: int) -> Rows:
    top: Rows = np.partition(near_NB, -count, axis=1)[:, -count:].mean(axis=1)
    return top


def separate(scores_NN: Rows) -> Separation:
    """Return the figures of scores whose diagonal are the true pairs.

    Raises:
        ValueError: If there are fewer than two pairs.
    """
    count = len(scores_NN)
    if count < 2:
        raise ValueError("there is no wrong pair among fewer than two")
    rounded = np.round(scores_NN.astype(np.float64), 6)  # noise of the last bits must not decide between equal scores
    true, wrong = np.diag(rounded), np.sort(rounded[~np.eye(count, dtype=bool)])
    below = np.searchsorted(wrong, true, "left") + np.searchsorted(wrong, true, "right")
    passed = [float((wrong >= np.quantile(true, share / MICRO)).mean()) for share in REFUSED_MICRO]
    return Separation(float(below.mean() / 2 / len(wrong)), passed[0], passed[1], count)
