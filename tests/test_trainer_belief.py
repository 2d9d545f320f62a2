"""The fit of beliefs: what it promises holds on pairs that it has not seen, and it knows where nothing can be told."""

from collections.abc import Sequence

import numpy as np
import pytest

from curiosity.protocol.belief import Beliefs, familiarity_micro
from curiosity.protocol.scoring import MICRO, csls_micro, dequantise, quantise
from curiosity.protocol.verdict import Outcome
from tests.material.scoring import cloud
from trainer import belief
from trainer.belief import Scored, Scorer, draw_wrong_pairs, fit_beliefs

KNOWN, NEW = 600_000, 200_000  # familiarity
MARGIN = 500


def pairs(seed: int, count: int, mean: float, spread: float, familiarity: int = KNOWN) -> list[Scored]:
    scores = np.random.default_rng(seed).normal(mean, spread, count)
    return [Scored(round(MICRO * s), familiarity + 100 * (i * 7 % 1000)) for i, s in enumerate(scores)]


def share(beliefs: Beliefs, outcome: Outcome, of: Sequence[Scored]) -> float:
    return sum(beliefs.decide(p.score_micro, p.familiarity_micro, MARGIN)[0] is outcome for p in of) / len(of)


def calibration_error(beliefs: Beliefs, true: Sequence[Scored], wrong: Sequence[Scored], cheating: float) -> float:
    both = [*true, *wrong]
    believed = np.array([beliefs.at(p.score_micro, p.familiarity_micro) for p in both]) / MICRO
    is_true = np.arange(len(both)) < len(true)
    weight = np.where(is_true, (1 - cheating) / len(true), cheating / len(wrong))
    place = np.minimum((believed * 10).astype(int), 9)
    return sum(abs(float((weight * (believed - is_true))[place == k].sum())) for k in range(10))


def test_what_is_accepted_and_rejected_has_the_stated_precision_on_pairs_never_seen() -> None:
    beliefs = fit_beliefs(pairs(1, 500, 0.2, 0.1), pairs(2, 500, 0.0, 0.1), precisions_micro=(900_000, 800_000))
    true, wrong = pairs(3, 4_000, 0.2, 0.1), pairs(4, 4_000, 0.0, 0.1)
    right, slipped = 2 * share(beliefs, Outcome.ACCEPTED, true), share(beliefs, Outcome.ACCEPTED, wrong)
    lost, caught = 2 * share(beliefs, Outcome.REJECTED, true), share(beliefs, Outcome.REJECTED, wrong)
    assert right / (right + slipped) > 0.88
    assert caught / (caught + lost) > 0.77
    assert right / 2 > 0.8
    assert calibration_error(beliefs, true, wrong, 1 / 3) < 0.05
    assert calibration_error(beliefs, true, wrong, 0.8) > 0.2, "the measure sees another share of cheating"


def test_where_true_and_wrong_score_alike_everything_is_held() -> None:
    beliefs = fit_beliefs(pairs(1, 300, 0.1, 0.1), pairs(2, 300, 0.1, 0.1))
    assert share(beliefs, Outcome.ACCEPTED, pairs(3, 500, 0.1, 0.1)) < 0.02
    assert share(beliefs, Outcome.HELD, pairs(3, 500, 0.1, 0.1)) > 0.9


def test_scores_that_fall_with_truth_are_not_believed() -> None:
    beliefs = fit_beliefs(pairs(1, 300, 0.0, 0.1), pairs(2, 300, 0.3, 0.1))
    assert share(beliefs, Outcome.ACCEPTED, [*pairs(3, 500, 0.0, 0.1), *pairs(4, 500, 0.3, 0.1)]) == 0.0


