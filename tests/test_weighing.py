"""The numbers of a decision beside their thresholds: which item was the problem, and what the contributor is told."""

from dataclasses import replace

import numpy as np
import pytest

from curiosity.client.explain import explain, explain_pay
from curiosity.embedding.checkpoint import GENESIS, load
from curiosity.protocol.calibration import Calibration, PairThresholds
from curiosity.protocol.errors import Fault
from curiosity.protocol.judgement import Anchors, Embedded, opine
from curiosity.protocol.scoring import quantise
from curiosity.protocol.verdict import (
    LESS_FAMILIAR,
    NOT_NOVEL,
    Measurement,
    Opening,
    Outcome,
    Reason,
    Verdict,
    Weighed,
)
from curiosity.protocol.weighing import weigh, without_bounds
from tests.material.believing import BELIEFS

OLD = Calibration(
    pairs={"image-text": PairThresholds(350_000, -100_000, 500, 20_000, 1_200_000)},
    null_max_micro={"image>text": 300_000, "text>image": 500_000},
    median_loss_micro={"image": 400_000, "text": 300_000},
    alpha_micro={"image-text": 100_000},
    masks=4,
)
NEW = replace(OLD, beliefs={"image-text": BELIEFS})
PLAIN = Measurement(400_000, 200_000, 250_000, 310_000, 480_000, 1, 1, 1, 1, *[bytes(32)] * 4)
WEIGHED = Weighed(**vars(PLAIN), familiarity_micro=450_000, belief_micro=550_000)
FILES = ("cat.png", "cat.txt")


def words(reason: Reason, measurement: Measurement, calibration: Calibration, detail: str = "") -> str:
    weighing = weigh(measurement, reason, "image-text", calibration, detail)
    verdict = Verdict(Outcome.REJECTED, reason, bytes(32), Fault.CONTRIBUTOR)
    return explain(verdict, Opening(bytes(32), bytes(32), bytes(32), detail, measurement), FILES, weighing).what


def test_the_item_that_is_blamed_is_the_one_over_its_bound_and_not_the_one_with_the_larger_number() -> None:
    weighing = weigh(PLAIN, Reason.ITEM_UNINFORMATIVE, "image-text", OLD)
    assert weighing.problem == "a"
    assert [one.holds for one in weighing.numbers] == [False, True, True, True]
    assert without_bounds(PLAIN, Reason.ITEM_UNINFORMATIVE).problem == "b", "all that is known without thresholds"
    said = words(Reason.ITEM_UNINFORMATIVE, PLAIN, OLD)
    assert said == "cat.png says too little: it is near to a blank item (likeness 0.310, at most 0.300)"


@pytest.mark.parametrize(
    ("reason", "measurement", "calibration", "expected"),
    [
        (Reason.PAIR_TOO_FAR, replace(PLAIN, distance_micro=360_000), OLD, "distance 0.360, at most 0.350"),
        (Reason.PAIR_NOT_MUTUAL, replace(PLAIN, csls_micro=-200_000), OLD, "score -0.200, at least -0.100"),
        (Reason.PAIR_UNDECIDED, WEIGHED, NEW, "probability 55 %, accepted from 80 %, rejected below 30 %"),
        (Reason.PAIR_UNFAMILIAR, WEIGHED, NEW, "familiarity 0.450, at least 0.500"),
        (Reason.GREY_ZONE, replace(PLAIN, distance_micro=350_100), OLD, "distance 0.350, at most 0.350"),
        (Reason.BELONGS_TOGETHER, WEIGHED, NEW, "probability 55 %"),
    ],
)
def test_what_decided_is_told_with_its_threshold(
    reason: Reason, measurement: Measurement, calibration: Calibration, expected: str
) -> None:
    assert expected in words(reason, measurement, calibration)


