"""The chain's side of epochs: attest and post what is closed, activate what is due, watch until it is final.

The ledger is the only state. What the chain holds is compared with it again and again: whatever is missing is posted,
also when it was there before and its block fell out. An epoch is settled, and not looked at again, when its activation
is final; nothing is signed on top of an epoch that pays otherwise than the ledger says.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from contracts.attestation import sign_digest
from contracts.chain import MAX_WAITING_EPOCHS, EpochRecord, RewardsState, Standing, TransactionReceipt
from contracts.evm import ChainClient
from protocol.errors import ChainError
from protocol.payouts import EpochPayout

log = logging.getLogger(__name__)

_REST_S = 60.0  # between two looks at a chain on which everything is settled


@dataclass(frozen=True)
class Posted:
    """What came of posting: the last transaction, if one was needed, and when the newest epoch may be activated."""

    transaction: str | None
    activates_at: int | None


class Poster:
    """Posts the epochs of one ledger. ``root_at`` gives the ledger's root at a size. Safe to share between threads."""

    def __init__(self, chain: ChainClient, key: bytes, root_at: Callable[[int], bytes]) -> None:
        self.chain = chain
        self.standing: Standing | None = None  # as of the last look
        self.settled = 0
        self.trouble: ChainError | None = None  # of the last look
        self._key = key
        self._root_at = root_at
        self._lock = threading.Lock()
        self._looked_at = -_REST_S
        self._compared: RewardsState | None = None  # up to its latest epoch, within the last minute
        self._compared_at = -_REST_S

    def is_at_rest(self, closed: int) -> bool:
        """Whether everything is settled and was looked at lately."""
        return self.settled == closed and time.monotonic() < self._looked_at + _REST_S

    def post(self, closed: Sequence[EpochPayout]) -> Posted:
        """Post every closed epoch that the chain does not have.

        Raises ChainError, CHAIN_ROOT_DIFFERS if the chain holds an epoch that does not follow from the ledger; it is
        kept in ``trouble`` until a look goes well.
        """
        with self._looking():
            self._compare_all(closed)
            return self._post(closed)

    def look(self, closed: Sequence[EpochPayout]) -> None:
        """Activate the oldest epoch that waits, if its delay is over, and post what is missing. Raises as `post`.

        In this order: the contract may refuse another epoch until one of those that wait is active.
        """
        with self._looking():
            self._compare_all(closed)
            self._activate_due()
            self._post(closed)

    @contextmanager
    def _looking(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except ChainError as error:
                if self.trouble is None or self.trouble.code != error.code:
                    log.warning("event=chain_trouble code=%s what=%r", error.code, error.what)
                self.trouble = error
                raise
            self.trouble = None
            self._looked_at = time.monotonic()

    def _compare_all(self, closed: Sequence[EpochPayout]) -> None:
        self._watch(self.chain.standing())
        state = self.chain.state()
        if state.active_epoch < self.settled:
            # More than finality allows; or an endpoint that is far behind. Compare and post as if it had never been.
            log.error("event=settled_epochs_fell_out active=%d settled=%d", state.active_epoch, self.settled)
            self.settled = state.active_epoch
        if state != self._compared or time.monotonic() >= self._compared_at + _REST_S:
            self._compare(closed, state, self.settled)
            self._compared, self._compared_at = state, time.monotonic()
        # Only what was compared may be forgotten, and only when it cannot change any more.
        self._settle(closed)

    def _post(self, closed: Sequence[EpochPayout]) -> Posted:
        transaction: str | None = None
        assert self._compared is not None
        known, state = self._compared.latest_epoch, self.chain.state()
        while state.latest_epoch < len(closed):
            # The one that is signed on top of, and whatever came since the comparison of all.
            self._compare(closed, state, min(known, state.latest_epoch - 1))
            known = state.latest_epoch
            if known - state.active_epoch >= MAX_WAITING_EPOCHS:
                log.info("event=epochs_wait posted=%d active=%d", known, state.active_epoch)
                break
            receipt = self._post_next(closed[known], state)
            if receipt is not None:
                transaction = "0x" + receipt.hash.hex()
            # Others post too, and what fell out comes back with it: go on from what is there now, whatever it is.
            state = self.chain.state()
            if receipt is None and state.latest_epoch <= known:
                break  # an endpoint has not seen it yet: the next round will
        if transaction is not None:
            self._watch(self.chain.standing())
        return Posted(transaction, state.latest_activates_at or None)

    def _post_next(self, payout: EpochPayout, state: RewardsState) -> TransactionReceipt | None:
        """Post the epoch that follows on the state. None if exactly that was posted meanwhile."""
        attestation = state.next_attestation(
            ledger_size=payout.size,
            ledger_root=self._root_at(payout.size),
            reward_root=payout.reward_root,
            cumulative_total_wei=payout.cumulative_total_wei,
        )
        signature = sign_digest(attestation.digest(self.chain.domain), self._key)
        receipt = self.chain.post_root(self._key, attestation, [signature])
        if receipt is not None:
            log.info(
                "event=root_posted epoch=%d block=%d gas=%d tx=0x%s",
                payout.epoch, receipt.block, receipt.gas_used, receipt.hash.hex(),
            )  # fmt: skip
        return receipt

    def _watch(self, standing: Standing) -> None:
        before, self.standing = self.standing, standing
        if before is not None and (standing.posted < before.posted or standing.active < before.active):
            log.warning(
                "event=epochs_fell_out block=%d posted=%d was=%d active=%d was_active=%d",
                standing.block, standing.posted, before.posted, standing.active, before.active,
            )  # fmt: skip

    def _compare(self, closed: Sequence[EpochPayout], state: RewardsState, known: int) -> None:
        """Hold every epoch after ``known`` to the ledger. Raises ChainError CHAIN_ROOT_DIFFERS."""
        for epoch in range(max(known, 0) + 1, state.latest_epoch + 1):
            held = self.chain.epoch(epoch, state)
            if held is None:
                continue  # it fell out since
            if epoch > len(closed):
                raise _differs(held, f"closed {len(closed)} epochs")
            payout = closed[epoch - 1]
            if (held.reward_root, held.cumulative_total_wei) != (payout.reward_root, payout.cumulative_total_wei):
                raise _differs(
                    held, f"gives root 0x{payout.reward_root.hex()} and {payout.cumulative_total_wei} wei in all"
                )

    def _settle(self, closed: Sequence[EpochPayout]) -> None:
        assert self.standing is not None
        for epoch in range(self.settled + 1, min(self.standing.settled, len(closed)) + 1):
            log.info("event=epoch_settled epoch=%d final_block=%d", epoch, self.standing.final_block)
            self.settled = epoch

    def _activate_due(self) -> None:
        state = self.chain.state()
        if state.active_epoch >= state.latest_epoch:
            return
        try:
            self.chain.wait_until_activatable(0.0)
        except ChainError as error:
            if error.code == "CHAIN_TIMEOUT":
                return  # the veto delay is not over
            raise
        epoch = state.active_epoch + 1
        receipt = self.chain.activate(self._key, epoch)
        if receipt is not None:
            log.info("event=epoch_activated epoch=%d block=%d", epoch, receipt.block)


def _differs(held: EpochRecord, ours: str) -> ChainError:
    state = "is active" if held.is_active else "is posted"
    return ChainError(
        "CHAIN_ROOT_DIFFERS",
        f"epoch {held.epoch} {state} with root 0x{held.reward_root.hex()} and {held.cumulative_total_wei} wei in all, "
        f"this ledger {ours}",
        "A quorum signed what does not follow from this ledger: have the guardian veto it before it is active. Nothing "
        "is signed on top of it.",
    )
