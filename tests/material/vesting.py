"""A ledger of decided pairs that is closed epoch by epoch, for the rule of pay: no encoders, and no signatures."""

import secrets
from collections.abc import Sequence
from dataclasses import replace

from curiosity.protocol.entry import (
    AnyEntry,
    AuditEntry,
    CheckpointEntry,
    Closing,
    PairEntry,
    RuleEntry,
    TakedownEntry,
    encode_entry,
)
from curiosity.protocol.epoch_payout import EpochPayout
from curiosity.protocol.payouts import Replay, derive
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import sign
from curiosity.protocol.takedown import Asker, TakedownReason
from curiosity.protocol.verdict import CrowdCounts, Outcome, Reason, Verdict
from curiosity.protocol.vesting import spell_rule

BEGUN = 1_800_000_000
DAY_S = 86_400
RULE_1 = RewardParameters()
RULE_2 = RewardParameters(version=2)
NOBODY = CrowdCounts()


def account(number: int) -> bytes:
    return number.to_bytes(20, "big")


class PaidLedger:
    """Grows by entries as a validator writes them. ``rule`` is in force from epoch 1 on; None: version 1."""

    def __init__(self, rule: RewardParameters | None = RULE_2) -> None:
        self.leaves: list[bytes] = []
        self.replay = Replay(RULE_1, check_signatures=False)
        self.closed: list[EpochPayout] = []
        self.block, self.time = 100, BEGUN
        self.append(CheckpointEntry(bytes(32), None))
        if rule is not None:
            self.name_rule(rule, 1)

    @property
    def size(self) -> int:
        return len(self.leaves)

    def append(self, *entries: AnyEntry) -> None:
        for entry in entries:
            payout = self.replay.take(entry)
            self.leaves.append(encode_entry(entry))
            if payout is not None:
                self.closed.append(payout)

    def name_rule(self, rule: RewardParameters, epoch: int) -> None:
        self.append(RuleEntry(epoch, spell_rule(rule), self.block, self.time))

    def earn(
        self,
        who: bytes,
        count: int = 1,
        *,
        crowd: Sequence[CrowdCounts] = (),
        beliefs: Sequence[int] = (),
        score: int = 524_288,
        key: bytes | None = None,
    ) -> list[PairEntry]:
        """Novel pairs of an account, with the counts of ``crowd`` one after another, else of items that nobody had.

        ``beliefs`` are told of the first ones, in fortieths. They are signed only with the account's ``key``.
        """
        crowds = [*crowd, *[NOBODY] * (count - len(crowd))]
        verdict = Verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, bytes(32), None, True, score)
        pairs = []
        for number, one in enumerate(crowds):
            pair = secrets.token_bytes(32)
            signature = bytes(65) if key is None else sign(pair, key)
            decided = replace(verdict, crowd=one, belief=beliefs[number] if number < len(beliefs) else None)
            pairs.append(PairEntry(pair, who, signature, "image-text", "MIT", decided, bytes(32), v=3))
        self.append(*pairs)
        return pairs

    def take_down(self, *pairs: PairEntry) -> None:
        """As the operator does, who needs no signature."""
        places = {leaf: index for index, leaf in enumerate(self.leaves)}
        for pair in pairs:
            index = places[encode_entry(pair)]
            self.append(
                TakedownEntry(
                    index, pair.pair, pair.pair, TakedownReason.WITHDRAWN, "", Asker.OPERATOR, expiry=0, signature=None
                )
            )

    def audit(self, pair: PairEntry, *, passed: bool) -> None:
        self.append(AuditEntry(self.leaves.index(encode_entry(pair)), pair.pair, passed))

    def close(self, *, after_s: int = DAY_S, blocks: int = 7_200, beacon: bytes | None = None) -> EpochPayout:
        """Close the open epoch so long after the one before, with the beacon that the chain would give."""
        self.block, self.time = self.block + blocks, self.time + after_s
        closing = None
        if self.replay.book is not None:
            closing = Closing(self.block, self.time, beacon or secrets.token_bytes(32))
        self.append(self.replay.open_epoch(closing).expected_entry(RULE_1))
        return self.closed[-1]

    def vest(self, epochs: int = 6) -> None:
        """Close until all that was earned so far has vested."""
        for _ in range(epochs):
            self.close()

    def got(self, who: bytes) -> int:
        """Wei that an account got in all closed epochs."""
        return sum(payout.amounts_wei.get(who, 0) for payout in self.closed)

    def derived(self) -> list[EpochPayout]:
        """What anybody derives from the leaves."""
        return list(derive(self.leaves, RULE_1, check_signatures=False))


HONEST_PAIR = PaidLedger(None).earn(account(9))[0]
