"""What a stream of pairs earns, by the product's own functions: with the defences, and without them.

Without: verdicts by thresholds, gaps among everything known, and version 1 of the rule of pay. With: verdicts by
beliefs, near copies by their sketches, gaps among the checkpoint's own points, counts of shared items, and version 4
with pay by belief.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from benchmarks.attack_world import PAIR, Sent, World
from curiosity.embedding.sketch import Sketch
from curiosity.protocol.entry import (
    AnyEntry,
    AuditEntry,
    CheckpointEntry,
    Closing,
    PairEntry,
    RuleEntry,
    TakedownEntry,
)
from curiosity.protocol.epoch_payout import EpochPayout
from curiosity.protocol.payouts import Replay
from curiosity.protocol.rewards import NEWEST, USUAL_BELIEF, RewardParameters
from curiosity.protocol.scoring import Quantised
from curiosity.protocol.takedown import Asker, TakedownReason
from curiosity.protocol.verdict import CrowdCounts, Outcome, Reason, Verdict
from curiosity.protocol.vesting import WHOLE_WEIGHT, spell_rule, weigh_belief, weight_of
from curiosity.serving.crowds import Crowds, Likeness
from curiosity.serving.judge import Judge
from curiosity.serving.paid import LIKE_ROWS, PaidContents

RULE_1 = RewardParameters()
NEWEST_RULE = RewardParameters(version=NEWEST, full_belief=USUAL_BELIEF)
DAY_S = 86_400
BLOCKS = 7_200
BEGUN = 1_800_000_000
VESTED_AFTER = 7  # closes until all that an epoch awards has vested, with the default parameters


@dataclass(frozen=True)
class Decided:
    """What was decided about a sent pair."""

    sent: Sent
    verdict: Verdict

    @property
    def weight(self) -> float:
        """Of what an ordinary pair is paid by the newest version of the rule."""
        return self.weighs(NEWEST_RULE)

    def weighs(self, rule: RewardParameters) -> float:
        """Return the share of what an ordinary pair is paid."""
        if not self.verdict.novel:
            return 0.0
        weight = weight_of(self.verdict.crowd, rule.crowd_power)
        return weigh_belief(weight, self.verdict.belief, rule) / WHOLE_WEIGHT


def decide(world: World, stream: Sequence[Sent], *, defended: bool) -> list[Decided]:
    """Decide about pairs one after another, as a validator does."""
    world.encoder.of([thing for one in stream for thing in (one.a, one.b)])
    judging = Judging(world, defended=defended)
    return [judging.decide(index, one) for index, one in enumerate(stream)]


class Judging:
    """A judge with its history, what it refuses before it judges, and what it remembers of what was taken down."""

    def __init__(self, world: World, *, defended: bool) -> None:
        calibration = world.calibration if defended else replace(world.calibration, beliefs={})
        self._judge = Judge(bytes(32), calibration, world.anchors, "pinned" if defended else "loo")
        self._world, self._defended = world, defended
        self._paid = PaidContents(b"only the validator knows this")
        self._crowds = Crowds(self._paid if defended else None)
        self._seen: set[tuple[bytes, bytes]] = set()
        self._known: dict[int, tuple[Sent, Quantised | None]] = {}

    def decide(self, index: int, one: Sent) -> Decided:
        """Decide about the pair of ledger index ``index``."""
        contents = one.a.digest, one.b.digest
        if contents in self._seen:
            return Decided(one, self._judge.refuse(Reason.CONTENT_DUPLICATE))
        opinion = self._world.opinion(one.a, one.b, believes=self._defended)
        found, sketches = Likeness(), self._sketches(one) if opinion.point is not None else ()
        if opinion.point is not None:
            found = self._crowds.find(contents, sketches, opinion.point)
        if found.copy_of is not None:
            return Decided(one, self._judge.refuse(Reason.PAIR_COPY, None))
        judged = self._judge.rank(opinion, index, found.crowd)
        if judged.verdict.is_accepted:
            self._seen.add(contents)
            packed = [(sketch.modality, sketch.pack()) for sketch in sketches]
            self._crowds.join(index, contents, packed, is_novel=judged.verdict.novel)
        self._known[index] = one, judged.joint
        return Decided(one, judged.verdict)

    def _sketches(self, one: Sent) -> Sequence[Sketch]:
        return [self._world.encoder.sketch(thing) for thing in (one.a, one.b)] if self._defended else ()

    def take_down(self, index: int, *, was_paid: bool) -> None:
        """Forget a pair; what was paid is remembered under a key."""
        one, point = self._known[index]
        if was_paid:
            self._paid.add(self._paid.keys_of((one.a.digest, one.b.digest), point))
        if was_paid and self._defended:
            shown, text = self._sketches(one)
            self._paid.add(self._paid.likeness(shown.modality, shown.bank[:LIKE_ROWS], shown.kept, text.kept))
        self._judge.forget(PAIR, index)
        self._crowds.leave(index)


class Network:
    """A ledger of decided pairs that is closed epoch by epoch. Everything that is paid follows from its entries."""

    def __init__(self, rule: RewardParameters = RULE_1, start: int = 0) -> None:
        self.replay = Replay(RULE_1, check_signatures=False)
        self.entries: list[AnyEntry] = []
        self.closed: list[EpochPayout] = []
        self._gone: set[int] = set()
        self.block, self.time = 100 + start, BEGUN  # beacons follow from the block
        self.append(CheckpointEntry(bytes(32), None))
        if rule.version > 1:
            self.append(RuleEntry(1, spell_rule(rule), self.block, self.time))

    def append(self, entry: AnyEntry) -> None:
        """Take in an entry."""
        self.entries.append(entry)
        if (payout := self.replay.take(entry)) is not None:
            self.closed.append(payout)

    def add(self, one: Decided) -> int:
        """Enter a decided pair; return its index."""
        index = len(self.entries)
        verdict = one.verdict
        if not verdict.novel:
            verdict = replace(verdict, crowd=None, belief=None)
        pair = sha256(b"%d" % index).digest()
        self.append(
            PairEntry(
                pair, one.sent.who, bytes(65), PAIR, "MIT", verdict, bytes(32), v=3 if verdict.crowd is not None else 2
            )
        )
        return index

    def take_down(self, index: int) -> None:
        """Take down a pair as the operator does, who needs no signature."""
        pair = self._pair(index).pair
        self._gone.add(index)
        self.append(
            TakedownEntry(index, pair, pair, TakedownReason.WITHDRAWN, "", Asker.OPERATOR, expiry=0, signature=None)
        )

    def audit(self, index: int, *, passed: bool) -> None:
        """Say what a second look at a drawn pair found."""
        self.append(AuditEntry(index, self._pair(index).pair, passed))

    def stop_all(self, index: int) -> None:
        """Stop, by takedowns, all that the contributor of a pair has not got."""
        who = self._pair(index).contributor
        for at, entry in enumerate(self.entries):
            if isinstance(entry, PairEntry) and entry.contributor == who and at not in self._gone:
                self.take_down(at)

    def drawn(self) -> int | None:
        """Return the index of a pair that waits for its audit."""
        book = self.replay.book
        return None if book is None else next((one.index for one in book.awards if one.is_drawn), None)

    def _pair(self, index: int) -> PairEntry:
        entry = self.entries[index]
        if not isinstance(entry, PairEntry):
            raise TypeError(f"entry {index} is not a pair")
        return entry

    def close(self, after_s: int = DAY_S) -> EpochPayout:
        """Close the open epoch; the beacon is what nobody knew before.

        Raises:
            ProofError: PAYOUT_EARLY.
        """
        self.block, self.time = self.block + BLOCKS * after_s // DAY_S, self.time + after_s
        beacon = sha256(b"beacon %d" % self.block).digest()
        closing = Closing(self.block, self.time, beacon) if self.replay.book is not None else None
        self.append(self.replay.open_epoch(closing).expected_entry(RULE_1))
        return self.closed[-1]

    def got(self) -> Mapping[bytes, int]:
        """Return wei that each account got so far."""
        total: dict[bytes, int] = {}
        for payout in self.closed:
            for account, amount in payout.amounts_wei.items():
                total[account] = total.get(account, 0) + amount
        return total


def pay(decided: Sequence[Decided], rule: RewardParameters) -> Mapping[bytes, int]:
    """Return wei that each account gets for one epoch, once all of it has vested."""
    network = Network(rule)
    for one in decided:
        network.add(one if rule.version > 1 else Decided(one.sent, replace(one.verdict, crowd=None, belief=None)))
    for _ in range(VESTED_AFTER if rule.version > 1 else 1):
        network.close()
    return network.got()


def novel(crowd: CrowdCounts | None = None) -> Verdict:
    """Return the verdict about an ordinary novel pair."""
    return Verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, bytes(32), None, True, 524_288, crowd or CrowdCounts())
