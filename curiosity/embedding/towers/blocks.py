"""Attention blocks that towers share.

B items in a batch, N tokens, W width.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class AttentionBlock(nn.Module):
    """Attention and two layers, each added to what came in (pre-norm)."""

    def __init__(self, width: int, heads: int, ratio: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.layers = nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))

    def forward(self, tokens: Tensor, there: Tensor | None = None) -> Tensor:
        """Return [B, N, W], same shape.

        ``there`` bool[B, N] says which tokens are looked at, at least one of each item.
        """
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.mix(self.norm1(tokens)).chunk(3, dim=-1)
        )
        mask = None if there is None else there[:, None, None, :]
        seen = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        tokens = tokens + self.out(seen.transpose(1, 2).flatten(2))
        out: Tensor = tokens + self.layers(self.norm2(tokens))
        return out


class Blocks(nn.ModuleList):
    """Blocks one after another. ``is_checkpointed`` trades time for memory in training: see ``Tower``."""

    def __init__(self, layers: int, width: int, heads: int, ratio: int = 2) -> None:
        super().__init__(AttentionBlock(width, heads, ratio) for _ in range(layers))
        self.is_checkpointed = False

    def forward(self, tokens: Tensor, there: Tensor | None = None) -> Tensor:
        """Return [B, N, W], same shape."""
        for block in self:
            if self.is_checkpointed and self.training and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, there, use_reentrant=False)
            else:
                tokens = block(tokens, there)
        return tokens
