"""Proofs from complete subtrees in trees of any size, and appends that hold no more than a tree's right edge."""

import random
import tracemalloc
from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curiosity.protocol import merkle
from curiosity.protocol.subtrees import (
    Place,
    Span,
    consistency_from,
    consistency_spans,
    cover,
    inclusion_from,
    inclusion_spans,
)
from tests.material.merkle_damage import damaged, expect_refusal, plain_inclusion
from tests.material.rfc6962_plain import root_of_path, roots_of_proof


class Wanted:
    """Reads from what a growing frontier gives out, and keeps only the places that were announced."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.places = {place for span in spans for place in cover(span)}
        self.kept: dict[Place, bytes] = {}

    def take(self, runs: Sequence[merkle.SubtreeRun]) -> None:
        for level, position in self.places - self.kept.keys():
            for run in runs:
                if run.level == level and 0 <= position - run.first < len(run.hashes):
                    self.kept[level, position] = run.hashes[position - run.first]

    def read(self, places: Sequence[Place]) -> list[bytes]:
        return [self.kept[place] for place in places]


def nth_hash(index: int) -> bytes:
    return sha256(b"\x00leaf %d" % index).digest()


def grow_and_prove(size: int, chance: random.Random, step: int = 20_000) -> None:
    """Append ``size`` leaves that are never in memory together, then prove some of them and some earlier sizes."""
    indices = sorted({0, size - 1, *(chance.randrange(size) for _ in range(6))})
    firsts = sorted({1, size, *(chance.randrange(1, size + 1) for _ in range(6))})
    spans = [span for index in indices for span in inclusion_spans(index, size)]
    spans += [span for first in firsts for span in consistency_spans(first, size)]
    wanted, frontier, roots = Wanted(spans), merkle.Frontier(), {}
    for start in range(0, size, step):
        end = min(size, start + step)
        for first in [first for first in firsts if start < first <= end]:
            part = frontier.copy()
            part.extend(map(nth_hash, range(start, first)))
            roots[first] = part.root()
        wanted.take(frontier.extend(map(nth_hash, range(start, end))))
    root = frontier.root()
    for index in indices:
        path = inclusion_from(wanted.read, index, size)
        merkle.verify_inclusion(nth_hash(index), index, size, path, root)
        assert root_of_path(nth_hash(index), index, size, path) == root
        other = chance.randrange(size)
        assert other == index or not plain_inclusion(nth_hash(index), other, size, path, root)
    for first in firsts:
        proof = consistency_from(wanted.read, first, size)
        merkle.verify_consistency(first, size, proof, roots[first], root)
        assert roots_of_proof(first, size, proof, roots[first]) == (roots[first], root)
        for bad in damaged(proof, chance.randrange(256), root):
            expect_refusal(lambda: merkle.verify_consistency(first, size, bad, roots[first], root))  # noqa: B023


@pytest.mark.parametrize("seed", range(3))
def test_random_trees_up_to_a_hundred_thousand(seed: int) -> None:
    chance = random.Random(seed)
    grow_and_prove(chance.randrange(300, 100_000), chance, 1000)


def test_a_million_leaves_are_appended_and_proved_without_holding_them() -> None:
    grow_and_prove(1_000_000, random.Random(1_000_000))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_random_trees_up_to_a_million(seed: int) -> None:
    chance = random.Random(seed)
    grow_and_prove(chance.randrange(100_000, 1_000_000), chance)


def test_a_frontier_of_many_leaves_stays_small() -> None:
    """30,000 leaf hashes would be 2 MB: a frontier holds one hash for each binary digit of its size."""
    frontier = merkle.Frontier()
    tracemalloc.start()
    try:
        for start in range(0, 30_000, 500):
            frontier.extend(map(nth_hash, range(start, start + 500)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 300_000
    assert len(frontier.nodes) == (30_000).bit_count()


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2**63 - 1), st.data())
def test_the_shape_of_proofs_in_trees_of_any_size(size: int, data: st.DataObject) -> None:
    """Spans of trees that nobody could build: they meet without a gap and have the length that verifying demands."""
    index = data.draw(st.integers(0, size - 1))
    spans = sorted([(index, index + 1), *inclusion_spans(index, size)])
    assert spans[0][0] == 0
    assert spans[-1][1] == size
    assert all(left[1] == right[0] for left, right in pairwise(spans))
    assert len(spans) <= 64
    path = [sha256(b"%d-%d" % span).digest() for span in inclusion_spans(index, size)]
    root = root_of_path(nth_hash(0), index, size, path)
    merkle.verify_inclusion(nth_hash(0), index, size, path, root)
    for low, high in spans:
        places = cover((low, high))
        assert sum(1 << level for level, _ in places) == high - low
        assert all(position << level < high for level, position in places)
