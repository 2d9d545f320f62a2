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

from curiosity.chain.attestation import Attestation, address_of, recover_signer, sign_digest
from curiosity.chain.chain import MAX_WAITING_EPOCHS, EpochRecord, RewardsState, Standing, TransactionReceipt
from curiosity.chain.evm import ChainClient
from curiosity.protocol.counts import number_of
from curiosity.protocol.epoch_payout import EpochPayout
from curiosity.protocol.errors import ChainError, ProofError, Rejected
from curiosity.protocol.reward_messages import EpochAttestation, EpochSignature

log = logging.getLogger(__name__)

_REST_S = 60.0  # between two looks at a chain on which everything is settled


@dataclass(frozen=True)
class Posted:
    """What came of posting: the last transaction, if one was needed, and when the newest epoch may be activated."""

    transaction: str | None
    activates_at: int | None


@dataclass(frozen=True)
class Waiting:
    """An epoch that is to be posted once a quorum has signed it; ``signatures`` by signer, all of them validators."""

    attestation: Attestation
    digest: bytes
    threshold: int
    validators: frozenset[bytes]
    signatures: dict[bytes, bytes]  # grows

    def describe(self) -> EpochAttestation:
        """Return what whoever is to sign needs to know."""
        a = self.attestation
        return EpochAttestation(
            a.epoch, a.ledger_size, a.ledger_root, a.reward_root, str(a.cumulative_total_wei), a.previous_root,
            a.set_id, a.attempt, self.digest, self.threshold, tuple(sorted(self.signatures)),
        )  # fmt: skip


