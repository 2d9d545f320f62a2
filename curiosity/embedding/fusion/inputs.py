"""What every fusion does with its input: check it, hide what is missing, drop modalities in training.

B items, M modalities in alphabetical order, D_m dimension of modality m, D dimension of the fused vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from curiosity.protocol.errors import ConfigError


@dataclass(frozen=True)
class Fused:
    """A fused vector and, where the fusion weighs its modalities, their weights.

    Attributes:
        vectors: float[B, D].
        weights: Share by modality, float[B]: 0 where it is missing; the shares of an item that has any sum to 1. None
            where the fusion has no such weights.
    """

    vectors: Tensor
    weights: dict[str, Tensor] | None = None


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


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax over the last dimension of what ``mask`` (bool, broadcast) lets through.

    A row that lets nothing through is all 0, and so is its gradient: no row is NaN.
    """
    open_rows = mask.any(dim=-1, keepdim=True)
    # A closed row is opened for the softmax and emptied after it: minus infinity throughout would be 0 / 0.
    weights = scores.masked_fill(~(mask | ~open_rows), -torch.inf).softmax(dim=-1)
    return weights.masked_fill(~mask, 0.0)


class Fusion(nn.Module):
    """A way of making one vector of the embeddings that an item has.

    A fusion can be asked for any subset of its modalities. What stands in a missing place is never read, not even a
    NaN. An item that has nothing gets a vector too, the same for all such items.
    """

    def __init__(self, dims: Mapping[str, int], dim: int, *, modality_dropout: float = 0.0) -> None:
        """Prepare for modalities of ``dims`` dimensions; ``modality_dropout``: share dropped in training.

        Raises:
            ConfigError: FUSION_EMPTY, without a modality; FUSION_SIZE, when a size is not positive or the share is not
                in [0, 1).
        """
        super().__init__()
        if not dims:
            raise ConfigError("FUSION_EMPTY", "a fusion of no modality has no input", "Name at least one modality.")
        if min(dim, *dims.values()) < 1 or not 0 <= modality_dropout < 1:
            raise ConfigError(
                "FUSION_SIZE",
                f"the dimensions {dict(dims)} into {dim} with a dropped share of {modality_dropout} make no fusion",
                "Give positive dimensions and a share from 0 to below 1.",
            )
        self.dims = dict(sorted(dims.items()))
        self.dim = dim
        self.modality_dropout = modality_dropout

    def forward(self, embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the fused vectors [B, D] of [B, D_m] by modality.

        A modality that is not in ``embeddings`` is missing for every item; ``present`` bool[B] says of the others which
        items have them, all where it says nothing. What stands in a missing place is never read.

        Raises:
            ConfigError: FUSION_INPUT, when there is no embedding, one is unknown, or a shape or a dtype is another.
        """
        return self.explain(embeddings, present).vectors

    def explain(self, embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Fused:
        """Return what :meth:`forward` returns, with the weights of the modalities where the fusion has any."""
        parts, mask_BM = self._gather(embeddings, present or {})
        return self._fuse(parts, mask_BM)

    def _gather(
        self, embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return [B, D_m] by modality, 0 where missing, and bool[B, M] in the order of ``dims``."""
        self._check(embeddings, present)
        first = next(iter(embeddings.values()))
        none = torch.zeros(len(first), dtype=torch.bool, device=first.device)
        masks = {name: present.get(name, ~none) if name in embeddings else none for name in self.dims}
        if self.training and self.modality_dropout:
            masks = drop_modalities(masks, self.modality_dropout)
        parts = {}
        for name, width in self.dims.items():
            if name not in embeddings:
                parts[name] = first.new_zeros(len(first), width)
            elif name in present or self.training:
                parts[name] = torch.where(masks[name][:, None], embeddings[name], 0.0)
            else:
                parts[name] = embeddings[name]
        return parts, torch.stack(list(masks.values()), dim=1)

    def _fuse(self, parts: dict[str, Tensor], mask_BM: Tensor) -> Fused:
        """Return the fused vectors of [B, D_m] by modality, 0 where missing; ``mask_BM`` in the order of ``dims``."""
        raise NotImplementedError

    def _shares(self, weights_BM: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.dims, weights_BM.unbind(dim=1), strict=True))

    def _check(self, embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> None:
        counts = {len(tensor) if tensor.ndim else 0 for tensor in (*embeddings.values(), *present.values())}
        wrong = [
            f"{name} {tuple(tensor.shape)} {tensor.dtype}"
            for name, tensor in embeddings.items()
            if tensor.ndim != 2 or tensor.shape[1] != self.dims.get(name) or not tensor.is_floating_point()
        ] + [
            f"mask of {name} {tuple(tensor.shape)} {tensor.dtype}"
            for name, tensor in present.items()
            if tensor.ndim != 1 or tensor.dtype != torch.bool
        ]
        strange = sorted(set(present) - set(embeddings))
        if wrong or strange or len(counts) != 1 or len({tensor.dtype for tensor in embeddings.values()}) != 1:
            raise ConfigError(
                "FUSION_INPUT",
                f"got {', '.join(wrong) or 'no wrong shape'}, item counts {sorted(counts)}, masks without embeddings "
                f"{strange}; expected float[B, D_m] with D_m of {self.dims} and masks bool[B]; "
                f"dtypes {sorted({str(tensor.dtype) for tensor in embeddings.values()})}, expected one",
                "Give every modality as float[B, D_m] with one B and one dtype, and masks bool[B] only for those.",
            )


class ModalityTokens(nn.Module):
    """One token for each modality: its embedding, plus a learned vector that names it.

    An embedding of another dimension than D passes a linear map first; one of D dimensions is in the space already.
    """

    def __init__(self, dims: Mapping[str, int], dim: int) -> None:
        super().__init__()
        self.maps = nn.ModuleDict(
            {name: nn.Identity() if width == dim else nn.Linear(width, dim) for name, width in dims.items()}
        )
        self.names = nn.Parameter(torch.randn(len(dims), dim) * 0.02)

    def forward(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Return [B, M, D] of [B, D_m] by modality."""
        tokens = [linear(parts[name]) for name, linear in self.maps.items()]
        return torch.stack(tokens, dim=1) + self.names
