"""What one epoch pays: its pairs, its amounts, its reward tree, and how its entry in the ledger differs from that.

Steps 15 to 17 of docs/protocol.md. `curiosity.protocol.payouts` derives these from a ledger.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from curiosity.protocol.entry import Closing, EpochEntry
from curiosity.protocol.errors import ProofError
from curiosity.protocol.rewards import RewardParameters, RewardTree, allocate, cumulate
from curiosity.protocol.vesting import Award, Book, Settled


@dataclass(frozen=True)
class PaidPair:
    """One pair that an epoch pays: its ledger index, its contributor and its score.

    ``amount_wei`` is what the epoch pays for it under version 2 of the rule; None under version 1, which pays accounts.
    """

    index: int
    pair: bytes
    contributor: bytes
    curiosity_micro: int
    amount_wei: int | None = None


@dataclass(frozen=True)
class EpochPayout:
    """What one epoch pays, and what was earned until then.

    ``cumulative_wei``: what each account that the epoch pays has earned since the first one; ``cumulative_total_wei``:
    what all accounts have. Of version 2 of the rule: ``paid`` are the pairs of which a part vests; ``awarded`` what the
    pairs of the epoch before are awarded; ``unvested`` what is awarded and has not vested after it, by pair.
    """

    epoch: int
    first: int  # index of the first entry it covers
    size: int  # entries before the one that closes it: the ledger size that the attestation names
    emission_wei: int
    paid: tuple[PaidPair, ...]
    amounts_wei: Mapping[bytes, int]
    cumulative_wei: Mapping[bytes, int]
    cumulative_total_wei: int
    reward_root: bytes
    entry: EpochEntry | None  # what the ledger says of it, None while it is open
    rule: RewardParameters | None = None  # of version 2; None under version 1
    closing: Closing | None = None  # of version 2: when it was closed, None while it is open
    beacon_block: int = 0  # whose hash the beacon is; 0 where it is the validator's random bytes
    awarded: tuple[Award, ...] = ()
    unvested: tuple[Award, ...] = ()

    def unvested_wei(self, account: bytes) -> int:
        """Return what the account is awarded and has not got after this epoch."""
        return sum(one.unvested_wei for one in self.unvested if one.contributor == account)

    def expected_entry(self, parameters: RewardParameters) -> EpochEntry:
        """Return the entry that closes this epoch, under version 1 of the rule by ``parameters``."""
        return EpochEntry(
            epoch=self.epoch,
            first=self.first,
            parameters=(self.rule or parameters).digest(),
            paid_pairs=len(self.paid),
            emission_wei=str(self.emission_wei),
            cumulative_wei=str(self.cumulative_total_wei),
            reward_root=self.reward_root,
            closing=self.closing,
            v=1 if self.closing is None else 2,
        )

    def differences(self, parameters: RewardParameters) -> list[ProofError]:
        """Return what the ledger says otherwise of this epoch than what follows from it; empty while it is open.

        The codes are PAYOUT_PARAMETERS, which stands alone since all else follows from the parameters, and
        PAYOUT_MISMATCH for each other field.
        """
        if self.entry is None:
            return []
        derived = self.expected_entry(parameters)
        where = f"entry {self.size} closes epoch {derived.epoch}"
        if self.entry.parameters != derived.parameters:
            return [
                ProofError(
                    "PAYOUT_PARAMETERS",
                    f"{where} under the reward parameters {_show(self.entry.parameters)}, this program derives with "
                    f"version {(self.rule or parameters).version}, {_show(derived.parameters)}",
                    "Derive with the version of the program that this network runs.",
                )
            ]
        return [
            ProofError(
                "PAYOUT_MISMATCH",
                f"{where} with {field} {_show(getattr(self.entry, field))}, derived is {_show(value)}",
            )
            for field, value in vars(derived).items()
            if getattr(self.entry, field) != value
        ]

    def tree(self) -> RewardTree:
        """Return the reward tree of this epoch's amounts; it has no leaf when the epoch pays nobody."""
        return RewardTree(list(self.amounts_wei.items()))


class Earned:
    """What was earned in the epochs so far, in wei: by each account, and by all."""

    def __init__(self, by_account: Mapping[bytes, int] | None = None) -> None:
        self.by_account = dict(by_account or {})
        self.total_wei = sum(self.by_account.values())

    def add(self, payout: EpochPayout) -> None:
        """Take in the next epoch."""
        self.by_account.update(payout.cumulative_wei)
        self.total_wei = payout.cumulative_total_wei


def select_paid(candidates: Iterable[PaidPair], top_n: int) -> tuple[PaidPair, ...]:
    """Return the ``top_n`` widest gaps, in ledger order; of equal ones the earlier entry wins."""
    ranked = sorted(candidates, key=lambda pair: (-pair.curiosity_micro, pair.index))[:top_n]
    return tuple(sorted(ranked, key=lambda pair: pair.index))


def close_epoch(
    epoch: int,
    first: int,
    size: int,
    candidates: Iterable[PaidPair],
    before: Earned,
    parameters: RewardParameters,
) -> EpochPayout:
    """Return the payout of one epoch from its novel pairs and what was earned before it."""
    paid = select_paid(candidates, parameters.top_n)
    amounts = allocate([(p.contributor, p.curiosity_micro) for p in paid], parameters.emission(epoch))
    emitted_wei = sum(amounts.values())
    cumulative = cumulate({account: before.by_account.get(account, 0) for account in amounts}, amounts)
    root = RewardTree(list(amounts.items())).root
    return EpochPayout(
        epoch, first, size, emitted_wei, paid, amounts, cumulative, before.total_wei + emitted_wei, root, None
    )


def close_vesting(
    epoch: int,
    first: int,
    size: int,
    settled: Settled,
    before: Earned,
    book: Book,
    closing: Closing | None,
) -> EpochPayout:
    """Return the payout of an epoch under version 2 of the rule from what its close settles in ``book``."""
    paid = tuple(
        PaidPair(one.index, one.pair, one.contributor, one.score_micro, one.part_wei) for one in settled.vested
    )
    amounts: dict[bytes, int] = {}
    for pair in settled.vested:
        amounts[pair.contributor] = amounts.get(pair.contributor, 0) + pair.part_wei
    amounts = dict(sorted(amounts.items()))
    emitted_wei = sum(amounts.values())
    cumulative = cumulate({account: before.by_account.get(account, 0) for account in amounts}, amounts)
    root = RewardTree(list(amounts.items())).root
    return EpochPayout(
        epoch, first, size, emitted_wei, paid, amounts, cumulative, before.total_wei + emitted_wei, root, None,
        book.rule, closing, book.beacon_block, settled.awarded, settled.awards,
    )  # fmt: skip


def _show(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else repr(value)
