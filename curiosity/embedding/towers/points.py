"""The tiny point cloud tower: small groups of near points, each one token of a small transformer without positions.

N points of an item, G groups, B items in a batch.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from curiosity.embedding.modality import Array
from curiosity.embedding.towers.base import Features, Tower
from curiosity.embedding.towers.blocks import Blocks

_CELL_M = 0.005  # grid of the space-filling curve
_FREQUENCIES = 5
_LONGEST_M = 1.28  # wavelengths of the position code: 1.28 m, halved four times, down to 8 cm


def order_points(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the indices int64[N] that sort points along a space-filling curve (Morton 1966).

    The result does not depend on the order that the points came in: ties of the curve are broken by the coordinates, so
    equal sets give equal sequences.
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
    """Points in groups of near ones; the order of the points changes nothing.

    Positions are coded as waves, with two layers and a maximum a group; then attention blocks, and mean and maximum
    over the groups. The preset ``tiny`` takes 256 points in 32 groups and one block; larger presets give larger
    numbers.
    """

    def __init__(
        self, dim: int, width: int = 96, heads: int = 4, layers: int = 1, points: int = 256, group: int = 8
    ) -> None:
        super().__init__()
        self.points, self.group, self.groups = points, group, points // group
        self.encoder = nn.ModuleDict(
            {
                "point": nn.Sequential(nn.Linear(4 + 6 * _FREQUENCIES, 64), nn.GELU(), nn.Linear(64, width)),
                "blocks": Blocks(layers, width, heads),
                "norm": nn.LayerNorm(width),
            }
        )
        self.projection = nn.Linear(2 * width, dim)
        waves = 2 * math.pi / _LONGEST_M * 2.0 ** torch.arange(_FREQUENCIES)
        self.register_buffer("waves", waves, persistent=False)

    def prepare(self, array: Array) -> Features:
        """Return float32[points, 4]: x, y, z in metres and 1 where there is a point, groups of near points in a row.

        Of more points than that those at even steps along the curve are taken.
        """
        ordered = array[order_points(array)]
        if len(ordered) > self.points:
            ordered = ordered[(np.arange(self.points) * len(ordered)) // self.points]
        out = np.zeros((self.points, 4), dtype=np.float32)
        out[: len(ordered), :3] = ordered
        out[: len(ordered), 3] = 1.0
        return out

    def units(self, features: Features) -> int:
        """Count the groups that have a point."""
        return -(-int(features[:, 3].sum()) // self.group)

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the cloud without the hidden groups."""
        kept = features.astype(np.float32)
        kept.reshape(self.groups, self.group, 4)[: len(hidden)][hidden] = 0.0
        return kept

    def empty(self) -> Features:
        """Return an item without any points."""
        return np.zeros((self.points, 4), dtype=np.float32)

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return float32[B, points, 4]."""
        return torch.from_numpy(np.stack(batch))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32[B, D]."""
        waves = self.get_buffer("waves")
        place, there = inputs[..., :3], inputs[..., 3:]
        turned = (place[..., None] * waves).flatten(-2)
        coded = torch.cat([torch.asinh(place / 0.1), there, turned.sin(), turned.cos()], dim=-1)
        # A point that is not there must not win a maximum; a group without points is a token of its own kind.
        points = self.encoder["point"](coded) * there - 4.0 * (1 - there)
        tokens = points.unflatten(1, (self.groups, self.group)).amax(dim=2)
        tokens = self.encoder["norm"](self.encoder["blocks"](tokens))
        out: Tensor = self.projection(torch.cat([tokens.mean(dim=1), tokens.amax(dim=1)], dim=1))
        return out.float()

    def enable_gradient_checkpointing(self) -> bool:
        """Return True."""
        blocks = self.encoder["blocks"]
        assert isinstance(blocks, Blocks)
        blocks.is_checkpointed = True
        return True

    def augment(self, inputs: Tensor, seed: int) -> Tensor:
        """Return a batch with points jittered by half a millimetre, an eighth of the groups not there."""
        rng = torch.Generator().manual_seed(seed)
        count = len(inputs)
        keep = (torch.rand(count, self.groups, 1, generator=rng) >= 0.125).repeat_interleave(self.group, dim=1)
        noise = 0.0005 * torch.randn(count, self.points, 3, generator=rng).to(inputs.device)
        place = inputs[..., :3] + noise * inputs[..., 3:]
        return torch.cat([place, inputs[..., 3:]], dim=-1) * keep.to(inputs.device)
