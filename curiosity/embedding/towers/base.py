"""What a tower is: decoded array -> features -> tensor -> embedding.

B items in a batch, U natural units of an item, D dimension of the space.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from curiosity.embedding.modality import Array
from curiosity.embedding.tower_spec import Weights
from curiosity.protocol.errors import ConfigError

Features = NDArray[np.float32] | NDArray[np.int64] | NDArray[np.uint8]


class Tower(nn.Module):
    """Encoder and projection of one modality.

    ``prepare`` and ``hide`` are numpy and work on one item, so that an item's features do not depend on its batch;
    ``collate`` makes the input of ``forward``; only ``forward`` is trained. What a tower calls ``encoder`` can be
    frozen; the rest, its projection, is always trained.
    """

    takes_weights = False  # whether the class has a keyword ``weights`` for published ones
    weights: Weights | None = None  # the published weights that the encoder started from
    max_rows = 512  # rows that one pass takes in evaluation; bounds memory, changes no result
    is_frozen = False
    is_stored = True  # whether a checkpoint carries the encoder's weights; else it names them by SHA-256

    @abstractmethod
    def prepare(self, array: Array) -> Features:
        """Return the features of one decoded item."""

    @abstractmethod
    def units(self, features: Features) -> int:
        """Return how many natural units the masks choose from."""

    @abstractmethod
    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the features with the units where ``hidden`` (bool[U]) is True taken away: x * (1 - m)."""

    @abstractmethod
    def empty(self) -> Features:
        """Return the features of the fully masked item, the same for every item."""

    @abstractmethod
    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return the input of ``forward``, on the CPU, without gradient: float32[B, ...]."""

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Return raw outputs float32[B, D], not yet of unit length."""

    def augment(self, inputs: Tensor, seed: int) -> Tensor:  # noqa: ARG002 - towers without augmentation
        """Return a lightly changed copy of a training batch; the same for the same seed."""
        return inputs

    def forget(self) -> None:
        """Drop the outputs of frozen weights that were kept.

        Their last bits depend on the company that they were computed in, so what must be repeatable starts with none.
        """

    def frozen_sha256(self) -> str:
        """Return the SHA-256 of what ``forward`` stands on and the checkpoint does not carry; empty for nothing."""
        return ""

    def freeze(self, *, stored: bool = True) -> None:
        """Stop training the encoder, and keep it in evaluation mode: no dropout, batch-norm statistics as they are.

        ``stored`` False: checkpoints name its weights by SHA-256 and do not carry them.

        Raises:
            ConfigError: ENCODER_NOT_PUBLISHED, when nobody else has the weights that a checkpoint would leave out.
        """
        if not stored and self.weights is None:
            raise ConfigError(
                "ENCODER_NOT_PUBLISHED",
                f"the encoder of {type(self).__name__} started from a seed; a checkpoint without it could not be read",
                "Freeze it with stored=True, or start from published weights.",
            )
        self._set_frozen(True, stored)

    def unfreeze(self) -> None:
        """Train the encoder again."""
        self._set_frozen(False, True)

    def _set_frozen(self, frozen: bool, stored: bool) -> None:
        encoder = self._modules.get("encoder")
        if encoder is not None:
            self.is_frozen, self.is_stored = frozen, stored
            encoder.requires_grad_(not frozen)
            self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set training mode for everything but a frozen encoder."""
        super().train(mode)
        encoder = self._modules.get("encoder")
        if self.is_frozen and encoder is not None:
            encoder.eval()
        return self

    def enable_gradient_checkpointing(self) -> bool:
        """Compute activations again in the backward pass rather than keep them; False where the tower cannot."""
        return False


def hide_patches(grid: NDArray[np.float32], hidden: NDArray[np.bool_], patch: int) -> NDArray[np.float32]:
    """Return ``grid`` (..., H, W) with the hidden patches of ``patch`` x ``patch`` cells set to zero."""
    height, width = grid.shape[-2:]
    cells = np.kron(hidden.reshape(height // patch, width // patch), np.ones((patch, patch), dtype=np.bool_))
    return np.where(cells, np.float32(0), grid)
