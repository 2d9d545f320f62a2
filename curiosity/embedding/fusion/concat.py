"""Fusion by concatenation and two layers, for items that may lack a modality.

B items, M modalities, D_m dimension of modality m, D dimension of the fused vector.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from curiosity.embedding.fusion.inputs import Fused, Fusion


class ConcatMlp(Fusion):
    """Concatenation, a linear map, ReLU, dropout, a linear map. A missing modality is a learned vector.

    ``dims`` maps each modality to D_m. The document's guide counts one camera in its width; here every stream that
    ``dims`` names counts.
    """

    def __init__(
        self, dims: Mapping[str, int], dim: int, *, dropout: float = 0.1, modality_dropout: float = 0.0
    ) -> None:
        super().__init__(dims, dim, modality_dropout=modality_dropout)
        self.missing = nn.ParameterDict({name: nn.Parameter(torch.zeros(width)) for name, width in self.dims.items()})
        self.layers = nn.Sequential(
            nn.Linear(sum(self.dims.values()), dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, dim)
        )

    def _fuse(self, parts: dict[str, Tensor], mask_BM: Tensor) -> Fused:
        filled = [
            torch.where(mask_B[:, None], parts[name], self.missing[name])
            for name, mask_B in zip(self.dims, mask_BM.unbind(dim=1), strict=True)
        ]
        return Fused(self.layers(torch.cat(filled, dim=1)))
