"""Version 2 of the rule of pay against what version 1 paid for: each attack under both, from the leaves alone."""

import random
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest

from curiosity.client.amounts import show_tokens
from curiosity.client.history import pay_by_entry
from curiosity.ledger.rules import KeptRules, LedgerRules
from curiosity.protocol.entry import AuditEntry, Closing, EpochEntry, RuleEntry, encode_entry, parse_entry
from curiosity.protocol.errors import ProofError
from curiosity.protocol.payouts import Replay, derive
from curiosity.protocol.rewards import RewardParameters, verify_claim
from curiosity.protocol.signing import address_of
from curiosity.protocol.verdict import MAX_CROWD, CrowdCounts
from curiosity.protocol.vesting import WHOLE_WEIGHT, spell_rule, weight_of
from curiosity.protocol.wire import encode, parse
from curiosity.rewards.earnings import derive_earnings
from tests.material.vesting import DAY_S, RULE_1, RULE_2, PaidLedger, account

CHEAT, HONEST = account(1), account(2)
TOKEN = 10**18
MOVED = Path(__file__).parent / "fixtures" / "moved.jsonl"
PAID = "ab21e42b7dfa419a44e5c767c465cf8e2656caf84d1edaf376f2d6af15fc3ec8"
"""Of what `make_moved.py` paid when it wrote the file."""
SAME_PICTURE = [CrowdCounts.rounded(earlier, 0, 0) for earlier in range(1_000)]


def test_one_pair_alone_gets_a_hundredth_and_the_rest_returns() -> None:
    before, after = PaidLedger(None), PaidLedger()
    for ledger in (before, after):
        ledger.earn(CHEAT)
        ledger.vest()
    assert 622 * TOKEN < before.got(CHEAT) < 624 * TOKEN
    first = RULE_2.emission(1)
    assert first // 100 - 4 <= after.got(CHEAT) <= first // 100
    # What was not paid is there, and the next epoch gets no more than its share of it.
    book = after.replay.book
    assert book is not None
    assert book.remaining_wei == RULE_2.pool_wei - after.got(CHEAT)
    assert book.settle(8, bytes(32)).budget_wei == RULE_2.emission_of(book.remaining_wei) <= first


def test_an_epoch_cannot_be_closed_before_its_length_has_passed() -> None:
    before, after = PaidLedger(None), PaidLedger()
    for _ in range(5):
        before.earn(CHEAT)
        before.close(after_s=1)
    assert before.got(CHEAT) > 3_100 * TOKEN
    for earlier_s in (1, DAY_S - 1):  # also the first, which counts from the entry that names the rule
        after.earn(CHEAT)
        with pytest.raises(ProofError, match="PAYOUT_EARLY"):
            after.close(after_s=earlier_s)
        after.time -= earlier_s
        after.close()
    with pytest.raises(ProofError, match="PAYOUT_EARLY"):  # nor before the block whose hash is the beacon
        after.close(blocks=31)
    # Whoever writes such an entry all the same is refused by everybody who derives.
    good = after.derived()[-2].entry
    assert good is not None
    assert good.closing is not None
    early = replace(good.closing, time=good.closing.time - 1)
    place = after.leaves.index(encode_entry(good))
    after.leaves[place] = encode_entry(replace(good, closing=early))
    with pytest.raises(ProofError, match="PAYOUT_EARLY"):
        after.derived()


def test_a_wallet_more_gains_nothing() -> None:
    got = {}
    for wallets in (1, 100):
        ledger = PaidLedger()
        ledger.earn(HONEST, 400)
        for number in range(100):
            ledger.earn(account(100 + number % wallets), crowd=[SAME_PICTURE[number]])
        ledger.vest()
        got[wallets] = sum(ledger.got(account(100 + number)) for number in range(wallets))
    assert got[1] == got[100] > 0


