"""Fusion by a learned weighted sum: gates that see the embedding decide how much of each modality counts.

B items, M modalities, D_m dimension of modality m, D dimension of the fused vector.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from curiosity.embedding.fusion.inputs import Fused, Fusion, masked_softmax


class WeightedSum(Fusion):
    """``sum_m w_m P_m e_m`` with ``w`` the softmax of ``g_m . e_m + b_m`` over the modalities that an item has.

    Each modality has a linear map ``P_m`` to D and a gate ``(g_m, b_m)``; gates start at 0, so that all count alike.
    An item that has nothing gets zeros.
    """

    def __init__(self, dims: Mapping[str, int], dim: int, *, modality_dropout: float = 0.0) -> None:
        super().__init__(dims, dim, modality_dropout=modality_dropout)
        # The last row of each map is its gate: one product instead of two.
        self.maps = nn.ModuleDict({name: nn.Linear(width, dim + 1) for name, width in self.dims.items()})
        with torch.no_grad():
            for linear in self.maps.values():
                linear.weight[-1].zero_()  # type: ignore[index]
                linear.bias[-1].zero_()  # type: ignore[index]

    def _fuse(self, parts: dict[str, Tensor], mask_BM: Tensor) -> Fused:
        mapped = torch.stack([linear(parts[name]) for name, linear in self.maps.items()], dim=1)
        values_BMD, scores_BM = mapped[..., :-1], mapped[..., -1]
        weights_BM = masked_softmax(scores_BM, mask_BM)
        return Fused(torch.einsum("bm,bmd->bd", weights_BM, values_BMD), self._shares(weights_BM))
