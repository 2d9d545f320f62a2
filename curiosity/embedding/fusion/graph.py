"""Fusion over a graph whose nodes are modalities: each node gathers what its neighbours send.

B items, M modalities, D_m dimension of modality m, D dimension of the fused vector.
"""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from curiosity.embedding.fusion.inputs import Fused, Fusion, ModalityTokens, masked_softmax
from curiosity.protocol.errors import ConfigError


class GraphFusion(Fusion):
    """Rounds of graph attention between the modalities that an item has, then the mean of their nodes.

    Node ``i`` adds ``relu(sum_j a_ij W_s h_j)`` with ``a_i`` the softmax over its neighbours ``j`` of
    ``v . leaky_relu(W_r h_i + W_s h_j)`` (Brody et al., "How Attentive are Graph Attention Networks?", 2022). Without
    ``edges`` all modalities are neighbours; every node is its own neighbour. An item that has nothing gets zeros.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        dim: int,
        *,
        edges: Collection[tuple[str, str]] | None = None,
        rounds: int = 1,
        modality_dropout: float = 0.0,
    ) -> None:
        """Connect the modalities by ``edges``, each in both directions.

        Raises:
            ConfigError: FUSION_EDGE, when an edge names a modality that the fusion does not have.
        """
        super().__init__(dims, dim, modality_dropout=modality_dropout)
        places = {name: place for place, name in enumerate(self.dims)}
        wrong = sorted({name for edge in edges or () for name in edge} - set(places))
        if wrong:
            raise ConfigError(
                "FUSION_EDGE",
                f"edges name {', '.join(wrong)}, which the fusion does not have",
                f"Use edges between: {', '.join(places)}.",
            )
        linked = torch.full((len(places), len(places)), edges is None)
        linked |= torch.eye(len(places), dtype=torch.bool)
        for one, other in edges or ():
            linked[places[one], places[other]] = linked[places[other], places[one]] = True
        self.linked: Tensor
        self.register_buffer("linked", linked, persistent=False)
        self.tokens = ModalityTokens(self.dims, dim)
        self.send = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in range(rounds))
        self.receive = nn.ModuleList(nn.Linear(dim, dim) for _ in range(rounds))
        self.score = nn.ParameterList(nn.Parameter(torch.randn(dim) * dim**-0.5) for _ in range(rounds))

    def _fuse(self, parts: dict[str, Tensor], mask_BM: Tensor) -> Fused:
        nodes_BMD = self.tokens(parts)
        open_BMM = self.linked & mask_BM[:, None, :]
        for send, receive, score in zip(self.send, self.receive, self.score, strict=True):
            sent_BMD = send(nodes_BMD)
            summed = receive(nodes_BMD)[:, :, None] + sent_BMD[:, None]
            scores_BMM = nn.functional.leaky_relu(summed, 0.2) @ score
            weights_BMM = masked_softmax(scores_BMM, open_BMM)
            nodes_BMD = nodes_BMD + torch.relu(weights_BMM @ sent_BMD)
        shares_BM = mask_BM.to(nodes_BMD.dtype) / mask_BM.sum(dim=1, keepdim=True).clamp(min=1)
        return Fused((shares_BM[:, None] @ nodes_BMD)[:, 0])
