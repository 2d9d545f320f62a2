"""Belief: curves, the cuts where a pair is accepted, held or rejected, and familiarity."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curiosity.protocol.belief import Beliefs, Curve, DomainBeliefs, Range, familiarity_micro
from curiosity.protocol.calibration import Calibration
from curiosity.protocol.judgement import opine, rank
from curiosity.protocol.neighbours import Neighbours
from curiosity.protocol.scoring import MICRO, cosine_micro, quantise
from curiosity.protocol.verdict import Measurement, Opening, Outcome, Reason, Weighed
from curiosity.protocol.wire import encode, parse
from tests.material.scoring import LIMITS, D, cloud, embedded, near

CURVE = Curve((-100_000, 0, 100_000), (10_000, 500_000, 990_000))
FLAT = Curve((0,), (600_000,))
BELIEFS = Beliefs(
    (400_000,),
    (Range(FLAT, MICRO + 1, 0), Range(CURVE, 900_000, 100_000)),
    100_000,
    900_000,
    850_000,
    333_333,
)


def test_a_curve_is_linear_between_its_knots_and_level_beyond() -> None:
    assert [CURVE.at(s) for s in (-200_000, -100_000, -50_000, 0, 50_000, 100_000, 10**9)] == [
        10_000, 10_000, 255_000, 500_000, 745_000, 990_000, 990_000,
    ]  # fmt: skip


@given(st.integers(-300_000, 300_000), st.integers(-300_000, 300_000))
def test_a_higher_score_is_never_believed_less(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert CURVE.at(low) <= CURVE.at(high)


@pytest.mark.parametrize(
    ("scores", "beliefs"),
    [((), ()), ((1, 2), (1,)), ((2, 1), (1, 2)), ((1, 1), (1, 2)), ((1, 2), (2, 1)), ((1, 2), (1, MICRO + 1))],
)
def test_a_curve_that_is_not_one_is_refused(scores: tuple[int, ...], beliefs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        Curve(scores, beliefs)


@pytest.mark.parametrize("edges", [(), (2, 1), (1, 2)])
def test_beliefs_whose_parts_do_not_fit_are_refused(edges: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"edges"):
        replace(BELIEFS, edges_micro=edges)
    with pytest.raises(ValueError, match=r"do not rise"):
        replace(BELIEFS, edges_micro=(2, 1), ranges=BELIEFS.ranges[:1] * 3)
    with pytest.raises(ValueError, match=r"rejects below"):
        Range(CURVE, 100, 101)


def believing(curve: Curve, accept: int = 500_000) -> Beliefs:
    return Beliefs((), (Range(curve, accept, 200_000),), -MICRO, 900_000, 850_000, 333_333)


@pytest.mark.parametrize(
    ("score", "familiarity", "outcome", "reason"),
    [
        (95_000, 500_000, Outcome.ACCEPTED, Reason.BELONGS_TOGETHER),
        (0, 500_000, Outcome.HELD, Reason.PAIR_UNDECIDED),
        (-95_000, 500_000, Outcome.REJECTED, Reason.PAIR_UNLIKELY),
        (95_000, 300_000, Outcome.HELD, Reason.PAIR_UNDECIDED),  # the less familiar range knows less
        (95_000, 50_000, Outcome.HELD, Reason.PAIR_UNFAMILIAR),
        (-95_000, 50_000, Outcome.HELD, Reason.PAIR_UNFAMILIAR),
    ],
)
def test_a_pair_is_accepted_rejected_or_held(score: int, familiarity: int, outcome: Outcome, reason: Reason) -> None:
    assert BELIEFS.decide(score, familiarity, 500) == (outcome, reason)


@given(st.integers(-120_000, 120_000), st.integers(0, 600_000), st.integers(-500, 500), st.integers(-500, 500))
def test_what_is_off_by_less_than_the_margin_flips_no_outcome(score: int, known: int, off: int, moved: int) -> None:
    outcomes = {BELIEFS.decide(score, known, 500)[0], BELIEFS.decide(score + off, known + moved, 0)[0]}
    assert len(outcomes - {Outcome.GREY}) <= 1, "without the margin the two would be two outcomes"


def test_without_a_margin_the_same_pair_gets_two_outcomes() -> None:
    """The arm without the defence."""
    cut = next(s for s in range(100_000) if CURVE.at(s) >= 900_000)
    assert BELIEFS.decide(cut, 500_000, 0)[0] is Outcome.ACCEPTED
    assert BELIEFS.decide(cut - 1, 500_000, 0)[0] is Outcome.HELD
    assert BELIEFS.decide(cut, 500_000, 500)[0] is Outcome.GREY


def test_beliefs_survive_json_and_old_manifests_have_none() -> None:
    assert Beliefs.from_json(BELIEFS.to_json()) == BELIEFS
    old = Calibration({"image-text": LIMITS}, {}, {}, {}, 2)
    assert "beliefs" not in old.to_json()
    new = replace(old, beliefs={"image-text": BELIEFS})
    assert Calibration.from_json(new.to_json()) == new
    assert Calibration.from_json(old.to_json()) == old


def test_familiarity_is_the_mean_of_the_nearest_references_that_are_not_the_items() -> None:
    a, b, others = cloud(1, 1)[0], cloud(2, 1)[0], cloud(3, 20)
    twin = np.concatenate([others, near(a, 4, 0.3)[None]])
    expected = (cosine_micro(a, twin[-1]) + max(cosine_micro(b, row) for row in others)) // 2
    assert familiarity_micro(a, b, twin, others) == expected
    assert familiarity_micro(a, b, np.concatenate([twin, a[None]]), others) == expected
    assert familiarity_micro(a, a, a[None], a[None]) == -MICRO


def _opine(a: Any, b: Any, beliefs: dict[str, Beliefs], **limits: int) -> Any:
    from curiosity.protocol.judgement import Anchors

    return opine(
        embedded(a),
        embedded(b),
        modalities="image-text",
        checkpoint=b"\x01" * 32,
        calibration=Calibration(
            {"image-text": replace(LIMITS, **limits)},
            {"image>text": 500_000, "text>image": 500_000},
            {"image": 400_000, "text": 600_000},
            {},
            2,
            beliefs,
        ),
        anchors=Anchors(
            {"image": cloud(20, 30), "text": cloud(21, 30)},
            {"image-text": (cloud(22, 60), cloud(23, 60))},
            {"image": cloud(24, 1)[0], "text": cloud(25, 1)[0]},
            {"image-text": cloud(6, 300, 2 * D)},
        ),
    )


def test_the_judge_decides_by_belief_and_records_it() -> None:
    a = cloud(1, 1)[0]
    b = near(a, 2, 0.4)
    rising = Curve((0, 900_000), (0, MICRO))
    beliefs = believing(rising)
    opinion = _opine(a, b, {"image-text": beliefs})
    measured = opinion.measurement
    assert isinstance(measured, Weighed)
    assert (opinion.outcome, opinion.reason) == (Outcome.ACCEPTED, Reason.BELONGS_TOGETHER)
    assert measured.belief_micro == beliefs.at(measured.csls_micro, measured.familiarity_micro) >= 500_000
    held = _opine(a, b, {"image-text": believing(rising, accept=MICRO)})
    assert (held.outcome, held.reason, held.point) == (Outcome.HELD, Reason.PAIR_UNDECIDED, None)
    assert np.array_equal(held.final_a, a), "the average is not applied to a pair that is held"
    judged = rank(
        held, calibration=Calibration({"image-text": LIMITS}, {}, {}, {}, 2), history=Neighbours(cloud(6, 300, 2 * D))
    )
    assert (judged.verdict.outcome, judged.verdict.fault, judged.verdict.novel) == (Outcome.HELD, None, False)


def test_a_pair_too_far_apart_is_rejected_whatever_is_believed() -> None:
    a, b = cloud(1, 1)[0], cloud(2, 1)[0]
    sure = believing(Curve((0,), (MICRO,)))
    assert _opine(a, b, {"image-text": sure}).reason is Reason.PAIR_TOO_FAR
    assert _opine(a, b, {"image-text": sure}, max_distance_micro=2 * MICRO).outcome is Outcome.ACCEPTED


def test_a_checkpoint_without_beliefs_judges_by_its_threshold() -> None:
    a = cloud(1, 1)[0]
    opinion = _opine(a, near(a, 2, 0.4), {})
    assert opinion.outcome is Outcome.ACCEPTED
    assert type(opinion.measurement) is Measurement
    refused = _opine(a, near(a, 2, 0.4), {}, min_csls_micro=MICRO)
    assert refused.reason is Reason.PAIR_NOT_MUTUAL


def test_openings_of_both_forms_are_read_and_committed_as_before() -> None:
    a = cloud(1, 1)[0]
    beliefs = believing(Curve((0,), (MICRO,)))
    for known in ({}, {"image-text": beliefs}):
        measured = _opine(a, quantise(a * 1.0), known).measurement
        opening = Opening(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, "", measured)
        again = parse(Opening, encode(opening))
        assert again == opening
        assert type(again.measurement) is (Weighed if known else Measurement)
        assert again.commitment() == opening.commitment()
        assert (b"belief_micro" in encode(opening)) == bool(known)


SURE = DomainBeliefs((), (Range(Curve((0,), (990_000,)), 900_000, 100_000),), 100_000)
TWO = replace(BELIEFS, others=(None, SURE))


def test_a_pair_is_judged_by_the_domain_that_it_resembles_most() -> None:
    assert TWO.nearest((500_000, 900_000, 400_000)) == (TWO, 500_000), "the second has no pairs of these modalities"
    assert TWO.nearest((500_000, 0, 600_000)) == (SURE, 600_000)
    assert TWO.nearest((500_000, 0, 500_000))[0] is TWO, "the first of several"
    assert TWO.decide(0, 500_000, 500, (500_000, 0, 400_000))[0] is Outcome.HELD
    assert TWO.decide(0, 600_000, 500, (500_000, 0, 600_000))[0] is Outcome.ACCEPTED
    assert TWO.at(0, 600_000, (500_000, 0, 600_000)) == 990_000
    assert BELIEFS.decide(0, 600_000, 500)[0] is Outcome.HELD, "with one domain"


@given(*[st.integers(-2_000, 2_000) for _ in range(4)], st.integers(-120_000, 120_000))
def test_no_outcome_flips_where_a_pair_is_between_two_domains(a: int, b: int, off: int, moved: int, score: int) -> None:
    def outcome(first: int, other: int, margin: int) -> Outcome:
        return TWO.decide(score, max(first, other), margin, (first, 0, other))[0]

    one, other = 500_000 + a, 500_000 + b
    outcomes = {outcome(one, other, 500), outcome(one + off // 4, other + moved // 4, 0)}
    assert len(outcomes - {Outcome.GREY}) <= 1


def test_without_a_margin_a_pair_between_two_domains_gets_two_outcomes() -> None:
    """The arm without the defence."""
    assert TWO.decide(0, 500_000, 0, (500_000, 0, 499_999))[0] is Outcome.HELD
    assert TWO.decide(0, 500_001, 0, (500_000, 0, 500_001))[0] is Outcome.ACCEPTED
    assert TWO.decide(0, 500_001, 500, (500_000, 0, 500_001))[0] is Outcome.GREY


def test_domains_survive_json_and_the_log_holds_the_familiarity_with_each() -> None:
    assert Beliefs.from_json(TWO.to_json()) == TWO
    a = cloud(1, 1)[0]
    measured = _opine(a, near(a, 2, 0.4), {"image-text": replace(believing(Curve((0,), (MICRO,))), others=(SURE,))})
    weighed = measured.measurement
    assert weighed.domains_micro == (weighed.familiarity_micro, -MICRO), "no reference is of the second domain"
    opening = Opening(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, "", weighed)
    assert parse(Opening, encode(opening)) == opening
    assert b"domains_micro" in encode(opening)
    alone = _opine(a, near(a, 2, 0.4), {"image-text": believing(Curve((0,), (MICRO,)))}).measurement
    assert b"domains_micro" not in encode(replace(opening, measurement=alone))
