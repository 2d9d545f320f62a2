"""What an account earned, epoch by epoch and pair by pair, from the ledger alone; or what a ticket says of it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from curiosity.protocol.entry import PairEntry, TakedownEntry, parse_entry
from curiosity.protocol.epoch_payout import EpochPayout, PaidPair
from curiosity.protocol.errors import ProofError
from curiosity.protocol.payouts import Replay
from curiosity.protocol.reward_messages import ClaimTicket
from curiosity.protocol.rewards import RewardParameters, allocate
from curiosity.protocol.verdict import Outcome


@dataclass(frozen=True)
class EarnedPair:
    """A pair that an epoch pays.

    ``share_wei`` is its part of what the account earns in the epoch: by score under version 1 of the rule of pay, the
    part that vests under version 2.
    """

    entry: int
    pair: bytes
    modalities: str
    score_micro: int
    share_wei: int

    def to_json(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        return {
            "entry": self.entry,
            "pair": "0x" + self.pair.hex(),
            "modalities": self.modalities,
            "score_micro": self.score_micro,
            "share_wei": str(self.share_wei),
        }


@dataclass(frozen=True)
class EpochTally:
    """What became of the pairs that an account sent in one epoch, by count.

    ``not_novel`` were accepted and add nothing new; ``outranked`` were novel, but others filled wider gaps;
    ``taken_down`` were novel and taken down before the epoch closed.
    """

    decided: int = 0
    accepted: int = 0
    grey: int = 0
    held: int = 0
    not_novel: int = 0
    outranked: int = 0
    taken_down: int = 0


@dataclass(frozen=True)
class EpochWhy:
    """Why an epoch pays an account what it does; only the ledger tells. ``score_micro`` of ``whole_score_micro``.

    ``unvested_wei`` is what the account's pairs are awarded and have not got after the epoch. Scores decide under
    version 1 of the rule of pay alone: from version 2 on (``vests``) the pairs are of epochs before.
    """

    score_micro: int
    whole_score_micro: int
    emission_wei: int
    pairs: tuple[EarnedPair, ...]
    tally: EpochTally
    unvested_wei: int = 0
    vests: bool = False


@dataclass(frozen=True)
class Earning:
    """What an account earns in one epoch. ``why`` is None where only the ticket says so; an open epoch has no proof."""

    epoch: int
    is_open: bool
    amount_wei: int
    reward_root: bytes
    proof: tuple[bytes, ...]
    why: EpochWhy | None = None


@dataclass(frozen=True)
class Earnings:
    """All that an account earned, oldest epoch first; epochs that pay it nothing are there if it sent pairs in them.

    ``problems`` are what the ledger's own entries say otherwise than what follows from the entries before them;
    ``closed_epochs`` how many there were in all, None for a ticket, which does not say.
    """

    account: bytes
    epochs: tuple[Earning, ...]
    closed_epochs: int | None = None
    problems: tuple[ProofError, ...] = ()

    def is_behind(self, latest_epoch: int) -> bool:
        """Return True if the ledger that they were derived from ends before an epoch that the chain knows."""
        return self.closed_epochs is not None and self.closed_epochs < latest_epoch


def earnings_of_ticket(ticket: ClaimTicket) -> Earnings:
    """Return what a ticket, whose proofs were checked, says of the closed epochs."""
    epochs = [Earning(one.epoch, False, int(one.amount_wei), one.reward_root, one.proof) for one in ticket.shares]
    return Earnings(ticket.account, tuple(epochs))


def derive_earnings(leaves: Iterable[bytes], account: bytes, parameters: RewardParameters) -> Earnings:
    """Return what an account earned by a ledger's leaves, from index 0 on, the open epoch last.

    Raises:
        ProofError: As `curiosity.protocol.payouts.derive` does, but for entries of epochs that lie, which are told as
            problems.
    """
    replay = Replay(parameters, check_entries=False)
    epochs: list[Earning] = []
    problems: list[ProofError] = []
    mine: dict[int, PairEntry] = {}  # by index, of the open epoch
    kinds: dict[int, str] = {}  # modalities by index, of all that may be paid
    gone: set[int] = set()
    for index, leaf in enumerate(leaves):
        entry = parse_entry(leaf)
        if isinstance(entry, PairEntry) and entry.contributor == account:
            mine[index] = entry
            if entry.again is not None:
                mine.pop(entry.again, None)
            if entry.verdict.novel or entry.verdict.items:
                kinds[index] = entry.modalities
        elif isinstance(entry, TakedownEntry) and entry.index in mine:
            gone.add(entry.index)
        payout = replay.take(entry)
        if payout is not None:
            problems += payout.differences(parameters)
            epochs += _earning(payout, account, kinds, _tally(payout, mine, gone), parameters)
            mine, gone = {}, set()
    open_ = replay.open_epoch()
    epochs += _earning(open_, account, kinds, _tally(open_, mine, gone), parameters)
    return Earnings(account, tuple(epochs), open_.epoch - 1, tuple(problems))


def _tally(payout: EpochPayout, mine: Mapping[int, PairEntry], gone: Collection[int]) -> EpochTally:
    accepted = {index: one.verdict for index, one in mine.items() if one.verdict.is_accepted}
    novel = {index for index, verdict in accepted.items() if verdict.curiosity_micro > 0 or verdict.items}
    # Under version 2 of the rule those that are paid now are of epochs before.
    paid = {pair.index for pair in payout.paid} & novel if payout.rule is None else novel - set(gone)
    return EpochTally(
        decided=len(mine),
        accepted=len(accepted),
        grey=sum(one.verdict.outcome is Outcome.GREY for one in mine.values()),
        held=sum(one.verdict.outcome is Outcome.HELD for one in mine.values()),
        not_novel=len(accepted) - len(novel),
        outranked=len(novel - paid - set(gone)),
        taken_down=len((novel - paid) & set(gone)),
    )


def _earning(
    payout: EpochPayout,
    account: bytes,
    kinds: Mapping[int, str],
    tally: EpochTally,
    parameters: RewardParameters,
) -> list[Earning]:
    amount_wei = payout.amounts_wei.get(account, 0)
    unvested_wei = payout.unvested_wei(account)
    if not (tally.decided or amount_wei or unvested_wei):
        return []
    paid = [pair for pair in payout.paid if pair.contributor == account]
    why = EpochWhy(
        score_micro=sum(pair.curiosity_micro for pair in paid),
        whole_score_micro=sum(pair.curiosity_micro for pair in payout.paid),
        emission_wei=parameters.emission(payout.epoch) if payout.rule is None else payout.emission_wei,
        pairs=split_by_pair([(pair, kinds[pair.index]) for pair in paid], amount_wei),
        tally=tally,
        unvested_wei=unvested_wei,
        vests=payout.rule is not None,
    )
    proof = tuple(payout.tree().proof(account)) if amount_wei else ()
    return [Earning(payout.epoch, payout.entry is None, amount_wei, payout.reward_root, proof, why)]


def split_by_pair(paid: Sequence[tuple[PaidPair, str]], amount_wei: int) -> tuple[EarnedPair, ...]:
    """Return an account's pairs (each with its modalities) with their parts of its amount: by score under version 1.

    Nobody is paid by this: the leaf of an account holds the sum. The rule is that of
    `curiosity.protocol.rewards.allocate`. Under version 2 each pair has its amount.
    """
    if any(pair.amount_wei is not None for pair, _ in paid):
        return tuple(EarnedPair(p.index, p.pair, kind, p.curiosity_micro, p.amount_wei or 0) for p, kind in paid)
    parts = allocate([(_place(order), pair.curiosity_micro) for order, (pair, _) in enumerate(paid)], amount_wei)
    return tuple(
        EarnedPair(pair.index, pair.pair, modalities, pair.curiosity_micro, parts.get(_place(order), 0))
        for order, (pair, modalities) in enumerate(paid)
    )


def _place(order: int) -> bytes:
    return order.to_bytes(20, "big")
