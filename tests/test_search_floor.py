"""The floor of a search: what does not fit a query is marked, and under a checkpoint without beliefs nothing is."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curiosity.embedding.checkpoint import GENESIS, SHIPPED, load
from curiosity.protocol.belief import Curve
from curiosity.protocol.best_of_many import least_probability_micro, probability_micro, wrong_beliefs_micro
from curiosity.protocol.floor import SCORE_STEP_MICRO, Floor
from curiosity.protocol.judgement import Anchors
from curiosity.protocol.scoring import (
    MICRO,
    Quantised,
    cosine_table_micro,
    cosines_micro,
    cross_average,
    quantise,
    undo_cross_average,
)
from tests.material.believing import BELIEFS, believing
from tests.material.service import Running, pictures, running
from tests.material.shell import Shell

NONSENSE = b"asdfghjkl"


async def submit(live: Running, count: int) -> None:
    for pair in pictures(count):
        await live.client.post_pair(live.sign(pair).encode())


async def ask(live: Running, text: bytes, to: str = "image") -> tuple[int, int]:
    """Return how many were found, and how many of them fit."""
    answer = await live.client.query("text", "text/plain", text, to, 10)
    assert all(one.cosine_micro % 1_000 == 0 and (one.belief_micro or 0) % 1_000 == 0 for one in answer.found)
    return len(answer.found), len(answer.fitting)


async def test_nonsense_finds_nothing_on_a_checkpoint_with_beliefs_and_a_picture_on_one_without(tmp_path: Path) -> None:
    async with running(tmp_path / "old") as old:
        await submit(old, 12)
        answer = await old.client.query("text", "text/plain", NONSENSE, "image", 10)
        assert len(answer.fitting) == len(answer.found) > 0, "the floor off: nonsense finds pictures"
        assert answer.floor is None
        query = {"modality": "text", "to": "image", "k": 1}
        sent = await old.client._request("POST", "/v1/query", query=query, data=NONSENSE, content_type="text/plain")
        assert b"fits" not in sent, "what programs of earlier versions do not know is left out"
    async with running(tmp_path / "new", genesis=believing(tmp_path / "believing")) as live:
        await submit(live, 12)
        name = pictures(1)[0].concept.encode()
        for to in ("image", "text"):
            found, fitting = await ask(live, NONSENSE, to)
            assert (found > 0, fitting) == (True, 0)
            found, fitting = await ask(live, name, to)
            assert 0 < fitting < found
        answer = await live.client.query("text", "text/plain", name, "image", 10)
        assert answer.floor is not None
        assert answer.floor.measure == "probability"
        told = [-1 if one.probability_micro is None else one.probability_micro for one in answer.found]
        half_a_step = SCORE_STEP_MICRO // 2
        assert [one.fits for one in answer.found] == [one >= answer.floor.least_micro - half_a_step for one in told]
        assert all((one.belief_micro or 0) > at for one, at in zip(answer.found, told, strict=True)), (
            "a search shows the best"
        )

        shell = Shell(tmp_path / "home", live.url)
        said = await asyncio.to_thread(shell.run, "query", NONSENSE.decode())
        assert said.status == 0
        assert said.out.startswith("Nothing fits")
        said = await asyncio.to_thread(shell.run, "query", NONSENSE.decode(), "--all", "--json")
        assert said.json["found"], "what is nearest, all the same"
        assert said.json["left_out"] == 0


def test_the_final_embeddings_give_the_original_ones_back() -> None:
    draw = np.random.default_rng(5)
    for pulls in ((250_000, 250_000), (400_000, 100_000), (0, 500_000)):
        a, b = quantise(draw.normal(size=(2, 128)))
        for given, back in zip((a, b), undo_cross_average(*cross_average(a, b, *pulls), *pulls), strict=True):
            assert np.abs(given.astype(int) - back).max() <= 6


def test_a_hit_of_the_query_s_own_modality_must_be_nearer_than_half_of_the_references_are() -> None:
    genesis = load(GENESIS)
    anchors = Anchors.from_arrays(genesis.anchors)
    floor = Floor(replace(genesis.calibration, beliefs={"image-text": BELIEFS}), anchors)
    texts = anchors.references["text"]
    nearest = []
    for row in range(0, len(texts), 5):
        one, others = texts[row], np.delete(texts, row, axis=0)
        fits = [floor.fit("text", "text", one, other, len(others)) for other in others]
        nearest.append(any(fit is not None and fit.fits for fit in fits))
    assert 0.35 < np.mean(nearest) < 0.65, "half of the references find another one that fits"
    assert floor.bound("audio", "text", 1) is None, "not calibrated"
    assert Floor(genesis.calibration, anchors).bound("text", "text", 1) is None, "no beliefs, no floor"


def test_a_query_that_the_judge_takes_for_nothing_fits_nothing() -> None:
    """Both arms: the text lies where the empty picture does; without the null gate what equals it would fit it."""
    genesis = load(GENESIS)
    anchors = Anchors.from_arrays(genesis.anchors)
    knowing = replace(BELIEFS, least_familiar_micro=-MICRO)
    calibration = replace(genesis.calibration, beliefs={"image-text": knowing})
    gated = Floor(calibration, anchors)
    open_ = Floor(replace(calibration, null_max_micro={}), anchors)
    nothing, text = anchors.empties["image"], anchors.references["text"][0]
    assert [_fits(floor, nothing, nothing) for floor in (gated, open_)] == [False, True]
    assert [_fits(floor, text, text) for floor in (gated, open_)] == [True, True]


def _fits(floor: Floor, query: Quantised, hit: Quantised, searched: int = 20) -> bool:
    fit = floor.fit("text", "image", query, hit, searched)
    assert fit is not None
    assert (fit.probability_micro is None) <= (not fit.fits)
    return fit.fits


def test_the_best_of_many_wrong_ones_fits_seldom_where_a_belief_of_one_half_nearly_always_shows_it() -> None:
    """Both arms, on the references of the checkpoint that a new network starts with."""
    offline = load(SHIPPED["offline"])
    anchors = Anchors.from_arrays(offline.anchors)
    beliefs = offline.calibration.beliefs["image-text"]
    wrong = wrong_beliefs_micro("text", "image", beliefs, anchors)
    texts, pictures_of = anchors.references["text"], anchors.references["image"]
    assert len(wrong) == len(texts) * (len(pictures_of) - 1), "each text's nearest picture may be its own"
    assert list(wrong[:2]) == sorted(wrong[:2], reverse=True)
    draw = np.random.default_rng(1)
    for searched in (12, 100, 1_000):
        best = draw.choice(wrong, (400, searched)).max(axis=1)
        least = least_probability_micro(wrong, beliefs.cheating_micro, searched)
        told = [probability_micro(int(one), beliefs.cheating_micro, searched) for one in best]
        assert np.mean(best >= 500_000) > 0.9
        assert 0.06 < np.mean([one >= least for one in told]) < 0.14, "a tenth"


def test_the_probability_of_a_hit_is_its_likelihood_ratio_over_how_many_are_searched() -> None:
    for belief, cheating, searched in ((900_000, 333_333, 1), (999_000, 333_333, 1_000), (40_000, 500_000, 7)):
        b, c = belief / MICRO, cheating / MICRO
        odds = b * c / ((1 - b) * (1 - c)) / searched
        assert abs(probability_micro(belief, cheating, searched) / MICRO - odds / (1 + odds)) < 2e-6
    assert probability_micro(MICRO, 333_333, 10**9) == MICRO
    assert probability_micro(0, 333_333, 1) == 0
    by_size = [probability_micro(990_000, 333_333, n) for n in (1, 10, 100, 1_000)]
    assert by_size == sorted(by_size, reverse=True)


def test_the_floor_asks_for_a_ratio_that_grows_with_what_is_searched() -> None:
    wrong = np.arange(999_999, 900_000, -100, dtype=np.int64)
    sizes = (1, 10, 100, 1_000, 10_000, 1_000_000)
    least = [least_probability_micro(wrong, 333_333, n) for n in sizes]
    odds = [p / (MICRO - p) * n for p, n in zip(least, sizes, strict=True)]
    assert odds == sorted(odds)
    assert least_probability_micro(wrong, 333_333, 5_000) == least[-1], "what so few wrong pairs cannot tell"
    assert least_probability_micro(wrong[:0], 333_333, 10) == MICRO // 2
    assert least_probability_micro(wrong, 333_333, 100, 693_147) < least[2], "half of searches may show something"


def test_arrays_are_measured_as_single_ones_are() -> None:
    draw = np.random.default_rng(2)
    scores = draw.integers(-400_000, 400_000, size=(40, 3))
    scores[0] = (-300_000, 300_000, 0)
    for curve in (BELIEFS.ranges[0].curve, Curve((5,), (7,)), Curve((-3, 1, 200_000), (0, 10, 999_999))):
        assert curve.at_each(scores).tolist() == [[curve.at(int(one)) for one in row] for row in scores]
    rows, others = quantise(draw.normal(size=(9, 32))), quantise(draw.normal(size=(11, 32)))
    rows[4] = 0
    assert cosine_table_micro(rows, others).tolist() == [cosines_micro(row, others).tolist() for row in rows]


@pytest.mark.parametrize("searched", [1, 10, 10**9])
def test_a_checkpoint_that_knows_one_wrong_pair_has_a_floor_above_it(searched: int) -> None:
    least = least_probability_micro(np.array([900_000]), 333_333, searched)
    assert probability_micro(900_000, 333_333, 1) < least <= probability_micro(900_001, 333_333, 1)
