"""Versions 2 to 4 of the rule of pay: which pairs of an epoch are paid, how much, and when it is theirs.

Steps 15 to 17 of docs/protocol.md; docs/adr/0041-pay-that-vests.md weighs the choices. An epoch n is closed by its
entry. At the close of epoch n + 1 a beacon that nobody knew when n was closed draws the pairs that n pays, and each of
them is awarded its share. From the close of n + 2 on the award vests, an equal part with each close. All of it follows
from the leaves, in integers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from curiosity.protocol.entry import AuditEntry, Closing, PairEntry, Wei
from curiosity.protocol.errors import ConfigError, ProofError
from curiosity.protocol.pools import MILLION, divide, limit_of, take
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.verdict import MAX_CROWD, CrowdCounts
from curiosity.protocol.wire import STRICT, Bytes20, Bytes32, ShortText, Uint53

WHOLE_WEIGHT = 1 << 24
"""Weight of a pair that shares nothing with an earlier one."""

DRAW_TAG = b"curiosity/draw/1\x00"
AUDIT_TAG = b"curiosity/audit/1\x00"
GENERATED = "generated"
"""The pool of pairs of which the contributor declares that a program generated an item."""

SPOKEN = "spoken"
"""The pool of pairs of a sound and a text. An encoder of speech accepts a text read out, which adds nothing to it."""

_SPOKEN_PAIR = "audio-text"

_LOT_BYTES = 8


@dataclass(frozen=True)
class Earner:
    """What may be paid and whose draw is still to come.

    ``is_gone``: it counts among the others and gets nothing. ``pool``: the kind of pairs that it shares a limit with.
    ``items`` is how many of its items are new. What is no novel pair is paid for these alone: its ``score_micro`` is 0.
    ``is_generated``: they are in the pool of generated items, and else in none, as an item alone would be.
    """

    index: Uint53
    pair: Bytes32
    contributor: Bytes20
    weight: Uint53
    score_micro: Uint53
    is_gone: bool = False
    pool: ShortText = ""
    items: Uint53 = 0
    is_generated: bool = False

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class Award:
    """What a paid pair gets: ``part`` wei with each of ``parts`` closes, the first at that of ``epoch`` + 2.

    ``is_drawn``: it gets them only once it is audited, and those that fall due before are lost. Vested parts are left
    out: ``parts`` are those to come.
    """

    index: Uint53
    pair: Bytes32
    contributor: Bytes20
    epoch: Uint53  # that the pair belongs to
    part: Wei
    parts: Uint53
    score_micro: Uint53
    is_drawn: bool = False

    __pydantic_config__ = STRICT

    @property
    def part_wei(self) -> int:
        """Wei of one part."""
        return int(self.part)

    @property
    def unvested_wei(self) -> int:
        """Wei that are still to vest."""
        return self.part_wei * self.parts


@dataclass(frozen=True)
class KeptBook:
    """A `Book` as a state file keeps it."""

    rule: dict[str, Wei]
    waiting_rule: dict[str, Wei]
    block: Uint53
    time: Uint53
    remaining: Wei
    budget: Wei
    open: tuple[Earner, ...]
    waiting: tuple[Earner, ...]
    awards: tuple[Award, ...]

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class Settled:
    """What the close of an epoch settles.

    ``vested``: the awards of which a part is paid now, as they were before; ``awarded``: what the draw gave to the
    pairs of the epoch before; ``awards``: all that is still to vest afterwards; ``remaining_wei``: what is not awarded.
    """

    vested: tuple[Award, ...]
    awarded: tuple[Award, ...]
    awards: tuple[Award, ...]
    remaining_wei: int
    budget_wei: int  # what the pairs of the epoch that closes may get together


def weight_of(crowd: CrowdCounts | None, power: int) -> int:
    """Return the weight of a novel pair: `WHOLE_WEIGHT` over a power of one more than its largest count."""
    largest = crowd.largest if crowd is not None else 0
    return 0 if largest >= MAX_CROWD else WHOLE_WEIGHT // (1 + largest) ** power


def weigh_belief(weight: int, belief: int | None, rule: RewardParameters) -> int:
    """Return what is left of a weight for how likely the judge holds it that the pair belongs together.

    Args:
        weight: Of the pair without that.
        belief: What its entry tells (`curiosity.protocol.verdict.told_belief`); None leaves the weight.
        rule: Its ``full_belief`` is the belief from which it is whole. One step below a quarter is left, by version 3 a
            half, and farther below nothing; 0 leaves every weight.
    """
    if belief is None or not rule.full_belief or belief >= rule.full_belief:
        return weight
    return weight // rule.step_below if belief == rule.full_belief - 1 else 0


def lot_of(tag: bytes, beacon: bytes, pair: bytes) -> bytes:
    """Return 32 bytes that a beacon draws for a pair."""
    return sha256(tag + beacon + pair).digest()


def shares_of(rule: RewardParameters) -> dict[str, int]:
    """Return the largest share of an epoch of each pool, in millionths."""
    return {GENERATED: rule.generated_micro, SPOKEN: rule.spoken_micro}


def pool_of(entry: PairEntry, rule: RewardParameters) -> str:
    """Return the pool of a pair: of those that it belongs to the one with the smallest share, generated if equal."""
    kinds = ((GENERATED, bool(entry.generated)), (SPOKEN, entry.modalities == _SPOKEN_PAIR))
    shares = shares_of(rule)
    return min((name for name, is_one in kinds if is_one), key=shares.__getitem__, default="")


def draw(earners: Sequence[Earner], beacon: bytes, rule: RewardParameters) -> list[Earner]:
    """Return up to ``top_n`` of the pairs, in ledger order: those with the lowest lots, each pool up to its share."""
    if len(earners) > rule.top_n:
        earners = sorted(earners, key=lambda one: lot_of(DRAW_TAG, beacon, one.pair))
        ordered = [(one.pool, number) for number, one in enumerate(earners)]
        earners = [earners[number] for number in take(ordered, rule.top_n, shares_of(rule))]
    return sorted(earners, key=lambda one: one.index)


def award_all(
    earners: Sequence[Earner], epoch: int, budget_wei: int, beacon: bytes, rule: RewardParameters
) -> list[Award]:
    """Return what the draw gives to the pairs and single items of a closed epoch.

    A pair gets its share by weight, and at most ``budget_wei / least_pairs``: below that many whole weights the rest of
    the budget is not awarded. The pairs of a pool get no more than its share together, which `divide` sees to. What a
    pair would get that is gone is awarded to nobody.

    Where the rule has a part of the budget for items, new items divide that alike, and one gets at most what two of
    each of ``least_pairs`` pairs would. The lots are the same: whatever is drawn for its items is, if it is a novel
    pair, drawn as a pair too, unless its pool is full. So a pair gets what its items would get alone, and its own share
    besides.
    """
    items_wei = limit_of(budget_wei, rule.item_micro)
    drawn = draw([one for one in earners if one.score_micro], beacon, rule)
    of_weights = [(one.index, one.pool, one.weight) for one in drawn]
    shares, parts = shares_of(rule), rule.vest_epochs
    parts_wei = divide(of_weights, shares, budget_wei - items_wei, WHOLE_WEIGHT * rule.least_pairs, parts)
    if items_wei:
        holders = [replace(one, pool=GENERATED if one.is_generated else "") for one in earners]
        of_items = [(one.index, one.pool, one.items) for one in draw(holders, beacon, rule)]
        for index, wei in divide(of_items, shares, items_wei, 2 * rule.least_pairs, parts).items():
            parts_wei[index] = parts_wei.get(index, 0) + wei
    awards = []
    for one in sorted(earners, key=lambda one: one.index):
        part_wei = parts_wei.get(one.index, 0)
        if one.is_gone or part_wei == 0:
            continue
        lot = int.from_bytes(lot_of(AUDIT_TAG, beacon, one.pair)[:_LOT_BYTES], "big")
        is_drawn = lot * MILLION < rule.audit_micro << (8 * _LOT_BYTES)
        awards.append(
            Award(
                one.index, one.pair, one.contributor, epoch, str(part_wei), rule.vest_epochs, one.score_micro, is_drawn
            )
        )
    return awards


class Book:
    """Who earned what under version 2: the open epoch's pairs, those of the epoch before, and what is still to vest.

    ``remaining_wei``: what of the pool was neither paid nor awarded before. ``block`` and ``time`` are those of the
    entry from which the length of the next epoch counts.
    """

    def __init__(self, rule: RewardParameters, remaining_wei: int, block: int, time: int) -> None:
        self.rule = self._waiting_rule = rule
        self.remaining_wei = remaining_wei
        self.block, self.time = block, time
        self.awards: list[Award] = []
        self._open: dict[int, Earner] = {}
        self._waiting: dict[int, Earner] = {}
        self._budget_wei = 0

    @classmethod
    def restored(cls, kept: KeptBook) -> "Book":
        """Return the book that was kept."""
        book = cls(parse_rule(kept.rule), int(kept.remaining), kept.block, kept.time)
        book._waiting_rule = parse_rule(kept.waiting_rule)
        book.awards = list(kept.awards)
        book._open = {one.index: one for one in kept.open}
        book._waiting = {one.index: one for one in kept.waiting}
        book._budget_wei = int(kept.budget)
        return book

    def keep(self) -> KeptBook:
        """Return where it stands, to go on from later."""
        return KeptBook(
            rule=spell_rule(self.rule),
            waiting_rule=spell_rule(self._waiting_rule),
            block=self.block,
            time=self.time,
            remaining=str(self.remaining_wei),
            budget=str(self._budget_wei),
            open=tuple(self._open.values()),
            waiting=tuple(self._waiting.values()),
            awards=tuple(self.awards),
        )

    @property
    def is_at_rest(self) -> bool:
        """Whether a close would pay and award nothing but what is still to be earned."""
        return not (self.awards or self._waiting or self._open)

    @property
    def beacon_block(self) -> int:
        """Number of the block whose hash the next close must name; 0 where it names random bytes."""
        return self.block + self._waiting_rule.beacon_blocks if self.block else 0

    # -- entries

    def add(self, index: int, entry: PairEntry) -> bool:
        """Take in an accepted pair or single item of the open epoch; return False if the rule pays nothing for it.

        A pair that its belief leaves nothing is a candidate for its items alone.
        """
        verdict = entry.verdict
        items = (verdict.items or 0) if self.rule.item_micro else 0
        score = verdict.curiosity_micro if weigh_belief(WHOLE_WEIGHT, verdict.belief, self.rule) else 0
        if not score and not items:
            return False
        counted = weight_of(verdict.crowd, self.rule.crowd_power)
        weight = weigh_belief(counted, verdict.belief, self.rule) if score else 0
        what = index, entry.pair, entry.contributor, weight, score
        generated = bool(entry.generated)
        pool = pool_of(entry, self.rule)
        self._open[index] = Earner(*what, pool=pool, items=items, is_generated=generated)
        return True

    def pair_at(self, index: int) -> bytes | None:
        """Return the digest of a pair that may still get something."""
        for pairs in (self._open, self._waiting):
            if index in pairs:
                return pairs[index].pair
        return next((one.pair for one in self.awards if one.index == index), None)

    def stop(self, index: int) -> None:
        """Stop what the pair at ``index`` has not got yet; it stays where it is among the others."""
        for pairs in (self._open, self._waiting):
            if index in pairs:
                pairs[index] = replace(pairs[index], is_gone=True)
        self._return(one for one in self.awards if one.index == index)

    def audit(self, entry: AuditEntry) -> None:
        """Take in an audit: what passed may vest; of what did not, nothing more does.

        Raises:
            ProofError: PAYOUT_AUDIT for a pair that no beacon drew or that is audited.
        """
        award = next((one for one in self.awards if one.index == entry.index and one.is_drawn), None)
        if award is None or award.pair != entry.pair:
            raise ProofError(
                "PAYOUT_AUDIT", f"pair 0x{entry.pair.hex()} of entry {entry.index} is not drawn for an audit now"
            )
        if entry.passed:
            self.awards[self.awards.index(award)] = replace(award, is_drawn=False)
            return
        self.stop(award.index)

    def _return(self, stopped: Iterable[Award]) -> None:
        gone = {one.index: one for one in stopped}
        self.remaining_wei += sum(one.unvested_wei for one in gone.values())
        self.awards = [one for one in self.awards if one.index not in gone]

    # -- closing

    def check_time(self, closing: Closing) -> None:
        """Refuse a close that comes too early.

        Raises:
            ProofError: PAYOUT_EARLY.
        """
        left_s = self.time + self.rule.min_epoch_s - closing.time
        if left_s > 0:
            raise ProofError(
                "PAYOUT_EARLY", f"closed {left_s} s before the {self.rule.min_epoch_s} s of an epoch have passed"
            )
        if closing.block < max(self.beacon_block, self.block):
            raise ProofError(
                "PAYOUT_EARLY", f"closed at block {closing.block}, the beacon is that of block {self.beacon_block}"
            )

    def settle(self, epoch: int, beacon: bytes) -> Settled:
        """Return what the close of ``epoch`` settles with this beacon; nothing changes yet."""
        awarded = award_all(list(self._waiting.values()), epoch - 1, self._budget_wei, beacon, self._waiting_rule)
        remaining_wei = self.remaining_wei - sum(one.unvested_wei for one in awarded)
        vested = tuple(one for one in self.awards if not one.is_drawn)
        remaining_wei += sum(one.part_wei for one in self.awards if one.is_drawn)
        left = [replace(one, parts=one.parts - 1) for one in self.awards if one.parts > 1]
        if self.rule.unpaid_returns:
            budget_wei = self.rule.emission_of(remaining_wei)
        else:  # the contract lowers what remains by number alone: the last part must fit in the emission of its close
            budget_wei = self.rule.emission(epoch + self.rule.vest_epochs + 1)
        return Settled(vested, tuple(awarded), (*left, *awarded), remaining_wei, budget_wei)

    def close(self, settled: Settled, closing: Closing, rule: RewardParameters) -> None:
        """Go on to the next epoch, whose pairs are paid by ``rule``."""
        self.awards = list(settled.awards)
        self.remaining_wei, self._budget_wei = settled.remaining_wei, settled.budget_wei
        self._waiting, self._open = self._open, {}
        self._waiting_rule, self.rule = self.rule, rule
        self.block, self.time = closing.block, closing.time


def spell_rule(rule: RewardParameters) -> dict[str, str]:
    """Return the parameters as an entry spells them."""
    return {name: str(value) for name, value in rule.values().items()}


def fixed_fields(*, is_first: bool) -> tuple[str, ...]:
    """Return the parameters that a rule entry cannot change; ``is_first``: version 1 of the rule is in force."""
    chain = ("cap_wei", "premint_wei", "decay_numerator", "decay_denominator", "epoch_length_s")
    return chain if is_first else (*chain, "vest_epochs", "unpaid_returns")


def read_rule(
    values: dict[str, str], before: RewardParameters, *, is_first: bool, is_on_chain: bool
) -> RewardParameters:
    """Return the parameters that an entry names.

    Args:
        values: Their fields, in decimal digits.
        before: The parameters that are in force.
        is_first: Whether those are of version 1.
        is_on_chain: Whether the entry counts on a chain, where tokens are worth something: then an epoch may not be
            shorter than the length that its emission is for.

    Raises:
        ProofError: PAYOUT_RULE unless they are those of version 2 or a later one, none before the one in force, and
            leave what the contracts fix.
    """
    try:
        rule = parse_rule(values)
    except (TypeError, ConfigError) as error:
        raise ProofError("PAYOUT_RULE", f"its parameters cannot be used: {error}") from None
    wrong = [name for name in fixed_fields(is_first=is_first) if getattr(rule, name) != getattr(before, name)]
    least_s = max(rule.epoch_length_s if is_on_chain else 0, 0 if is_first else before.min_epoch_s)
    wrong += ["min_epoch_s"] if rule.min_epoch_s < least_s else []
    if rule.version < max(before.version, 2) or wrong or set(values) != set(rule.values()):
        raise ProofError("PAYOUT_RULE", f"version {rule.version} cannot follow here, or {wrong or 'a field'} differs")
    return rule


def parse_rule(values: dict[str, str]) -> RewardParameters:
    """Return the parameters that an entry spells, whether or not they may follow.

    Raises:
        TypeError: For a field that there is not.
        ConfigError: For a value that cannot work.
    """
    return RewardParameters(**{name: int(value) for name, value in values.items()})
