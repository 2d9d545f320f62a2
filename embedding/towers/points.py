"""The tiny point cloud tower: small groups of near points, each one token of a small transformer without positions.

N points of an item, G groups, B items in a batch.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embedding.modality import Array
from embedding.towers.base import Features, Tower

POINTS = 256
GROUP = 8
GROUPS = POINTS // GROUP
_CELL_M = 0.005  # grid of the space-filling curve
_FREQUENCIES = 5
_LONGEST_M = 1.28  # wavelengths of the position code: 1.28 m, halved four times, down to 8 cm


def order_points(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """Indices int64[N] that sort points along a space-filling curve (Morton 1966), whatever order they came in.

    Ties of the curve are broken by the coordinates, so equal sets give equal sequences.
    """
    cells = np.floor(points.astype(np.float64) / _CELL_M).astype(np.int64)
    cells = (cells - cells.min(axis=0)).clip(0, 2**20 - 1).astype(np.uint64)
    code = np.zeros(len(points), dtype=np.uint64)
    for bit in range(20):
        for axis in range(3):
            code |= ((cells[:, axis] >> np.uint64(bit)) & np.uint64(1)) << np.uint64(3 * bit + axis)
    order: NDArray[np.int64] = np.lexsort((points[:, 2], points[:, 1], points[:, 0], code))
    return order


class TinyPoints(Tower):
    """256 points in 32 groups of 8: positions coded as waves, two layers and a maximum a group, one attention block,
    mean and maximum over the groups. The order of the points changes nothing."""

    def __init__(self, dim: int, width: int = 96, heads: int = 4) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict(
            {
                "point": nn.Sequential(nn.Linear(4 + 6 * _FREQUENCIES, 64), nn.GELU(), nn.Linear(64, width)),
                "block": _Block(width, heads),
                "norm": nn.LayerNorm(width),
            }
        )
        self.projection = nn.Linear(2 * width, dim)
        waves = 2 * math.pi / _LONGEST_M * 2.0 ** torch.arange(_FREQUENCIES)
        self.register_buffer("waves", waves, persistent=False)

    def prepare(self, array: Array) -> Features:
        """float32[256, 4]: x, y, z in metres and 1 where there is a point, groups of near points in a row.

        Of more than 256 points those at even steps along the curve are taken.
        """
        ordered = array[order_points(array)]
        if len(ordered) > POINTS:
            ordered = ordered[(np.arange(POINTS) * len(ordered)) // POINTS]
        out = np.zeros((POINTS, 4), dtype=np.float32)
        out[: len(ordered), :3] = ordered
        out[: len(ordered), 3] = 1.0
        return out

    def units(self, features: Features) -> int:
        """Groups that have a point."""
        return -(-int(features[:, 3].sum()) // GROUP)

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """The cloud without the hidden groups."""
        kept = features.astype(np.float32)
        kept.reshape(GROUPS, GROUP, 4)[: len(hidden)][hidden] = 0.0
        return kept

    def empty(self) -> Features:
        """No points."""
        return np.zeros((POINTS, 4), dtype=np.float32)

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """float32[B, 256, 4]."""
        return torch.from_numpy(np.stack(batch))

    def forward(self, inputs: Tensor) -> Tensor:
        """float32[B, D]."""
        waves = self.get_buffer("waves")
        place, there = inputs[..., :3], inputs[..., 3:]
        turned = (place[..., None] * waves).flatten(-2)
        coded = torch.cat([torch.asinh(place / 0.1), there, turned.sin(), turned.cos()], dim=-1)
        # A point that is not there must not win a maximum; a group without points is a token of its own kind.
        points = self.encoder["point"](coded) * there - 4.0 * (1 - there)
        tokens = points.unflatten(1, (GROUPS, GROUP)).amax(dim=2)
        tokens = self.encoder["norm"](self.encoder["block"](tokens))
        out: Tensor = self.projection(torch.cat([tokens.mean(dim=1), tokens.amax(dim=1)], dim=1))
        return out

    def augment(self, inputs: Tensor, seed: int) -> Tensor:
        """Points jittered by half a millimetre, an eighth of the groups not there."""
        rng = torch.Generator().manual_seed(seed)
        count = len(inputs)
        keep = (torch.rand(count, GROUPS, 1, generator=rng) >= 0.125).repeat_interleave(GROUP, dim=1)
        noise = 0.0005 * torch.randn(count, POINTS, 3, generator=rng).to(inputs.device)
        place = inputs[..., :3] + noise * inputs[..., 3:]
        return torch.cat([place, inputs[..., 3:]], dim=-1) * keep.to(inputs.device)


class _Block(nn.Module):
    """Attention and two layers, each added to what came in (pre-norm)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.layers = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """float32[B, G, W], same shape."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.mix(self.norm1(tokens)).chunk(3, dim=-1)
        )
        seen = nn.functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.out(seen.transpose(1, 2).flatten(2))
        out: Tensor = tokens + self.layers(self.norm2(tokens))
        return out
