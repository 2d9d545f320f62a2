"""Point cloud: points in metres, an unordered set."""

from dataclasses import dataclass

from curiosity.embedding.modalities.arrays import MEDIA_TYPE, max_file_bytes, read_array
from curiosity.embedding.modality import Array, Contract, Limits

MIN_POINTS, MAX_POINTS = 16, 16_384
MAX_DISTANCE_M = 100.0
CONTRACT = Contract(
    "float32", ((MIN_POINTS, MAX_POINTS), 3), -MAX_DISTANCE_M, MAX_DISTANCE_M, "x, y, z of every point in metres", "m"
)
LIMITS = Limits(max_bytes=max_file_bytes(CONTRACT))


@dataclass(frozen=True)
class PointCloud:
    """What a depth camera or a laser scanner sees. The order of the points means nothing."""

    name: str = "point_cloud"
    media_types: tuple[str, ...] = (MEDIA_TYPE,)
    limits: Limits = LIMITS
    contract: Contract = CONTRACT
    mask_share: float = 0.60
    natural_unit: str = "points (in groups)"
    preparation: str = "Read strictly from `.npy`; nothing is scaled, cut or padded."

    def decode(self, data: bytes, media_type: str) -> Array:  # noqa: ARG002 - one media type
        """Return float32[points, 3] in metres.

        Raises:
            Rejected: an ``ARRAY_`` code of ``curiosity.embedding.modalities.arrays.read_array``.
        """
        return read_array(self.name, self.contract, data)


POINT_CLOUD = PointCloud()
