"""EMG: eight channels of muscle activity over time."""

from dataclasses import dataclass

from curiosity.embedding.modalities.arrays import ArrayModality, max_file_bytes
from curiosity.embedding.modality import Contract, Limits

RATE_HZ, CHANNELS = 1_000, 8
MIN_SAMPLES, MAX_SAMPLES = 16, 30_000
MAX_MICROVOLT = 10_000.0
CONTRACT = Contract(
    "float32",
    (CHANNELS, (MIN_SAMPLES, MAX_SAMPLES)),
    -MAX_MICROVOLT,
    MAX_MICROVOLT,
    "8 channels of samples at 1 kHz in microvolts",
    "µV",
)
LIMITS = Limits(max_bytes=max_file_bytes(CONTRACT), max_s=MAX_SAMPLES / RATE_HZ)


@dataclass(frozen=True)
class Emg(ArrayModality):
    """Surface electromyography, or what a simulation gives in its place, eight electrodes."""

    name: str = "emg"
    limits: Limits = LIMITS
    contract: Contract = CONTRACT
    mask_share: float = 0.60
    natural_unit: str = "patches of time steps"


EMG = Emg()
