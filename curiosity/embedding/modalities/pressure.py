"""Pressure: one channel over time."""

from dataclasses import dataclass

from curiosity.embedding.modalities.arrays import ArrayModality, max_file_bytes
from curiosity.embedding.modality import Contract, Limits

RATE_HZ = 1_000
MIN_SAMPLES, MAX_SAMPLES = 16, 30_000
MAX_KPA = 1_000.0
CONTRACT = Contract("float32", ((MIN_SAMPLES, MAX_SAMPLES),), -MAX_KPA, MAX_KPA, "samples at 1 kHz in kPa", "kPa")
LIMITS = Limits(max_bytes=max_file_bytes(CONTRACT), max_s=MAX_SAMPLES / RATE_HZ)


@dataclass(frozen=True)
class Pressure(ArrayModality):
    """The waveform of one pressure sensor, relative to the pressure at rest."""

    name: str = "pressure"
    limits: Limits = LIMITS
    contract: Contract = CONTRACT
    mask_share: float = 0.60
    natural_unit: str = "patches of time steps"


PRESSURE = Pressure()
