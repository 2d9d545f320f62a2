"""The larger towers of signals over time: a transformer over patches, for touch, pressure, EMG and action.

N tokens of an item, V values of a token, U units, B items in a batch, W width. In features and inputs NaN is a hidden
value and infinity a token that an item does not have; both are told to the encoder, which sees zero in their place.
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
from curiosity.embedding.towers.sensors import EMG_UV, PRESSURE_KPA, TOUCH_KPA

PATCH_SAMPLES = 50  # 50 ms of pressure and EMG
TOUCH_STEPS, TOUCH_CELLS, TOUCH_MOMENTS = 8, 4, 64
PADS, SIDE = 2, 16
LONGEST_TIME = 10_000.0  # of the position code (Vaswani et al. 2017, section 3.5), in tokens


class _Encoder(nn.Module):
    """Tokens [B, N, V] to the mean of their states [B, W]."""

    def __init__(self, values: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Linear(2 * values, width)
        self.blocks = Blocks(layers, width, heads, ratio=4)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        there = ~tokens[:, :, 0].isinf()
        # Tokens that no item of the batch has are left out; those that some lack are not looked at.
        longest = int((there * torch.arange(1, there.shape[1] + 1, device=there.device)).max())
        tokens, there = tokens[:, :longest], there[:, :longest]
        seen = tokens.isfinite()
        states = self.embed(torch.cat([torch.where(seen, tokens, 0.0), seen.to(tokens.dtype)], dim=-1))
        states = states + self._places(longest, states)
        states = self.norm(self.blocks(states, there)).float() * there[:, :, None]
        mean: Tensor = states.sum(dim=1) / there.sum(dim=1, keepdim=True)
        return mean

    def _places(self, count: int, like: Tensor) -> Tensor:
        """Return sines and cosines of a token's place in time, [N, W]."""
        half = like.shape[-1] // 2
        rates = LONGEST_TIME ** (-torch.arange(half, device=like.device) / half)
        angles = torch.arange(count, device=like.device)[:, None] * rates
        return torch.cat([angles.sin(), angles.cos()], dim=1).to(like.dtype)


