"""What every entry of our ledgers must be, checked in order: the part of an audit that knows what entries mean.

Steps 12 to 21 of docs/protocol.md, as far as the leaves alone decide them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from curiosity.protocol.entry import (
    MAX_TRIES,
    AnyEntry,
    AuditEntry,
    CheckpointEntry,
    EpochEntry,
    PairEntry,
    RuleEntry,
    TakedownEntry,
    parse_entry,
)
from curiosity.protocol.epoch_payout import Earned, PaidPair
from curiosity.protocol.errors import ProofError, Rejected
from curiosity.protocol.payouts import Replay
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import Domain, recover
from curiosity.protocol.tombstones import check_found, find_takedowns
from curiosity.protocol.verdict import Outcome
from curiosity.protocol.vesting import Book, KeptBook
from curiosity.protocol.wire import STRICT, Bytes20, Bytes32

_PREFIX_BYTES = 8
NO_PAIR = bytes(_PREFIX_BYTES)


@dataclass(frozen=True)
class KeptPair:
    """A candidate of the open epoch, as a state file keeps it."""

    index: int
    pair: Bytes32
    contributor: Bytes20
    curiosity_micro: int

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class KeptPay:
    """What version 2 of the rule of pay needs besides: its book, and rule entries whose epoch has not begun."""

    book: KeptBook | None
    rules: tuple[RuleEntry, ...]
    has_pairs: bool

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class KeptRules:
    """Where the rules stand after ``size`` entries, as a state file keeps it.

    ``pay`` is missing in the files of earlier versions, which knew one rule of pay.
    """

    size: int
    checkpoint: Bytes32 | None
    epoch: int
    first: int
    candidates: tuple[KeptPair, ...]
    cumulative_wei: tuple[tuple[Bytes20, str], ...]
    takedowns: tuple[tuple[int, int], ...]  # index of each takedown entry, and of the pair that it takes down
    pairs: int
    accepted: int
    pay: KeptPay | None = None

    __pydantic_config__ = STRICT


class BadEntry(ProofError):
    """An entry that is not what the rules demand; ``index`` is the first such."""

    def __init__(self, index: int, code: str, what: str) -> None:
        super().__init__(code, what if what.startswith(f"entry {index}") else f"entry {index}: {what}")
        self.index = index


class LedgerRules:
    """Checks the entries of one ledger in order. ``leaf_at`` returns an earlier leaf, verified.

    ``network`` is the network's id and signing domain, by which contributors' takedowns are checked; without it they
    are only held to the entry that they name.
    """

    def __init__(
        self,
        leaf_at: Callable[[int], bytes],
        *,
        network: tuple[bytes, Domain] | None = None,
        kept: KeptRules | None = None,
    ) -> None:
        self._leaf_at = leaf_at
        self._network = network
        self._replay = Replay(RewardParameters(), check_signatures=False)  # every pair is checked here, paid or not
        self._seen: dict[bytes, int] = {}  # index of each pair's newest entry by the first bytes of its digest
        self._takedowns: list[tuple[int, int]] = []
        self._gone: set[int] = set()  # indices of the entries that were taken down
        self._is_complete = True  # every takedown so far was checked against all others
        self.checkpoint: bytes | None = None
        self.pairs = self.accepted = 0
        if kept is not None:
            self._replay.size, self._replay.epoch, self._replay.first = kept.size, kept.epoch, kept.first
            self._replay.candidates = {p.index: PaidPair(**vars(p)) for p in kept.candidates}
            self._replay.earned = Earned({account: int(wei) for account, wei in kept.cumulative_wei})
            self._replay.has_pairs = bool(kept.candidates)
            if kept.pay is not None:
                self._replay.has_pairs = kept.pay.has_pairs
                self._replay.rules = {one.epoch: one for one in kept.pay.rules}
                self._replay.book = Book.restored(kept.pay.book) if kept.pay.book is not None else None
            self._takedowns = list(kept.takedowns)
            self._gone = {target for _, target in self._takedowns}
            self.checkpoint, self.pairs, self.accepted = kept.checkpoint, kept.pairs, kept.accepted

    @property
    def size(self) -> int:
        """How many entries were checked."""
        return self._replay.size

    @property
    def closed_epochs(self) -> int:
        """How many epochs were closed."""
        return self._replay.epoch - 1

    def keep(self) -> KeptRules:
        """Return where it stands, to go on from later."""
        return KeptRules(
            size=self.size,
            checkpoint=self.checkpoint,
            epoch=self._replay.epoch,
            first=self._replay.first,
            candidates=tuple(
                KeptPair(p.index, p.pair, p.contributor, p.curiosity_micro) for p in self._replay.candidates.values()
            ),
            cumulative_wei=tuple((account, str(wei)) for account, wei in self._replay.earned.by_account.items()),
            takedowns=tuple(self._takedowns),
            pairs=self.pairs,
            accepted=self.accepted,
            pay=KeptPay(
                book=self._replay.book.keep() if self._replay.book is not None else None,
                rules=tuple(self._replay.rules.values()),
                has_pairs=self._replay.has_pairs,
            ),
        )

    def remember(self, start: int, prefixes: Sequence[bytes]) -> None:
        """Take in what `take` returned for earlier entries."""
        self._seen.update({prefix: index for index, prefix in enumerate(prefixes, start) if prefix != NO_PAIR})

    def take(self, leaf: bytes) -> bytes:
        """Check the next entry and return 8 bytes to remember it by.

        Raises:
            BadEntry: ENTRY_ codes; LEDGER_FIRST unless entry 0 names the first checkpoint; LEDGER_CHECKPOINT for a
                checkpoint that is no child of the one in force, or a verdict under another than that; LEDGER_SIGNATURE
                if the contributor did not sign the pair; LEDGER_PAIR_TWICE if the pair was decided before; LEDGER_AGAIN
                if it was, and may not be judged again; PAYOUT_ and TAKEDOWN_ codes.
        """
        index = self.size
        try:
            entry = parse_entry(leaf)
            if index == 0 and not (isinstance(entry, CheckpointEntry) and entry.parent is None):
                raise ProofError("LEDGER_FIRST", "the first entry does not name the first checkpoint")
            prefix = self._take(index, entry)
            self._replay.take(entry)
        except ProofError as error:
            raise BadEntry(index, error.code, error.what) from None
        return prefix

    def _take(self, index: int, entry: AnyEntry) -> bytes:
        if isinstance(entry, CheckpointEntry):
            if entry.parent != self.checkpoint:
                raise ProofError(
                    "LEDGER_CHECKPOINT", f"parent {_show(entry.parent)}, in force is {_show(self.checkpoint)}"
                )
            self.checkpoint = entry.checkpoint
        elif isinstance(entry, PairEntry):
            return self._take_pair(index, entry)
        elif isinstance(entry, TakedownEntry):
            self._take_takedown(index, entry)
        else:
            assert isinstance(entry, EpochEntry | RuleEntry | AuditEntry)  # the replay checks them
        return NO_PAIR

    def _take_pair(self, index: int, entry: PairEntry) -> bytes:
        if entry.verdict.checkpoint != self.checkpoint:
            raise ProofError(
                "LEDGER_CHECKPOINT",
                f"judged under {_show(entry.verdict.checkpoint)}, in force is {_show(self.checkpoint)}",
            )
        try:
            signer = recover(entry.pair, entry.signature)
        except Rejected as error:
            raise ProofError("LEDGER_SIGNATURE", error.what) from None
        if signer != entry.contributor:
            raise ProofError("LEDGER_SIGNATURE", f"signed by 0x{signer.hex()}, not by 0x{entry.contributor.hex()}")
        newest = self._newest(entry.pair)
        if entry.again is not None:
            if wrong := self._wrong_again(index, entry, entry.again, newest):
                raise ProofError("LEDGER_AGAIN", f"pair 0x{entry.pair.hex()} cannot be judged again: {wrong}")
        elif newest is not None:
            raise ProofError("LEDGER_PAIR_TWICE", f"pair 0x{entry.pair.hex()} was decided by entry {newest}")
        prefix = entry.pair[:_PREFIX_BYTES]
        self._seen[prefix] = index
        self.pairs += entry.again is None
        self.accepted += entry.verdict.is_accepted
        return prefix

    def _newest(self, pair: bytes) -> int | None:
        """Return the index of the newest entry about a pair; None without one, or if another pair is in its place."""
        index = self._seen.get(pair[:_PREFIX_BYTES])
        known = parse_entry(self._leaf_at(index)) if index is not None else None
        return index if isinstance(known, PairEntry) and known.pair == pair else None

    def _wrong_again(self, index: int, entry: PairEntry, again: int, newest: int | None) -> str:
        """Return why an entry may not decide again about the pair of entry ``again``; "" if it may."""
        named = parse_entry(self._leaf_at(again)) if again < index else None
        if not isinstance(named, PairEntry) or _signed(named) != _signed(entry):
            return f"entry {again} is not about it"
        if newest not in (None, again):
            return f"entry {again} is older than entry {newest}"
        if named.verdict.outcome is not Outcome.HELD:
            return f"entry {again} is final, with {named.verdict.outcome}"
        if named.verdict.checkpoint == entry.verdict.checkpoint:
            return f"entry {again} is of the same checkpoint"
        if again in self._gone:
            return f"entry {again} was taken down"
        tries = 1
        while isinstance(named, PairEntry) and named.again is not None:
            named, tries = parse_entry(self._leaf_at(named.again)), tries + 1
        return f"it was judged again {MAX_TRIES} times" if tries > MAX_TRIES else ""

    def _take_takedown(self, index: int, entry: TakedownEntry) -> None:
        known = parse_entry(self._leaf_at(entry.index)) if entry.index < index else None
        newest = self._newest(entry.pair)
        if not isinstance(known, PairEntry) or known.pair != entry.pair or newest not in (None, entry.index):
            raise ProofError(
                "TAKEDOWN_OF_NOTHING", f"entry {entry.index} is not the newest about pair 0x{entry.pair.hex()}"
            )
        self._takedowns.append((index, entry.index))
        self._gone.add(entry.index)
        self._is_complete = False

    def finish(self) -> set[int]:
        """Check what only all entries together decide; return the indices of the pairs that were taken down.

        Raises:
            ProofError: TAKEDOWN_ codes for a request that was not signed, or does not reach what it took down.
        """
        if not self._is_complete and self._network is not None:
            found = (
                (index, entry) for index, _ in self._takedowns for _, entry in find_takedowns([self._leaf_at(index)])
            )
            check_found(found, self._leaf_at, *self._network)
        self._is_complete = True
        return set(self._gone)


def _signed(entry: PairEntry) -> tuple[bytes, bytes, bytes, str, str, bool | None]:
    """Return what all entries about one pair have in common."""
    return entry.pair, entry.contributor, entry.signature, entry.modalities, entry.license, entry.generated


def _show(digest: bytes | None) -> str:
    return "none" if digest is None else "0x" + digest.hex()
