"""Ways to choose pairs, and what a head learns from them, on vectors that are made up."""

import numpy as np
import pytest

from benchmarks.attack_pay import Decided, novel
from benchmarks.attack_streams import HONEST
from benchmarks.attack_world import Floats, Sent, Thing
from benchmarks.paid_recall import WAYS, Offer, recall_at_10, streams, teach
from curiosity.protocol.verdict import CrowdCounts

PAIRS = [(Thing("image", "image/png", b"picture %d" % i), Thing.text(f"text {i}")) for i in range(40)]


def _unit(values: Floats) -> Floats:
    unit: Floats = values / np.linalg.norm(values, axis=-1, keepdims=True)
    return unit


def test_streams_hold_as_much_junk_as_they_say() -> None:
    made = streams(PAIRS, 1)
    assert {name: len(stream) for name, stream in made.items()} == {"clean": 40, "spammed": 80, "junk": 40}
    assert {name: sum(one.is_wrong for one in stream) for name, stream in made.items()} == {
        "clean": 0, "spammed": 40, "junk": 12,
    }  # fmt: skip
    true = {(a.digest, b.digest) for a, b in PAIRS}
    assert all(((one.a.digest, one.b.digest) in true) is not one.is_wrong for one in made["junk"])
    assert len({one.a.digest for one in made["spammed"] if one.is_wrong}) == 20


def test_the_rule_takes_what_is_new_first_and_centres_take_what_is_far() -> None:
    crowds = [CrowdCounts(3), None, CrowdCounts(0), CrowdCounts(1)]
    decided = [
        Decided(Sent(*PAIRS[i], HONEST), novel(crowd) if crowd is not None else novel(CrowdCounts(4_095)))
        for i, crowd in enumerate(crowds)
    ]
    points = _unit(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [1.0, 0.2]]))
    offer = Offer(decided, points, np.random.default_rng(1))
    assert WAYS["rule"](offer) == [2, 3, 0]
    assert WAYS["novelty"](offer)[:2] == [0, 2]
    assert set(WAYS["k-centre"](offer)[:2]) >= {2}
    assert sorted(WAYS["random"](offer)) == [0, 1, 2, 3]


def test_a_head_learns_what_true_pairs_show() -> None:
    draw = np.random.default_rng(2)
    features, hidden = draw.normal(size=(300, 40)), draw.normal(size=(40, 16))
    texts, told = _unit(features @ hidden), _unit(draw.normal(size=(300, 16)))
    held = slice(200, 300)
    before = recall_at_10(told[held], texts[held])
    true, wrong = list(range(200)), draw.permutation(200)
    taught = teach(features, texts, true)(features[held], told[held])
    misled = teach(features[:200], texts[wrong], true)(features[held], told[held])
    assert before == pytest.approx(0.1, abs=0.08)
    assert recall_at_10(taught, texts[held]) > 0.9
    assert recall_at_10(misled, texts[held]) < 0.4
