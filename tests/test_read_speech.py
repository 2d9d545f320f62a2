"""Texts that are read out: to the shipped encoders that is what belongs to a text, so they share a part of an epoch."""

from dataclasses import replace

import pytest

from benchmarks.read_speech import LIMITED, UNLIMITED, Ear, measure, run_epochs, share_of_epoch, to_markdown
from curiosity.embedding.checkpoint import SHIPPED, load
from curiosity.embedding.weights import read_space
from curiosity.protocol.judgement import Anchors
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.vesting import GENERATED, SPOKEN, pool_of
from tests.material.service import digit_pairs
from tests.material.vesting import HONEST_PAIR, RULE_2


def test_the_shipped_judge_accepts_what_only_reads_its_text() -> None:
    """Without this there would be nothing to limit."""
    checkpoint = load(SHIPPED["offline"])
    ear = Ear(read_space(checkpoint), checkpoint.calibration, Anchors.from_arrays(checkpoint.anchors))
    spoken = [one for one in digit_pairs() if one.modalities == "audio-text"][:40]
    found = measure(ear, [(one.a.read(), one.a.media_type, one.b.read().decode()) for one in spoken])
    assert found["accepted"] > 0.5
    assert found["wrong_accepted"] < 0.1


@pytest.mark.parametrize(("read", "others"), [(100, 0), (400, 0), (150, 100)])
def test_an_epoch_of_read_speech_pays_a_twentieth_and_not_a_wei_more(read: int, others: int) -> None:
    most = LIMITED.emission_of(LIMITED.pool_wei) * 50_000 // 1_000_000
    got, rest = share_of_epoch(LIMITED, read, others)
    assert most - 4 * read < got <= most
    assert rest <= LIMITED.emission_of(LIMITED.pool_wei) - most
    for rule in (UNLIMITED, RULE_2):  # the defence is off
        free, less = share_of_epoch(rule, read, others)
        assert free > 10 * most
        assert less <= rest


def test_a_pair_of_two_pools_is_in_the_smaller() -> None:
    generated, spoken = replace(HONEST_PAIR, generated=True), replace(HONEST_PAIR, modalities="audio-text")
    both = replace(spoken, generated=True)
    rule = RewardParameters(version=3, generated_micro=250_000, spoken_micro=50_000)
    pools = [pool_of(one, rule) for one in (HONEST_PAIR, generated, spoken, both)]
    assert pools == ["", GENERATED, SPOKEN, SPOKEN]
    assert pool_of(both, replace(rule, generated_micro=10_000)) == GENERATED
    assert pool_of(both, replace(rule, generated_micro=50_000)) == GENERATED
    assert pool_of(replace(spoken, modalities="audio-image"), rule) == ""


def test_both_arms_are_shown() -> None:
    epochs = run_epochs([(100, 0), (120, 100)])
    assert all(one["holds"] and one["undefended"] > 0.5 > 0.051 > one["defended"] > 0.0499 for one in epochs)
    table = to_markdown({"rows": [], "epochs": epochs})
    assert "| 120 | 100 | 0.5455 | 0.0500 | 0.4545 | 0.9500 |" in table
