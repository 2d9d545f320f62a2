"""Pay by belief: what the judge is unsure of earns less, where the rule says so. Each test has both rules."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from curiosity.client.explain import explain_pay
from curiosity.client.history import pay_by_entry
from curiosity.protocol.entry import PairEntry, encode_entry, parse_entry
from curiosity.protocol.errors import ConfigError, ProofError, Rejected
from curiosity.protocol.orders import RuleOrder
from curiosity.protocol.payouts import derive
from curiosity.protocol.rewards import USUAL_BELIEF, RewardParameters
from curiosity.protocol.signing import address_of
from curiosity.protocol.verdict import Measurement, Outcome, Reason, Verdict, Weighed, told_belief
from curiosity.protocol.vesting import WHOLE_WEIGHT, spell_rule, weigh_belief
from tests.material.believing import believing
from tests.material.service import pictures, running
from tests.material.vesting import NOBODY, RULE_1, PaidLedger, account
from validator.announcing import plan_rule

RULE_3 = RewardParameters(version=3)
WITH_HALVES = replace(RULE_3, full_belief=USUAL_BELIEF)
BY_BELIEF = replace(WITH_HALVES, version=4)
HONEST, CHEAT = account(1), account(2)
KEYS = b"\x51" * 32, b"\x52" * 32
TOO_UNSURE = "epoch 1: not paid: the judge is too unsure that the two belong together"


@pytest.mark.parametrize(("rule", "share"), [(RULE_3, 1.0), (WITH_HALVES, 1 / 7), (BY_BELIEF, 0.25 / 3.25)])
def test_who_sends_what_the_judge_is_unsure_of_earns_less(rule: RewardParameters, share: float) -> None:
    """Swapped captions that pass are mostly those of which the judge is least sure."""
    ledger = PaidLedger(rule)
    ledger.earn(HONEST, 4, beliefs=(29, 30, 31, 32))
    ledger.earn(CHEAT, 4, beliefs=(26, 27, 28, 29))
    ledger.vest()
    assert ledger.got(CHEAT) / ledger.got(HONEST) == pytest.approx(share)
    assert [one.reward_root for one in ledger.derived()][:-1] == [one.reward_root for one in ledger.closed]


@pytest.mark.parametrize("rule", [RULE_3, WITH_HALVES, BY_BELIEF])
def test_what_earns_nothing_by_its_belief_takes_no_place_in_the_draw(rule: RewardParameters) -> None:
    ledger = PaidLedger(replace(rule, top_n=4))
    ledger.earn(address_of(KEYS[0]), 4, beliefs=(32,) * 4, key=KEYS[0])
    ledger.earn(address_of(KEYS[1]), 40, beliefs=(28,) * 40, key=KEYS[1])
    for _ in range(2):
        ledger.close(beacon=bytes(32))
    drawn = [one.contributor for one in ledger.closed[-1].awarded]
    assert len(drawn) == 4
    words = Counter(pay_by_entry(ledger.leaves, RULE_1).values())
    if rule.full_belief:
        assert set(drawn) == {address_of(KEYS[0])}
        assert words[TOO_UNSURE] == 40
    else:
        assert address_of(KEYS[1]) in drawn
        assert TOO_UNSURE not in words


@pytest.mark.parametrize(("rule", "step_below"), [(WITH_HALVES, 0.5), (BY_BELIEF, 0.25)])
def test_a_belief_leaves_the_whole_a_quarter_or_nothing_and_by_version_3_a_half(
    rule: RewardParameters, step_below: float
) -> None:
    left = {one: weigh_belief(WHOLE_WEIGHT, one, rule) / WHOLE_WEIGHT for one in (0, 27, 28, 29, 30, 31, 32)}
    assert left == pytest.approx({0: 0, 27: 0, 28: 0, 29: step_below, 30: 1, 31: 1, 32: 1})
    unasked = replace(rule, full_belief=0)
    assert weigh_belief(WHOLE_WEIGHT, None, rule) == weigh_belief(WHOLE_WEIGHT, 0, unasked) == WHOLE_WEIGHT
    assert weigh_belief(3, 29, WITH_HALVES) == 1
    with pytest.raises(ConfigError, match="full_belief is 33"):
        replace(RULE_3, full_belief=33)


@pytest.mark.parametrize(("full_belief", "changes"), [(USUAL_BELIEF, True), (0, False)])
def test_a_network_of_version_3_moves_if_that_changes_what_is_paid(full_belief: int, *, changes: bool) -> None:
    """What is earned by then is paid by version 3, for ever."""
    rule = replace(RULE_3, full_belief=full_belief)
    ledger = PaidLedger(rule)
    order = RuleOrder(0, {})
    if not changes:
        with pytest.raises(Rejected, match="RULE_SAME"):
            plan_rule(ledger.replay, order, ledger.block, ledger.time, returns=True)
        return
    entry = plan_rule(ledger.replay, order, ledger.block, ledger.time, returns=True)
    ledger.append(entry)
    assert entry.parameters == spell_rule(replace(rule, version=4))
    got: list[int] = []
    for _ in (rule, BY_BELIEF):
        ledger.earn(HONEST, 4, beliefs=(29, 30, 29, 30))
        ledger.close()
        ledger.vest(entry.epoch)
        got.append(ledger.got(HONEST) - sum(got))
    assert [one.rule for one in ledger.derived()][:: entry.epoch] == [rule, BY_BELIEF, BY_BELIEF]
    assert got[1] / got[0] == pytest.approx(2.5 / 3, rel=0.01)  # two quarters, in place of two halves


def test_beliefs_are_told_coarsely_and_only_beside_counts() -> None:
    measured = Measurement(0, 0, 0, 0, 0, 0, 0, 0, 0, *[bytes(32)] * 4)
    assert told_belief(measured) is None
    told = [told_belief(Weighed(**vars(measured), familiarity_micro=0, belief_micro=one))
            for one in (0, 24_999, 25_000, 749_999, 750_000, 800_000, 1_000_000)]  # fmt: skip
    assert told == [0, 0, 1, 29, 30, 32, 32]
    (pair,) = PaidLedger().earn(HONEST, beliefs=(30,))
    assert parse_entry(encode_entry(pair)) == pair
    leaf = encode_entry(pair).replace(b'"crowd":{"a":0,"b":0,"near":0},', b"").replace(b'"v":3', b'"v":2')
    with pytest.raises(ProofError, match=r"without verdict\.crowd"):
        parse_entry(leaf)


def test_a_contributor_is_told_what_a_low_belief_leaves() -> None:
    novel = Verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, bytes(32), None, True, 524_288, NOBODY)
    said = {belief: explain_pay(replace(novel, belief=belief)) for belief in (None, 28, 29, 30)}
    assert said[None] == said[30]
    assert "below 75 %: a network that pays by belief as new ones do leaves a quarter of its pay" in said[29]
    assert "leaves nothing of its pay" in said[28]


async def test_a_validator_tells_the_belief_of_novel_pairs_and_of_no_others(tmp_path: Path) -> None:
    genesis = believing(tmp_path / "believing", max_ratio_micro=10_000_000)
    async with running(tmp_path / "validator", genesis=genesis, rule2_epoch=1) as live:
        told = []
        for source in pictures(8):
            decision = await live.client.post_pair(live.sign(source).encode())
            measured = decision.opening.measurement
            assert isinstance(measured, Weighed)
            expected = measured.belief_micro * 40 // 1_000_000 if decision.verdict.novel else None
            assert decision.verdict.belief == (None if expected is None else min(expected, 32))
            told.append(decision.verdict.belief)
        leaves = list(live.service.store.leaves(0, live.service.ledger.size))
        entries = [entry for leaf in leaves if isinstance(entry := parse_entry(leaf), PairEntry)]
        assert [entry.verdict.belief for entry in entries] == told
        assert any(belief is not None for belief in told)
        assert next(derive(leaves, RULE_1)).rule == replace(BY_BELIEF, generated_micro=250_000, spoken_micro=50_000)
