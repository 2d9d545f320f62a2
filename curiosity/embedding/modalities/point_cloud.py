"""Point cloud: points in metres, an unordered set."""

from dataclasses import dataclass

from curiosity.embedding.modalities.arrays import ArrayModality, max_file_bytes
from curiosity.embedding.modality import Contract, Limits

MIN_POINTS, MAX_POINTS = 16, 16_384
MAX_DISTANCE_M = 100.0
CONTRACT = Contract(
    "float32", ((MIN_POINTS, MAX_POINTS), 3), -MAX_DISTANCE_M, MAX_DISTANCE_M, "x, y, z of every point in metres", "m"
)
LIMITS = Limits(max_bytes=max_file_bytes(CONTRACT))


@dataclass(frozen=True)
class PointCloud(ArrayModality):
    """What a depth camera or a laser scanner sees. The order of the points means nothing."""

    name: str = "point_cloud"
    limits: Limits = LIMITS
    contract: Contract = CONTRACT
    mask_share: float = 0.60
    natural_unit: str = "points (in groups)"


POINT_CLOUD = PointCloud()
