"""Fusion by concatenation and two layers (early fusion), for items that may lack a modality.

B items, D_m dimension of modality m, D dimension of the fused vector.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from curiosity.protocol.errors import ConfigError


def drop_modalities(
    present: Mapping[str, Tensor], share: float, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """Return ``present`` bool[B] by modality, each taken away from a share of the items.

    Every item keeps one that it had. For training: a fusion that has always had everything fails at the first sensor
    that does.
    """
    names = sorted(present)
    had_BM = torch.stack([present[name] for name in names], dim=1)
    drawn_BM = torch.rand(had_BM.shape, generator=generator).to(had_BM.device)
    kept_BM = had_BM & (drawn_BM >= share)
    # The luckiest of what an item had stays, where the draw would have left it with nothing.
    best_B = drawn_BM.masked_fill(~had_BM, -1.0).argmax(dim=1)
    lost_B = ~kept_BM.any(dim=1)
    kept_BM[lost_B, best_B[lost_B]] = had_BM[lost_B, best_B[lost_B]]
    return dict(zip(names, kept_BM.unbind(dim=1), strict=True))


class ConcatMlp(nn.Module):
    """Concatenation, a linear map, ReLU, dropout, a linear map. A missing modality is a learned vector.

    ``dims`` maps each modality to D_m. A fusion can be asked for any subset of its modalities.
    """

    def __init__(self, dims: Mapping[str, int], dim: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        if not dims:
            raise ConfigError("FUSION_EMPTY", "a fusion of no modality has no input", "Name at least one modality.")
        self.dims = dict(sorted(dims.items()))
        self.missing = nn.ParameterDict({name: nn.Parameter(torch.zeros(width)) for name, width in self.dims.items()})
        self.layers = nn.Sequential(
            nn.Linear(sum(self.dims.values()), dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, dim)
        )

    def forward(self, embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the fused vectors [B, D] of [B, D_m] by modality.

        A modality that is not in ``embeddings`` is missing for every item; ``present`` bool[B] says of the others which
        items have them, all where it says nothing. What stands in a missing place is never read.

        Raises:
            ConfigError: FUSION_INPUT, when there is no embedding, one is unknown, or its shape is another.
        """
        self._check(embeddings, present or {})
        rows = len(next(iter(embeddings.values())))
        parts = []
        for name, vector in self.missing.items():
            absent = vector.expand(rows, -1)
            there = embeddings.get(name)
            mask = (present or {}).get(name)
            if there is None:
                parts.append(absent)
            else:
                parts.append(there if mask is None else torch.where(mask[:, None], there, absent))
        out: Tensor = self.layers(torch.cat(parts, dim=1))
        return out

    def _check(self, embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> None:
        counts = {len(tensor) for tensor in (*embeddings.values(), *present.values())}
        wrong = [
            f"{name} {tuple(tensor.shape)}"
            for name, tensor in embeddings.items()
            if tensor.ndim != 2 or tensor.shape[1] != self.dims.get(name)
        ]
        strange = sorted(set(present) - set(embeddings))
        if wrong or strange or len(counts) != 1:
            raise ConfigError(
                "FUSION_INPUT",
                f"got {', '.join(wrong) or 'no wrong shape'}, item counts {sorted(counts)}, masks without embeddings "
                f"{strange}; expected [B, D_m] with D_m of {self.dims}",
                "Give every modality as [B, D_m] with one B, and masks only for those.",
            )
