"""Statistics of signals equal plain loops, and have the sizes that the design documents ask for."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curiosity.embedding.features import MOVEMENTS, STATISTICS, statistical_features
from curiosity.protocol.errors import Rejected


def plain(channel: list[float], threshold: float) -> list[float]:
    """The nine numbers of one channel, from their definitions, a sample at a time."""
    count = len(channel)
    mean = sum(channel) / count
    crossings = turns = 0
    length = 0.0
    for a, b in itertools.pairwise(channel):
        length += abs(b - a)
        crossings += (a > 0 > b or a < 0 < b) and abs(a - b) >= threshold
    for a, b, c in zip(channel, channel[1:], channel[2:], strict=False):
        is_turn = (b > a and b > c) or (b < a and b < c)
        turns += is_turn and (abs(b - a) >= threshold or abs(b - c) >= threshold)
    return [
        mean,
        math.sqrt(sum((x - mean) ** 2 for x in channel) / count),
        min(channel),
        max(channel),
        math.sqrt(sum(x * x for x in channel) / count),
        sum(abs(x) for x in channel) / count,
        crossings,
        turns,
        length,
    ]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 2.0, 5.0]))
def test_every_feature_equals_its_definition(channels: int, samples: int, seed: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    signal = random.integers(-6, 7, (channels, samples)).astype(np.float32)  # zeros, ties and steps of the threshold
    expected = [plain([float(x) for x in row], threshold) for row in signal]
    nine = statistical_features(signal, movements=True, threshold=threshold)
    assert nine.reshape(channels, 9) == pytest.approx(np.array(expected), rel=1e-6, abs=1e-6)
    assert np.array_equal(statistical_features(signal).reshape(channels, 5), nine.reshape(channels, 9)[:, :5])


def test_sizes_and_order() -> None:
    assert (STATISTICS, MOVEMENTS) == (("mean", "std", "min", "max", "rms"), ("mav", "zc", "ssc", "wl"))
    assert statistical_features(np.ones(1_000, dtype=np.float32)).tolist() == [1, 0, 1, 1, 1]
    emg = np.zeros((8, 1_000), dtype=np.float32)
    emg[3] = 7
    features = statistical_features(emg)
    assert features.shape == (40,)
    assert features.dtype == np.float32
    assert np.flatnonzero(features).tolist() == [15, 17, 18, 19]
    assert statistical_features(emg, movements=True).shape == (72,)


def test_a_sine_has_the_numbers_of_a_sine() -> None:
    time_s = np.arange(1_000) / 1_000 + 0.00013
    sine = (200 * np.sin(2 * np.pi * 10 * time_s)).astype(np.float32)
    mean, std, low, high, rms, mav, crossings, turns, length = statistical_features(sine, movements=True)
    assert abs(mean) < 1e-2
    assert [std, rms] == pytest.approx([200 / math.sqrt(2)] * 2, rel=1e-3)
    assert [low, high] == pytest.approx([-200, 200], rel=1e-3)
    assert mav == pytest.approx(400 / math.pi, rel=1e-3)
    assert (crossings, turns) == (19, 20)
    assert length == pytest.approx(20 * 400, rel=2e-2)


def test_small_changes_of_large_values_keep_their_digits() -> None:
    """Summed in float32, a change of 1 µV around 9 mV would lose the last four of its digits."""
    signal = (9_000 + np.random.default_rng(0).uniform(-1, 1, 30_000)).astype(np.float32)
    std = float(statistical_features(signal)[1])
    assert std == pytest.approx(float(np.std(signal.astype(np.float64))), rel=1e-6)


BAD: list[tuple[NDArray[np.float32], float, str]] = [
    (np.zeros((2, 3, 4), dtype=np.float32), 0.0, "FEATURES_SHAPE"),
    (np.zeros(0, dtype=np.float32), 0.0, "FEATURES_SHAPE"),
    (np.zeros((8, 0), dtype=np.float32), 0.0, "FEATURES_SHAPE"),
    (np.ones((), dtype=np.float32), 0.0, "FEATURES_SHAPE"),
    (np.array([1, np.nan], dtype=np.float32), 0.0, "FEATURES_NOT_FINITE"),
    (np.array([1, np.inf], dtype=np.float32), 0.0, "FEATURES_NOT_FINITE"),
    (np.ones(9, dtype=np.float32), -1.0, "FEATURES_THRESHOLD"),
    (np.ones(9, dtype=np.float32), math.nan, "FEATURES_THRESHOLD"),
]


@pytest.mark.parametrize(("signal", "threshold", "code"), BAD, ids=range(len(BAD)))
def test_bad_signals_are_refused(signal: NDArray[np.float32], threshold: float, code: str) -> None:
    with pytest.raises(Rejected) as refused:
        statistical_features(signal, movements=True, threshold=threshold)
    assert refused.value.code == code
