"""The floor of a search: what does not fit a query is marked, and under a checkpoint without beliefs nothing is."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np

from curiosity.embedding.checkpoint import GENESIS, load
from curiosity.protocol.belief import Beliefs, Curve, Range
from curiosity.protocol.floor import LEAST_BELIEF_MICRO, Floor
from curiosity.protocol.judgement import Anchors
from curiosity.protocol.scoring import MICRO, cross_average, quantise, undo_cross_average
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
        assert (answer.floor.measure, answer.floor.least_micro) == ("belief", LEAST_BELIEF_MICRO)
        assert [one.fits for one in answer.found] == [one.belief_micro >= LEAST_BELIEF_MICRO for one in answer.found]  # type: ignore[operator]

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
        fits = [floor.fit("text", "text", one, other) for other in others]
        nearest.append(any(fit is not None and fit.fits for fit in fits))
    assert 0.35 < np.mean(nearest) < 0.65, "half of the references find another one that fits"
    assert floor.bound("audio", "text") is None, "not calibrated"
    assert Floor(genesis.calibration, anchors).bound("text", "text") is None, "no beliefs, no floor"


def test_a_query_that_the_judge_takes_for_nothing_fits_nothing() -> None:
    """Both arms: the text lies where the empty picture does; without the null gate whatever is believed fits it."""
    genesis = load(GENESIS)
    anchors = Anchors.from_arrays(genesis.anchors)
    sure = Beliefs((), (Range(Curve((0,), (990_000,)), 900_000, 0),), -MICRO, 900_000, 850_000, 333_333)
    calibration = replace(genesis.calibration, beliefs={"image-text": sure})
    nothing, picture = anchors.empties["image"], anchors.references["image"][0]
    text = next(one for one in anchors.references["text"])
    gated = Floor(calibration, anchors)
    open_ = Floor(replace(calibration, null_max_micro={}), anchors)
    assert [floor.fit("text", "image", nothing, picture).fits for floor in (gated, open_)] == [False, True]  # type: ignore[union-attr]
    assert [floor.fit("text", "image", text, picture).fits for floor in (gated, open_)] == [True, True]  # type: ignore[union-attr]
