"""Recall equals a plain loop, and cannot be had by collapsing."""

from math import comb

import numpy as np
import pytest

from curiosity.embedding.retrieval import measure_recall


def plain(queries: np.ndarray, gallery: np.ndarray, ql: list[str], gl: list[str]) -> tuple[list[int], float]:
    ranks, chance = [], []
    for query, label in zip(queries, ql, strict=True):
        scores = [round(float(np.dot(query.astype(np.float64), entry.astype(np.float64))), 6) for entry in gallery]
        best = max(s for s, g in zip(scores, gl, strict=True) if g == label)
        ranks.append(1 + sum(1 for s, g in zip(scores, gl, strict=True) if g != label and s >= best))
        right = gl.count(label)
        chance.append(1 - comb(len(gl) - right, min(10, len(gl))) / comb(len(gl), min(10, len(gl))))
    return ranks, float(np.mean(chance))


@pytest.mark.parametrize(("queries", "gallery", "classes"), [(5, 5, 5), (40, 17, 4), (3, 200, 3), (11, 9, 2)])
def test_equals_a_plain_loop(queries: int, gallery: int, classes: int) -> None:
    rng = np.random.default_rng(queries)
    q, g = rng.normal(size=(queries, 6)).astype(np.float32), rng.normal(size=(gallery, 6)).astype(np.float32)
    ql, gl = [str(i % classes) for i in range(queries)], [str(i % classes) for i in range(gallery)]
    ranks, chance = plain(q, g, ql, gl)
    got = measure_recall(q, g, ql, gl)
    assert (got.r1, got.r5, got.r10) == pytest.approx([np.mean([r <= k for r in ranks]) for k in (1, 5, 10)])
    assert got.median_rank == np.median(ranks)
    assert got.chance10 == pytest.approx(chance)


def test_a_constant_encoder_finds_nothing() -> None:
    same = np.full((20, 4), 0.5, dtype=np.float32)
    labels = [str(i) for i in range(20)]
    got = measure_recall(same, same, labels, labels)
    assert (got.r1, got.r10, got.median_rank) == (0.0, 0.0, 20.0)


def test_a_perfect_encoder_finds_everything() -> None:
    eye, labels = np.eye(20, dtype=np.float32), [str(i) for i in range(20)]
    assert measure_recall(eye, eye, labels, labels).r1 == 1.0


def test_a_query_without_an_answer_is_refused() -> None:
    one = np.ones((1, 2), dtype=np.float32)
    with pytest.raises(ValueError, match="right entry"):
        measure_recall(one, one, ["a"], ["b"])
