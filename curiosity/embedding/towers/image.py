"""The tiny picture tower: four stride-2 convolutions on 32 px."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch import Tensor, nn

from curiosity.embedding.modality import Array
from curiosity.embedding.towers.base import Features, Tower, hide_patches

SIDE_PX = 32
# 16-px patches of a 224-px picture cut it into 14 x 14; 4-px patches of 32 px into 8 x 8: the same idea of a unit.
PATCH_PX = 4


class TinyImage(Tower):
    """RGB to 32 x 32 (area average, on white), four convolutions with batch-norm and GELU, one projection."""

    def __init__(self, dim: int, widths: tuple[int, ...] = (48, 96, 192, 256)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in widths:
            layers += [
                nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.GELU(),
            ]
            channels = width
        side = SIDE_PX // 2 ** len(widths)
        self.encoder = nn.Sequential(*layers, nn.Flatten())
        self.projection = nn.Linear(channels * side * side, dim)

    def prepare(self, array: Array) -> Features:
        """Return float32[3, 32, 32] in [-1, 1]."""
        picture = Pillow.fromarray(array)
        picture.thumbnail((SIDE_PX, SIDE_PX), Pillow.Resampling.BOX)
        if max(picture.size) < SIDE_PX:
            scale = SIDE_PX / max(picture.size)
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            picture = picture.resize(size, Pillow.Resampling.BILINEAR)
        square = Pillow.new("RGB", (SIDE_PX, SIDE_PX), "white")
        square.paste(picture, ((SIDE_PX - picture.width) // 2, (SIDE_PX - picture.height) // 2))
        values = np.asarray(square, dtype=np.float32) / np.float32(127.5) - np.float32(1)
        return np.ascontiguousarray(values.transpose(2, 0, 1))

    def units(self, features: Features) -> int:  # noqa: ARG002 - every picture has as many
        """Count 64 patches."""
        return (SIDE_PX // PATCH_PX) ** 2

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the picture with the hidden patches mid-grey."""
        return hide_patches(features.astype(np.float32, copy=False), hidden, PATCH_PX)

    def empty(self) -> Features:
        """Return the mid-grey picture."""
        return np.zeros((3, SIDE_PX, SIDE_PX), dtype=np.float32)

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return float32[B, 3, 32, 32]."""
        return torch.from_numpy(np.stack(batch))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32[B, D]."""
        if self.training:
            # A fifth less processor time for forward and backward (0.13 to 0.11 s of 193 pictures).
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        out: Tensor = self.projection(self.encoder(inputs))
        return out

    def augment(self, inputs: Tensor, seed: int) -> Tensor:
        """Return a batch shifted and scaled by up to an eighth, brightness and contrast jittered.

        Pictures are never flipped (digits, letters).
        """
        rng = torch.Generator().manual_seed(seed)
        count = len(inputs)
        theta = torch.zeros(count, 2, 3)
        scale = 1 + 0.25 * (torch.rand(count, generator=rng) - 0.5)
        theta[:, 0, 0] = scale
        theta[:, 1, 1] = scale
        theta[:, :, 2] = 0.25 * (torch.rand(count, 2, generator=rng) - 0.5)
        grid = nn.functional.affine_grid(theta.to(inputs.device), list(inputs.shape), align_corners=False)
        moved = nn.functional.grid_sample(inputs, grid, padding_mode="border", align_corners=False)
        gain = 1 + 0.4 * (torch.rand(count, 1, 1, 1, generator=rng) - 0.5)
        lift = 0.3 * (torch.rand(count, 1, 1, 1, generator=rng) - 0.5)
        return (moved * gain.to(inputs.device) + lift.to(inputs.device)).clamp(-1, 1)
