"""T11: items that are near to every query are found, left out, and do not crowd out what was searched for."""

import numpy as np
import pytest

from benchmarks.hubs import ITEMS, fill, leaving_nothing_out, left_out, make_world, recall, search
from curiosity.protocol.scoring import MICRO, Quantised, cosine_micro
from curiosity.serving import index as index_module
from curiosity.serving.hubs import OCCURRENCES, Hubness
from curiosity.serving.index import VectorIndex
from tests.material.scoring import cloud, near

D = 64


def test_twenty_hubs_among_twenty_thousand_are_left_out() -> None:
    clean, world = make_world(0), make_world(20)
    before = recall(search(clean, fill(clean, {})))
    assert recall(search(world, fill(world, {}))) <= before - 0.2  # the attack, with the defence off
    defended = fill(world, {"text": world.probes})
    found, gone = search(world, defended), left_out(defended)
    assert recall(found) >= before - 0.01
    assert len([key for key in gone if key >= ITEMS]) >= 0.95 * 20
    assert len(gone) <= 0.004 * ITEMS
    assert not any(gone & keys for keys in found)
    with leaving_nothing_out():
        discounted = search(world, fill(world, {"text": world.probes}))
        assert not left_out(fill(world, {"text": world.probes}))
    assert recall(discounted) >= before - 0.02  # hubs too many to stand out are still discounted
    assert any(key >= ITEMS for keys in discounted for key in keys)


def brute(vectors: Quantised, probes: Quantised, point: Quantised, k: int) -> list[tuple[int, int]]:
    ranked = []
    for key, vector in enumerate(vectors):
        largest = sorted((cosine_micro(vector, probe) for probe in probes), reverse=True)[:10]
        cosine = cosine_micro(point, vector)
        ranked.append((-(2 * cosine - round(sum(largest) / 10)), key, cosine))
    return [(key, cosine) for _, key, cosine in sorted(ranked)[:k]]


def test_answers_equal_brute_force_with_ties_in_order_of_key() -> None:
    vectors = np.concatenate([cloud(1, 150), cloud(1, 30)])  # thirty exact copies
    probes, index = cloud(2, 40), VectorIndex(D, {"text": cloud(2, 40)})
    for start in range(0, len(vectors), 33):
        index.add(range(start, min(start + 33, len(vectors))), "image", vectors[start : start + 33])
    for point in cloud(3, 8):
        assert index.search("image", point, 10, "text") == brute(vectors, probes, point, 10)
        assert index.search("image", point, 10, "audio") == index.search("image", point, 10)


def test_a_graph_gives_the_order_of_the_exact_search(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = cloud(4, 1)[0]
    vectors, probes = np.concatenate([hub[None, :], cloud(1, 599)]), np.stack([near(hub, n, 1.0) for n in range(40)])
    exact = VectorIndex(D, {"text": probes})
    exact.add(range(600), "image", vectors)
    monkeypatch.setattr(index_module, "EXACT_BELOW", 100)
    graph = VectorIndex(D, {"text": probes})
    for start in range(0, 600, 50):
        graph.add(range(start, start + 50), "image", vectors[start : start + 50])
    assert graph._shelves["image"].in_graph == 600
    monkeypatch.setattr(index_module, "OVERSAMPLE", 60)  # all are candidates, so that only the order can differ
    for point in [hub, *cloud(3, 10)]:
        found = graph.search("image", point, 10, "text")
        assert found == exact.search("image", point, 10, "text")
        assert 0 not in dict(found)
    assert 0 in dict(graph.search("image", hub, 10))  # the nearest of all


def nearest_of_each(hubness: Hubness) -> list[list[int]]:
    return [sorted(rows.tolist()) for rows in hubness._rows]


def test_what_is_removed_is_counted_no_more() -> None:
    probes, units = cloud(2, 30), (cloud(1, 200) / 32_767).astype(np.float32)
    hubness, fresh = Hubness(probes), Hubness(probes)
    for end in (7, 64, 200):
        hubness.rate(units[:end])
    gone = np.arange(0, 200, 3)
    units[gone] = 0.0
    hubness.drop(gone, units, gone)
    assert not hubness.means[gone].any()
    left = np.setdiff1d(np.arange(200), gone)
    fresh.rate(units[left])
    assert nearest_of_each(hubness) == [sorted(left[rows].tolist()) for rows in fresh._rows]
    all_but_four, everything = np.setdiff1d(np.arange(200), left[:4]), np.arange(200)
    units[all_but_four] = 0.0
    hubness.drop(left[4:], units, all_but_four)
    assert nearest_of_each(hubness) == [[-1] * (OCCURRENCES - 4) + left[:4].tolist()] * 30
    hubness.drop(everything, units, everything)
    assert nearest_of_each(hubness) == [[-1] * OCCURRENCES] * 30
    assert not len(hubness.hubs(0))


def test_the_crowding_is_the_mean_of_the_ten_nearest_probes() -> None:
    probes, vectors = cloud(2, 60), np.concatenate([cloud(1, 20), np.zeros((1, D), dtype=np.int16)])
    hubness = Hubness(probes)
    units = (vectors / np.maximum(np.linalg.norm(vectors.astype(float), axis=1, keepdims=True), 1)).astype(np.float32)
    hubness.rate(units)
    expected = [round(sum(sorted(cosine_micro(v, p) for p in probes)[-10:]) / 10) for v in vectors]
    assert hubness.exact_micro(vectors).tolist() == expected
    assert np.abs(MICRO * hubness.means[:21] - expected).max() <= 5
    few = Hubness(probes[:3])
    assert few.exact_micro(vectors).tolist() == [
        round(sum(cosine_micro(v, p) for p in probes[:3]) / 3) for v in vectors
    ]


def test_probes_are_prepared_once_for_each_modality(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[Quantised] = []

    class Counted(Hubness):
        def __init__(self, probes: Quantised) -> None:
            prepared.append(probes)
            super().__init__(probes)

    monkeypatch.setattr(index_module, "Hubness", Counted)
    index = VectorIndex(D, {"text": cloud(2, 40)})
    for key in range(5):
        index.add([key], "image", cloud(key, 1))
        index.add([key], "audio", cloud(key, 1))
    assert len(prepared) == 2
