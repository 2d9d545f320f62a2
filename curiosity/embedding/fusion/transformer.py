"""Fusion by a transformer over modality tokens.

B items, M modalities, D_m dimension of modality m, D dimension of the fused vector.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from curiosity.embedding.fusion.inputs import Fused, Fusion, ModalityTokens


def make_layers(dim: int, *, layers: int, heads: int, dropout: float) -> nn.TransformerEncoder:
    """Return pre-norm encoder layers of ``dim`` dimensions, four times as wide within, batch first."""
    layer = nn.TransformerEncoderLayer(
        dim, heads, 4 * dim, dropout, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(dim), enable_nested_tensor=False)


class TransformerFusion(Fusion):
    """A learned token reads all modality tokens through encoder layers; what it holds at the end is the vector.

    The learned token is always there, so that no row of attention is empty; an item that has nothing gets what the
    token makes of itself.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        dim: int,
        *,
        layers: int = 2,
        heads: int = 8,
        dropout: float = 0.1,
        modality_dropout: float = 0.0,
    ) -> None:
        super().__init__(dims, dim, modality_dropout=modality_dropout)
        self.tokens = ModalityTokens(self.dims, dim)
        self.reader = nn.Parameter(torch.randn(dim) * 0.02)
        self.layers = make_layers(dim, layers=layers, heads=heads, dropout=dropout)

    def _fuse(self, parts: dict[str, Tensor], mask_BM: Tensor) -> Fused:
        reader = self.reader.expand(len(mask_BM), 1, -1)
        hidden = nn.functional.pad(~mask_BM, (1, 0), value=False)
        tokens = torch.cat([reader, self.tokens(parts)], dim=1)
        read = self.layers(tokens, src_key_padding_mask=hidden) if len(tokens) else tokens
        return Fused(read[:, 0])
