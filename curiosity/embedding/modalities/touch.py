"""Touch: pressure maps of two pads over time."""

from dataclasses import dataclass

from curiosity.embedding.modalities.arrays import ArrayModality, max_file_bytes
from curiosity.embedding.modality import Contract, Limits

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
class Touch(ArrayModality):
    """What the two pads of a gripper feel, 16 x 16 cells each, 20 times a second."""

    name: str = "touch"
    limits: Limits = LIMITS
    contract: Contract = CONTRACT
    mask_share: float = 0.80
    natural_unit: str = "sensor cells"


TOUCH = Touch()
