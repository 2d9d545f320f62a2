"""Texts: frozen MiniLM less the mean of the class names, and a trained head beside that."""

import hashlib

import torch
from torch import Tensor, nn

from curiosity.embedding.towers.offline import names
from curiosity.embedding.towers.text import MiniLmText

HEAD_SCALE = 0.3


class CentredText(MiniLmText):
    """The sentence vector less a pinned mean, of unit length, plus the head of ``MiniLmText`` started at nothing.

    The mean is that of the class names which ``NamedClassesImage`` speaks in. The head learns how words sound, and what
    trained pictures have in common.
    """

    def __init__(self, dim: int, width: int = 384, dropout: float = 0.1) -> None:
        super().__init__(dim, width, dropout)
        self._mean = torch.from_numpy(names.load_names().mean)
        last = self.layers[-1]
        with torch.no_grad():
            for part in (self.linear, last):
                for parameter in part.parameters():
                    parameter.zero_()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32[B, D]."""
        meant = nn.functional.normalize(inputs - self._mean.to(inputs.device), dim=1)
        return meant + HEAD_SCALE * super().forward(inputs)

    def frozen_sha256(self) -> str:
        """Return the SHA-256 of the MiniLM weights in use and of the pinned mean."""
        return hashlib.sha256(f"{super().frozen_sha256()} {names.FILE_SHA256}".encode()).hexdigest()
