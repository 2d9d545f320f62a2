"""Entries that decide again about a held pair: their form, the rules of an audit, and that a pair is paid once."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from curiosity.ledger.rules import NO_PAIR, BadEntry, KeptRules, LedgerRules
from curiosity.protocol.entry import CheckpointEntry, PairEntry, TakedownEntry, encode_entry, parse_entry
from curiosity.protocol.errors import ProofError
from curiosity.protocol.payouts import derive
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.takedown import Asker, TakedownReason
from curiosity.protocol.verdict import CrowdCounts, Outcome, Reason
from curiosity.protocol.wire import encode, parse
from tests.material.ledger import make_entry

CHECKPOINTS = [bytes([0x50 + n]) * 32 for n in range(6)]
HELD = (Outcome.HELD, Reason.PAIR_UNDECIDED)
ACCEPTED = (Outcome.ACCEPTED, Reason.BELONGS_TOGETHER)
REJECTED = (Outcome.REJECTED, Reason.PAIR_UNLIKELY)


def pair(
    number: int, checkpoint: int, decided: tuple[Outcome, Reason], again: int | None = None, *, score: int = 0
) -> bytes:
    """The leaf of a decision about pair ``number`` under the checkpoint with a number."""
    entry = parse_entry(make_entry(number).leaf)
    assert isinstance(entry, PairEntry)
    verdict = replace(
        entry.verdict, outcome=decided[0], reason=decided[1], checkpoint=CHECKPOINTS[checkpoint],
        novel=score > 0, curiosity_micro=score,
    )  # fmt: skip
    return encode_entry(replace(entry, verdict=verdict, again=again, v=2 if again is None else 4))


def switch(checkpoint: int) -> bytes:
    parent = CHECKPOINTS[checkpoint - 1] if checkpoint else None
    return encode_entry(CheckpointEntry(CHECKPOINTS[checkpoint], parent))


def gone(index: int, number: int) -> bytes:
    digest = parse_entry(make_entry(number).leaf).pair  # type: ignore[union-attr]
    entry = TakedownEntry(index, digest, digest, TakedownReason.PRIVACY, "", Asker.OPERATOR, 0, None)
    return encode_entry(entry)


def audited(leaves: Sequence[bytes], kept: tuple[KeptRules, list[bytes]] | None = None) -> LedgerRules:
    rules = LedgerRules(leaves.__getitem__, kept=kept[0] if kept is not None else None)
    if kept is not None:
        rules.remember(0, kept[1])
    for leaf in leaves[rules.size :]:
        rules.take(leaf)
    return rules


HONEST = [
    switch(0),
    pair(1, 0, HELD),
    pair(2, 0, HELD),
    pair(3, 0, REJECTED),
    switch(1),
    pair(1, 1, ACCEPTED, 1, score=9_000),
    pair(2, 1, HELD, 2),
    switch(2),
    pair(2, 2, HELD, 6),
    switch(3),
    pair(2, 3, HELD, 8),
    switch(4),
]


def test_an_entry_that_decides_again_has_version_4_and_no_other_has() -> None:
    leaf = pair(1, 1, ACCEPTED, 7, score=9_000)
    entry = parse_entry(leaf)
    assert isinstance(entry, PairEntry)
    assert (entry.v, entry.again, encode_entry(entry)) == (4, 7, leaf)
    counted = replace(entry, verdict=replace(entry.verdict, crowd=CrowdCounts()))
    assert parse_entry(encode_entry(counted)) == counted
    for v, again in ((2, 7), (3, 7), (4, None)):
        wrong = replace(entry, v=v, again=again)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"version {v}"):
            encode_entry(wrong)
        with pytest.raises(ProofError, match=rf"ENTRY_MALFORMED.*version {v}"):
            parse_entry(encode(wrong))


def test_held_pairs_that_are_judged_again_under_three_later_checkpoints_pass_an_audit() -> None:
    rules = audited(HONEST)
    assert (rules.pairs, rules.accepted, rules.size) == (3, 1, len(HONEST))
    for size in range(1, len(HONEST)):  # and from where an earlier audit stopped
        before = LedgerRules(HONEST.__getitem__)
        prefixes = [before.take(leaf) for leaf in HONEST[:size]]
        kept = parse(KeptRules, encode(before.keep()))
        assert audited(HONEST, (kept, prefixes)).keep() == rules.keep()


LIES: dict[str, tuple[str, str, list[bytes]]] = {
    "a decided pair": ("LEDGER_AGAIN", "entry 5 is final, with accepted", [pair(1, 4, REJECTED, 5)]),
    "a rejected pair": ("LEDGER_AGAIN", "entry 3 is final, with rejected", [pair(3, 4, ACCEPTED, 3)]),
    "an older entry": ("LEDGER_AGAIN", "entry 1 is older than entry 5", [pair(1, 4, ACCEPTED, 1, score=9_000)]),
    "a fourth time": ("LEDGER_AGAIN", "it was judged again 3 times", [pair(2, 4, ACCEPTED, 10)]),
    "the same checkpoint": (
        "LEDGER_AGAIN",
        "entry 12 is of the same checkpoint",
        [pair(4, 4, HELD), pair(4, 4, ACCEPTED, 12)],
    ),
    "another pair": ("LEDGER_AGAIN", "entry 10 is not about it", [pair(4, 4, ACCEPTED, 10)]),
    "no pair": ("LEDGER_AGAIN", "entry 9 is not about it", [pair(2, 4, ACCEPTED, 9)]),
    "an entry to come": ("LEDGER_AGAIN", "entry 13 is not about it", [pair(4, 4, HELD, 13), switch(5)]),
    "a pair that was taken down": (
        "LEDGER_AGAIN",
        "entry 12 was taken down",
        [pair(4, 4, HELD), gone(12, 4), switch(5), pair(4, 5, ACCEPTED, 12)],
    ),
    "a held pair without saying so": ("LEDGER_PAIR_TWICE", "by entry 10", [pair(2, 4, ACCEPTED)]),
    "a takedown of an earlier entry": ("TAKEDOWN_OF_NOTHING", "entry 1 is not the newest", [gone(1, 1)]),
}


@pytest.mark.parametrize("how", LIES)
def test_a_second_verdict_that_the_rules_do_not_allow_is_found(how: str) -> None:
    code, words, more = LIES[how]
    with pytest.raises(BadEntry, match=words) as found:
        audited([*HONEST, *more])
    assert found.value.code == code


@pytest.mark.parametrize("how", ["a decided pair", "a rejected pair", "a fourth time", "the same checkpoint"])
def test_without_these_rules_a_validator_decides_as_often_as_it_likes(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control arm: what marks an entry as one that decides again would excuse any second verdict."""
    monkeypatch.setattr(LedgerRules, "_wrong_again", lambda *_: "")
    leaves = [*HONEST, *LIES[how][2]]
    assert audited(leaves).size == len(leaves)


