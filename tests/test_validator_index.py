"""The search index against brute force."""

import numpy as np
import pytest

from protocol.scoring import Quantised, cosine_micro, quantise
from validator import index as index_module
from validator.index import VectorIndex


def cloud(seed: int, count: int, dim: int = 32) -> Quantised:
    return quantise(np.random.default_rng(seed).normal(size=(count, dim)))


def brute(vectors: Quantised, keys: list[int], point: Quantised, k: int) -> list[tuple[int, int]]:
    scored = [(key, cosine_micro(point, vector)) for key, vector in zip(keys, vectors, strict=True)]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))[:k]


def test_answers_equal_brute_force_with_ties_in_order_of_key() -> None:
    vectors = np.concatenate([cloud(1, 700), cloud(1, 20)])  # twenty exact copies
    keys = [int(k) for k in np.random.default_rng(2).permutation(10_000)[: len(vectors)]]
    index = VectorIndex(32)
    for start in range(0, len(keys), 33):  # grows in uneven steps
        index.add(keys[start : start + 33], "image", vectors[start : start + 33])
    for point in cloud(3, 25):
        assert index.search("image", point, 10) == brute(vectors, keys, point, 10)
    assert index.search("image", vectors[3], 2) == brute(vectors, keys, vectors[3], 2)


def test_approximate_search_finds_nearly_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "EXACT_BELOW", 100)
    vectors = cloud(1, 5_000)
    index = VectorIndex(32)
    index.add(range(5_000), "image", vectors)
    hits = 0
    for point in cloud(3, 50):
        expected = {key for key, _ in brute(vectors, list(range(5_000)), point, 10)}
        found = index.search("image", point, 10)
        assert found == sorted(found, key=lambda pair: (-pair[1], pair[0]))
        hits += len(expected & {key for key, _ in found})
    assert hits >= 0.97 * 500


def test_modalities_are_apart_and_can_be_forgotten() -> None:
    index = VectorIndex(32)
    assert index.search("image", cloud(1, 1)[0], 5) == []
    index.add([1, 2], "image", cloud(1, 2))
    index.add([3], "text", cloud(2, 1))
    assert (index.count("image"), index.count("text"), index.count("audio")) == (2, 1, 0)
    assert [key for key, _ in index.search("text", cloud(1, 1)[0], 5)] == [3]
    index.clear()
    assert index.count("image") == 0
    with pytest.raises(ValueError, match="got vectors"):
        index.add([1], "image", cloud(1, 2))
