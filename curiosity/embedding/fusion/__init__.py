"""Fusion: embeddings of several modalities of one moment into one vector. Each way of fusing is one file here.

Every fusion takes a mapping from modality to float[B, D_m] and a mask that says which items have it, and gives the same
vector whatever stands in the place of a modality that is missing. :data:`FUSIONS` names them, :func:`build_fusion`
makes one by its name.
"""

from collections.abc import Mapping

from curiosity.embedding.fusion.attention import AttentionFusion
from curiosity.embedding.fusion.concat import ConcatMlp
from curiosity.embedding.fusion.early import EarlyFusion
from curiosity.embedding.fusion.graph import GraphFusion
from curiosity.embedding.fusion.inputs import Fusion
from curiosity.embedding.fusion.late import LateFusion
from curiosity.embedding.fusion.transformer import TransformerFusion
from curiosity.embedding.fusion.weighted import WeightedSum
from curiosity.protocol.errors import ConfigError

FUSIONS: dict[str, type[Fusion]] = {
    "concat": ConcatMlp,
    "weighted_sum": WeightedSum,
    "attention": AttentionFusion,
    "transformer": TransformerFusion,
    "late": LateFusion,
    "graph": GraphFusion,
    "early": EarlyFusion,
}


def build_fusion(name: str, dims: Mapping[str, int], dim: int, *, modality_dropout: float = 0.0) -> Fusion:
    """Make a fusion of modalities of ``dims`` dimensions into ``dim`` dimensions, with that file's defaults.

    Raises:
        ConfigError: FUSION_UNKNOWN, no fusion has this name; FUSION_EMPTY and FUSION_SIZE, as the fusion says.
    """
    if name not in FUSIONS:
        raise ConfigError("FUSION_UNKNOWN", f"there is no fusion {name!r}", f"Use one of: {', '.join(FUSIONS)}.")
    return FUSIONS[name](dims, dim, modality_dropout=modality_dropout)
