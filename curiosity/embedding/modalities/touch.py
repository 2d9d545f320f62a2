"""Touch: pressure maps of two pads over time."""

from dataclasses import dataclass

from curiosity.embedding.modalities.arrays import MEDIA_TYPE, max_file_bytes, read_array
from curiosity.embedding.modality import Array, Contract, Limits

RATE_HZ, PADS, SIDE_CELLS = 20, 2, 16
MIN_STEPS, MAX_STEPS = 1, 1_000
MAX_KPA = 1_000.0
CONTRACT = Contract(
    "float32",
    ((MIN_STEPS, MAX_STEPS), PADS, SIDE_CELLS, SIDE_CELLS),
    0.0,
    MAX_KPA,
    "time steps at 20 Hz, two pads, 16 rows of 16 cells, in kPa",
    "kPa",
)
LIMITS = Limits(max_bytes=max_file_bytes(CONTRACT), max_s=MAX_STEPS / RATE_HZ)


@dataclass(frozen=True)
class Touch:
    """What the two pads of a gripper feel, 16 x 16 cells each, 20 times a second."""

    name: str = "touch"
    media_types: tuple[str, ...] = (MEDIA_TYPE,)
    limits: Limits = LIMITS
    contract: Contract = CONTRACT
    mask_share: float = 0.80
    natural_unit: str = "sensor cells"
    preparation: str = "Read strictly from `.npy`; nothing is scaled, cut or padded."

    def decode(self, data: bytes, media_type: str) -> Array:  # noqa: ARG002 - one media type
        """Return float32[steps, 2, 16, 16] in kPa at 20 Hz.

        Raises:
            Rejected: an ``ARRAY_`` code of ``curiosity.embedding.modalities.arrays.read_array``.
        """
        return read_array(self.name, self.contract, data)


TOUCH = Touch()