def test_a_range_of_familiarity_in_which_nothing_can_be_told_is_held_and_the_other_is_not() -> None:
    true = [*pairs(1, 200, 0.3, 0.1), *pairs(2, 200, 0.1, 0.1, NEW)]
    wrong = [*pairs(3, 200, 0.0, 0.1), *pairs(4, 200, 0.1, 0.1, NEW)]
    beliefs = fit_beliefs(true, wrong)
    assert share(beliefs, Outcome.ACCEPTED, pairs(5, 400, 0.3, 0.1)) > 0.8
    assert share(beliefs, Outcome.ACCEPTED, pairs(6, 400, 0.1, 0.1, NEW)) < 0.05
    alone = fit_beliefs(
        [Scored(p.score_micro, KNOWN) for p in true], [Scored(p.score_micro, KNOWN) for p in wrong]
    )  # the defence off: one range for all
    assert share(alone, Outcome.ACCEPTED, pairs(6, 400, 0.1, 0.1, KNOWN)) > 0.1
    assert share(beliefs, Outcome.HELD, pairs(7, 100, 0.9, 0.0, NEW - 100_000)) == 1.0, "unlike everything known"


def test_perfect_separation_gives_a_finite_curve() -> None:
    beliefs = fit_beliefs(pairs(1, 100, 0.9, 0.001), pairs(2, 100, -0.9, 0.001))
    assert all(0 < belief < MICRO for one in beliefs.ranges for belief in one.curve.beliefs_micro)
    assert share(beliefs, Outcome.ACCEPTED, pairs(3, 100, 0.9, 0.001)) > 0.95
    assert share(beliefs, Outcome.REJECTED, pairs(4, 100, -0.9, 0.001)) > 0.95


def test_no_pairs_no_belief() -> None:
    with pytest.raises(ValueError, match=r"0 true"):
        fit_beliefs([], pairs(1, 10, 0.0, 0.1))


def test_scores_are_those_of_the_judge_without_what_the_anchors_hold_of_the_pair_itself() -> None:
    a, b = cloud(1, 40), cloud(2, 40)
    names = [str(i) for i in range(40)]
    anchors = {"bank_a": a, "bank_b": b, "references_a": a, "references_b": b}
    hidden = Scorer(anchors, dict.fromkeys(anchors, names))
    wrong = hidden.score(a[:1], b[1:2], names[:1], names[1:2])[0]
    left_a, left_b = a[2:], b[2:]
    assert wrong.score_micro == csls_micro(a[0], b[1], left_a, left_b)
    assert wrong.familiarity_micro == familiarity_micro(a[0], b[1], left_a, left_b)
    open_ = Scorer(anchors, {name: [""] * 40 for name in anchors})
    assert open_.score(a[:1], b[1:2], names[:1], names[1:2])[0].score_micro == csls_micro(a[0], b[1], a, b)


def test_a_true_partner_among_the_anchors_would_make_a_wrong_pair_look_easy() -> None:
    """The arm without hiding: the right partner in the bank crowds the wrong one out, which no new pair's does."""
    a = cloud(1, 60)
    b = quantise(dequantise(a) + 0.1 * dequantise(cloud(2, 60)))
    names = [str(i) for i in range(60)]
    anchors = {"bank_a": a, "bank_b": b, "references_a": a, "references_b": b}
    wrong = [(i, (i + 1) % 60) for i in range(60)]
    left, right = a, b[[j for _, j in wrong]]
    things = [names[j] for _, j in wrong]
    hidden = Scorer(anchors, dict.fromkeys(anchors, names)).score(left, right, names, things)
    shown = Scorer(anchors, {name: [""] * 60 for name in anchors}).score(left, right, names, things)
    assert np.mean([h.score_micro - s.score_micro for h, s in zip(hidden, shown, strict=True)]) > 50_000


