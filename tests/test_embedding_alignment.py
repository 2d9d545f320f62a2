"""Measures of the space equal plain loops, and cannot be had by collapsing."""

import numpy as np
import pytest

from curiosity.embedding.alignment import (
    compute_alignment_score,
    fit_plane,
    measure_modality_gap,
    measure_neighbourhood,
)

Rows = np.ndarray


def draw(count: int, dim: int = 12, seed: int = 0, centre: float = 0.0) -> Rows:
    rows = np.random.default_rng(seed).normal(size=(count, dim)) + centre
    unit: Rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def mix(a: Rows, b: Rows, share: float) -> Rows:
    rows = (1 - share) * a + share * b
    unit: Rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


@pytest.mark.parametrize(("count", "share"), [(1, 0.5), (7, 0.6), (31, 0.7), (60, 1.0)])
def test_diagonal_top_1_equals_a_plain_loop(count: int, share: float) -> None:
    a = draw(count)
    b = mix(a, draw(count, seed=1), share).astype(np.float32)
    found = [0, 0]
    for one, other, side in ((a, b, 0), (b, a, 1)):
        for i in range(count):
            cosines = [float(np.dot(one[i], other[j])) for j in range(count)]
            found[side] += cosines.index(max(cosines)) == i
    got = compute_alignment_score(a, b)
    assert (got.a_to_b, got.b_to_a) == pytest.approx((found[0] / count, found[1] / count))
    assert got.score == pytest.approx(sum(found) / (2 * count))
    assert got.chance == pytest.approx(1 / count)
    assert count == 1 or 0 < got.score < 1 or share == 1.0


def test_neighbours_kept_equal_a_plain_loop() -> None:
    before, after = draw(23), mix(draw(23), draw(23, seed=1), 0.4)
    kept = 0.0
    for i in range(23):
        near = []
        for rows in (before, after):
            cosines = {j: float(np.dot(rows[i].astype(float), rows[j].astype(float))) for j in range(23) if j != i}
            near.append(set(sorted(cosines, key=cosines.__getitem__)[-5:]))
        kept += len(near[0] & near[1]) / 5
    got = measure_neighbourhood(before, after, k=5)
    assert 0.3 < got.kept < 1
    assert got.kept == pytest.approx(kept / 23)
    assert got.chance == pytest.approx(5 / 22)
    assert measure_neighbourhood(before, before).kept == 1.0
    assert measure_neighbourhood(draw(6), draw(6)).k == 3
    unrelated = measure_neighbourhood(draw(400), draw(400, seed=1))
    assert unrelated.kept == pytest.approx(unrelated.chance, abs=0.01)


def test_a_constant_encoder_keeps_and_finds_nothing() -> None:
    for same in (np.full((20, 4), 0.5, dtype=np.float32), np.zeros((20, 4), dtype=np.float32)):
        assert compute_alignment_score(same, same).score == 0
        assert measure_neighbourhood(same, same).kept == 0
        assert measure_modality_gap(same, same).separability == 0.5


def test_the_gap_tells_clouds_apart_and_not_samples() -> None:
    one, other = draw(300), draw(200, seed=1)
    mixed, apart = measure_modality_gap(one, other), measure_modality_gap(one, draw(200, seed=1, centre=1.0))
    assert mixed.distance < 0.15
    assert mixed.separability == pytest.approx(0.5, abs=0.06)
    # Judged on the rows that made the centroids, samples of one cloud in many dimensions would be told apart.
    few = measure_modality_gap(draw(60, dim=60), draw(60, dim=60, seed=1))
    assert few.separability == pytest.approx(0.5, abs=0.1)
    assert apart.distance == pytest.approx(
        float(np.linalg.norm(one.mean(axis=0) - draw(200, seed=1, centre=1.0).mean(axis=0))), abs=1e-6
    )
    assert apart.separability > 0.9
    # Cross-averaging closes the gap.
    near = mix(draw(200, seed=1, centre=1.0), one[:200], 0.7)
    assert measure_modality_gap(one[:200], near).distance < apart.distance


def test_the_plane_is_that_of_the_main_axes_and_always_the_same() -> None:
    rng = np.random.default_rng(2)
    basis = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    rows = rng.normal(size=(90, 12)) * np.array([9.0, 5.0, *[0.3] * 10]) @ basis.T + 3.0
    plane = fit_plane(rows)
    assert abs(plane.axes[0] @ basis[:, 0]) > 0.99
    assert abs(plane.axes[1] @ basis[:, 1]) > 0.99
    assert sum(plane.shares) > 0.98
    assert all(axis[np.abs(axis).argmax()] > 0 for axis in plane.axes)
    again = fit_plane(rows[::-1])
    np.testing.assert_allclose(again.axes, plane.axes, atol=1e-9)
    np.testing.assert_allclose(plane.project(rows).mean(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize(
    "call",
    [
        lambda: compute_alignment_score(draw(3), draw(4)),
        lambda: compute_alignment_score(draw(0), draw(0)),
        lambda: measure_neighbourhood(draw(2), draw(2)),
        lambda: measure_modality_gap(draw(1), draw(5)),
        lambda: fit_plane(draw(1)),
    ],
)
def test_too_little_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="needs"):
        call()  # type: ignore[operator]
