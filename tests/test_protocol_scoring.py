"""Scoring: the formulas of docs/scoring.md against plain float references, and the properties that money rests on."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curiosity.protocol.calibration import PairThresholds
from curiosity.protocol.curiosity import RULES, is_novel
from curiosity.protocol.judgement import embedding_digest
from curiosity.protocol.neighbours import Neighbours
from curiosity.protocol.scoring import (
    MICRO,
    SCALE,
    Floats,
    Quantised,
    conformal_high,
    conformal_low,
    cosine_micro,
    cross_average,
    csls_micro,
    dequantise,
    differential_loss_micro,
    distance_micro,
    joint,
    leave_one_out,
    measure_gap,
    pulls_micro,
    quantise,
)
from curiosity.protocol.verdict import Outcome, Reason
from tests.material.scoring import LIMITS, D, cloud, judged, near

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_quantised_vectors_keep_their_direction(seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(8, D)) * 37.0
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.abs(dequantise(quantise(vectors)) - unit).max() < 1.0 / SCALE
    assert np.abs(np.linalg.norm(dequantise(quantise(vectors)), axis=1) - 1).max() < 1e-12


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_cosine_and_distance_equal_a_plain_reference(seed: int) -> None:
    a, b = cloud(seed, 2)
    x, y = a.astype(float), b.astype(float)
    expected = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
    assert abs(cosine_micro(a, b) - MICRO * expected) <= 1
    assert distance_micro(a, b) == distance_micro(b, a) == MICRO - cosine_micro(a, b)
    assert distance_micro(a, a) == 0


def plain_loss(whole: Quantised, masked: Quantised, halves: Quantised, ref: Quantised, tau: float) -> float:
    def unit(vector: Floats) -> Floats:
        scaled: Floats = vector / np.linalg.norm(vector)
        return scaled

    e, total = unit(whole.astype(float)), 0.0
    for first, second in halves:
        u = unit(unit(first.astype(float)) + unit(second.astype(float)) - unit(masked.astype(float)))
        others = [math.exp(u @ unit(r.astype(float)) / tau) for r in ref]
        own = math.exp(u @ e / tau)
        total += -math.log(own / (own + sum(others)))
    return total / len(halves) / math.log(len(ref) + 1)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_differential_loss_equals_a_plain_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole, masked, ref = quantise(rng.normal(size=D)), quantise(rng.normal(size=D)), cloud(seed + 1, 40)
    halves = quantise(whole / SCALE + 0.5 * rng.normal(size=(3, 2, D)) / math.sqrt(D))
    assert (
        abs(differential_loss_micro(whole, masked, halves, ref) - MICRO * plain_loss(whole, masked, halves, ref, 0.1))
        < 80
    )


def test_a_constant_encoder_has_loss_exactly_one() -> None:
    point = cloud(1, 1)[0]
    halves = np.broadcast_to(point, (4, 2, D))
    assert differential_loss_micro(point, point, halves, np.broadcast_to(point, (512, D))) == MICRO


def test_a_perfectly_additive_item_has_a_loss_near_zero_and_a_random_one_near_one() -> None:
    axes = quantise(np.eye(D))
    ref = axes[4:60]
    additive = quantise(np.eye(D)[0])
    halves = np.stack([np.stack([additive, axes[1]])] * 4)
    assert differential_loss_micro(additive, axes[1], halves, ref) < 10_000
    rng = np.random.default_rng(5)
    noise = quantise(rng.normal(size=(4, 2, D)))
    losses = [differential_loss_micro(cloud(s, 1)[0], cloud(s + 99, 1)[0], noise, cloud(7, 512)) for s in range(20)]
    assert np.mean(losses) > 950_000


def test_differential_loss_needs_masks_and_references() -> None:
    point = cloud(1, 1)[0]
    with pytest.raises(ValueError, match="at least one"):
        differential_loss_micro(point, point, np.zeros((0, 2, D), np.int16), cloud(2, 3))
    with pytest.raises(ValueError, match="at least one"):
        differential_loss_micro(point, point, np.zeros((2, 2, D), np.int16), cloud(2, 3)[:0])


@given(st.integers(0, 2 * MICRO), st.integers(0, 2 * MICRO))
def test_the_total_pull_is_fixed_and_the_worse_understood_moves_more(a: int, b: int) -> None:
    pull_a, pull_b = pulls_micro(a, b)
    assert pull_a + pull_b == 500_000
    assert min(pull_a, pull_b) >= 0
    if a > b + 2:
        assert pull_a >= pull_b


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, MICRO), st.integers(1, MICRO))
def test_the_final_angle_is_half_the_raw_angle_whatever_the_medians(seed: int, median_a: int, median_b: int) -> None:
    a, b = cloud(seed, 2)
    final_a, final_b = cross_average(a, b, *pulls_micro(median_a, median_b))

    def angle(x: Quantised, y: Quantised) -> float:
        return math.acos(cosine_micro(x, y) / MICRO)

    assert angle(final_a, final_b) == pytest.approx(0.5 * angle(a, b), abs=2e-3)


def test_cross_average_leaves_equal_and_opposite_vectors_alone() -> None:
    a = cloud(3, 1)[0]
    for other in (a, (-a).astype(np.int16)):
        final_a, final_b = cross_average(a, other, 250_000, 250_000)
        assert np.abs(final_a - a).max() <= 1
        assert np.abs(final_b - other).max() <= 1


def plain_csls(a: Quantised, b: Quantised, bank_a: Quantised, bank_b: Quantised) -> float:
    def unit(quantised: Quantised) -> Floats:
        scaled: Floats = quantised / np.linalg.norm(quantised.astype(float), axis=-1, keepdims=True)
        return scaled

    x, y, p, q = unit(a), unit(b), unit(bank_a), unit(bank_b)
    near_a = sorted((x @ r for r in q if y @ r <= 0.95), reverse=True)[:10]
    near_b = sorted((y @ r for r in p if x @ r <= 0.95), reverse=True)[:10]
    return float(x @ y - (np.mean(near_a) + np.mean(near_b)) / 2)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_csls_equals_a_plain_reference(seed: int) -> None:
    a, b = cloud(seed, 2)
    bank_a, bank_b = cloud(seed + 1, 50), cloud(seed + 2, 50)
    assert abs(csls_micro(a, b, bank_a, bank_b) - MICRO * plain_csls(a, b, bank_a, bank_b)) <= 3


def test_csls_leaves_copies_of_the_partner_out_and_lowers_hubs() -> None:
    rng = np.random.default_rng(0)
    hub = rng.normal(size=D)
    pictures = quantise(hub + 0.7 * rng.normal(size=(200, D)))
    text, bank_text = quantise(hub), cloud(9, 200)
    own_caption = quantise(dequantise(pictures[0]) + 0.4 * rng.normal(size=D) / math.sqrt(D))
    assert cosine_micro(pictures[0], text) > 500_000  # the hub is near to every picture
    assert csls_micro(pictures[0], own_caption, pictures[1:], bank_text) > csls_micro(
        pictures[0], text, pictures[1:], bank_text
    )
    with_copy = np.concatenate([bank_text, own_caption[None]])
    assert csls_micro(pictures[0], own_caption, pictures[1:], with_copy) == csls_micro(
        pictures[0], own_caption, pictures[1:], bank_text
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-MICRO, MICRO), min_size=20, max_size=200), st.integers(50_000, 500_000))
def test_conformal_thresholds_refuse_at_most_alpha_of_what_they_were_fitted_on(values: list[int], alpha: int) -> None:
    low, high = conformal_low(values, alpha), conformal_high(values, alpha)
    allowed = alpha * (len(values) + 1) / MICRO
    assert sum(value < low for value in values) <= allowed
    assert sum(value > high for value in values) <= allowed


def test_conformal_threshold_needs_enough_values() -> None:
    with pytest.raises(ValueError, match="too few"):
        conformal_low([1, 2, 3], 50_000)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_gap_equals_a_plain_reference(seed: int) -> None:
    history = cloud(seed, 60, 2 * D)
    point = cloud(seed + 1, 1, 2 * D)[0]
    h, p = history / SCALE, point / SCALE
    distances = np.linalg.norm(h - p, axis=1)
    nearest = h[np.argsort(distances, kind="stable")[:8]]
    centroid = nearest.mean(axis=0)
    gap = measure_gap(point, history)
    assert gap.gap_micro == pytest.approx(MICRO * np.linalg.norm(nearest - centroid, axis=1).mean(), abs=2)
    assert gap.offset_micro == pytest.approx(MICRO * np.linalg.norm(p - centroid), abs=2)
    assert gap.nearest_micro == pytest.approx(MICRO * distances.min(), abs=2)


def test_gap_does_not_depend_on_how_a_processor_sums() -> None:
    history, point = cloud(1, 500, 256), cloud(2, 1, 256)[0]
    order = np.random.default_rng(3).permutation(256)
    assert measure_gap(point, history) == measure_gap(point[order], history[:, order])


def test_leave_one_out_equals_measuring_each_among_the_rest() -> None:
    history = np.concatenate([cloud(1, 60, 2 * D), cloud(1, 3, 2 * D)])  # three exact copies
    rows = np.arange(len(history))
    assert leave_one_out(history) == [measure_gap(history[i], history[rows != i]) for i in rows]
    with pytest.raises(ValueError, match="more than k"):
        leave_one_out(history[:8])


def test_gap_needs_neighbours() -> None:
    with pytest.raises(ValueError, match="fewer than k"):
        measure_gap(cloud(1, 1)[0], cloud(2, 7))


def thresholds_for(history: Quantised) -> PairThresholds:
    gaps = leave_one_out(history)
    return PairThresholds(
        max_distance_micro=300_000,
        min_csls_micro=-50_000,
        margin_micro=100,
        nearest_floor_micro=conformal_low([g.nearest_micro for g in gaps], 100_000),
        max_ratio_micro=conformal_high([g.ratio_micro for g in gaps], 100_000),
    )


def test_the_literal_third_admits_nothing_and_the_other_rules_admit() -> None:
    history = cloud(4, 400, 2 * D)
    limits = thresholds_for(history)
    fresh = cloud(5, 60, 2 * D)
    known = Neighbours(history)
    passed = {name: sum(rule(p, known, measure_gap(p, history), limits) for p in fresh) for name, rule in RULES.items()}
    assert passed["literal"] == 0
    assert passed["loo"] >= 0.8 * len(fresh)
    assert 0 < passed["pca3"] < len(fresh)


def test_fifty_jittered_copies_earn_what_one_does() -> None:
    """T07: scored in commit order against a history that grows, only the first of a family is novel."""
    history = cloud(6, 300, 2 * D)
    limits = thresholds_for(history)
    rng = np.random.default_rng(1)
    original = rng.normal(size=2 * D)

    def earn(grows: bool) -> int:
        known, paid = history, 0
        for _ in range(50):
            point = quantise(original + 0.01 * rng.normal(size=2 * D))
            gap = measure_gap(point, known)
            if is_novel(gap, limits, inside=True):
                paid += 1
                known = np.concatenate([known, point[None]]) if grows else known
        return paid

    assert earn(grows=False) == 50  # the attack, with the defence off
    assert earn(grows=True) == 1


def test_joint_points_are_unit_vectors() -> None:
    a, b = cloud(1, 2)
    assert np.linalg.norm(joint(a, b).astype(float)) == pytest.approx(SCALE, rel=1e-3)


# -- the judgement


def test_a_matching_pair_is_accepted_averaged_and_novel() -> None:
    a = cloud(1, 1)[0]
    result = judged(a, near(a, 2, 0.5), limits=LIMITS)
    verdict = result.verdict  # type: ignore[attr-defined]
    assert (verdict.outcome, verdict.reason, verdict.fault) == (Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, None)
    assert verdict.novel
    assert 0 < result.gap.gap_micro * 2 // 3 <= verdict.curiosity_micro <= result.gap.gap_micro  # type: ignore[attr-defined]
    measurement = result.measurement  # type: ignore[attr-defined]
    assert measurement.pull_a_micro == 200_000  # 0.5 * 0.4 / (0.4 + 0.6)
    assert measurement.final_a == embedding_digest(result.final_a) != measurement.embedding_a  # type: ignore[attr-defined]
    assert measurement.distance_micro < measurement.raw_distance_micro


def test_a_pair_too_far_apart_keeps_its_original_embeddings() -> None:
    a, b = cloud(1, 2)
    result = judged(a, b, limits=LIMITS)
    verdict = result.verdict  # type: ignore[attr-defined]
    assert (verdict.outcome, verdict.reason) == (Outcome.REJECTED, Reason.PAIR_TOO_FAR)
    assert np.array_equal(result.final_a, a)  # type: ignore[attr-defined]
    assert result.measurement.final_b == result.measurement.embedding_b  # type: ignore[attr-defined]
    assert verdict.curiosity_micro == 0
    assert result.joint is None  # type: ignore[attr-defined]


def test_each_gate_has_its_reason_in_order() -> None:
    a = cloud(1, 1)[0]
    b = near(a, 2, 0.5)
    never = PairThresholds(120_000, 1_500_000, 1_000, 1, 10**9)
    for limits, null, reason in [
        (LIMITS, -MICRO, Reason.ITEM_UNINFORMATIVE),
        (never, 500_000, Reason.PAIR_NOT_MUTUAL),
        (PairThresholds(0, 1_500_000, 1_000, 1, 10**9), 500_000, Reason.PAIR_TOO_FAR),
    ]:
        assert judged(a, b, limits=limits, null=null).verdict.reason is reason  # type: ignore[attr-defined]


def test_within_the_margin_is_grey_on_both_sides() -> None:
    a = cloud(1, 1)[0]
    b = near(a, 2, 0.5)
    distance = judged(a, b, limits=LIMITS).measurement.distance_micro  # type: ignore[attr-defined]
    outcomes = [
        judged(a, b, limits=PairThresholds(distance + slack, -MICRO, 1_000, 1, 10**9)).verdict.outcome  # type: ignore[attr-defined]
        for slack in (-1_001, -1_000, 0, 999, 1_000)
    ]
    assert outcomes == [Outcome.REJECTED, Outcome.GREY, Outcome.GREY, Outcome.GREY, Outcome.ACCEPTED]


def test_novelty_never_admits() -> None:
    a, b = cloud(1, 2)
    for rule in RULES:
        assert judged(a, b, limits=LIMITS, rule=rule).verdict.outcome is Outcome.REJECTED  # type: ignore[attr-defined]
