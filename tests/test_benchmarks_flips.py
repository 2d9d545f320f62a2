"""No verdict turns between accept and reject where items are embedded another way; without the margin some do."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import flips
from curiosity.embedding.checkpoint import GENESIS, SHIPPED, load
from curiosity.protocol.judgement import Anchors, Numbers, measure_familiarity
from tests.material.service import digit_pairs
from trainer.feed import FedPair, read_trusted

PROMISED = [way for way in flips.WAYS if way.is_promised]


def fed(count: int) -> list[FedPair]:
    """Return picture-text pairs, each of another name."""
    assert digit_pairs(), "they are made in the folder that is read here"
    pairs = read_trusted([Path(__file__).parents[1] / ".cache" / "tests" / "digits"], ("submit",))
    by_name = {pair.concept: pair for pair in pairs if pair.a.modality == "image"}
    return list(by_name.values())[:count]


def test_a_margin_keeps_every_pair_from_turning_wherever_the_threshold_lies() -> None:
    rows = flips.run("tiny", load(GENESIS), fed(8), [PROMISED[0], *PROMISED[2:]])
    assert {row.pairs for row in rows} == {64}
    assert [(row.flips, row.moved_flips) for row in rows] == [(0, 0)] * len(rows)
    assert all(row.largest_micro["csls_micro"] < 50 for row in rows)
    assert sum(row.moved_flips_without_margin for row in rows) > 0, "the arm without a margin"


@pytest.mark.parametrize(("off_micro", "turns"), [(3, 0), (900, 0), (1_100, 1)])
def test_what_is_off_by_more_than_two_margins_turns(off_micro: int, turns: int) -> None:
    calibration = load(GENESIS).calibration
    limits = calibration.pairs[flips.NAME]
    one = Numbers(0, 0, limits.max_distance_micro - 100_000, limits.min_csls_micro + 200_000)
    other = replace(one, csls_micro=one.csls_micro + off_micro)
    row = flips.compare("tiny", flips.WAYS[1], [one], [other], calibration)
    assert (row.flips, row.moved_flips, row.moved_flips_without_margin) == (0, turns, 1)


def test_the_familiarity_with_each_domain_is_the_judge_s() -> None:
    shipped = load(SHIPPED["offline"])
    anchors, beliefs = Anchors.from_arrays(shipped.anchors), shipped.calibration.beliefs["image-text"]
    a, b = anchors.references["image"][:3], anchors.references["text"][:2]
    found = flips.measure(a, b, shipped.calibration, anchors)
    expected = [measure_familiarity(one, other, "image-text", beliefs, anchors) for one in a for other in b]
    assert [(one.familiarity_micro, one.domains_micro) for one in found] == expected
    assert len(expected[0][1]) == 2
