"""The tiny towers of signals over time: touch, pressure, EMG and action.

Each cuts its item into time patches, describes a patch by a few numbers, and runs convolutions over time. Whatever an
item's length, it becomes the same number of patches: a longer one is averaged down, so that it keeps its end; a shorter
one is followed by patches that say that they are not there. So no item depends on how its batch is padded.

P time patches, F numbers of a patch, the last of which is 1 where the patch is there and 0 where it is not.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from curiosity.embedding.modality import Array
from curiosity.embedding.towers.base import Features, Tower

PATCHES = 64  # of pressure and EMG, 25 ms each
PATCH_SAMPLES = 25
STEPS = 32  # of touch and action, 50 ms each
CELL_GRID = 8  # a pad's 16 x 16 cells in groups of 2 x 2
# Where the compression of a unit turns from linear to logarithmic: about the noise of a sensor.
PRESSURE_KPA, TOUCH_KPA, EMG_UV = 0.2, 0.5, 10.0
# Positions are trained at table-top scale: a decimetre is 1.
ACTION_SCALE = np.array([10.0, 10.0, 10.0, 2.0, 2.0, 2.0, 3.0], dtype=np.float32)


def fit_patches(values: NDArray[np.float32], patches: int) -> NDArray[np.float32]:
    """Return float32[patches, F + 1] of float32[T, F].

    It is averaged down where T is larger, and followed by zeros where it is smaller.
    """
    count = len(values)
    if count > patches:
        cuts = np.linspace(0, count, patches + 1)
        total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0, dtype=np.float64)])
        whole = np.floor(cuts).astype(np.int64)
        inside = (cuts - whole)[:, None]
        at = total[whole] + inside * (total[np.minimum(whole + 1, count)] - total[whole])
        values = (np.diff(at, axis=0) * (patches / count)).astype(np.float32)
    out = np.zeros((patches, values.shape[1] + 1), dtype=np.float32)
    out[: len(values), :-1] = values
    out[: len(values), -1] = 1.0
    return out


def cut_patches(signal: NDArray[np.float32], samples: int) -> NDArray[np.float64]:
    """Return float64[C, T, samples] of float32[C, n]; the last patch repeats the end of the signal to be full."""
    count = -(-signal.shape[1] // samples)
    full = np.pad(signal.astype(np.float64), ((0, 0), (0, count * samples - signal.shape[1])), mode="edge")
    return full.reshape(len(signal), count, samples)


class TimeTower(Tower):
    """Features float32[P, F], convolutions over time that halve it, all that is left into one projection."""

    def __init__(self, dim: int, patches: int, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.patches, self.inputs = patches, inputs
        layers: list[nn.Module] = []
        channels = inputs
        for width in widths:
            layers += [
                nn.Conv1d(channels, width, 5, stride=2, padding=2, bias=False),
                nn.BatchNorm1d(width),
                nn.GELU(),
            ]
            channels = width
        self.encoder = nn.Sequential(*layers, nn.Flatten())
        self.projection = nn.Linear(channels * (patches // 2 ** len(widths)), dim)

    def units(self, features: Features) -> int:
        """Count the time patches that are there."""
        return int(features[:, -1].sum())

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the item with the hidden time patches not there."""
        kept = features.astype(np.float32)
        kept[: len(hidden)][hidden] = 0.0
        return kept

    def empty(self) -> Features:
        """Return an item without any time patch."""
        return np.zeros((self.patches, self.inputs), dtype=np.float32)

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return float32[B, P, F]."""
        return torch.from_numpy(np.stack(batch))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32[B, D]."""
        out: Tensor = self.projection(self.encoder(inputs.transpose(1, 2)))
        return out

    def augment(self, inputs: Tensor, seed: int) -> Tensor:
        """Return a batch with numbers jittered by 3 %, a short stretch of time not there in half of the items."""
        rng = torch.Generator().manual_seed(seed)
        count, patches = inputs.shape[:2]
        gain = 1 + 0.03 * torch.randn(count, 1, inputs.shape[2], generator=rng)
        gain[:, :, -1] = 1.0
        first = torch.randint(0, patches, (count, 1), generator=rng)
        length = torch.randint(0, patches // 8 + 1, (count, 1), generator=rng)
        length = length * (torch.rand(count, 1, generator=rng) < 0.5)
        at = torch.arange(patches)[None, :]
        keep = ~((at >= first) & (at < first + length))
        return inputs * gain.to(inputs.device) * keep[:, :, None].to(inputs.device)


class TinyPressure(TimeTower):
    """Patches of 25 ms: mean, deviation, least, most and root mean square, compressed."""

    def __init__(self, dim: int, widths: tuple[int, ...] = (48, 96, 128)) -> None:
        super().__init__(dim, PATCHES, 6, widths)

    def prepare(self, array: Array) -> Features:
        """Return float32[64, 6]."""
        patch = cut_patches(array[None], PATCH_SAMPLES)[0]
        numbers = [
            patch.mean(axis=1),
            patch.std(axis=1),
            patch.min(axis=1),
            patch.max(axis=1),
            np.sqrt((patch**2).mean(axis=1)),
        ]
        return fit_patches(np.arcsinh(np.stack(numbers, axis=1) / PRESSURE_KPA).astype(np.float32), PATCHES)


class TinyEmg(TimeTower):
    """Patches of 25 ms of eight channels: root mean square and mean step (waveform length), in logarithms."""

    def __init__(self, dim: int, widths: tuple[int, ...] = (64, 96, 128)) -> None:
        super().__init__(dim, PATCHES, 17, widths)

    def prepare(self, array: Array) -> Features:
        """Return float32[64, 17]."""
        patch = cut_patches(array, PATCH_SAMPLES)
        loud = np.sqrt((patch**2).mean(axis=2))
        steps = np.abs(np.diff(patch, axis=2)).mean(axis=2)
        numbers = np.concatenate([loud, steps]).T / EMG_UV
        return fit_patches(np.log1p(numbers).astype(np.float32), PATCHES)


class TinyAction(TimeTower):
    """Steps of 50 ms: position, orientation, gripper; and how much each changes."""

    def __init__(self, dim: int, widths: tuple[int, ...] = (64, 96, 128)) -> None:
        super().__init__(dim, STEPS, 15, widths)

    def prepare(self, array: Array) -> Features:
        """Return float32[32, 15]."""
        scaled = array * ACTION_SCALE
        change = np.diff(scaled, axis=0, prepend=scaled[:1])
        return fit_patches(np.concatenate([scaled, 4.0 * change], axis=1).astype(np.float32), STEPS)


class TinyTouch(TimeTower):
    """Convolutions over steps of 50 ms, whose channels are the cells of both pads in groups of 2 x 2.

    Beside them stands what each pad feels wherever it is pressed: its mean, its most, and the middle of the pressure.
    """

    def __init__(self, dim: int, widths: tuple[int, ...] = (96, 128, 128)) -> None:
        super().__init__(dim, STEPS, 2 * CELL_GRID**2 + 1, widths)
        self.encoder[0] = nn.Conv1d(self.inputs + 8, widths[0], 5, stride=2, padding=2, bias=False)

    def prepare(self, array: Array) -> Features:
        """Return float32[32, 129]."""
        side = array.shape[-1] // CELL_GRID
        groups = array.reshape(len(array), 2, CELL_GRID, side, CELL_GRID, side).mean(axis=(3, 5), dtype=np.float64)
        return fit_patches(np.log1p(groups / TOUCH_KPA).reshape(len(array), -1).astype(np.float32), STEPS)

    def units(self, features: Features) -> int:  # noqa: ARG002 - every pad has as many
        """Count 128 groups of cells, each over the whole time."""
        return 2 * CELL_GRID**2

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the item with the hidden cells at rest."""
        kept = features.astype(np.float32)
        kept[:, :-1][:, hidden] = 0.0
        return kept

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32[B, D]."""
        pads = (
            inputs[..., :-1].clamp(min=0.0).expm1().reshape(*inputs.shape[:2], 2, CELL_GRID, CELL_GRID)
        )  # in TOUCH_KPA
        # A tenth of a TOUCH_KPA of noise on every cell must not move the middle of a pad that nothing touches.
        firm = (pads - 0.1).clamp(min=0.0)
        mean, most = firm.mean(dim=(3, 4)), firm.amax(dim=(3, 4))
        at = torch.linspace(-1, 1, CELL_GRID, device=inputs.device)
        share = 1.0 / (mean + 0.01)
        down, across = ((firm * where).mean(dim=(3, 4)) * share for where in (at[:, None], at))
        felt = torch.cat([(30 * mean).log1p(), most.log1p(), down, across], dim=-1)
        out: Tensor = self.projection(self.encoder(torch.cat([felt, inputs], dim=-1).transpose(1, 2)))
        return out