def test_wrong_partners_are_drawn_by_kind_and_never_of_the_same_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(belief, "SWAPPED", 270)
    a, b = cloud(1, 90), cloud(2, 90)
    concepts = [str(i // 2) for i in range(90)]
    drawn = draw_wrong_pairs(a, b, concepts, np.zeros(90), np.zeros(90), seed=5)
    cosines = dequantise(a) @ dequantise(b).T
    likeness = dequantise(b) @ dequantise(b).T
    assert all(concepts[i] != concepts[j] for pairs in drawn.values() for i, j in pairs)
    assert len(set(drawn["swapped"])) == 270, "three of each"
    other = np.array(concepts)[:, None] != np.array(concepts)[None, :]
    assert drawn["nearest"] == list(enumerate(np.where(other, likeness, -9).argmax(axis=1)))
    found = {kind: np.mean([cosines[i, j] for i, j in pairs]) for kind, pairs in drawn.items()}
    assert found["searched"] > found["swapped"] + 0.2
    collapsed = np.stack([a[0]] * 90)
    everything = draw_wrong_pairs(a, collapsed, concepts, np.zeros(90), np.zeros(90), seed=5)
    assert {i for i, _ in everything["nearest"]} == set(range(90))
    assert draw_wrong_pairs(a[:1], b[:1], ["x"], np.zeros(1), np.zeros(1), seed=1)["nearest"] == []


def bent(seed: int, count: int) -> tuple[list[Scored], list[Scored]]:
    """Return pairs with a shape that no logistic curve has: hardly any is true below 0, four in five above."""
    generator = np.random.default_rng(seed)
    scores = generator.uniform(-1.0, 1.0, count)
    is_true = generator.random(count) < np.where(scores < 0.0, 0.02, 0.8)
    scored = [Scored(round(MICRO * s), KNOWN + i % 1000) for i, s in enumerate(scores)]
    return [one for one, t in zip(scored, is_true, strict=True) if t], [
        one for one, t in zip(scored, is_true, strict=True) if not t
    ]


def test_a_curve_takes_the_shape_that_its_pairs_have(monkeypatch: pytest.MonkeyPatch) -> None:
    true, wrong = bent(1, 2_000)
    unseen = bent(2, 20_000)
    share_of_wrong = len(wrong) / (len(true) + len(wrong))
    monkeypatch.setattr(belief, "LEAST_IN_RANGE", 10_000)
    error = calibration_error(
        fit_beliefs(true, wrong, cheating_micro=round(MICRO * share_of_wrong)), *unseen, share_of_wrong
    )
    assert error < 0.05
    monkeypatch.setattr(belief, "STIFFNESS", 1e9)  # no bend: Platt's curve
    straight = calibration_error(
        fit_beliefs(true, wrong, cheating_micro=round(MICRO * share_of_wrong)), *unseen, share_of_wrong
    )
    assert straight > 2 * error


def test_few_pairs_give_nearly_a_straight_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """With bends that cost nothing the curve follows chance: farther from the probability that is known here."""
    scores = np.linspace(-0.2, 0.4, 50)
    odds = 2.0 * np.exp(((scores - 0.0) ** 2 - (scores - 0.2) ** 2) / (2 * 0.1**2))  # of two normal distributions
    off = {}
    for stiffness in (1.0, 1e-6):
        monkeypatch.setattr(belief, "STIFFNESS", stiffness)
        fitted = [fit_beliefs(pairs(seed, 40, 0.2, 0.1), pairs(50 + seed, 40, 0.0, 0.1)) for seed in range(10)]
        believed = np.array([[one.at(round(MICRO * s), KNOWN) for s in scores] for one in fitted]) / MICRO
        off[stiffness] = float(np.mean((believed - odds / (1.0 + odds)) ** 2))
    assert off[1.0] < 0.006
    assert off[1e-6] > 1.5 * off[1.0]


def test_knots_that_fall_are_pooled_by_weight() -> None:
    values, weight = np.array([0.1, 0.5, 0.3, 0.2, 0.9]), np.array([1.0, 1.0, 1.0, 2.0, 1.0])
    pooled = (0.5 + 0.3 + 2 * 0.2) / 4
    assert list(belief._rising(values, weight)) == pytest.approx([0.1, pooled, pooled, pooled, 0.9])
