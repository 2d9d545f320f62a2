"""The search index against brute force."""

import threading

import numpy as np
import pytest

from curiosity.protocol.scoring import Quantised, cosine_micro
from curiosity.serving import index as index_module
from curiosity.serving.index import VectorIndex
from tests.material import scoring
from tests.material.waiting import PATIENCE_S


def cloud(seed: int, count: int, dim: int = 32) -> Quantised:
    return scoring.cloud(seed, count, dim)


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


def exact(vectors: Quantised, point: Quantised, k: int) -> set[int]:
    cosines = (vectors.astype(np.float64) @ point) / np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1))
    return set(np.argsort(-cosines, kind="stable")[:k].tolist())


def test_scores_are_those_of_the_protocol_for_every_vector() -> None:
    """No shortcut in the arithmetic: the last digit of each of 20,000 cosines."""
    vectors, index = cloud(5, 10_000, 128), VectorIndex(128)
    index.add(range(10_000), "text", vectors)
    for point in cloud(6, 2, 128):
        found = dict(index.search("text", point, 10_000))
        assert [found[key] for key in range(10_000)] == [cosine_micro(point, vector) for vector in vectors]


def test_crowds_of_nearly_equal_scores_come_in_exact_order() -> None:
    """Two thousand items one step of one component apart: hundreds share each score in millionths, float32 differs."""
    rng = np.random.default_rng(8)
    vectors = np.repeat(cloud(8, 1, 128), 2_000, axis=0)
    vectors[np.arange(2_000), rng.integers(0, 128, 2_000)] += rng.choice(np.array([-1, 1], dtype=np.int16), 2_000)
    index = VectorIndex(128)
    index.add(range(2_000), "text", vectors)
    for point in cloud(9, 5, 128):
        assert index.search("text", point, 10) == brute(vectors, list(range(2_000)), point, 10)


def test_approximate_search_of_twenty_thousand_finds_nearly_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "EXACT_BELOW", 1_000)
    vectors, index = cloud(1, 20_000, 128), VectorIndex(128)
    for start in range(0, 20_000, 500):
        index.add(range(start, start + 500), "image", vectors[start : start + 500])
    shelf = index._shelves["image"]
    assert shelf.in_graph == 20_000
    monkeypatch.setattr(index_module, "_nearest", None)  # the graph alone answers
    hits = 0
    for point in cloud(3, 100, 128):
        found = index.search("image", point, 10)
        assert found == brute(vectors[[key for key, _ in found]], [key for key, _ in found], point, 10)
        hits += len(exact(vectors, point, 10) & {key for key, _ in found})
    assert hits >= 0.99 * 1_000


def test_while_the_graph_is_behind_answers_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "EXACT_BELOW", 4_990)
    vectors, index = cloud(1, 5_000), VectorIndex(32)
    index.add(range(4_990), "image", vectors[:4_990])
    for key in range(4_990, 5_000):
        index.add([key], "image", vectors[key][None, :])
    assert 0 < index._shelves["image"].in_graph < 5_000
    for point in cloud(3, 10):
        assert index.search("image", point, 10) == brute(vectors, list(range(5_000)), point, 10)


@pytest.mark.parametrize("exact_below", [10_000, 100])
def test_removed_and_replaced_items_are_not_found(exact_below: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "EXACT_BELOW", exact_below)
    vectors, index = cloud(1, 3_000), VectorIndex(32)
    current = dict(enumerate(vectors))
    for start in range(0, 3_000, 100):
        index.add(range(start, start + 100), "image", vectors[start : start + 100])
    rng = np.random.default_rng(4)
    for round_ in range(6):  # more than half goes: the rows are packed again on the way
        gone = rng.choice(sorted(current), 450, replace=False).tolist()
        assert index.remove([*gone, 9_999_999], "image") == 450
        for key in gone:
            del current[key]
        changed = sorted(current)[:20]
        index.add(changed, "image", new := cloud(100 + round_, 20))
        current.update(zip(changed, new, strict=True))
        assert index.count("image") == len(current)
        for point in [*cloud(50 + round_, 5), new[0], vectors[gone[0]]]:
            found = index.search("image", point, 10)
            expected = brute(np.stack(list(current.values())), list(current), point, 10)
            if exact_below == 10_000:
                assert found == expected
            else:
                assert {key for key, _ in found} <= set(current)
                assert len(set(found) & set(expected)) >= 9
    assert len(index._shelves["image"].keys) < 3_000  # packed
    assert index.remove([1], "audio") == 0


def test_readers_see_whole_states_while_one_writer_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "EXACT_BELOW", 2_000)  # crosses over on the way
    vectors, index, problems = cloud(1, 6_000), VectorIndex(32), list[str]()
    done = threading.Event()

    def read(seed: int) -> None:
        searches = 0
        try:
            while not done.is_set() or searches == 0:
                point = cloud(seed + searches, 1)[0]
                known = index.count("image")
                found = index.search("image", point, 10)
                searches += 1
                if len(found) != min(10, known) and known > 10:
                    problems.append(f"{len(found)} found among {known}")
                for key, cosine in found:
                    if cosine != cosine_micro(point, vectors[key]):
                        problems.append(f"{key} has another score")
        except Exception as error:
            problems.append(repr(error))

    readers = [threading.Thread(target=read, args=(seed,)) for seed in (1_000, 2_000, 3_000)]
    for reader in readers:
        reader.start()
    for start in range(0, 6_000, 40):
        index.add(range(start, start + 40), "image", vectors[start : start + 40])
        if start % 400 == 0:
            index.remove([start], "image")
            index.add([start], "image", vectors[start][None, :])
    done.set()
    for reader in readers:
        reader.join(PATIENCE_S)
        assert not reader.is_alive()
    assert problems == []
    assert index._shelves["image"].in_graph > 2_000


def test_modalities_are_apart_and_can_be_forgotten() -> None:
    index = VectorIndex(32)
    assert index.search("image", cloud(1, 1)[0], 5) == []
    index.add([1, 2], "image", cloud(1, 2))
    index.add([3], "text", cloud(2, 1))
    assert (index.count("image"), index.count("text"), index.count("audio")) == (2, 1, 0)
    assert [key for key, _ in index.search("text", cloud(1, 1)[0], 5)] == [3]
    index.clear()
    assert index.count("image") == 0
    with pytest.raises(ValueError, match="1 of them different"):
        index.add([1, 1], "image", cloud(1, 2))
    with pytest.raises(ValueError, match="k is 0"):
        index.search("image", cloud(1, 1)[0], 0)
    with pytest.raises(ValueError, match="got vectors"):
        index.add([1], "image", cloud(1, 2))