class _Patches(Tower):
    """Features float32[n, V] with n at most N; one unit is one token unless a sub-class says otherwise."""

    max_rows = 64

    def __init__(self, dim: int, tokens: int, values: int, *, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.tokens, self.values = tokens, values
        self.encoder = _Encoder(values, width, layers, heads)
        self.projection = nn.Linear(width, dim)

    def units(self, features: Features) -> int:
        """Count one unit for each token."""
        return len(features)

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the item with NaN in the hidden tokens."""
        return np.where(hidden[:, None], np.float32(np.nan), features)

    def empty(self) -> Features:
        """Return one hidden token."""
        return np.full((1, self.values), np.nan, dtype=np.float32)

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return float32[B, N, V], infinite where an item has no token."""
        out = np.full((len(batch), self.tokens, self.values), np.inf, dtype=np.float32)
        for row, features in zip(out, batch, strict=True):
            row[: len(features)] = features
        return torch.from_numpy(out)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32[B, D]."""
        out: Tensor = self.projection(self.encoder(inputs))
        return out.float()

    def enable_gradient_checkpointing(self) -> bool:
        """Return True."""
        self.encoder.blocks.is_checkpointed = True
        return True


def _cut(signal: NDArray[np.float32], unit: float) -> Features:
    """Return float32[n, C * 50] of float32[C, samples]: compressed, NaN after the end of the last patch."""
    channels, samples = signal.shape
    count = -(-samples // PATCH_SAMPLES)
    full = np.full((channels, count * PATCH_SAMPLES), np.nan, dtype=np.float32)
    full[:, :samples] = np.arcsinh(signal.astype(np.float64) / unit)
    return full.reshape(channels, count, PATCH_SAMPLES).transpose(1, 0, 2).reshape(count, -1)


class PatchPressure(_Patches):
    """Pressure in patches of 50 ms, at most 30 s."""

    def __init__(self, dim: int, *, width: int = 128, layers: int = 4, heads: int = 4) -> None:
        super().__init__(dim, 600, PATCH_SAMPLES, width=width, layers=layers, heads=heads)

    def prepare(self, array: Array) -> Features:
        """Return float32[n, 50], inverse hyperbolic sines of pressure over 0.2 kPa."""
        return _cut(array[None], PRESSURE_KPA)


class PatchEmg(_Patches):
    """EMG in patches of 50 ms of all channels, at most 30 s."""

    def __init__(self, dim: int, *, width: int = 128, layers: int = 4, heads: int = 4, channels: int = 8) -> None:
        super().__init__(dim, 600, channels * PATCH_SAMPLES, width=width, layers=layers, heads=heads)

    def prepare(self, array: Array) -> Features:
        """Return float32[n, 400], inverse hyperbolic sines of EMG over 10 microvolts."""
        return _cut(array, EMG_UV)


class PatchAction(_Patches):
    """Actions step by step, at most 1,000; angles as sines and cosines, so that pi and -pi are one."""

    def __init__(self, dim: int, *, width: int = 128, layers: int = 4, heads: int = 4) -> None:
        super().__init__(dim, 1_000, 10, width=width, layers=layers, heads=heads)

    def prepare(self, array: Array) -> Features:
        """Return float32[n, 10].

        They are x, y, z in half metres, sines and cosines of roll, pitch and yaw, and the gripper from -1 to 1.
        """
        place, angles, gripper = array[:, :3] * 2, array[:, 3:6], array[:, 6:] * 2 - 1
        return np.concatenate([place, np.sin(angles), np.cos(angles), gripper], axis=1).astype(np.float32)


def _to_tokens(grid: Array) -> Array:
    """Return [n, 128] of [T, 2, 16, 16], T a multiple of 8."""
    squares = SIDE // TOUCH_CELLS
    parts = grid.reshape(-1, TOUCH_STEPS, PADS, squares, TOUCH_CELLS, squares, TOUCH_CELLS)
    return parts.transpose(0, 2, 3, 5, 1, 4, 6).reshape(-1, TOUCH_STEPS * TOUCH_CELLS**2)


class PatchTouch(_Patches):
    """Touch in patches of 8 steps and 4 x 4 cells; of more than 64 steps, 64 at even distances.

    A token's place in the sequence tells the encoder its moment, pad and square. The natural unit is a cell of a pad,
    hidden for the whole time.
    """

    SQUARES = (SIDE // TOUCH_CELLS) ** 2

    def __init__(self, dim: int, *, width: int = 128, layers: int = 4, heads: int = 4) -> None:
        tokens = PADS * self.SQUARES * TOUCH_MOMENTS // TOUCH_STEPS
        super().__init__(dim, tokens, TOUCH_STEPS * TOUCH_CELLS**2, width=width, layers=layers, heads=heads)

    def prepare(self, array: Array) -> Features:
        """Return float32[n, 128], inverse hyperbolic sines of pressure over 0.5 kPa.

        Tokens are in the order time, pad, square.
        """
        if len(array) > TOUCH_MOMENTS:
            array = array[np.round(np.linspace(0, len(array) - 1, TOUCH_MOMENTS)).astype(np.int64)]
        groups = math.ceil(len(array) / TOUCH_STEPS)
        full = np.full((groups * TOUCH_STEPS, PADS, SIDE, SIDE), np.nan, dtype=np.float32)
        full[: len(array)] = np.arcsinh(array.astype(np.float64) / TOUCH_KPA)
        return _to_tokens(full)

    def units(self, features: Features) -> int:  # noqa: ARG002 - every pad has as many
        """Count 512 cells."""
        return PADS * SIDE * SIDE

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the item with NaN in the hidden cells."""
        groups = len(features) // (PADS * self.SQUARES)
        cells = np.broadcast_to(hidden.reshape(1, PADS, SIDE, SIDE), (groups * TOUCH_STEPS, PADS, SIDE, SIDE))
        return np.where(_to_tokens(cells), np.float32(np.nan), features)

    def empty(self) -> Features:
        """Return eight steps of hidden cells."""
        return np.full((PADS * self.SQUARES, self.values), np.nan, dtype=np.float32)
