"""Classification and regression heads.

B items, D dimension of the embedding.
"""

from torch import Tensor, nn


class Classifier(nn.Module):
    """Two layers to one score a class."""

    def __init__(self, dim: int, classes: int = 10, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, classes))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return scores [B, classes]; softmax of a row are probabilities."""
        out: Tensor = self.layers(embeddings)
        return out

    def loss(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats; ``labels`` int64[B] from 0."""
        return nn.functional.cross_entropy(self(embeddings), labels)


class Regressor(nn.Module):
    """Two layers to ``values`` numbers."""

    def __init__(self, dim: int, values: int = 1, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, values))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return numbers [B, values]."""
        out: Tensor = self.layers(embeddings)
        return out

    def loss(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error; ``targets`` [B, values]."""
        return nn.functional.mse_loss(self(embeddings), targets)
