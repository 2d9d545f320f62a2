"""Items of refused pairs: who may see them, and until when they are kept (docs/protocol.md, step 34).

They are kept so that a contributor and an auditor can look at what was judged, and for nobody else: a stranger's bytes
are not served to strangers. What could not be decoded is not kept at all.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from curiosity.protocol.entry import PairEntry
from curiosity.protocol.errors import ConfigError, CuriosityError, Overloaded, Rejected
from curiosity.protocol.item_request import MAX_LIFETIME_S, SignedItemRequest
from curiosity.protocol.pair import Envelope
from curiosity.protocol.signing import Domain, recover
from curiosity.protocol.verdict import Reason
from curiosity.protocol.wire import from_hex, parse
from validator.forgotten import Forgotten
from validator.store import LetGo, Store
from validator.threads import Threads

log = logging.getLogger(__name__)

DAY_S = 24 * 3600
_STEP = 256  # pairs whose items are let go in one transaction, between two batches
_MAX_NONCES = 100_000  # of requests that were answered and have not expired
_VALIDATORS_S = 60.0  # how often the contract is asked for its validators, at most


@dataclass(frozen=True)
class Auditors:
    """Who may see items of anybody's: ``always`` by settings, and the contract's validators where there is a chain."""

    always: frozenset[bytes]
    validators: Callable[[], Collection[bytes]] | None = None
    _known: list[tuple[float, frozenset[bytes]]] = field(default_factory=list)

    def include(self, address: bytes) -> bool:
        """Say whether an address is an auditor's. Blocks.

        Raises:
            ChainError: If the chain does not say.
        """
        if address in self.always or self.validators is None:
            return address in self.always
        now = time.monotonic()
        if not self._known or now - self._known[0][0] > _VALIDATORS_S:
            self._known[:] = [(now, frozenset(self.validators()))]
        return address in self._known[0][1]


def parse_auditors(lines: Collection[str]) -> frozenset[bytes]:
    """Return the addresses in settings.

    Raises:
        ConfigError: AUDITOR_INVALID for what is not one.
    """
    try:
        return frozenset(from_hex(line.strip().lower(), 20) for line in lines)
    except ValueError as error:
        raise ConfigError(
            "AUDITOR_INVALID", f"[validator] auditors: {error}", "Write each address as 0x and 40 hex digits."
        ) from None


class RefusedItems:
    """Answers signed requests for items, and lets items of refused pairs go once they were kept for ``keep_s``.

    Items of held pairs are not among them as long as they have at most ``most_held`` bytes; beyond that the oldest of
    these pairs wait no more. ``clock`` gives Unix seconds.
    """

    def __init__(
        self,
        *,
        store: Store,
        threads: Threads,
        forgotten: Forgotten,
        auditors: Auditors,
        network_id: bytes,
        domain: Domain,
        keep_s: int,
        most_held: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._threads = threads
        self._forgotten = forgotten
        self._auditors = auditors
        self._network_id = network_id
        self._domain = domain
        self._keep_s = keep_s
        self._most_held = most_held
        self._clock = clock
        self._started = int(clock())
        self._answered: dict[tuple[bytes, bytes], int] = {}  # (signer, nonce): until when it could come again

    # -- who may see

    async def read(self, signed: SignedItemRequest) -> bytes:
        """Return the item that a request names.

        Raises:
            Rejected: WRONG_NETWORK, SIGNATURE_ codes, EXPIRY_TOO_FAR, NOT_FOUND (404), PAIR_TAKEN_DOWN (410),
                ITEM_OF_ANOTHER (403) for a signer who is neither the pair's contributor nor an auditor,
                ITEM_REQUEST_REPLAYED (409), ITEM_NOT_KEPT and ITEM_EXPIRED (410).
            Overloaded: ITEM_REQUESTS_FULL.
            ChainError: If the chain cannot be asked who the auditors are.
        """
        request = signed.request
        self._check_form(signed)
        signer = recover(request.digest(self._domain), signed.signature)
        self._forgotten.check_pair(request.pair)
        await self._threads.on_reader(lambda: self._check_signer(request.pair, signer))
        self._count(signer, signed)
        return await self._threads.on_reader(lambda: self._read(request.pair, request.sha256))

    def _check_form(self, signed: SignedItemRequest) -> None:
        request = signed.request
        if request.network_id != self._network_id:
            raise Rejected(
                "WRONG_NETWORK",
                f"asked of network 0x{request.network_id.hex()}, this is 0x{self._network_id.hex()}",
                "Fetch /v1/network again.",
            )
        left_s = request.expiry - int(self._clock())
        if left_s < 0:
            raise Rejected("SIGNATURE_EXPIRED", f"the request expired {-left_s} s ago", "Sign again.", status=422)
        if left_s > MAX_LIFETIME_S:
            raise Rejected(
                "EXPIRY_TOO_FAR",
                f"the request expires in {left_s} s, at most {MAX_LIFETIME_S} s are allowed",
                "Sign with an earlier expiry, or correct this machine's clock.",
                status=422,
            )
        if request.expiry < self._started + MAX_LIFETIME_S:
            # Nobody remembers what was answered before the start, so what could have been signed then counts no more.
            raise Rejected(
                "SIGNATURE_EXPIRED",
                "the request may have been signed before this validator started",
                f"Sign again, with an expiry {MAX_LIFETIME_S} s ahead.",
                status=422,
            )

    def _check_signer(self, pair: bytes, signer: bytes) -> None:
        decided = self._store.find_pair(pair)
        if decided is None:
            raise _not_found(f"pair 0x{pair.hex()} is not in this ledger")
        if parse(PairEntry, decided.leaf).contributor != signer and not self._auditors.include(signer):
            raise Rejected(
                "ITEM_OF_ANOTHER",
                f"0x{signer.hex()} neither submitted pair 0x{pair.hex()} nor audits this validator",
                "Sign with the wallet that submitted the pair; auditors are named by the validator's operator.",
                status=403,
            )

    def _count(self, signer: bytes, signed: SignedItemRequest) -> None:
        """Take a request that may be answered, once."""
        key, now = (signer, signed.request.nonce), int(self._clock())
        if key in self._answered:
            raise Rejected(
                "ITEM_REQUEST_REPLAYED", "this request was answered before", "Sign one with a fresh nonce.", status=409
            )
        if len(self._answered) >= _MAX_NONCES:
            self._answered = {known: until for known, until in self._answered.items() if until >= now}
            if len(self._answered) >= _MAX_NONCES:
                what = f"{_MAX_NONCES} requests were answered in the last {MAX_LIFETIME_S} s"
                raise Overloaded("ITEM_REQUESTS_FULL", what, "Ask again later.", retry_after_s=MAX_LIFETIME_S)
        self._answered[key] = signed.request.expiry

    def _read(self, pair: bytes, digest: bytes) -> bytes:
        decided = self._store.find_pair(pair)
        rows = self._store.submissions(decided.index, 1) if decided is not None else []
        if decided is None or not rows or rows[0].index != decided.index:
            raise _not_found(f"pair 0x{pair.hex()} holds nothing any more")
        submission = parse(Envelope, rows[0].envelope).submission
        if digest not in (submission.a.sha256, submission.b.sha256):
            raise _not_found(f"0x{digest.hex()} is neither half of pair 0x{pair.hex()}")
        item = self._store.item(digest)
        if rows[0].items_since is not None or (item is not None and item.accepted_uses > 0):
            content = self._store.blob(digest)
            if content is not None:
                return content
        if parse(PairEntry, rows[0].leaf).verdict.reason is Reason.ITEM_UNDECODABLE:
            raise Rejected(
                "ITEM_NOT_KEPT",
                f"an item of pair 0x{pair.hex()} could not be decoded; of such pairs hashes and the reason are kept",
                "The reason is in the receipt.",
                status=410,
            )
        raise Rejected(
            "ITEM_EXPIRED",
            f"items of refused pairs are kept for {self._keep_s // DAY_S} days, those of pair 0x{pair.hex()} are gone",
            "The entry and its proofs still hold; who submitted the pair has its files.",
            status=410,
        )

    # -- until when

    async def expire(self, now: int) -> LetGo:
        """Let go all items of refused pairs that were kept long enough at ``now`` (Unix seconds), the oldest first.

        Before, held pairs that are too many become refused ones. In steps of 256 pairs between two batches; an
        interruption loses none.

        Raises:
            StoreError: If they cannot be removed.
        """
        last = await self._threads.on_reader(lambda: self._store.held_beyond(self._most_held))
        if last >= 0:
            given_up = await self._threads.on_writer(lambda: self._store.give_up(last))
            log.warning("event=held_given_up pairs=%d last=%d most_bytes=%d", given_up, last, self._most_held)
        before, done = now - self._keep_s, LetGo()
        while True:
            step = await self._threads.on_writer(lambda: self._store.expire(before, _STEP))
            done = LetGo(done.pairs + step.pairs, done.items + step.items, done.size + step.size)
            if step.pairs < _STEP:
                break
        if done.pairs:
            log.info("event=items_expired pairs=%d items=%d bytes=%d", done.pairs, done.items, done.size)
        return done

    async def run(self, interval_s: float) -> None:
        """Expire now and then again and again, until it is cancelled."""
        while True:
            try:
                await self.expire(int(self._clock()))
            except CuriosityError as error:  # the next round tries again
                log.warning("event=expiry_failed code=%s what=%s", error.code, error.what)
            await asyncio.sleep(interval_s)


def _not_found(what: str) -> Rejected:
    return Rejected("NOT_FOUND", what, "Take pair and hash from the receipt.", status=404)
