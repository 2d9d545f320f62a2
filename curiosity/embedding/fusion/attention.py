"""Attention with boolean masks: between two sequences, and as a fusion over modality tokens.

B items, H heads, Q queries, K keys, M modalities, E dimension of an attended sequence, D dimension of the fused vector.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from curiosity.embedding.fusion.inputs import Fused, Fusion, ModalityTokens, masked_softmax
from curiosity.protocol.errors import ConfigError

Kind = Literal["dot", "additive"]


class CrossModalAttention(nn.Module):
    """Multi-head attention from one sequence to another, with the weights.

    ``dot`` scores are ``q . k / sqrt(E / H)`` (Vaswani et al., "Attention Is All You Need", 2017); ``additive`` scores
    are ``v . tanh(q + k)`` with one learned ``v`` a head (Bahdanau et al., "Neural Machine Translation by Jointly
    Learning to Align and Translate", 2015).
    """

    def __init__(
        self,
        dim: int,
        heads: int = 8,
        *,
        key_dim: int | None = None,
        kind: Kind = "dot",
        dropout: float = 0.0,
    ) -> None:
        """Make attention from sequences of ``dim`` to sequences of ``key_dim`` (``dim`` where it is not given).

        Raises:
            ConfigError: FUSION_SIZE, when the heads do not divide ``dim`` or the kind is unknown.
        """
        super().__init__()
        if heads < 1 or dim < 1 or dim % heads or kind not in ("dot", "additive"):
            raise ConfigError(
                "FUSION_SIZE",
                f"{heads} heads of kind {kind!r} do not share {dim} dimensions",
                "Give a number of heads that divides the dimensions, and the kind dot or additive.",
            )
        self.heads, self.kind = heads, kind
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(key_dim or dim, dim)
        self.value = nn.Linear(key_dim or dim, dim)
        self.out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Parameter(torch.randn(heads, dim // heads) * (dim // heads) ** -0.5)
        self.score.requires_grad_(kind == "additive")

    def forward(self, query: Tensor, key_value: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the output [B, Q, E] and the weights [B, H, Q, K].

        Args:
            query: float[B, Q, E].
            key_value: float[B, K, key_dim]. What a mask hides for every query is never read, not even a NaN.
            mask: bool[B, K] or bool[B, Q, K], True where a key may be attended. A query that may attend to nothing has
                weights 0 and the output of an empty sum.

        Raises:
            ConfigError: FUSION_INPUT, when a shape or a dtype is another. Two-dimensional input is refused: a library
                may take it for one unbatched sequence and mix the items of a batch.
        """
        self._check(query, key_value, mask)
        open_BQK = None if mask is None else mask[:, None, :] if mask.ndim == 2 else mask
        hidden_free = key_value if open_BQK is None else torch.where(open_BQK.any(dim=1)[..., None], key_value, 0.0)
        q, k, v = (
            linear(given).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for linear, given in ((self.query, query), (self.key, hidden_free), (self.value, hidden_free))
        )
        if self.kind == "dot":
            scores_BHQK = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        else:
            summed = torch.tanh(q[:, :, :, None, :] + k[:, :, None, :, :])
            scores_BHQK = torch.einsum("bhqkd,hd->bhqk", summed, self.score)
        weights_BHQK = (
            scores_BHQK.softmax(dim=-1) if open_BQK is None else masked_softmax(scores_BHQK, open_BQK[:, None])
        )
        mixed = (self.dropout(weights_BHQK) @ v).transpose(1, 2).flatten(-2)
        return self.out(mixed), weights_BHQK

    def _check(self, query: Tensor, key_value: Tensor, mask: Tensor | None) -> None:
        rows, width, key_width = len(query) if query.ndim else 0, self.query.in_features, self.key.in_features
        good = query.ndim == key_value.ndim == 3 and len(key_value) == rows
        good = good and query.shape[2] == width and key_value.shape[2] == key_width
        shapes = [(rows, key_value.shape[1]), (rows, query.shape[1], key_value.shape[1])] if good else []
        if not good or (mask is not None and (mask.dtype != torch.bool or tuple(mask.shape) not in shapes)):
            told = "no mask" if mask is None else f"a mask {tuple(mask.shape)} {mask.dtype}"
            raise ConfigError(
                "FUSION_INPUT",
                f"got a query {tuple(query.shape)}, keys {tuple(key_value.shape)} and {told}; expected [B, Q, {width}],"
                f" [B, K, {key_width}] and bool[B, K] or bool[B, Q, K]",
                "Give sequences with a batch dimension, and a boolean mask that is True where a key may be attended.",
            )


class AttentionFusion(Fusion):
    """Multi-head attention over modality tokens, asked by the mean of the tokens that an item has.

    The query is one learned vector plus that mean, so that it depends on the item; the keys are all of an item's
    tokens, so that the softmax has something to choose from (with one key its weight is 1 and the query is without
    effect). An item that has nothing gets the bias of the output map.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        dim: int,
        *,
        heads: int = 8,
        dropout: float = 0.1,
        kind: Kind = "dot",
        modality_dropout: float = 0.0,
    ) -> None:
        super().__init__(dims, dim, modality_dropout=modality_dropout)
        self.tokens = ModalityTokens(self.dims, dim)
        self.asking = nn.Parameter(torch.randn(dim) * 0.02)
        self.attention = CrossModalAttention(dim, heads, kind=kind, dropout=dropout)

    def _fuse(self, parts: dict[str, Tensor], mask_BM: Tensor) -> Fused:
        tokens_BMD = self.tokens(parts)
        shares_BM = mask_BM / mask_BM.sum(dim=1, keepdim=True).clamp(min=1)
        query_B1D = self.asking + shares_BM.to(tokens_BMD.dtype)[:, None] @ tokens_BMD
        out_B1D, weights_BH1M = self.attention(query_B1D, tokens_BMD, mask_BM)
        return Fused(out_B1D[:, 0], self._shares(weights_BH1M.mean(dim=1)[:, 0]))
