"""The sound of an episode. **It is synthesised**: MuJoCo makes no sound, and no microphone was there.

Modal synthesis (van den Doel and Pai 1998): the object rings in a few decaying modes, struck by the contact forces that
were simulated; sliding adds noise; the drives hum as fast as they turn.
"""

import io
import wave
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curiosity.sources.made.world.factors import MATERIALS, Factors
from curiosity.sources.made.world.physics import Recording
from curiosity.sources.made.world.plan import STEPS

Floats = NDArray[np.float64]

RATE_HZ: Final = 16_000
PER_STEP: Final = RATE_HZ // 1000
SAMPLES: Final = STEPS * PER_STEP
# Frequencies of the modes over the lowest one: free bar, sphere, tube, spheroid, rod; after textbook tables, rounded.
_RATIOS: Final = {
    "block": (1.0, 2.76, 5.40, 8.93),
    "ball": (1.0, 1.50, 1.93, 2.34),
    "cylinder": (1.0, 1.83, 2.83, 3.91),
    "egg": (1.0, 1.27, 1.71, 2.20),
    "capsule": (1.0, 2.00, 3.01, 4.05),
}
_RING_S: Final = 0.35


def make_sound(recording: Recording, rng: np.random.Generator) -> bytes:
    """Return WAV, mono, 16-bit, 16 kHz, 1.6 s: what a microphone at the table would hear of the simulated contacts."""
    factors = recording.factors
    ring = _make_ring(factors)
    struck = _strike(recording, rng)
    size = 1 << (SAMPLES + len(ring)).bit_length()
    rung = np.fft.irfft(np.fft.rfft(struck, n=size) * np.fft.rfft(ring, n=size), n=size)[:SAMPLES]
    heard = 0.5 * rung + _hum(recording) + rng.normal(0.0, 0.0008, SAMPLES)
    samples = np.rint(np.tanh(heard) * 32_000).astype("<i2")  # a microphone that overloads softly
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(samples.tobytes())
    return buffer.getvalue()


def _make_ring(factors: Factors) -> Floats:
    """Return the impulse response of the object.

    Smaller and emptier things ring higher, and each mode dies faster than the last.
    """
    material = MATERIALS[factors.material]
    lowest = material.pitch_hz * (0.025 / factors.half_size[0]) * (1.25 - 0.5 * factors.fill)
    time = np.arange(int(_RING_S * RATE_HZ)) / RATE_HZ
    ring = np.zeros(len(time))
    for number, ratio in enumerate(_RATIOS[factors.shape]):
        hertz = lowest * ratio
        if hertz < 0.47 * RATE_HZ:
            ring += 0.7**number * np.exp(-time * ratio**0.5 / material.decay_s) * np.sin(2 * np.pi * hertz * time)
    return ring


def _strike(recording: Recording, rng: np.random.Generator) -> Floats:
    """Return what excites the modes, at 16 kHz.

    These are rises of the contact force within a millisecond, and rubbing on the table.
    """
    force = recording.object_force
    rise = np.maximum(0.0, np.diff(force, prepend=force[:1]))
    rise = np.where(rise > 0.02, rise, 0.0)  # resting contacts tremble by less
    struck = np.zeros(SAMPLES)
    struck[::PER_STEP] = 0.25 * np.sqrt(rise)
    held = recording.pad_force.sum(axis=1)
    # The table carries what the pads do not press: a rough but simulated share, zero when the object is in the air.
    on_table = np.where(recording.object_position[:, 2] < recording.object_position[0, 2] + 0.002, 1.0, 0.0)
    weight = np.maximum(0.0, force - held) * on_table
    speed = np.hypot(recording.object_speed[:, 0], recording.object_speed[:, 1])
    rubbing = np.sqrt(weight * speed) * (1.0 - np.exp(-speed / 0.02))
    return struck + 0.05 * np.repeat(rubbing, PER_STEP) * rng.normal(0.0, 1.0, SAMPLES)


def _hum(recording: Recording) -> Floats:
    """Return the sound of the drives, with a standby hum of 120 Hz.

    Travel, turning and grip each whine at a pitch that rises with their speed.
    """
    speeds = recording.joint_speeds
    travel = np.sqrt((speeds[:, :3] ** 2).sum(axis=1))
    turning = np.sqrt((speeds[:, 3:6] ** 2).sum(axis=1))
    grip = np.abs(speeds[:, 6])
    at = np.arange(SAMPLES) / PER_STEP
    hum = 0.004 * np.sin(2 * np.pi * 120.0 * np.arange(SAMPLES) / RATE_HZ)
    for speed, idle, rise, loud in (
        (travel, 220.0, 900.0, 0.05),
        (turning, 1500.0, 250.0, 0.012),
        (grip, 3200.0, 4000.0, 0.10),
    ):
        fine = np.interp(at, np.arange(STEPS), np.minimum(speed, 8.0))
        phase = 2 * np.pi * np.cumsum(idle + rise * fine) / RATE_HZ
        hum += np.minimum(loud * fine, 0.06) * np.sin(phase)
    return hum
