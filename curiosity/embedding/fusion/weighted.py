"""Fusion by a learned weighted sum: gates that see the embedding decide how much of each modality counts.

B items, M modalities, D_m dimension of modality m, D dimension of the fused vector.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from curiosity.embedding.fusion.inputs import Fused, Fusion, ModalityTokens, masked_softmax


class WeightedSum(Fusion):
    """``sum_m w_m P_m e_m`` with ``w`` the softmax of ``g_m . P_m e_m + b_m`` over the modalities that an item has.

    ``P_m`` is a linear map to D, and nothing where an embedding has D dimensions already. Gates start at 0, so that all
    count alike. An item that has nothing gets zeros.
    """

    def __init__(self, dims: Mapping[str, int], dim: int, *, modality_dropout: float = 0.0) -> None:
        super().__init__(dims, dim, modality_dropout=modality_dropout)
        self.tokens = ModalityTokens(self.dims, dim)
        self.gates = nn.Parameter(torch.zeros(len(self.dims), dim))
        self.biases = nn.Parameter(torch.zeros(len(self.dims)))

    def _fuse(self, parts: dict[str, Tensor], mask_BM: Tensor) -> Fused:
        tokens_BMD = self.tokens(parts)
        weights_BM = masked_softmax((tokens_BMD * self.gates).sum(dim=2) + self.biases, mask_BM)
        return Fused((weights_BM[:, None] @ tokens_BMD)[:, 0], self._shares(weights_BM))
