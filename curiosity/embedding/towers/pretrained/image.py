"""Picture towers on SigLIP, CLIP and ViT."""

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
from curiosity.embedding.towers.pretrained.files import PREPROCESSOR, read_json
from curiosity.embedding.towers.pretrained.pixels import (
    Pixels,
    fit_side,
    hide_cells,
    read_pixels,
    split_hidden,
    to_pixels,
)


class _Picture(PretrainedTower):
    """Scaled and normalised pixels in, one row out. The natural unit is the encoder's own patch."""

    CONFIG_PART = "vision_config"
    max_rows = 64

    def read_settings(self, folder: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of ``Pixels``."""
        side = int(self.config.image_size)
        plain = {"height": side, "width": side, "shortest": 0, "resample": 3, "mean": [0.5] * 3, "std": [0.5] * 3}
        found = read_pixels(read_json(folder, PREPROCESSOR), plain | settings)
        return fit_side(found, side)

    @property
    def pixels(self) -> Pixels:
        """How pictures are prepared."""
        return to_pixels(self.settings)

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return int(self.config.patch_size)

    def prepare(self, array: Array) -> Features:
        """Return float32[3, H, W], normalised."""
        return self.pixels.prepare(array)

    def units(self, features: Features) -> int:
        """Count one unit for each whole patch."""
        _, height, width = features.shape
        return int(height // self.patch) * int(width // self.patch)

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the picture with NaN in the hidden patches."""
        return hide_cells(features.astype(np.float32, copy=False), hidden, (self.patch, self.patch))

    def empty(self) -> Features:
        """Return an item whose every patch is hidden."""
        return np.full((3, self.settings["height"], self.settings["width"]), np.nan, dtype=np.float32)

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return float32[B, 3, H, W]."""
        return torch.from_numpy(np.stack(batch).astype(np.float32, copy=False))


class SiglipImage(_Picture):
    """SigLIP's vision half and its attention pooling. Hidden patches are mid-grey: it knows no mask token."""

    MODEL, TYPES = "SiglipVisionModel", frozenset({"siglip", "siglip_vision_model"})

    def encode(self, inputs: Tensor) -> Tensor:
        """Return [B, W], the pooled output."""
        out: Tensor = self.encoder(pixel_values=split_hidden(inputs, self.patch)[0]).pooler_output
        return out


class ClipImage(_Picture):
    """CLIP's vision half with its own projection. Hidden patches have the mean colour: it knows no mask token."""

    MODEL, TYPES = "CLIPVisionModelWithProjection", frozenset({"clip", "clip_vision_model"})

    def width(self) -> int:
        """Return W, the width of CLIP's own space."""
        return int(self.config.projection_dim)

    def encode(self, inputs: Tensor) -> Tensor:
        """Return [B, W], the projected embedding."""
        out: Tensor = self.encoder(pixel_values=split_hidden(inputs, self.patch)[0]).image_embeds
        return out


class VitImage(_Picture):
    """ViT's class token. Hidden patches become its mask token, seeded where the weights have none."""

    MODEL, TYPES = "ViTModel", frozenset({"vit"})
    OPTIONS = {"add_pooling_layer": False, "use_mask_token": True}  # noqa: RUF012 - a ClassVar in the base
    ABSENT = frozenset({"mask_token"})

    def encode(self, inputs: Tensor) -> Tensor:
        """Return [B, W], the class token after the last layer-norm."""
        values, hidden = split_hidden(inputs, self.patch)
        out: Tensor = self.encoder(pixel_values=values, bool_masked_pos=hidden).last_hidden_state[:, 0]
        return out
