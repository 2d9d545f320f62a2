"""Sketches of sounds: the low waves of a spectrogram on a logarithmic scale, with a bank of trimmed starts and ends.

Time is measured in shares of the loud part, so a copy that is played faster has the same bits, and a change of pitch
moves the spectrogram up or down, which probes undo for up to three semitones.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from curiosity.embedding.modality import Array
from curiosity.embedding.sketch.parts import NOTHING, Parts
from curiosity.embedding.sketch.waves import (
    SIDE,
    SMALL,
    Levels,
    Rectangle,
    distinct,
    fewest_bits,
    shrink,
    to_bits,
    waves_of,
    waves_of_spans,
)

RATE_HZ = 16_000
_FRAME, _HOP = 1024, 160
_LOW_HZ, _HIGH_HZ = 90.0, 7_600.0
_SEMITONE = SIDE / (12 * float(np.log2(_HIGH_HZ / _LOW_HZ)))  # in bands
_SEMITONES = (0, -1, 1, -2, 2, -3, 3)
_MARGIN = 6  # bands that a change of pitch may move in or out at either end
_FLOOR = 1e-3  # of the loudest band, in power: 30 dB below it
_LOUD = 1e-3  # of the loudest frame, in power
_TRIMS = (
    *((0.0, 1.0), (0.05, 1.0), (0.0, 0.95), (0.05, 0.95), (0.1, 1.0), (0.0, 0.9), (0.1, 0.9)),
    *((0.15, 1.0), (0.0, 0.85), (0.025, 1.0), (0.0, 0.975), (0.075, 1.0), (0.0, 0.925), (0.2, 1.0), (0.0, 0.8)),
)
_MIN_FRAMES = 8
_FINE, _MOST_CUT = 0.0125, 0.25  # how far apart trims lie that are compared with an earlier sound, and the largest


def sketch_sound(array: Array) -> Parts:
    """Return probes uint64[7, 4], bank uint64[n, 4] and plane of float32[n] at 16 kHz; nothing of silence or a moment.

    Plane: the spectrogram's levels from 30 dB below the loudest band up, 64 x 64 bytes.
    """
    plane = _spectrogram(array)
    if plane is None:
        return NOTHING
    probes = [round(semitones * _SEMITONE) for semitones in _SEMITONES]
    bank = [_bands(0, round(start * SIDE), round(end * SIDE)) for start, end in _TRIMS]
    levels = np.clip(shrink(plane) * (-255 / np.log(_FLOOR)) + 255, 0, 255)
    return (
        to_bits(np.stack([waves_of(plane, _bands(shift, 0, SIDE)) for shift in probes])),
        distinct(to_bits(np.stack([waves_of(plane, one) for one in bank]))),
        levels.astype(np.uint8).tobytes(),
    )


def recheck_sound(probes: npt.NDArray[np.uint64], plane: bytes) -> int:
    """Return the fewest bits in which a probe differs from any trim of an earlier sound, up to a quarter of it."""
    return fewest_bits(probes, np.frombuffer(plane, np.uint8).reshape(SMALL, SMALL).astype(np.float32), _grids())


@lru_cache(1)
def _grids() -> tuple[tuple[Levels, Levels], ...]:
    starts = [step * _FINE for step in range(round(_MOST_CUT / _FINE) + 1)]
    times = [(start, 1 - end) for start in starts for end in starts if start + end <= _MOST_CUT]
    shifts = [half * _SEMITONE / 2 for half in (-1, 0, 1)]
    bands = [((_MARGIN + shift) / SIDE, (SIDE - _MARGIN + shift) / SIDE) for shift in shifts]
    return ((waves_of_spans(bands), waves_of_spans(times)),)


def _bands(shift: int, start: int, end: int) -> Rectangle:
    return _MARGIN + shift, SIDE - _MARGIN + shift, start, end


def _spectrogram(samples: Array) -> Levels | None:
    """Return log power in 128 bands and 128 spans of the loud part, float32[128, 128]; None if there is none."""
    padded = np.pad(samples, _FRAME)  # so that silence before it makes no difference
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME).astype(np.float32), axis=1)) ** 2
    bands = power @ _filters()
    loudness = bands.sum(axis=1)
    loud = np.flatnonzero(loudness > _LOUD * loudness.max())
    if not len(loud) or loud[-1] + 1 - loud[0] < _MIN_FRAMES or loudness.max() <= 0:
        return None
    kept = bands[loud[0] : loud[-1] + 1]
    level = np.log(kept / kept.max() + _FLOOR)
    cells = np.linspace(0, len(level), SIDE + 1)
    summed = np.concatenate([np.zeros((1, SIDE)), np.cumsum(level, axis=0)])
    whole = np.minimum(cells.astype(int), len(level) - 1)
    at = summed[whole] + level[whole] * (cells - whole)[:, None]
    plane: Levels = (np.diff(at, axis=0) / (cells[1] - cells[0])).T.astype(np.float32)
    return plane


@lru_cache(1)
def _filters() -> Levels:
    """Return triangles on a logarithmic scale, float32[513, 128]; low ones are as wide as one line of the spectrum."""
    lines = np.arange(_FRAME // 2 + 1) * RATE_HZ / _FRAME
    centres = _LOW_HZ * (_HIGH_HZ / _LOW_HZ) ** (np.arange(SIDE) / (SIDE - 1))
    width = np.maximum(centres * 0.06, RATE_HZ / _FRAME)
    filters: Levels = np.maximum(0, 1 - np.abs(lines[:, None] - centres) / width).astype(np.float32)
    return filters
