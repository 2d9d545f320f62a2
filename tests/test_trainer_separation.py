"""Figures of how well scores tell true pairs from wrong ones."""

import numpy as np
import pytest

from curiosity.protocol.comparison import read_separation
from curiosity.protocol.scoring import Quantised, csls_micro, dequantise, quantise
from node.doctor import tell_separation
from trainer.separation import Separation, score_all, separate


def make_rows(count: int, seed: int) -> Quantised:
    rows = np.random.default_rng(seed).normal(size=(count, 32))
    return quantise((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


def test_scores_are_those_of_the_judge_twins_and_all() -> None:
    a, b = make_rows(12, 1), make_rows(12, 2)
    bank_a, bank_b = (np.concatenate([make_rows(40, seed), rows[:3]]) for seed, rows in ((3, a), (4, b)))
    found = score_all(dequantise(a), dequantise(b), bank_a, bank_b)
    wanted = np.array([[csls_micro(one, other, bank_a, bank_b) for other in b] for one in a])
    assert np.abs(found * 1e6 - wanted).max() < 40  # float32, and the judge's integer halves
    plain = score_all(dequantise(a), dequantise(b), bank_a[:40], bank_b[:40])
    assert np.abs(found - plain).max() > 1e-3  # the twins were there to be left out


def test_a_judge_that_knows_all_one_that_knows_nothing_and_one_that_is_constant() -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(200, 200))
    assert separate(noise + 9 * np.eye(200)) == Separation(1.0, 0.0, 0.0, 200)
    blind = separate(noise)
    assert blind.auc == pytest.approx(0.5, abs=0.06)
    assert blind.wrong_at_5 > blind.wrong_at_10 > 0.8
    constant = separate(np.ones((20, 20)))
    assert (constant.auc, constant.wrong_at_5) == (0.5, 1.0)
    with pytest.raises(ValueError):
        separate(np.ones((1, 1)))


def test_what_wrong_pairs_pass_is_counted_at_the_threshold_of_true_ones() -> None:
    scores = np.zeros((20, 20))
    np.fill_diagonal(scores, np.arange(1, 21))  # 5 % refused: the threshold lies just above the least true score
    scores[0, 1:11] = 1.96  # above 1.95, below 2.9
    told = separate(scores)
    assert told.wrong_at_5 == pytest.approx(10 / 380)
    assert told.wrong_at_10 == 0.0


def test_manifests_that_say_nothing_or_nonsense_give_nothing() -> None:
    good = Separation(0.9, 0.5, 0.25, 200).to_micro()
    pairs = {"image-text": {"separation": good}, "audio-text": {"separation": good | {"pairs": "many"}}, "a-b": 7}
    told = read_separation({"alignment": {"emoji": pairs, "digits": [], "clipart": {"image-text": {}}}})
    assert told == {"emoji/image-text": good}
    assert good == {"auc_micro": 900_000, "wrong_at_5_micro": 500_000, "wrong_at_10_micro": 250_000, "pairs": 200}
    assert read_separation({}) == read_separation({"alignment": 3}) == {}


def test_the_doctor_says_what_the_checkpoint_cannot_tell() -> None:
    good, blind = Separation(0.9, 0.5, 0.25, 200).to_micro(), Separation(0.6, 0.9, 0.8, 200).to_micro()
    fine = tell_separation({"photos/image-text": good})
    assert fine.state == "ok"
    assert "photos/image-text AUC 0.900, wrong accepted 50% / 25% at 5 / 10 % false rejects" in fine.what
    warned = tell_separation({"photos/image-text": good, "emoji/audio-image": blind})
    assert warned.state == "warn"
    assert "emoji/audio-image" in warned.remedy
    assert "photos" not in warned.remedy
    assert tell_separation({}).state == "ok"


def test_the_doctor_sums_up_the_judge_in_the_best_and_the_worst_and_names_what_was_not_measured() -> None:
    aucs = {"emoji/image-text": 0.86, "digits/image-text": 1.0, "clipart/image-text": 0.77}
    figures = {name: Separation(auc, 0.5, 0.25, 200).to_micro() for name, auc in aucs.items()}
    told = tell_separation(figures)
    assert told.what.startswith("best of 3 digits/image-text AUC 1.000")
    assert "; worst clipart/image-text AUC 0.770" in told.what
    assert "emoji" not in told.what
    assert told.what.endswith("; photos were not measured")
    assert [line.split()[0] for line in told.more] == ["digits/image-text", "emoji/image-text", "clipart/image-text"]
    figures["photos/image-text"] = figures["emoji/image-text"]
    assert "photos were not" not in tell_separation(figures).what
