"""Statistics of a signal's channels, the plainest features of pressure and EMG. Numpy only.

C channels, N samples. Five statistics of a channel are the default: 5 numbers of pressure, 40 of eight-channel EMG.
Four more, usual for EMG, say how a signal moves: mean absolute value, zero crossings, slope sign changes and waveform
length (B. Hudgins, P. Parker, R. N. Scott, "A new strategy for multifunction myoelectric control", IEEE Transactions on
Biomedical Engineering 40, 1993).
"""

import numpy as np
from numpy.typing import NDArray

from curiosity.embedding.modality import Array, refuse

STATISTICS = ("mean", "std", "min", "max", "rms")
MOVEMENTS = ("mav", "zc", "ssc", "wl")


def statistical_features(signal: Array, *, movements: bool = False, threshold: float = 0.0) -> NDArray[np.float32]:
    """Return the statistics of a signal, channel by channel, in the order of STATISTICS, then MOVEMENTS.

    Args:
        signal: float[N] (one channel) or float[C, N].
        movements: Whether to add MOVEMENTS.
        threshold: The least step, in the unit of the signal, that counts as a crossing or a turn, so that noise around
            zero does not.

    Returns:
        float32[C * 5], or [C * 9] with ``movements``; everything but the two counts is in the unit of the signal.

    Raises:
        Rejected: FEATURES_SHAPE, FEATURES_NOT_FINITE or FEATURES_THRESHOLD.
    """
    if signal.ndim not in (1, 2) or 0 in signal.shape:
        raise refuse(
            "FEATURES_SHAPE", f"shape {signal.shape}, taken are (samples,) and (channels, samples)", "Send one signal."
        )
    if not bool(np.isfinite(signal).all()):
        raise refuse("FEATURES_NOT_FINITE", "the signal has values that are not finite", "Leave them out.")
    if not 0.0 <= threshold < np.inf:
        raise refuse(
            "FEATURES_THRESHOLD", f"the threshold is {threshold}, it must be 0 or more", "Use the noise floor."
        )
    channels = np.atleast_2d(signal).astype(np.float64)
    columns = [
        channels.mean(axis=1),
        channels.std(axis=1),
        channels.min(axis=1),
        channels.max(axis=1),
        np.sqrt((channels**2).mean(axis=1)),
    ]
    if movements:
        steps = np.diff(channels, axis=1)
        columns += [
            np.abs(channels).mean(axis=1),
            count_zero_crossings(channels, threshold),
            count_slope_changes(channels, threshold),
            np.abs(steps).sum(axis=1),
        ]
    return np.stack(columns, axis=1).reshape(-1).astype(np.float32)


def count_zero_crossings(channels: Array, threshold: float = 0.0) -> NDArray[np.int64]:
    """Count how often each channel of float[C, N] changes its sign from one sample to the next.

    Only steps of ``threshold`` or more count.
    """
    before, after = channels[:, :-1], channels[:, 1:]
    crossed = (before * after < 0) & (np.abs(after - before) >= threshold)
    return np.asarray(np.count_nonzero(crossed, axis=1), dtype=np.int64)


def count_slope_changes(channels: Array, threshold: float = 0.0) -> NDArray[np.int64]:
    """Count how often each channel of float[C, N] turns.

    At least one of the two steps must be ``threshold`` or more.
    """
    steps = np.diff(channels, axis=1)
    first, second = steps[:, :-1], steps[:, 1:]
    turned = (first * second < 0) & (np.maximum(np.abs(first), np.abs(second)) >= threshold)
    return np.asarray(np.count_nonzero(turned, axis=1), dtype=np.int64)
