"""T13: who surrounds a void with pairs of any wallets earns no more for its middle."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.voids import draw_voids, frame, is_paid, surround
from curiosity.embedding.checkpoint import GENESIS, load
from curiosity.protocol.calibration import PairThresholds
from curiosity.protocol.curiosity import DEFAULT_RULE
from curiosity.protocol.neighbours import Neighbours
from curiosity.protocol.scoring import conformal_high, conformal_low, leave_one_out
from tests.material.scoring import cloud

VOIDS_EACH = 70


def test_the_middle_of_a_surrounded_void_is_not_paid() -> None:
    """The middle alone is worth nothing in each of these voids, so it must be worth nothing after its ring."""
    genesis = load(GENESIS)
    paid = {"loo": 0, DEFAULT_RULE: 0}
    for name, limits in genesis.calibration.pairs.items():
        known = genesis.anchors[f"history/{name}"]
        voids = draw_voids(known, limits, VOIDS_EACH)
        for rule in paid:
            paid[rule] += frame(voids, known, limits, 0.3, rule)
    assert paid["loo"] >= 10  # the attack, with the defence off
    assert paid[DEFAULT_RULE] == 0


def test_points_around_a_void_lie_at_the_distance() -> None:
    void = cloud(1, 1, 32)[0]
    ring = surround(void, 0.5, 3)
    cosines = (
        ring.astype(float) @ void / np.linalg.norm(void.astype(float)) / np.linalg.norm(ring.astype(float), axis=1)
    )
    assert np.allclose(cosines, 1 / np.sqrt(1.25), atol=1e-3)
    assert np.abs(ring.astype(float).mean(axis=0) / 32_767 - cosines.mean() * void / 32_767).max() < 1e-3


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 2.0), st.integers(1, 20))
def test_no_point_that_anybody_adds_makes_another_one_paid(seed: int, spread: float, added: int) -> None:
    known = cloud(3, 60, 16)
    gaps = leave_one_out(known)
    limits = PairThresholds(
        0,
        0,
        0,
        conformal_low([gap.nearest_micro for gap in gaps], 100_000),
        conformal_high([gap.ratio_micro for gap in gaps], 300_000),
    )
    point = cloud(seed, 1, 16)[0]
    before, history = is_paid(point, Neighbours(known), limits, DEFAULT_RULE), Neighbours(known)
    noise = np.random.default_rng(seed).normal(size=(added, 16))
    history.extend(np.rint(point + spread * 8_000 * noise).clip(-32_767, 32_767).astype(np.int16), range(added))
    assert is_paid(point, history, limits, DEFAULT_RULE) <= before
