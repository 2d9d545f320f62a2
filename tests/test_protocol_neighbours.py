"""Neighbours: the fast search gives what `measure_gap` gives, to the last bit, however hard the case."""

from collections.abc import Iterator
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curiosity.protocol import neighbours
from curiosity.protocol.neighbours import NOBODY, Neighbours
from curiosity.protocol.scoring import NEIGHBOURS, SCALE, Quantised, measure_gap, quantise
from tests.material.scoring import cloud

N = 12  # components
SMALL = {"_BLOCK_ROWS": 32, "_FIRST_ROWS": 4, "_CHUNK_ROWS": 5, "_TOGETHER": 3}
KINDS = ("far", "copy", "beside", "zero", "axis", "extreme")


@pytest.fixture(scope="module", autouse=True)
def _small_blocks() -> Iterator[None]:
    with patch.multiple("curiosity.protocol.neighbours", **SMALL):  # type: ignore[call-overload]  # so that a few points make many blocks
        yield


def make_point(kind: str, seed: int) -> Quantised:
    """A point of a kind: ``copy`` and ``beside`` are centred on one that all share, closer than float32 can tell."""
    rng = np.random.default_rng(seed)
    shared = cloud(99, 1, N)[0]
    made = {
        "far": quantise(rng.normal(size=N)),
        "copy": shared,
        "beside": shared + rng.integers(-3, 4, N),
        "zero": np.zeros(N),
        "axis": SCALE * np.eye(N)[seed % N],
        "extreme": np.full(N, rng.choice([-32_768, 32_767])),
    }
    return np.asarray(made[kind], dtype=np.int16)


points = st.builds(make_point, st.sampled_from(KINDS), st.integers(0, 40))


@settings(max_examples=150, deadline=None)
@given(st.lists(points, min_size=NEIGHBOURS, max_size=100), st.lists(points, min_size=1, max_size=5))
def test_the_search_gives_what_measuring_everything_gives(history: list[Quantised], asked: list[Quantised]) -> None:
    known = Neighbours(np.stack(history))
    expected = [measure_gap(point, np.stack(history)) for point in asked]
    assert [known.nearest(point) for point in asked] == expected
    assert known.nearest_batch(np.stack(asked)) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "add", "add", "forget", "ahead", "ask"]), points), max_size=90))
def test_the_search_stays_right_while_points_come_and_go(steps: list[tuple[str, Quantised]]) -> None:
    trusted = cloud(1, NEIGHBOURS + 1, N)
    known, rows, asked = Neighbours(trusted), [(NOBODY, row) for row in trusted], [trusted[0]]
    for entry, (step, point) in enumerate(steps):
        if step == "add":
            known.add(point, entry)
            rows.append((entry, point))
        elif step == "forget":
            gone = int(np.abs(point.astype(int)).sum()) % (entry + 1)
            known.forget(gone)
            rows = [row for row in rows if row[0] != gone]
        elif step == "ahead":
            asked = [point, *asked[:4]]
            known.look_ahead(np.stack(asked))
        else:
            for one in (point, *asked):
                assert known.nearest(one) == measure_gap(one, np.stack([row for _, row in rows]))
        assert len(known) == len(rows)
    assert np.array_equal(known.points, np.stack([row for _, row in rows]))


def near_ties() -> tuple[Quantised, Quantised]:
    """A point, and 600 others whose distances from it float32 cannot tell apart."""
    point = cloud(7, 1, 256)[0]
    return point, (point + np.random.default_rng(8).integers(-1, 2, (600, 256))).astype(np.int16)


def test_without_the_error_bound_a_near_tie_gives_the_wrong_neighbour() -> None:
    point, history = near_ties()
    expected = measure_gap(point, history)
    with patch.object(neighbours, "_UNIT", 0.0):
        assert Neighbours(history).nearest(point) != expected
    known = Neighbours(history)
    assert known.nearest(point) == expected
    known.add(np.zeros_like(point), 1)  # the bound is that of the longest point, wherever it is
    assert known.nearest(point) == expected


@pytest.mark.parametrize("components", [2, 256, 1536])
def test_no_score_is_off_by_more_than_the_bound(components: int) -> None:
    """All components of one sign add up to the largest sums that there are; random ones stay far below the bound."""
    rng = np.random.default_rng(components)
    rows = np.concatenate(
        [
            cloud(1, 50, components),
            np.full((1, components), -32_768, dtype=np.int16),
            rng.integers(20_000, 32_768, (50, components)).astype(np.int16),
        ]
    )
    longest = float(np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1).max()))
    for point in rows[::10]:
        bound = neighbours._Nearest(point, longest, NEIGHBOURS)._error
        exact = rows.astype(np.int64) @ point.astype(np.int64) - (rows.astype(np.int64) ** 2).sum(axis=1) / 2
        halves = ((rows.astype(np.float64) ** 2).sum(axis=1) / 2).astype(np.float32)
        products = rows.astype(np.float32) * point.astype(np.float32)
        computed = [
            rows.astype(np.float32) @ point.astype(np.float32),
            products.cumsum(axis=1, dtype=np.float32)[:, -1],
        ]
        worst = max(float(np.abs(dots - halves - exact).max()) for dots in computed)
        assert 0 < worst <= bound


def test_ties_go_to_the_point_that_was_there_first() -> None:
    axes = (SCALE * np.concatenate([np.eye(40), -np.eye(40)])).astype(np.int16)
    known = Neighbours(axes)  # all at the same distance from zero
    asked = np.zeros(40, dtype=np.int16)
    assert known.nearest(asked) == measure_gap(asked, axes)
    found = known._search(asked[None, :])[0]
    assert np.array_equal(found.rows, axes[:NEIGHBOURS])


def test_what_is_removed_leaves_the_memory() -> None:
    known = Neighbours(cloud(1, 3, N))
    rows = cloud(2, 50, N)
    known.extend(rows, range(50))
    for entry in range(0, 50, 2):
        known.forget(entry)
    for entry in (NOBODY, 0, 77):  # the checkpoint's own points are nobody's to take
        known.forget(entry)
    assert np.array_equal(known.points, np.concatenate([cloud(1, 3, N), rows[1::2]]))
    assert all(not block._rows[block.size :].any() for block in known._blocks)
    assert not any(np.array_equal(row, gone) for block in known._blocks for row in block._rows for gone in rows[::2])
    assert len(known._blocks) <= 2 * -(-len(known) // SMALL["_BLOCK_ROWS"])  # half full on average


def test_a_point_takes_no_more_memory_than_stated() -> None:
    with patch.multiple("curiosity.protocol.neighbours", _BLOCK_ROWS=8192, _FIRST_ROWS=256):
        known = Neighbours(cloud(1, 8, 64))
        for start in range(0, 20_000, 100):
            known.extend(cloud(start, 100, 64), range(start, start + 100))
    held = sum(a.nbytes for b in known._blocks for a in (b._rows, b._halves, b._entries))
    assert held <= (len(known) + 8192) * (2 * 64 + 12)


def test_fewer_points_than_neighbours_are_refused() -> None:
    known = Neighbours(cloud(1, NEIGHBOURS - 1, N))
    asked = cloud(2, 1, N)
    for ask in (lambda: known.nearest(asked[0]), lambda: known.nearest_batch(asked)):
        with pytest.raises(ValueError, match="fewer than k"):
            ask()
    known.look_ahead(asked)
    known.add(cloud(3, 1, N)[0], 4)
    assert known.nearest(asked[0]) == measure_gap(asked[0], known.points)