def test_a_collision_of_what_an_audit_remembers_accuses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes two pairs whose digests begin alike does not get an honest validator accused."""
    leaves = [switch(0), pair(1, 0, HELD), pair(2, 0, HELD), switch(1), pair(1, 1, ACCEPTED, 1)]
    rules = LedgerRules(leaves.__getitem__)
    for leaf in leaves[:4]:
        rules.take(leaf)
    rules._seen = dict.fromkeys(rules._seen, 2)
    assert rules.take(leaves[4]) != NO_PAIR


def test_a_pair_is_paid_once_whatever_the_entries_say() -> None:
    def twice(second: Callable[[int], bytes]) -> list[bytes]:
        return [switch(0), pair(1, 0, ACCEPTED, score=9_000), switch(1), second(1)]

    parameters = RewardParameters()
    (open_,) = derive(HONEST, parameters)
    assert [one.index for one in open_.paid] == [5]
    for second in (lambda _: pair(1, 1, ACCEPTED, score=9_000), lambda at: pair(1, 1, ACCEPTED, at, score=9_000)):
        with pytest.raises(ProofError, match=r"PAYOUT_TWICE: entry 3"):
            list(derive(twice(second), parameters))
        (open_,) = derive(twice(second), parameters, check_signatures=False)  # the control arm
        assert len(open_.paid) == 2, "who does not look pays twice"
    assert len(next(derive(twice(lambda at: pair(1, 1, REJECTED, at)), parameters)).paid) == 1
