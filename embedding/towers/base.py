"""What a tower is: decoded array -> features -> tensor -> embedding.

B items in a batch, U natural units of an item, D dimension of the space.
"""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from embedding.modality import Array

Features = NDArray[np.float32] | NDArray[np.int64]


class Tower(nn.Module):
    """Encoder and projection of one modality.

    ``prepare`` and ``hide`` are numpy and work on one item, so that an item's features do not depend on its batch;
    ``collate`` makes the input of ``forward`` and holds whatever is frozen; only ``forward`` is trained.
    """

    @abstractmethod
    def prepare(self, array: Array) -> Features:
        """Features of one decoded item."""

    @abstractmethod
    def units(self, features: Features) -> int:
        """How many natural units the masks choose from."""

    @abstractmethod
    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """The features with the units where ``hidden`` (bool[U]) is True taken away: x * (1 - m)."""

    @abstractmethod
    def empty(self) -> Features:
        """Features of the fully masked item, the same for every item."""

    @abstractmethod
    def collate(self, batch: Sequence[Features]) -> Tensor:
        """The input of ``forward``, on the CPU, without gradient: float32[B, ...]."""

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Raw outputs float32[B, D], not yet of unit length."""

    def augment(self, inputs: Tensor, seed: int) -> Tensor:  # noqa: ARG002 - towers without augmentation
        """A lightly changed copy of a training batch; the same for the same seed."""
        return inputs

    def frozen_sha256(self) -> str:
        """SHA-256 of the frozen weights that the checkpoint does not carry; empty when there are none."""
        return ""


def hide_patches(grid: NDArray[np.float32], hidden: NDArray[np.bool_], patch: int) -> NDArray[np.float32]:
    """``grid`` (..., H, W) with the hidden patches of ``patch`` x ``patch`` cells set to zero."""
    height, width = grid.shape[-2:]
    cells = np.kron(hidden.reshape(height // patch, width // patch), np.ones((patch, patch), dtype=np.bool_))
    return np.where(cells, np.float32(0), grid)
