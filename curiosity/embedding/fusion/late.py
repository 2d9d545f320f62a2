"""Late fusion: each modality predicts for itself and says how sure it is; the surer ones count more.

B items, M modalities, D_m dimension of modality m, D dimension of the fused vector.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from curiosity.embedding.fusion.inputs import Fused, Fusion, masked_softmax
from curiosity.protocol.errors import ConfigError


class LateFusion(Fusion):
    """The mean of each modality's prediction, weighted by its predicted precision.

    Modality ``m`` predicts a mean ``mu_m`` in D dimensions and one log precision ``s_m``; the fused vector is
    ``sum_m exp(s_m) mu_m / sum_m exp(s_m)`` over the modalities that an item has, the mean of the product of their
    Gaussians (Hinton, "Training Products of Experts by Minimizing Contrastive Divergence", 2002, for experts of
    isotropic covariance). A modality that has become noisy learns to say so by :meth:`loss`. An item that has nothing
    gets zeros.
    """

    def __init__(self, dims: Mapping[str, int], dim: int, *, modality_dropout: float = 0.0) -> None:
        super().__init__(dims, dim, modality_dropout=modality_dropout)
        # The last value of each map is the log precision.
        self.maps = nn.ModuleDict({name: nn.Linear(width, dim + 1) for name, width in self.dims.items()})

    def loss(
        self, embeddings: Mapping[str, Tensor], targets: Tensor, present: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Return the mean negative log-likelihood of ``targets`` [B, D] under each present modality, in nats a value.

        ``0.5 (exp(s) (t - mu)^2 - s)`` without its constant (Nix and Weigend, "Estimating the mean and variance of the
        target probability distribution", 1994): what teaches a modality its own precision.

        Raises:
            ConfigError: FUSION_INPUT, as :meth:`forward`, and when the targets are not [B, D].
        """
        parts, mask_BM = self._gather(embeddings, present or {})
        if targets.shape != (len(mask_BM), self.dim):
            raise ConfigError(
                "FUSION_INPUT",
                f"the targets have the shape {tuple(targets.shape)}, not {(len(mask_BM), self.dim)}",
                "Give a target of the fusion's dimension for every item.",
            )
        means_BMD, log_precisions_BM = self._predict(parts)
        errors_BM = (targets[:, None] - means_BMD).square().mean(dim=2)
        losses_BM = 0.5 * (log_precisions_BM.exp() * errors_BM - log_precisions_BM)
        return losses_BM.masked_fill(~mask_BM, 0.0).sum() / mask_BM.sum().clamp(min=1)

    def _predict(self, parts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the means [B, M, D] and log precisions [B, M] of every modality's [B, D_m]."""
        mapped = torch.stack([linear(parts[name]) for name, linear in self.maps.items()], dim=1)
        # A precision beyond e^8 or below e^-8 says nothing more and overflows half floats.
        return mapped[..., :-1], mapped[..., -1].clamp(-8.0, 8.0)

    def _fuse(self, parts: dict[str, Tensor], mask_BM: Tensor) -> Fused:
        means_BMD, log_precisions_BM = self._predict(parts)
        weights_BM = masked_softmax(log_precisions_BM, mask_BM)
        return Fused((weights_BM[:, None] @ means_BMD)[:, 0], self._shares(weights_BM))
