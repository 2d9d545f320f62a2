"""Video towers on VideoMAE and V-JEPA 2.

T frames that the encoder takes, P patch side, G frames of a tubelet.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curiosity.embedding.modality import Array
from curiosity.embedding.towers.base import Features
from curiosity.embedding.towers.pretrained.base import PretrainedTower
from curiosity.embedding.towers.pretrained.files import PREPROCESSOR, VIDEO_PREPROCESSOR, read_json
from curiosity.embedding.towers.pretrained.pixels import Pixels, fit_side, hide_cells, read_pixels, to_pixels


def pick_frames(available: int, wanted: int) -> NDArray[np.int64]:
    """Return numbers of ``wanted`` frames at even distances from the first to the last; int64[wanted]."""
    return np.round(np.linspace(0, available - 1, wanted)).astype(np.int64)


class _Video(PretrainedTower):
    """Frames at even distances in, one row out. The natural unit is the tubelet."""

    max_rows = 8
    SETTINGS_FILE = PREPROCESSOR

    def read_settings(self, folder: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of ``Pixels``, and how many frames are taken."""
        side = self._side()
        plain = {"height": side, "width": side, "shortest": side, "resample": 2, "mean": [0.5] * 3, "std": [0.5] * 3}
        frames = int(settings.pop("frames", self._frames()))
        found = read_pixels(read_json(folder, self.SETTINGS_FILE), plain | settings)
        return fit_side(found, side) | {"frames": frames}

    def _side(self) -> int:
        return int(self.config.image_size)

    def _frames(self) -> int:
        return int(self.config.num_frames)

    @property
    def pixels(self) -> Pixels:
        """How frames are prepared."""
        return to_pixels({key: value for key, value in self.settings.items() if key != "frames"})

    @property
    def tubelet(self) -> tuple[int, int, int]:
        """G, P, P."""
        return int(self.config.tubelet_size), int(self.config.patch_size), int(self.config.patch_size)

    def prepare(self, array: Array) -> Features:
        """Return float32[3, T, H, W], normalised."""
        pixels = self.pixels
        frames = {int(t): pixels.prepare(array[t]) for t in set(pick_frames(len(array), self.settings["frames"]))}
        return np.stack([frames[int(t)] for t in pick_frames(len(array), self.settings["frames"])], axis=1)

    def units(self, features: Features) -> int:
        """Count one unit for each tubelet."""
        return int(np.prod([n // side for n, side in zip(features.shape[1:], self.tubelet, strict=True)]))

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the video with NaN in the hidden tubelets."""
        return hide_cells(features.astype(np.float32, copy=False), hidden, self.tubelet)

    def empty(self) -> Features:
        """Return an item whose every tubelet is hidden."""
        shape = (3, self.settings["frames"], self.settings["height"], self.settings["width"])
        return np.full(shape, np.nan, dtype=np.float32)

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return float32[B, 3, T, H, W]."""
        return torch.from_numpy(np.stack(batch).astype(np.float32, copy=False))


class VideoMaeVideo(_Video):
    """VideoMAE, mean over the tubelets that are seen: hidden ones never enter the encoder, as in its pre-training.

    Of a video with nothing to see, every tubelet enters with the mean colour.
    """

    MODEL, TYPES = "VideoMAEModel", frozenset({"videomae"})

    def encode(self, inputs: Tensor) -> Tensor:
        """Return [B, W], the mean over tubelets."""
        frames, height, width = self.tubelet
        hidden = inputs[:, 0, ::frames, ::height, ::width].isnan().flatten(1)
        values = torch.nan_to_num(inputs, nan=0.0).transpose(1, 2)
        hidden = hidden & ~hidden.all(dim=1, keepdim=True)
        # As many tubelets of every item in one pass: items with equally many hidden go together.
        counts = hidden.sum(dim=1)
        rows = inputs.new_zeros(len(inputs), self.width())
        for count in sorted(set(counts.tolist())):
            chosen = counts == count
            masked = hidden[chosen] if count else None
            seen = self.encoder(pixel_values=values[chosen], bool_masked_pos=masked).last_hidden_state
            rows = rows.masked_scatter(chosen[:, None], seen.float().mean(dim=1))
        return rows


class VJepaVideo(_Video):
    """V-JEPA 2, mean over tubelets. Hidden tubelets have the mean colour. Its predictor is left out."""

    MODEL, TYPES = "VJEPA2Model", frozenset({"vjepa2"})
    SETTINGS_FILE = VIDEO_PREPROCESSOR

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        self.encoder.predictor = torch.nn.Identity()  # guesses hidden tubelets in pre-training; not used here

    def _side(self) -> int:
        return int(self.config.crop_size)

    def _frames(self) -> int:
        return int(self.config.frames_per_clip)

    def encode(self, inputs: Tensor) -> Tensor:
        """Return [B, W], the mean over tubelets."""
        values = torch.nan_to_num(inputs, nan=0.0).transpose(1, 2)
        out: Tensor = self.encoder(pixel_values_videos=values, skip_predictor=True).last_hidden_state
        return out.mean(dim=1)
