"""Influence of a pair on held-out loss, on vectors that are made up."""

import numpy as np
import pytest

from benchmarks.attack_world import Floats
from benchmarks.influence import Epoch, Head, HeldOut, contrastive_loss, tell


def _unit(values: Floats) -> Floats:
    unit: Floats = values / np.linalg.norm(values, axis=-1, keepdims=True)
    return unit


def _world(seed: int) -> tuple[Floats, Floats, HeldOut]:
    draw = np.random.default_rng(seed)
    features, hidden = draw.normal(size=(120, 30)), draw.normal(size=(30, 12))
    texts = _unit(features @ hidden)
    return features[:60], texts[:60], HeldOut(features[60:], _unit(draw.normal(size=(60, 12))), texts[60:])


def test_the_loss_is_that_of_finding_each_other() -> None:
    rows = np.eye(3)
    assert contrastive_loss(rows, rows) < 1e-6
    assert contrastive_loss(rows, rows[[1, 2, 0]]) == pytest.approx(20.0, abs=1e-3)  # 1 / temperature


def test_the_step_of_one_pair_is_what_fitting_again_gives() -> None:
    """But for the means, which stay where they are."""
    features, texts, held = _world(1)
    centred, goal = features[:-1] - features[:-1].mean(axis=0), texts[:-1] - texts[:-1].mean(axis=0)
    head = Head(centred, goal)
    inner = np.concatenate([centred, [features[-1]]])
    wanted = np.concatenate([goal, [texts[-1]]])
    weights = np.linalg.solve(inner.T @ inner + 30.0 * np.eye(30), inner.T @ wanted)
    again = held.loss(held.features @ weights)
    assert head.influence(features[-1], texts[-1], held) == pytest.approx(
        held.loss(head.outputs(held.features)) - again, abs=1e-9
    )


def test_true_pairs_help_more_than_wrong_ones() -> None:
    features, texts, held = _world(2)
    head = Head(features[:20], texts[:20])
    true = [head.influence(features[i], texts[i], held) for i in range(20, 60)]
    wrong = [head.influence(features[i], texts[i - 7], held) for i in range(27, 60)]
    assert np.mean(true) > 0 > np.mean(wrong)


def test_no_head_weighs_what_it_learned_from() -> None:
    """A pair that stands twice in a wallet counts as if it stood there once: its own fold taught nothing."""
    features, texts, held = _world(3)
    fold = np.arange(60) % 5
    wrong = np.zeros(60, dtype=bool)
    once = Epoch(features, texts, wrong, fold).influences(held)
    twice = Epoch(*(np.concatenate([rows, rows[:1]]) for rows in (features, texts, wrong, fold))).influences(held)
    assert twice[0] == twice[60] == pytest.approx(once[0], abs=1e-12)
    elsewhere = Epoch(
        np.concatenate([features, features[:1]]), np.concatenate([texts, texts[:1]]), np.append(wrong, False),
        np.append(fold, 1),
    ).influences(held)  # fmt: skip
    assert abs(elsewhere[0] - once[0]) > 1e-9


def test_a_price_pays_nothing_below_zero() -> None:
    epoch = Epoch(np.zeros((4, 1)), np.zeros((4, 1)), np.array([False, False, True, True]), np.zeros(4, dtype=np.int64))
    found = tell(epoch, np.array([0.4, -0.2, 0.1, -0.5]), (2, 4))
    assert found["flat"] == pytest.approx(0.5)
    assert found["priced"] == pytest.approx((0.1 / 4) / (0.4 / 2))
    assert found["honest_unpaid"] == 0.5
