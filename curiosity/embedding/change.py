"""How much an item changes within itself: a measure that no encoder takes part in, to tell junk from the unknown.

Silence, noise, a steady tone and clicks have one spectrum from beginning to end, whatever it is; what is recorded of
the world has not (docs/scoring.md, "Null gate").
"""

from collections.abc import Callable, Mapping

import numpy as np

from curiosity.embedding.modality import Array
from curiosity.protocol.scoring import MICRO

FRAME = 800  # samples: 50 ms at 16 kHz
BANDS = (1, 2, 3, 4, 6, 9, 13, 20, 29, 42, 61, 89, 130, 189, 275, 401)
"""First bins of 15 bands, each nearly one and a half times as wide as the one before, and the end; a bin is 20 Hz."""
FLOOR = 1e-7  # power added to each band: what lies below it is silence
LOUD_DB = 40.0  # frames that are quieter than the loudest by more are left out


def spectral_change_micro(samples: Array) -> int:
    """Return how far a sound's spectrum strays from its usual shape, in millionths of a decibel.

    It is the mean over frames and bands of the distance of a band's level from that band's median over the frames.
    Each frame's mean level is taken off first, so that loudness does not count. 0 with fewer than two frames.

    Args:
        samples: float32[n] at 16 kHz, full scale 1. What is left after the last whole frame is dropped.
    """
    count = len(samples) // FRAME
    if count < 2:
        return 0
    frames = samples[: count * FRAME].reshape(count, FRAME).astype(np.float64)
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME), axis=1)) ** 2
    bands = np.add.reduceat(power[:, : BANDS[-1]], BANDS[:-1], axis=1)
    levels = 10 * np.log10(bands + FLOOR)
    shapes = levels - levels.mean(axis=1, keepdims=True)
    loudness = 10 * np.log10((frames**2).mean(axis=1) + FLOOR)
    heard = shapes[loudness > loudness.max() - LOUD_DB]
    return round(float(np.abs(heard - np.median(heard, axis=0)).mean()) * MICRO)


MEASURES: Mapping[str, Callable[[Array], int]] = {"audio": spectral_change_micro}
"""By modality. The others have no such measure yet."""


def change_micro(modality: str, array: Array) -> int | None:
    """Return how much a decoded item changes within itself; None for a modality without a measure."""
    measure = MEASURES.get(modality)
    return None if measure is None else measure(array)