@pytest.mark.parametrize("is_spread", [False, True])
def test_a_picture_with_a_thousand_captions_earns_two_pairs(*, is_spread: bool) -> None:
    """Under version 1, or with the decay off, it takes most of the epoch."""
    shares = {}
    for name, rule in (("1", None), ("off", replace(RULE_2, crowd_power=0)), ("on", RULE_2)):
        ledger = PaidLedger(rule)
        for number in range(0, 1_000, 100):
            ledger.earn(CHEAT, 100, crowd=SAME_PICTURE[number : number + 100])
            ledger.earn(HONEST, 2)
            if is_spread:  # over more epochs than one
                ledger.close()
        ledger.vest()
        shares[name] = ledger.got(CHEAT) / (ledger.got(HONEST) / 20)
    assert shares["1"] > 800
    assert shares["off"] > 800
    assert 1 < shares["on"] <= 2
    assert all(weight_of(one, 2) <= WHOLE_WEIGHT // 20 for one in SAME_PICTURE[64:])


def test_a_stranger_who_comes_later_takes_nothing_from_the_first() -> None:
    alone, crowded = PaidLedger(), PaidLedger()
    for ledger in (alone, crowded):
        ledger.earn(HONEST)
    crowded.earn(CHEAT, 60, crowd=SAME_PICTURE[1:])
    for ledger in (alone, crowded):
        ledger.vest()
    assert alone.got(HONEST) == crowded.got(HONEST) > 0


def test_a_flood_of_wide_gaps_does_not_crowd_honest_pairs_out() -> None:
    """1,024 pairs from 64 pictures, searched for the widest gap, first in the epoch; then 426 honest ones."""
    flood = [SAME_PICTURE[number // 64] for number in range(1_024)]
    before, after = PaidLedger(None), PaidLedger()
    for ledger in (before, after):
        ledger.earn(CHEAT, 1_024, crowd=flood, score=786_432)
        ledger.earn(HONEST, 426, score=393_216)
        ledger.vest()
    assert (before.got(HONEST), before.got(CHEAT) > 600 * TOKEN) == (0, True)
    each, honest = after.got(CHEAT) / 1_024, after.got(HONEST) / 426
    assert 0 < each <= honest / 4


def test_a_wide_gap_pays_no_more_than_a_narrow_one() -> None:
    ledger = PaidLedger()
    ledger.earn(CHEAT, score=2_000_000)
    ledger.earn(HONEST, score=1)
    ledger.vest()
    assert ledger.got(CHEAT) == ledger.got(HONEST) > 0


def test_a_beacon_that_comes_after_the_close_draws_who_is_paid() -> None:
    rule = replace(RULE_2, top_n=10)
    ledger = PaidLedger(rule)
    pairs = [pair.pair for pair in ledger.earn(HONEST, 40)]
    ledger.close(beacon=b"\x01" * 32)  # its own beacon draws nothing: whoever sends the last pair may know it
    book = ledger.replay.book
    assert book is not None
    beacons = (b"\x02" * 32, b"\x03" * 32, b"\x02" * 32)
    drawn = [[one.pair for one in book.settle(2, beacon).awarded] for beacon in beacons]
    assert drawn[0] == drawn[2] != drawn[1]
    for some in drawn:
        assert len(some) == 10
        assert [pair for pair in pairs if pair in some] == some
    # Over many beacons everybody's turn comes: nobody is served for being early.
    counts = dict.fromkeys(pairs, 0)
    for number in range(200):
        for one in book.settle(2, number.to_bytes(32, "big")).awarded:
            counts[one.pair] += 1
    assert min(counts.values()) > 200 * 10 / 40 / 2


def test_what_an_operator_takes_down_goes_to_nobody() -> None:
    got = {}
    for name, rule in (("1", None), ("2", RULE_2)):
        for is_taken in (False, True):
            ledger = PaidLedger(rule)
            others = ledger.earn(HONEST, 126)
            ledger.earn(CHEAT)
            if is_taken:
                ledger.take_down(*others)
            ledger.vest()
            got[name, is_taken] = ledger.got(CHEAT)
            assert (ledger.got(HONEST) == 0) is is_taken
    assert got["1", True] > 100 * got["1", False]
    assert got["2", True] == got["2", False] > 0


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_takedown_before_the_first_part_vests_leaves_nothing(epoch: int) -> None:
    ledger = PaidLedger()
    pairs = ledger.earn(CHEAT, 3)
    for _ in range(epoch - 1):
        ledger.close()
    ledger.take_down(*pairs)
    ledger.vest()
    assert ledger.got(CHEAT) == 0
    assert ledger.replay.book is not None
    assert ledger.replay.book.remaining_wei == RULE_2.pool_wei


def test_washing_pays_three_times_under_version_1_and_parts_under_version_2() -> None:
    """Paid, taken down, sent again with a pixel changed: as often as there are epochs."""
    whole = RULE_2.emission(1) // 100
    before, after = PaidLedger(None), PaidLedger()
    for _ in range(3):
        (pair,) = before.earn(CHEAT)
        before.close()
        before.take_down(pair)
    assert before.got(CHEAT) > 3 * 620 * TOKEN
    counts = CrowdCounts()
    for _ in range(3):
        (pair,) = after.earn(CHEAT, crowd=[counts])
        for _ in range(3):  # until the first part has vested
            after.close()
        after.take_down(pair)
        counts = CrowdCounts(near=MAX_CROWD)  # what the validator remembers of contents that were paid
    after.vest()
    assert whole // 4 - 4 <= after.got(CHEAT) <= whole // 4


def test_pay_vests_in_equal_parts() -> None:
    ledger = PaidLedger()
    pairs = ledger.earn(HONEST, 2)
    amounts = [ledger.close().amounts_wei.get(HONEST, 0) for _ in range(8)]
    assert amounts == [0, 0, *[amounts[2]] * 4, 0, 0]
    payouts = ledger.derived()
    assert [one.unvested_wei(HONEST) for one in payouts] == [amounts[2] * left for left in (0, 4, 3, 2, 1, 0, 0, 0, 0)]
    assert [one.pair for one in payouts[1].awarded] == [one.pair for one in pairs]
    for payout in payouts[:-1]:
        for who, wei in payout.amounts_wei.items():
            verify_claim(payout.reward_root, who, wei, payout.tree().proof(who))
        assert sum(pair.amount_wei or 0 for pair in payout.paid) == payout.emission_wei


@pytest.mark.parametrize("is_calm", [True, False])
@pytest.mark.parametrize("returns", [0, 1])
def test_no_epoch_pays_more_than_its_contract_lets_it(returns: int, *, is_calm: bool) -> None:
    """Over takedowns, failed audits, quiet and full epochs; rounding and all. Never minted past the emission."""
    rolls = random.Random(7 + returns)
    rule = replace(
        RULE_2, decay_numerator=1, decay_denominator=7, vest_epochs=3, least_pairs=3,
        audit_micro=0 if is_calm else 200_000, unpaid_returns=returns,
    )  # fmt: skip
    ledger = PaidLedger(None)
    ledger.replay = Replay(replace(RULE_1, decay_numerator=1, decay_denominator=7), check_signatures=False)
    ledger.replay.take(parse_entry(ledger.leaves[0]))
    ledger.name_rule(rule, 1)
    full = 0
    for epoch in range(1, 60):
        pairs = [
            pair
            for _ in range(7 if is_calm else rolls.choice([0, 1, 4, 9]))
            for pair in ledger.earn(account(rolls.randrange(5)))
        ]
        if pairs and not is_calm and rolls.random() < 0.3:
            ledger.take_down(pairs[0])
        book = ledger.replay.book
        assert book is not None
        for award in list(book.awards):
            if award.is_drawn and rolls.random() < 0.8 and any(one.index == award.index for one in book.awards):
                ledger.audit(parse_entry(ledger.leaves[award.index]), passed=rolls.random() < 0.7)  # type: ignore[arg-type]
        paid_before = ledger.replay.earned.total_wei
        payout = ledger.close()
        allowed = rule.emission_of(rule.pool_wei - paid_before) if returns else rule.emission(epoch)
        assert payout.emission_wei <= allowed
        full += allowed - payout.emission_wei < 1_000
        unvested = sum(one.unvested_wei for one in payout.unvested)
        if returns:
            assert book.remaining_wei + unvested + ledger.replay.earned.total_wei == rule.pool_wei
    assert (full > 50) is (is_calm and returns == 1)


def test_a_drawn_pair_vests_only_once_it_is_audited() -> None:
    ledger = PaidLedger(replace(RULE_2, audit_micro=300_000))
    pairs = {pair.pair: pair for pair in ledger.earn(HONEST, 60)}
    control = PaidLedger()
    control.earn(HONEST, 60)
    control.vest()
    ledger.close()
    ledger.close()
    book = ledger.replay.book
    assert book is not None
    drawn = [award for award in book.awards if award.is_drawn]
    assert 6 < len(drawn) < 40
    first, second, *_ = drawn
    ledger.audit(pairs[first.pair], passed=True)
    ledger.close()
    ledger.audit(pairs[second.pair], passed=True)  # late: what fell due before is lost
    ledger.vest()
    part = first.part_wei
    assert ledger.got(HONEST) == part * (4 * (60 - len(drawn)) + 4 + 3)
    assert control.got(HONEST) == part * 4 * 60
    for wrong, why in ((first, "audited before"), (replace(first, index=3), "another")):
        with pytest.raises(ProofError, match="PAYOUT_AUDIT"):
            ledger.audit(pairs[wrong.pair], passed=True)
        assert why


@pytest.mark.parametrize("passed", [True, False])
def test_a_failed_audit_stops_its_pair_and_no_other(*, passed: bool) -> None:
    """Neither another account's nor another one of the same, drawn or not, awarded or still to be."""
    ledger = PaidLedger(replace(RULE_2, audit_micro=1_000_000))
    bad, kept = ledger.earn(HONEST, 2)
    ledger.close()
    waiting = ledger.earn(HONEST, 3)
    ledger.close()
    book = ledger.replay.book
    assert book is not None
    part, remaining = book.awards[0].part_wei, book.remaining_wei
    ledger.audit(bad, passed=passed)
    ledger.audit(kept, passed=True)
    assert book.remaining_wei - remaining == (0 if passed else 4 * part)  # it returns, and nobody else gets it
    open_ = ledger.earn(HONEST)
    for pairs in (waiting, open_):
        ledger.close()
        for pair in pairs:
            ledger.audit(pair, passed=True)
    ledger.vest()
    paid = Counter(one.pair for payout in ledger.closed for one in payout.paid)
    assert paid == Counter({pair.pair: 4 for pair in (*waiting, *open_, kept, *([bad] if passed else []))})
    if not passed:
        with pytest.raises(ProofError, match="PAYOUT_AUDIT"):  # it is over
            ledger.audit(bad, passed=True)


def test_a_running_network_goes_over_at_the_epoch_that_the_ledger_names() -> None:
    moved, stayed = PaidLedger(None), PaidLedger(None)
    for ledger in (moved, stayed):
        ledger.earn(HONEST, 3)
        ledger.close()
        ledger.earn(HONEST, 2)
    moved.name_rule(RULE_2, 4)
    assert [one.reward_root for one in moved.derived()[:2]] == [one.reward_root for one in stayed.derived()]
    for ledger in (moved, stayed):
        ledger.close()
        ledger.earn(CHEAT, 4)
        ledger.close(after_s=5)  # epoch 3 is of version 1 still, which does not look at the time
    assert [one.amounts_wei for one in moved.closed] == [one.amounts_wei for one in stayed.closed]
    moved.earn(HONEST)
    moved.vest()
    derived = moved.derived()
    assert [one.rule is not None for one in derived] == [False] * 3 + [True] * 7
    assert derived[3].entry is not None
    assert (derived[3].entry.v, derived[3].entry.parameters) == (2, RULE_2.digest())
    paid_before = sum(one.emission_wei for one in derived[:3])
    budget = RULE_2.emission_of(RULE_2.pool_wei - paid_before)
    assert sum(one.emission_wei for one in derived[3:]) == budget // 400 * 4


def test_a_rule_that_cannot_follow_is_refused() -> None:
    ledger = PaidLedger(None)
    ledger.earn(HONEST)
    for rule, epoch in [
        (RULE_1, 2), (replace(RULE_2, cap_wei=RULE_2.cap_wei * 2), 2), (replace(RULE_2, decay_numerator=3_152), 2),
        (RULE_2, 1), (RULE_2, 0), (replace(RULE_2, min_epoch_s=DAY_S - 1), 2),
    ]:  # fmt: skip
        with pytest.raises(ProofError, match="PAYOUT_RULE"):
            ledger.name_rule(rule, epoch)
    ledger.name_rule(RULE_2, 2)
    with pytest.raises(ProofError, match="PAYOUT_RULE"):  # one waits
        ledger.name_rule(RULE_2, 3)
    ledger.close()
    more = replace(RULE_2, top_n=7, min_epoch_s=2 * DAY_S)
    for rule, epoch in (
        (replace(RULE_2, vest_epochs=1), 9), (replace(RULE_2, unpaid_returns=0), 9), (more, 7), (more, 2),
    ):  # fmt: skip
        with pytest.raises(ProofError, match="PAYOUT_RULE"):
            ledger.name_rule(rule, epoch)
    ledger.name_rule(more, 8)  # what was earned before has vested by then
    for _ in range(6):
        ledger.close()
    assert ledger.closed[-1].rule == RULE_2
    ledger.close(after_s=2 * DAY_S)
    assert ledger.closed[-1].rule == more
    with pytest.raises(ProofError, match="PAYOUT_RULE"):  # an epoch does not get shorter again
        ledger.name_rule(RULE_2, 99)
    for values in ({}, spell_rule(RULE_2) | {"least_pairs": "0"}, spell_rule(RULE_2) | {"more": "1"}):
        with pytest.raises(ProofError, match="PAYOUT_RULE"):
            ledger.append(RuleEntry(9, values, 1, 1))


def test_an_epoch_of_version_2_is_closed_by_an_entry_of_version_2() -> None:
    ledger = PaidLedger()
    entry = ledger.replay.open_epoch(Closing(200, ledger.time + DAY_S)).expected_entry(RULE_1)
    for wrong, code in [
        (replace(entry, closing=None, v=1), "PAYOUT_VERSION"),
        (replace(entry, parameters=RULE_1.digest()), "PAYOUT_PARAMETERS"),
        (replace(entry, emission_wei="1"), "PAYOUT_MISMATCH"),
    ]:
        assert isinstance(wrong, EpochEntry)
        with pytest.raises(ProofError, match=code):
            ledger.append(wrong)
    before = PaidLedger(None)
    with pytest.raises(ProofError, match="PAYOUT_VERSION"):
        before.append(replace(before.replay.open_epoch().expected_entry(RULE_1), closing=Closing(1, 1), v=2))


def test_a_monitor_goes_on_from_what_it_kept() -> None:
    ledger = PaidLedger(None)
    ledger.earn(HONEST, 2)
    ledger.name_rule(replace(RULE_2, audit_micro=500_000), 2)
    ledger.close()
    for number in range(4):
        taken, _ = ledger.earn(account(number), 2)
        ledger.close()
        ledger.take_down(taken)
    whole = _derived_by_rules(ledger, len(ledger.leaves))
    for stop in range(1, len(ledger.leaves)):
        assert _derived_by_rules(ledger, stop) == whole
    assert whole.pay is not None
    assert whole.pay.book is not None
    assert whole.pay.book.awards


def _derived_by_rules(ledger: PaidLedger, stop: int) -> KeptRules:
    """Where the rules stand after all leaves, kept and read again after ``stop`` of them."""
    rules = LedgerRules(ledger.leaves.__getitem__)
    for number, leaf in enumerate(ledger.leaves):
        if number == stop:
            rules = LedgerRules(ledger.leaves.__getitem__, kept=parse(KeptRules, encode(rules.keep())))
        rules._replay.take(parse_entry(leaf))  # the pairs are not signed, which `LedgerRules.take` would see
    return rules.keep()


def test_weights_are_a_power_of_the_largest_count() -> None:
    weights = [weight_of(CrowdCounts(a, b, near), 2) for a, b, near in [(0, 0, 0), (1, 0, 0), (1, 3, 2), (0, 0, 9)]]
    assert weights == [WHOLE_WEIGHT // part for part in (1, 4, 16, 100)]
    assert weight_of(None, 2) == WHOLE_WEIGHT
    assert weight_of(CrowdCounts(near=MAX_CROWD), 2) == 0
    falling = [weight_of(CrowdCounts.rounded(count, 0, 0), 2) for count in range(3_000)]
    assert all(earlier >= later for earlier, later in pairwise(falling))
    assert RewardParameters(version=2) == RULE_2


def test_a_contributor_sees_what_vested_what_is_to_come_and_why_not() -> None:
    key = b"\x51" * 32
    who = address_of(key)
    ledger = PaidLedger(replace(RULE_2, top_n=4))
    ledger.earn(who, 6, key=key)
    ledger.take_down(*ledger.earn(who, key=key))
    for _ in range(4):
        ledger.close()
    part = RULE_2.emission(1) // 400
    earnings = derive_earnings(ledger.leaves, who, RULE_1)
    said = {one.epoch: (one.amount_wei, one.why.unvested_wei if one.why else None) for one in earnings.epochs}
    awarded = ledger.closed[1].awarded
    count = len(awarded)
    assert 3 <= count <= 4  # of seven, one of them gone, four are drawn
    assert said == {
        1: (0, 0),
        2: (0, 4 * count * part),
        3: (count * part, 3 * count * part),
        4: (count * part, 2 * count * part),
        5: (count * part, count * part),
    }
    whys = {one.epoch: one.why for one in earnings.epochs}
    assert whys[1] is not None
    assert (whys[1].tally.decided, whys[1].tally.taken_down, whys[1].tally.outranked) == (7, 1, 0)
    assert whys[3] is not None
    assert [pair.share_wei for pair in whys[3].pairs] == [part] * count
    assert earnings.problems == ()

    words = Counter(word for index, word in pay_by_entry(ledger.leaves, RULE_1).items() if index != 8)
    paid, to_come = show_tokens(2 * part), show_tokens(2 * part)
    assert words == {f"epoch 1: paid {paid}, {to_come} to vest": count, "epoch 1: not paid: not drawn": 6 - count}
    assert pay_by_entry(ledger.leaves, RULE_1)[8] == "epoch 1: not paid: taken down before it was drawn"
    ledger.earn(who, 1, key=key)
    assert "epoch 5: novel: drawn at the close of the next epoch" in pay_by_entry(ledger.leaves, RULE_1).values()


def test_a_ledger_that_moved_derives_as_it_did() -> None:
    """A committed one: two epochs of version 1, then version 2 with takedowns, audits and a change of parameters."""
    leaves = MOVED.read_bytes().splitlines()
    payouts = list(derive(leaves, RULE_1))
    versions = [one.rule.version if one.rule else 1 for one in payouts]
    assert versions == [1, 1, *[2] * (len(payouts) - 2)]
    assert [one.rule.top_n for one in payouts[2:] if one.rule] == [4] * 8 + [3] * (len(payouts) - 10)
    audits = [one.passed for leaf in leaves if isinstance(one := parse_entry(leaf), AuditEntry)]
    assert set(audits) == {True, False}
    assert sha256(repr([(one.epoch, dict(one.amounts_wei)) for one in payouts[:-1]]).encode()).hexdigest() == PAID
    rules = LedgerRules(leaves.__getitem__)
    for leaf in leaves:
        rules.take(leaf)
    assert rules.closed_epochs == len(payouts) - 1
    place = next(index for index, leaf in enumerate(leaves) if isinstance(parse_entry(leaf), RuleEntry))
    with pytest.raises(ProofError, match="PAYOUT_"):  # without the entry that names the rule nothing after it holds
        list(derive(leaves[:place] + leaves[place + 1 :], RULE_1))
