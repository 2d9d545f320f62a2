"""Payouts from the ledger alone: replay the leaves, and every reward root follows bit for bit.

Steps 15 to 17 of docs/protocol.md. Nothing is taken from the validator but the leaves; each pair's signature is
recovered, so that a validator cannot pay an account in somebody else's name.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from curiosity.protocol.entry import AnyEntry, EpochEntry, PairEntry, TakedownEntry, parse_entry
from curiosity.protocol.errors import ProofError, Rejected
from curiosity.protocol.rewards import RewardParameters, RewardTree, allocate, cumulate
from curiosity.protocol.signing import recover


@dataclass(frozen=True)
class PaidPair:
    """One pair that an epoch pays: its ledger index, its contributor and its score."""

    index: int
    pair: bytes
    contributor: bytes
    curiosity_micro: int


@dataclass(frozen=True)
class EpochPayout:
    """What one epoch pays, and what was earned until then.

    ``cumulative_wei``: what each account that the epoch pays has earned since the first one; ``cumulative_total_wei``:
    what all accounts have.
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

    def expected_entry(self, parameters: RewardParameters) -> EpochEntry:
        """Return the entry that closes this epoch."""
        return EpochEntry(
            epoch=self.epoch,
            first=self.first,
            parameters=parameters.digest(),
            paid_pairs=len(self.paid),
            emission_wei=str(self.emission_wei),
            cumulative_wei=str(self.cumulative_total_wei),
            reward_root=self.reward_root,
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
                    f"version {parameters.version}, {_show(derived.parameters)}",
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


def find_candidates(leaves: Iterable[bytes], first: int, *, check_signatures: bool = True) -> list[PaidPair]:
    """Return the accepted, novel pairs that an epoch may pay.

    They are among leaves ``first``, ``first + 1``, ... and are not taken down in them.

    Raises:
        ProofError: ENTRY_ codes, PAYOUT_SIGNATURE, PAYOUT_TAKEDOWN.
    """
    candidates: dict[int, PaidPair] = {}
    for index, leaf in enumerate(leaves, start=first):
        _take_in(candidates, parse_entry(leaf), index, check_signatures)
    return list(candidates.values())


def _take_in(candidates: dict[int, PaidPair], entry: AnyEntry, index: int, check_signatures: bool) -> None:
    """Bring the open epoch's candidates, by ledger index, up to the entry at ``index``.

    A takedown before the epoch closes takes the pair out of it; one that comes later changes nothing that was paid.
    """
    if isinstance(entry, TakedownEntry):
        candidate = candidates.pop(entry.index, None)
        if candidate is not None and candidate.pair != entry.pair:
            raise ProofError(
                "PAYOUT_TAKEDOWN",
                f"entry {index} takes down 0x{entry.pair.hex()}, entry {entry.index} is of 0x{candidate.pair.hex()}",
            )
    if not isinstance(entry, PairEntry) or not entry.verdict.is_accepted or entry.verdict.curiosity_micro <= 0:
        return
    if check_signatures:
        _check_signature(entry, index)
    candidates[index] = PaidPair(index, entry.pair, entry.contributor, entry.verdict.curiosity_micro)


class Replay:
    """The payouts of a ledger, entry by entry: holds the open epoch's candidates and what was earned before it."""

    def __init__(
        self, parameters: RewardParameters, *, check_signatures: bool = True, check_entries: bool = True
    ) -> None:
        self.parameters = parameters
        self.epoch, self.first, self.size = 1, 0, 0
        self.candidates: dict[int, PaidPair] = {}  # by ledger index
        self.earned = Earned()
        self._check_signatures = check_signatures
        self._check_entries = check_entries

    def take(self, entry: AnyEntry) -> EpochPayout | None:
        """Bring it up to the next entry; return the payout of the epoch that the entry closes, if it closes one.

        Without ``check_entries`` the last two are left to `EpochPayout.differences`.

        Raises:
            ProofError: PAYOUT_SIGNATURE if a pair that may be paid was not signed by the account it pays,
                PAYOUT_TAKEDOWN if a takedown names another pair than its index, PAYOUT_PARAMETERS if an epoch was
                closed under other parameters than these, PAYOUT_MISMATCH if an epoch's entry says anything else than
                what follows from the entries before it.
        """
        index = self.size
        _take_in(self.candidates, entry, index, self._check_signatures)
        payout = None
        if isinstance(entry, EpochEntry):
            payout = replace(self.open_epoch(), entry=entry)
            if self._check_entries and (wrong := payout.differences(self.parameters)):
                raise wrong[0]
            self.epoch, self.first, self.candidates = self.epoch + 1, index + 1, {}
            self.earned.add(payout)
        self.size += 1
        return payout

    def open_epoch(self) -> EpochPayout:
        """Return what the open epoch would pay if it closed now."""
        return close_epoch(self.epoch, self.first, self.size, self.candidates.values(), self.earned, self.parameters)


def derive(
    leaves: Iterable[bytes],
    parameters: RewardParameters,
    *,
    check_signatures: bool = True,
    check_entries: bool = True,
) -> Iterator[EpochPayout]:
    """Yield the payout of every epoch in the ledger, the open one last.

    ``leaves`` are all leaves from index 0.

    Raises:
        ProofError: ENTRY_ codes for a leaf that is not an entry, and what `Replay.take` raises.
    """
    replay = Replay(parameters, check_signatures=check_signatures, check_entries=check_entries)
    for leaf in leaves:
        payout = replay.take(parse_entry(leaf))
        if payout is not None:
            yield payout
    yield replay.open_epoch()


def _check_signature(entry: PairEntry, index: int) -> None:
    try:
        signer = recover(entry.pair, entry.signature)
    except Rejected as error:
        raise ProofError("PAYOUT_SIGNATURE", f"entry {index}: {error.what}") from None
    if signer != entry.contributor:
        raise ProofError(
            "PAYOUT_SIGNATURE",
            f"entry {index} pays 0x{entry.contributor.hex()}, but 0x{signer.hex()} signed the pair",
        )


def _show(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else repr(value)
