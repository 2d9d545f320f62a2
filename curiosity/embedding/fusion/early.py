"""Early fusion: the tokens of all modalities meet in one transformer before anything is pooled.

B items, M modalities, T_m tokens of modality m, D_m their dimension, D dimension of the fused vector.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from curiosity.embedding.fusion.inputs import Fused, Fusion, drop_modalities
from curiosity.embedding.fusion.transformer import make_layers
from curiosity.protocol.errors import ConfigError


class EarlyFusion(Fusion):
    """A learned token reads the token sequences of all modalities through encoder layers.

    Takes float[B, T_m, D_m] by modality, or float[B, D_m] for a modality of one token; a mask is bool[B], or
    bool[B, T_m] where sequences differ in length. Positions within a modality are sines and cosines (Vaswani et al.,
    "Attention Is All You Need", 2017), so that a length never seen in training has positions too.
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
        self.maps = nn.ModuleDict({name: nn.Linear(width, dim) for name, width in self.dims.items()})
        self.names = nn.Parameter(torch.randn(len(self.dims), dim) * 0.02)
        self.reader = nn.Parameter(torch.randn(dim) * 0.02)
        self.layers = make_layers(dim, layers=layers, heads=heads, dropout=dropout)

    def explain(self, embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Fused:
        """Return the fused vectors; this fusion has no weights of whole modalities."""
        given = present or {}
        self._check(embeddings, given)
        masks: dict[str, Tensor] = {}
        for name, tensor in embeddings.items():
            sequence = tensor if tensor.ndim == 3 else tensor[:, None]
            mask = given.get(name, torch.ones(len(tensor), dtype=torch.bool, device=tensor.device))
            masks[name] = mask if mask.ndim == 2 else mask[:, None].expand(sequence.shape[:2])
        if self.training and self.modality_dropout:
            kept = drop_modalities({name: mask.any(dim=1) for name, mask in masks.items()}, self.modality_dropout)
            masks = {name: mask & kept[name][:, None] for name, mask in masks.items()}
        rows = len(next(iter(embeddings.values())))
        tokens, hidden = [self.reader.expand(rows, 1, -1)], [torch.zeros(rows, 1, dtype=torch.bool)]
        for place, (name, linear) in enumerate(self.maps.items()):
            if name in embeddings:
                read = embeddings[name] if embeddings[name].ndim == 3 else embeddings[name][:, None]
                mapped = linear(torch.where(masks[name][..., None], read, 0.0)) + self.names[place]
                tokens.append(mapped + _positions(mapped.shape[1], self.dim).to(mapped))
                hidden.append(~masks[name])
        flat = torch.cat(tokens, dim=1)
        closed = torch.cat([one.to(flat.device) for one in hidden], dim=1)
        read = self.layers(flat, src_key_padding_mask=closed) if rows else flat
        return Fused(read[:, 0])

    def _check(self, embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> None:
        counts = {len(tensor) if tensor.ndim else 0 for tensor in (*embeddings.values(), *present.values())}
        wrong = [
            f"{name} {tuple(tensor.shape)} {tensor.dtype}"
            for name, tensor in embeddings.items()
            if tensor.ndim not in (2, 3) or tensor.shape[-1] != self.dims.get(name) or not tensor.is_floating_point()
        ]
        for name, mask in present.items():
            tensor = embeddings.get(name, mask)
            fits = mask.dtype == torch.bool and (
                mask.ndim == 1 or (tensor.ndim == 3 and tuple(mask.shape) == tuple(tensor.shape[:2]))
            )
            if name not in embeddings or not fits:
                wrong.append(f"mask of {name} {tuple(mask.shape)} {mask.dtype}")
        if wrong or len(counts) != 1 or len({tensor.dtype for tensor in embeddings.values()}) != 1:
            raise ConfigError(
                "FUSION_INPUT",
                f"got {', '.join(wrong) or 'no wrong shape'} and item counts {sorted(counts)}; expected "
                f"float[B, T_m, D_m] or float[B, D_m] with D_m of {self.dims}, masks bool[B] or bool[B, T_m]; "
                f"dtypes {sorted({str(tensor.dtype) for tensor in embeddings.values()})}, expected one",
                "Give every modality with one B and one dtype, and masks only for those.",
            )


def _positions(length: int, dim: int) -> Tensor:
    """Return float64[length, dim] of sines and cosines of ``t / 10000^(2 i / dim)``."""
    half = (dim + 1) // 2
    rates = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :dim]
