"""Payouts from the ledger alone: replay the leaves, and every reward root follows bit for bit.

Steps 15 to 17 of docs/protocol.md. Nothing is taken from the validator but the leaves; each pair's signature is
recovered, so that a validator cannot pay an account in somebody else's name.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from curiosity.protocol.entry import (
    AnyEntry,
    AuditEntry,
    Closing,
    EpochEntry,
    PairEntry,
    RuleEntry,
    TakedownEntry,
    parse_entry,
)
from curiosity.protocol.epoch_payout import Earned, EpochPayout, PaidPair, close_epoch, close_vesting
from curiosity.protocol.errors import ProofError, Rejected
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import recover
from curiosity.protocol.vesting import Book, Settled, read_rule


def _take_in(candidates: dict[int, PaidPair], entry: AnyEntry, index: int, check_signatures: bool) -> None:
    """Bring the open epoch's candidates, by ledger index, up to the entry at ``index``.

    A takedown before the epoch closes takes the pair out of it; one that comes later changes nothing that was paid.
    """
    if isinstance(entry, TakedownEntry):
        candidate = candidates.pop(entry.index, None)
        if candidate is not None and candidate.pair != entry.pair:
            raise _other_pair(index, entry, candidate.pair)
    if not isinstance(entry, PairEntry) or not _is_novel(entry):
        return
    if check_signatures:
        _check_signature(entry, index)
    candidates[index] = PaidPair(index, entry.pair, entry.contributor, entry.verdict.curiosity_micro)


def _is_novel(entry: PairEntry) -> bool:
    return entry.verdict.is_accepted and entry.verdict.curiosity_micro > 0


def _may_be_paid(entry: PairEntry) -> bool:
    return _is_novel(entry) or bool(entry.verdict.items)


def _other_pair(index: int, entry: TakedownEntry, known: bytes) -> ProofError:
    what = f"entry {index} takes down 0x{entry.pair.hex()}, entry {entry.index} is of 0x{known.hex()}"
    return ProofError("PAYOUT_TAKEDOWN", what)


class Replay:
    """The payouts of a ledger, entry by entry: holds the open epoch's candidates and what was earned before it.

    It begins with version 1 of the rule under ``parameters`` and follows the ledger's rule entries: ``book`` holds what
    version 2 needs from the epoch on that it begins with, ``rules`` the parameters that a later epoch begins with.
    Without ``check_signatures`` the pairs have been checked before: signed, and no two entries pay one of them.
    """

    def __init__(
        self, parameters: RewardParameters, *, check_signatures: bool = True, check_entries: bool = True
    ) -> None:
        self.parameters = parameters
        self.epoch, self.first, self.size = 1, 0, 0
        self.candidates: dict[int, PaidPair] = {}  # by ledger index, under version 1
        self.earned = Earned()
        self.book: Book | None = None
        self.rules: dict[int, RuleEntry] = {}  # by the epoch that they begin with
        self.has_pairs = False  # whether a pair of the open epoch may be paid
        self._check_signatures = check_signatures
        self._payable: set[bytes] = set()  # digests of the pairs that an entry lets be paid
        self.check_entries = check_entries

    def take(self, entry: AnyEntry) -> EpochPayout | None:
        """Bring it up to the next entry; return the payout of the epoch that the entry closes, if it closes one.

        Without ``check_entries`` the last two are left to `EpochPayout.differences`.

        Raises:
            ProofError: PAYOUT_SIGNATURE if a pair that may be paid was not signed by the account it pays, PAYOUT_TWICE
                if an earlier entry lets it be paid, PAYOUT_TAKEDOWN if a takedown names another pair than its index,
                PAYOUT_RULE for a rule that cannot follow, PAYOUT_AUDIT for an audit that nothing asked for,
                PAYOUT_EARLY if an epoch was closed before its length had passed, PAYOUT_VERSION if its entry is of
                another version than its rule, PAYOUT_PARAMETERS if an epoch was closed under other parameters than
                these, PAYOUT_MISMATCH if an epoch's entry says anything else than what follows from those before it.
        """
        index = self.size
        payout = None
        if isinstance(entry, PairEntry) and _may_be_paid(entry) and self._check_signatures:
            self._check_pair(entry, index)
        if isinstance(entry, EpochEntry):
            payout = self._close(entry)
        elif isinstance(entry, RuleEntry):
            self._take_rule(entry)
        elif isinstance(entry, AuditEntry):
            self._take_audit(entry)
        elif self.book is None:
            _take_in(self.candidates, entry, index, check_signatures=False)
            self.has_pairs = bool(self.candidates)
        else:
            self._take_in_book(self.book, entry, index)
        self.size += 1
        return payout

    def _close(self, entry: EpochEntry) -> EpochPayout:
        if self.book is not None and entry.closing is not None:
            self.book.check_time(entry.closing)
        elif (self.book is None) is not (entry.closing is None):
            raise ProofError("PAYOUT_VERSION", f"entry {self.size} closes epoch {self.epoch} with version {entry.v}")
        settled = self._settle(entry.closing)
        payout = replace(self._payout(settled, entry.closing), entry=entry)
        if self.check_entries and (wrong := payout.differences(self.parameters)):
            raise wrong[0]
        self.epoch, self.first, self.candidates, self.has_pairs = self.epoch + 1, self.size + 1, {}, False
        self.earned.add(payout)
        named = self.rules.pop(self.epoch, None)
        if self.book is not None and settled is not None and entry.closing is not None:
            rule = self.book.rule if named is None else self._read(named)
            self.book.close(settled, entry.closing, rule)
        elif named is not None:
            self._begin(named)
        return payout

    def _settle(self, closing: Closing | None) -> Settled | None:
        """Return what the close of the open epoch settles; with the beacon still to come, as if it were all zero."""
        if self.book is None:
            return None
        return self.book.settle(self.epoch, closing.beacon if closing is not None else bytes(32))

    def _payout(self, settled: Settled | None, closing: Closing | None) -> EpochPayout:
        if settled is None or self.book is None:
            candidates = self.candidates.values()
            return close_epoch(self.epoch, self.first, self.size, candidates, self.earned, self.parameters)
        return close_vesting(self.epoch, self.first, self.size, settled, self.earned, self.book, closing)

    def open_epoch(self, closing: Closing | None = None) -> EpochPayout:
        """Return what the open epoch pays if it closes now: as ``closing`` says under version 2 of the rule.

        Raises:
            ProofError: PAYOUT_EARLY if it cannot be closed then.
        """
        if self.book is not None and closing is not None:
            self.book.check_time(closing)
        return self._payout(self._settle(closing), closing)

    @property
    def rule(self) -> RewardParameters:
        """The parameters by which the pairs of the open epoch are paid."""
        return self.parameters if self.book is None else self.book.rule

    @property
    def first_to_change(self) -> int:
        """The first epoch that a rule entry may name now.

        A change is known before any pair that it pays is sent, and what was earned before has vested by then.
        """
        return self.epoch + (self.has_pairs if self.book is None else self.book.rule.vest_epochs + 2)

    def _read(self, entry: RuleEntry) -> RewardParameters:
        return read_rule(entry.parameters, self.rule, is_first=self.book is None, is_on_chain=entry.block > 0)

    def check_rule(self, entry: RuleEntry) -> None:
        """Check that a rule entry may come next.

        Raises:
            ProofError: PAYOUT_RULE.
        """
        self._read(entry)
        if self.rules or entry.epoch < self.first_to_change:
            first = f"the first that it may is {self.first_to_change}"
            what = f"another waits for epoch {min(self.rules)}" if self.rules else first
            raise ProofError("PAYOUT_RULE", f"entry {self.size} names epoch {entry.epoch}, and {what}")

    def _take_rule(self, entry: RuleEntry) -> None:
        self.check_rule(entry)
        if entry.epoch > self.epoch:
            self.rules[entry.epoch] = entry
        else:
            self._begin(entry)

    def _begin(self, entry: RuleEntry) -> None:
        """Go over from version 1 of the rule to version 2."""
        rule = self._read(entry)
        self.book = Book(rule, rule.pool_wei - self.earned.total_wei, entry.block, entry.time)

    def _take_audit(self, entry: AuditEntry) -> None:
        if self.book is None:
            raise ProofError("PAYOUT_AUDIT", f"entry {self.size} is an audit, and version 1 of the rule has none")
        self.book.audit(entry)

    def _take_in_book(self, book: Book, entry: AnyEntry, index: int) -> None:
        if isinstance(entry, TakedownEntry):
            known = book.pair_at(entry.index)
            if known is not None and known != entry.pair:
                raise _other_pair(index, entry, known)
            book.stop(entry.index)
        elif isinstance(entry, PairEntry) and _may_be_paid(entry):
            self.has_pairs |= book.add(index, entry)

    def _check_pair(self, entry: PairEntry, index: int) -> None:
        _check_signature(entry, index)
        if entry.pair in self._payable:
            raise ProofError("PAYOUT_TWICE", f"entry {index} would pay pair 0x{entry.pair.hex()} once more")
        self._payable.add(entry.pair)


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