def test_the_less_familiar_item_is_named_where_the_opening_names_it() -> None:
    def said(detail: str) -> str:
        return words(Reason.PAIR_UNFAMILIAR, WEIGHED, NEW, detail)

    assert said("").startswith("the pair is unlike"), "openings of before name none"
    assert said("item c is the less familiar").startswith("the pair is unlike")
    assert said(LESS_FAMILIAR["a"]).startswith("cat.png is unlike")
    assert said(LESS_FAMILIAR["b"]).startswith("cat.txt is unlike")
    assert without_bounds(WEIGHED, Reason.PAIR_UNFAMILIAR, LESS_FAMILIAR["b"]).problem == "b"
    assert without_bounds(WEIGHED, Reason.PAIR_UNDECIDED, LESS_FAMILIAR["b"]).problem == "pair"


def test_the_less_familiar_item_is_that_which_the_references_of_the_nearest_domain_resemble_less() -> None:
    genesis = load(GENESIS)
    held = replace(BELIEFS, least_familiar_micro=1_000_001)
    draw = np.random.default_rng(3)
    picture, text = genesis.anchors["ref/image"][0], genesis.anchors["ref/text"][0]
    near_picture, near_text = (quantise(one / 32_767 + draw.normal(size=len(one)) / 150) for one in (picture, text))
    far_picture, far_text = quantise(draw.normal(size=(2, len(text))))
    one = (held, dict(genesis.anchors), ((far_picture, near_text, "a"), (near_picture, far_text, "b")))
    # Two domains of one reference each: the picture is nearer to that of the second than the text is, and both are
    # nearer to the second than to the first, which the text resembles more.
    axis = np.eye(len(text))
    domains = {f"domain/{m}": np.array([0, 1], dtype=np.int16) for m in ("image", "text")}
    references = {"ref/image": quantise(axis[[0, 2]]), "ref/text": quantise(axis[[1, 3]])}
    a, b = (
        quantise(0.9 * axis[2] + 0.1 * axis[0] + 0.4 * axis[5]),
        quantise(0.7 * axis[3] + 0.4 * axis[1] + 0.6 * axis[6]),
    )
    two = (replace(held, others=(held,)), {**genesis.anchors, **domains, **references}, ((a, b, "b"),))
    for beliefs, arrays, pairs in (one, two):
        limits = replace(genesis.calibration.pairs["image-text"], max_distance_micro=2_000_000)
        calibration = replace(
            genesis.calibration,
            pairs={"image-text": limits},
            null_max_micro=dict.fromkeys(genesis.calibration.null_max_micro, 2_000_000),
            beliefs={"image-text": beliefs},
        )
        for a, b, item in pairs:
            opinion = opine(
                *(Embedded(one, one, np.stack([one, one])[None]) for one in (a, b)),
                modalities="image-text",
                checkpoint=bytes(32),
                calibration=calibration,
                anchors=Anchors.from_arrays(arrays),
            )
            assert (opinion.reason, opinion.detail) == (Reason.PAIR_UNFAMILIAR, LESS_FAMILIAR[item])


def test_a_range_in_which_nothing_is_accepted_says_so() -> None:
    never = replace(BELIEFS, ranges=(replace(BELIEFS.ranges[0], accept_micro=1_000_001, reject_micro=0),))
    said = words(Reason.PAIR_UNDECIDED, WEIGHED, replace(OLD, beliefs={"image-text": never}))
    assert said.endswith("(probability 55 %, none is accepted yet)")


def test_why_an_accepted_pair_is_not_paid_is_told_only_in_words_that_are_known() -> None:
    verdict = Verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, bytes(32))
    assert {explain_pay(verdict, detail) for detail in NOT_NOVEL} == {f"not paid: {detail}" for detail in NOT_NOVEL}
    assert explain_pay(verdict, "call 555-1234 to be paid") == explain_pay(verdict)
    novel = replace(verdict, novel=True, curiosity_micro=5)
    assert explain_pay(novel, NOT_NOVEL[0]).startswith("may be paid")
