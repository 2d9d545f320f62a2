"""What one pair of modalities looks like in the space: alignment, neighbourhoods kept by the cross-average, gap."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curiosity.embedding.alignment import (
    Alignment,
    ModalityGap,
    Neighbourhood,
    compute_alignment_score,
    measure_modality_gap,
    measure_neighbourhood,
)
from curiosity.embedding.checkpoint import AnchorArrays
from curiosity.embedding.modalities import pair_name
from curiosity.protocol.scoring import cross_average, dequantise, pulls_micro, quantise
from trainer.separation import JUDGED_MOST, Separation, score_all, separate


@dataclass(frozen=True)
class PairSurvey:
    """Alignment, neighbourhoods and gap of two modalities.

    Diagonal top-1 of true pairs, one of each concept; by modality the share of neighbours that the cross-average keeps;
    the gap between the two clouds; how well the score tells true from wrong, where there are anchors to score with.
    """

    alignment: Alignment
    neighbourhood: Mapping[str, Neighbourhood]
    gap: ModalityGap
    separation: Separation | None = None

    def to_micro(self) -> dict[str, Any]:
        """Return the same in integers, shares in millionths."""
        return {
            "alignment": self.alignment.to_micro(),
            "neighbourhood": {m: kept.to_micro() for m, kept in self.neighbourhood.items()},
            "gap": self.gap.to_micro(),
        } | ({"separation": self.separation.to_micro()} if self.separation else {})

    def to_json(self) -> dict[str, Any]:
        """Return the same in shares of 1."""
        both = self.alignment
        return {
            "alignment": {
                "score": round(both.score, 4),
                "a_to_b": round(both.a_to_b, 4),
                "b_to_a": round(both.b_to_a, 4),
                "chance": round(both.chance, 4),
                "pairs": both.pairs,
            },
            "neighbourhood": {
                m: {"kept": round(n.kept, 4), "chance": round(n.chance, 4), "k": n.k, "items": n.items}
                for m, n in self.neighbourhood.items()
            },
            "gap": {"distance": round(self.gap.distance, 4), "separability": round(self.gap.separability, 4)},
        } | ({"separation": {k: round(v, 4) for k, v in vars(self.separation).items()}} if self.separation else {})


def survey_pair(
    a: str,
    b: str,
    a_ND: NDArray[np.float32],
    b_ND: NDArray[np.float32],
    medians: Mapping[str, int],
    anchors: AnchorArrays | None = None,
) -> PairSurvey:
    """Return the survey of modalities ``a`` and ``b`` from true pairs, row i of one with row i of the other.

    The neighbourhoods after are those of the cross-averaged embeddings, as verdicts compute them (docs/scoring.md, "The
    cross-average"); ``medians`` by modality, in millionths, set the pulls. ``anchors`` hold the banks of CSLS.
    """
    banks = [(anchors or {}).get(f"bank/{pair_name(a, b)}/{m}") for m in (a, b)]
    pulls = pulls_micro(medians.get(a, 0), medians.get(b, 0))
    moved = [cross_average(*two, *pulls) for two in zip(quantise(a_ND), quantise(b_ND), strict=True)]
    return PairSurvey(
        alignment=compute_alignment_score(a_ND, b_ND),
        neighbourhood={
            a: measure_neighbourhood(a_ND, dequantise(np.stack([one for one, _ in moved]))),
            b: measure_neighbourhood(b_ND, dequantise(np.stack([other for _, other in moved]))),
        },
        gap=measure_modality_gap(a_ND, b_ND),
        separation=separate(score_all(a_ND[:JUDGED_MOST], b_ND[:JUDGED_MOST], banks[0], banks[1]))
        if banks[0] is not None and banks[1] is not None
        else None,
    )
