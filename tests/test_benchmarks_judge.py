"""The benchmark of the judge: its measures, its strict split, and its whole way on a small set."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import judge
from curiosity.sources.words import content_words
from trainer.feed import FedItem, FedPair
from trainer.recipe import Recipe

LIMIT = 90


def pair(concept: str) -> FedPair:
    item = FedItem("text", "text/plain", concept, bytes)
    return FedPair(concept.encode(), item, item, concept)


def test_the_area_is_that_of_every_true_score_beside_every_wrong_one() -> None:
    true, wrong = np.array([3.0, 1.0, 2.0]), np.array([2.0, 0.0])
    expected = np.mean([(t > w) + 0.5 * (t == w) for t in true for w in wrong])
    assert judge.roc_area(true, wrong) == pytest.approx(expected)
    assert judge.roc_area(wrong - 9, true) == 0.0


def test_the_calibration_error_is_the_weighted_gap_of_each_bin() -> None:
    belief = np.array([0.95, 0.95, 0.15, 0.15])
    is_true = np.array([True, False, False, False])
    assert judge.calibration_error(belief, is_true, np.full(4, 0.25)) == pytest.approx(0.5 * 0.45 + 0.5 * 0.15)
    assert judge.calibration_error(is_true * 1.0, is_true, np.full(4, 0.25)) == 0.0


def test_no_word_of_what_is_judged_is_learned() -> None:
    own = [pair(f"{colour} {thing}") for colour in ("red", "blue", "green") for thing in ("dog", "cat", "cow", "hen")]
    others = [pair(f"{thing} picture") for thing in ("dog", "cat", "cow", "hen", "tree")]
    given = judge.split(own, others, learns=True, seed=3)
    judged = {word for one in given.judged for word in content_words(one.concept)}
    learned = {word for one in given.learned for word in content_words(one.concept)}
    assert judged
    assert learned
    assert not judged & learned
    assert not {one.concept for one in given.calibrating} & {one.concept for one in given.judged}


def test_the_whole_way_on_a_small_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "OTHERS", {"emoji": ()})
    report = judge.run("emoji", 3, 1, "tiny", Recipe(steps=4, junk_pool=8, batch=32), tmp_path, limit=LIMIT)
    rows = {row["figure"]: row["mean"] for row in report["rows"]}
    assert rows["judged"] >= 20
    assert 0.2 < rows["auc"] < 0.9
    assert rows["honest_accepted"] < 0.5, "an encoder that knows nothing accepts little"
    assert "| auc |" in judge.to_markdown(report)