class Poster:
    """Posts the epochs of one ledger. ``root_at`` gives the ledger's root at a size. Safe to share between threads."""

    def __init__(self, chain: ChainClient, key: bytes, root_at: Callable[[int], bytes]) -> None:
        self.chain = chain
        self.standing: Standing | None = None  # as of the last look
        self.settled = 0
        self.trouble: ChainError | None = None  # of the last look
        self.waiting: Waiting | None = None  # for signatures, as of the last look
        self._key = key
        self._root_at = root_at
        self._lock = threading.Lock()
        self._looked_at = -_REST_S
        self._compared: RewardsState | None = None  # up to its latest epoch, within the last minute
        self._compared_at = -_REST_S

    def is_at_rest(self, closed: int) -> bool:
        """Return whether everything is settled and was looked at lately."""
        return self.settled == closed and time.monotonic() < self._looked_at + _REST_S

    def post(self, closed: Sequence[EpochPayout]) -> Posted:
        """Post every closed epoch that the chain does not have.

        Raises:
            ChainError: CHAIN_ROOT_DIFFERS if the chain holds an epoch that does not follow from the ledger; it is kept
                in ``trouble`` until a look goes well.
        """
        with self._looking():
            self._compare_all(closed)
            return self._post(closed)

    def look(self, closed: Sequence[EpochPayout]) -> None:
        """Activate the oldest epoch that waits, if its delay is over, and post what is missing.

        In this order: the contract may refuse another epoch until one of those that wait is active.

        Raises:
            CuriosityError: What `post` raises.
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
        if self.waiting is not None and state.latest_epoch >= self.waiting.attestation.epoch:
            self.waiting = None  # somebody posted it
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
        waiting = self._sign(attestation, state.threshold)
        if len(waiting.signatures) < waiting.threshold:
            return None
        signed = [waiting.signatures[signer] for signer in sorted(waiting.signatures)]
        receipt = self.chain.post_root(self._key, attestation, signed[: waiting.threshold])
        self.waiting = None
        if receipt is not None:
            log.info(
                "event=root_posted epoch=%d block=%d gas=%d tx=0x%s",
                payout.epoch, receipt.block, receipt.gas_used, receipt.hash.hex(),
            )  # fmt: skip
        return receipt

    def _sign(self, attestation: Attestation, threshold: int) -> Waiting:
        """Sign what is to be posted, beside what others have signed of it.

        Raises:
            ChainError: CHAIN_NOT_VALIDATOR if our own signature would not count and there are too few of others.
        """
        # The digest names the validator set: what was signed of it stays signed by validators.
        digest, own = attestation.digest(self.chain.domain), address_of(self._key)
        validators = frozenset(self.chain.validators())
        before = self.waiting
        signatures = before.signatures if before is not None and before.digest == digest else {}
        if own in validators:
            signatures[own] = sign_digest(digest, self._key)
        self.waiting = Waiting(attestation, digest, threshold, validators, signatures)
        if len(signatures) < threshold:
            if own not in validators:
                raise ChainError(
                    "CHAIN_NOT_VALIDATOR",
                    f"0x{own.hex()}, this validator's attestation address, is not among the contract's "
                    f"{len(validators)}",
                    "Have the owner name it in setValidators, or start with the keys of the validator that is named.",
                )
            if before is None or before.digest != digest:
                log.info(
                    "event=epoch_waits epoch=%d signatures=%d of=%d", attestation.epoch, len(signatures), threshold
                )
        return self.waiting

    def take(self, given: EpochSignature) -> EpochAttestation:
        """Keep another validator's signature under the attestation that waits; the next look posts if it is enough.

        Asks nobody.

        Raises:
            Rejected: ATTESTATION_NONE (404), ATTESTATION_DIFFERS (409) for another than would be posted,
                ATTESTATION_SIGNER (403) for a stranger's signature, SIGNATURE_INVALID (422).
        """
        waiting = self.waiting
        if waiting is None:
            raise nothing_waits()
        if given.digest != waiting.digest:
            raise Rejected(
                "ATTESTATION_DIFFERS",
                f"signed was 0x{given.digest.hex()}, to be posted is 0x{waiting.digest.hex()} of epoch "
                f"{waiting.attestation.epoch}",
                "GET /v1/attestation and compare it with what follows from the ledger.",
                status=409,
            )
        try:
            signer = recover_signer(given.digest, given.signature)
        except ProofError as error:
            raise Rejected(error.code, error.what, "Sign the digest again.", status=422) from None
        if signer not in waiting.validators:
            raise Rejected(
                "ATTESTATION_SIGNER",
                f"0x{signer.hex()} signed and is not one of the {len(waiting.validators)} validators of the contract",
                "Sign with the key of a validator that the contract names.",
                status=403,
            )
        waiting.signatures[signer] = given.signature
        return waiting.describe()

    def _watch(self, standing: Standing) -> None:
        before, self.standing = self.standing, standing
        if before is not None and (standing.posted < before.posted or standing.active < before.active):
            log.warning(
                "event=epochs_fell_out block=%d posted=%d was=%d active=%d was_active=%d",
                standing.block, standing.posted, before.posted, standing.active, before.active,
            )  # fmt: skip

    def _compare(self, closed: Sequence[EpochPayout], state: RewardsState, known: int) -> None:
        """Hold every epoch after ``known`` to the ledger.

        Raises:
            ChainError: CHAIN_ROOT_DIFFERS.
        """
        for epoch in range(max(known, 0) + 1, state.latest_epoch + 1):
            held = self.chain.epoch(epoch, state)
            if held is None:
                continue  # it fell out since
            if epoch > len(closed):
                raise _differs(held, f"closed {number_of(len(closed), 'epoch')}")
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


def nothing_waits() -> Rejected:
    """Return the refusal where no epoch waits for signatures (HTTP 404)."""
    return Rejected(
        "ATTESTATION_NONE",
        "no epoch waits for signatures here: all that are closed are posted, or none can be posted now",
        "Ask again when another epoch is closed; /health tells how far they are.",
        status=404,
    )


def _differs(held: EpochRecord, ours: str) -> ChainError:
    state = "is active" if held.is_active else "is posted"
    return ChainError(
        "CHAIN_ROOT_DIFFERS",
        f"epoch {held.epoch} {state} with root 0x{held.reward_root.hex()} and {held.cumulative_total_wei} wei in all, "
        f"this ledger {ours}",
        "A quorum signed what does not follow from this ledger: have the guardian veto it before it is active. Nothing "
        "is signed on top of it.",
    )
