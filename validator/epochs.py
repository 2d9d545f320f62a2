"""Closing epochs: derive the payout from the ledger, log it, and have it posted and activated (`validator.posting`)."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache

from curiosity.chain.evm import ChainClient
from curiosity.protocol.counts import number_of
from curiosity.protocol.entry import AuditEntry, Closing, PairEntry, RuleEntry, encode_entry, parse_entry
from curiosity.protocol.epoch_payout import EpochPayout
from curiosity.protocol.errors import ChainError, ConfigError, ProofError, Rejected, StoreError
from curiosity.protocol.orders import RuleOrder, RuleReport
from curiosity.protocol.payouts import Replay
from curiosity.protocol.reward_messages import (
    ClaimShare,
    ClaimTicket,
    EpochAttestation,
    EpochLeaves,
    EpochReport,
    EpochSignature,
    EpochStanding,
    RewardLeaf,
)
from curiosity.protocol.rewards import RewardParameters, RewardTree
from curiosity.protocol.vesting import Award, parse_rule, spell_rule
from validator.announcing import BY_NUMBER, plan_rule
from validator.closing import Moments
from validator.ledger import Ledger, NewEntry
from validator.posting import Poster, nothing_waits
from validator.store import Store
from validator.threads import Threads

log = logging.getLogger(__name__)

_PAGE = 4096
_SHARES = 64  # of a ticket's page: as many trees of 1,024 leaves are built in a quarter of a second
_TREES = 256  # kept for the next who asks, a third of a megabyte each


class Epochs:
    """The reward side of one validator. ``chain`` is None where rewards are derived and not posted."""

    def __init__(
        self,
        *,
        store: Store,
        ledger: Ledger,
        threads: Threads,
        parameters: RewardParameters,
        chain: ChainClient | None,
        attestation_key: bytes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._threads = threads
        self._parameters = parameters
        self._moments = Moments(chain, clock)
        self.poster = Poster(chain, attestation_key, ledger.root_at) if chain is not None else None
        self._clock = clock
        self._opened_at = clock()
        self._closed: list[EpochPayout] = []
        self._paid: set[int] = set()
        self.accepted_pairs = self.generated_pairs = 0  # of the closed epochs
        self._accepted = self._generated = 0  # of what was followed
        self._replay = Replay(parameters)
        self._follow()
        self._replay.check_entries = False  # what comes now is written by this process
        self._tree: Callable[[int], RewardTree] = lru_cache(_TREES)(lambda epoch: self._closed[epoch - 1].tree())

    @property
    def open_epoch(self) -> int:
        """Number of the epoch that pairs count for now; the first is 1."""
        return len(self._closed) + 1

    @property
    def item_micro(self) -> int:
        """Share of the open epoch's budget for new items, in millionths; 0: none is taken alone."""
        return self._replay.rule.item_micro

    def _leaves(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            page = self._store.leaves(start, min(_PAGE, end - start))
            yield from page
            start += len(page)

    def _follow(self) -> None:
        """Bring what was derived up to the ledger; of a closed epoch only what it pays is kept."""
        for leaf in self._leaves(self._replay.size, self._ledger.size):
            entry = parse_entry(leaf)
            payout = self._replay.take(entry)
            if payout is not None:
                self._keep(payout)
            elif isinstance(entry, PairEntry) and entry.verdict.is_accepted and not entry.is_single:
                self._accepted += 1
                self._generated += bool(entry.generated)

    def was_paid(self, index: int) -> bool:
        """Return whether a closed epoch paid anything for the pair of this ledger index."""
        return index in self._paid

    def _keep(self, payout: EpochPayout) -> None:
        self._paid.update(pair.index for pair in payout.paid)
        self.accepted_pairs, self.generated_pairs = self._accepted, self._generated
        self._closed.append(replace(payout, paid=(), cumulative_wei={}, awarded=(), unvested=()))

    # -- the rule

    async def name_rule(self, epoch: int, rule: RewardParameters) -> int | None:
        """Log that pay follows version 2 of the rule under these parameters from an epoch on; return the entry's index.

        None if that epoch has begun already, or if the ledger names a version 2 already.

        Raises:
            ConfigError: RULE_INVALID if the ledger cannot name these, RULE_CONTRACT if the contract cannot follow.
            ChainError: If the chain does not tell the time, or what the contract allows.
            StoreError: If the entry cannot be made durable.
        """
        block, at = await asyncio.to_thread(self._moments.now)
        returns = await asyncio.to_thread(self._moments.returns_unpaid)

        def append() -> int | None:
            self._follow()
            replay = self._replay
            if replay.book is not None or replay.rules or epoch < replay.epoch + replay.has_pairs:
                return None
            if rule.unpaid_returns and not returns:
                raise ConfigError("RULE_CONTRACT", BY_NUMBER, "Set [validator] unpaid_returns = 0 and start again.")
            entry = RuleEntry(epoch, spell_rule(rule), block, at)
            try:
                replay.check_rule(entry)
            except ProofError as error:
                remedy = "On a chain [validator] min_epoch_s is 86400 at least; correct it and start again."
                raise ConfigError("RULE_INVALID", error.what, remedy) from None
            (receipt,) = self._ledger.append([NewEntry(encode_entry(entry), None)])
            self._follow()
            return receipt.index

        index = await self._threads.on_writer(append)
        log.info("event=rule_named epoch=%d version=%d entry=%s", epoch, rule.version, index)
        return index

    async def announce(self, order: RuleOrder) -> RuleReport:
        """Log that pay follows other parameters from an epoch on; after a dry run nothing is logged.

        Raises:
            Rejected: As `plan_rule`.
            ChainError: If the chain does not tell the time, or what the contract allows.
            StoreError: If the entry cannot be made durable.
        """
        block, at = await asyncio.to_thread(self._moments.now)
        returns = await asyncio.to_thread(self._moments.returns_unpaid)

        def append() -> RuleReport:
            self._follow()
            before = spell_rule(self._replay.rule)
            entry = plan_rule(self._replay, order, block, at, returns=returns)
            digest = parse_rule(entry.parameters).digest()
            if order.dry_run:
                return RuleReport(entry.epoch, None, before, entry.parameters, digest)
            (receipt,) = self._ledger.append([NewEntry(encode_entry(entry), None)])
            self._follow()
            return RuleReport(entry.epoch, receipt.index, before, entry.parameters, digest)

        report = await self._threads.on_writer(append)
        log.info("event=rule_announced epoch=%d entry=%s dry_run=%s", report.epoch, report.entry, order.dry_run)
        return report

    # -- audits

    async def drawn(self) -> list[Award]:
        """Return what a beacon drew for an audit and nobody has audited."""

        def find() -> list[Award]:
            self._follow()
            book = self._replay.book
            return [one for one in book.awards if one.is_drawn] if book is not None else []

        return await self._threads.on_writer(find)

    async def log_audit(self, award: Award, *, passed: bool) -> bool:
        """Log what came of an audit; return False if nothing waits for it any more.

        Raises:
            StoreError: If the entry cannot be made durable.
        """

        def append() -> bool:
            self._follow()
            book = self._replay.book
            if book is None or not any(one.is_drawn and one.index == award.index for one in book.awards):
                return False
            self._ledger.append([NewEntry(encode_entry(AuditEntry(award.index, award.pair, passed)), None)])
            self._follow()
            return True

        logged = await self._threads.on_writer(append)
        log.info("event=audited entry=%d passed=%s logged=%s", award.index, passed, logged)
        return logged

    # -- closing

    async def close(self) -> EpochReport:
        """Close the open epoch, append its entry, and post its root where there is a chain.

        Raises:
            Rejected: EPOCH_EARLY (409) under version 2 of the rule, if the epoch's length has not passed.
            StoreError: If the entry cannot be made durable.
            ChainError: If the chain does not tell the time, which version 2 of the rule needs. If the root cannot be
                posted, the epoch is closed all the same and the next call of `post_missing` posts it.
        """
        await self._threads.on_writer(self._follow)
        book = self._replay.book
        closing = await asyncio.to_thread(self._moments.closing, book) if book is not None else None
        payout, index = await self._threads.on_writer(lambda: self._append_closing(closing))
        transaction: str | None = None
        activates_at: int | None = None
        if self.poster is not None:
            transaction, activates_at = await self.post_missing()
        entry = payout.expected_entry(self._parameters)
        log.info(
            "event=epoch_closed epoch=%d pairs=%d emission_wei=%s root=%s",
            payout.epoch, len(payout.paid), entry.emission_wei, payout.reward_root.hex(),
        )  # fmt: skip
        return EpochReport(
            epoch=payout.epoch,
            entry=index,
            paid_pairs=len(payout.paid),
            emission_wei=entry.emission_wei,
            cumulative_wei=entry.cumulative_wei,
            reward_root=payout.reward_root,
            transaction=transaction,
            activates_at=activates_at,
        )

    def _append_closing(self, closing: Closing | None) -> tuple[EpochPayout, int]:
        """Derive the open epoch's payout and append its entry. Runs on the writer thread."""
        self._follow()
        try:
            payout = derive_open(self._replay, closing)
        except ProofError as early:
            raise Rejected("EPOCH_EARLY", early.what, "Close it when the time has come.", status=409) from None
        entry = payout.expected_entry(self._parameters)
        (receipt,) = self._ledger.append([NewEntry(encode_entry(entry), None)])
        self._replay.take(entry)
        self._keep(payout)
        self._opened_at = self._clock()
        return payout, receipt.index

    # -- posting

    async def post_missing(self) -> tuple[str | None, int | None]:
        """Post every closed epoch that the chain does not have; return the last transaction and its activation time."""
        if self.poster is None:
            return None, None
        posted = await asyncio.to_thread(self.poster.post, tuple(self._closed))
        return posted.transaction, posted.activates_at

    async def run(self, *, epoch_s: int, poll_s: float) -> None:
        """Close epochs by the clock (``epoch_s`` 0: never), post what is missing and activate what is due, for ever."""
        while True:
            await asyncio.sleep(poll_s)
            try:
                due = epoch_s and self._clock() - self._opened_at >= epoch_s
                if due and self._is_worth_closing():
                    await self.close()
                elif self.poster is not None and not self.poster.is_at_rest(len(self._closed)):
                    await asyncio.to_thread(self.poster.look, tuple(self._closed))
            except Rejected as early:  # by the clock of the chain, which the epoch's length counts on
                log.info("event=epoch_early what=%r", early.what)
            except ChainError:
                continue  # it was logged, and is told by `standing`; the next round looks again
            except StoreError as error:  # the database is away, or the ledger has stopped and the process ends
                log.warning("event=epoch_round_failed code=%s what=%r", error.code, error.what)

    def _is_worth_closing(self) -> bool:
        """Return whether a close is worth a transaction: something was decided in it, or something vests with it."""
        book = self._replay.book
        return self._ledger.size > self._replay.first or (book is not None and not book.is_at_rest)

    @property
    def standing(self) -> EpochStanding | None:
        """How far the closed epochs are on the chain, as of the last look; None without a chain."""
        if self.poster is None:
            return None
        seen, trouble, waiting = self.poster.standing, self.poster.trouble, self.poster.waiting
        return EpochStanding(
            closed=len(self._closed),
            posted=seen.posted if seen else 0,
            active=seen.active if seen else 0,
            settled=self.poster.settled,
            block=seen.block if seen else 0,
            final_block=seen.final_block if seen else 0,
            trouble=trouble.code if trouble else None,
            signatures=len(waiting.signatures) if waiting else 0,
            threshold=waiting.threshold if waiting else 0,
        )

    # -- signing

    def attestation(self) -> EpochAttestation:
        """Return the attestation that waits for signatures, as of the last look.

        Raises:
            Rejected: ATTESTATION_NONE.
        """
        if self.poster is None or self.poster.waiting is None:
            raise nothing_waits()
        return self.poster.waiting.describe()

    def take_signature(self, given: EpochSignature) -> EpochAttestation:
        """Keep another validator's signature.

        Raises:
            Rejected: As `Poster.take`.
        """
        if self.poster is None:
            raise nothing_waits()
        return self.poster.take(given)

    # -- claiming

    def ticket(self, account: bytes, first: int = 1) -> ClaimTicket:
        """Return what the account earned in the closed epochs from ``first`` on, oldest first, at most a page of them.

        Raises:
            Rejected: CLAIM_NONE (404) if it has earned nothing in any of them.
        """
        if not self._closed:
            raise _nothing(account, "no epoch is closed yet")
        paying = [one.epoch for one in self._closed[max(first, 1) - 1 :] if account in one.amounts_wei]
        if not paying:
            raise _nothing(account, f"none of the {number_of(len(self._closed), 'closed epoch')} pays it")
        shares = []
        for tree, epoch in ((self._tree(epoch), epoch) for epoch in paying[:_SHARES]):
            shares.append(ClaimShare(epoch, str(tree.amount_wei(account)), tuple(tree.proof(account)), tree.root))
        return ClaimTicket(account, tuple(shares), paying[_SHARES] if len(paying) > _SHARES else None)

    def leaves(self, epoch: int) -> EpochLeaves:
        """Return the leaves of a closed epoch's reward tree.

        Raises:
            Rejected: EPOCH_UNKNOWN (404) for any other.
        """
        if not 1 <= epoch <= len(self._closed):
            raise Rejected(
                "EPOCH_UNKNOWN",
                f"epoch {epoch} is not closed, the last that is has the number {len(self._closed)}",
                "Ask for one that is closed.",
                status=404,
            )
        payout = self._closed[epoch - 1]
        leaves = tuple(RewardLeaf(account, str(wei)) for account, wei in sorted(payout.amounts_wei.items()))
        return EpochLeaves(epoch, payout.size, payout.reward_root, leaves)


def derive_open(replay: Replay, closing: Closing | None) -> EpochPayout:
    """Return what the open epoch pays if it closes so."""
    return replay.open_epoch(closing)


def _nothing(account: bytes, why: str) -> Rejected:
    return Rejected(
        "CLAIM_NONE",
        f"0x{account.hex()} has nothing to claim: {why}",
        "Wait until an epoch closes in which a pair of yours was accepted and novel.",
        status=404,
    )
