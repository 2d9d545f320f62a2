"""The one decision of a witness, in order (c2sp.org/tlog-witness, add-checkpoint).

    1 parse       the body                                                       400
    2 trust       the origin is one of ours, a key of that log signed            404, 403
    3 compare     old size, empty root, one root a size, consistency proof       400, 409, 422
    4 cosign      sign, append to the log's file, sync
    5 answer      only now the cosignature leaves

Steps 3 and 4 are one critical section for each log: no other request of that log is heard between them.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import ProofError, Rejected, StoreError
from curiosity.protocol.evidence import check_evidence, collect
from curiosity.protocol.merkle import EMPTY_ROOT, verify_consistency
from curiosity.protocol.tlog import (
    TreeHead,
    WitnessRequest,
    cosign,
    parse_note,
    parse_vkey,
    parse_witness_request,
    verify_checkpoint,
)
from witness.files import origin_hash
from witness.heads import Cosigned, LogMemory, Memory
from witness.keys import WitnessKeys

log = logging.getLogger(__name__)


class Conflict(Rejected):
    """The old size is not that of the latest cosigned head (HTTP 409). ``size`` is."""

    def __init__(self, old: int, size: int) -> None:
        super().__init__(
            "OLD_SIZE",
            f"the request continues {number_of(old, 'entry')}, the latest cosigned tree has {size}",
            f"Send the consistency proof from {size}.",
            status=409,
        )
        self.size = size


class Witness:
    """Cosigns heads of the logs in ``logs`` (keys by origin). ``clock`` gives Unix seconds."""

    def __init__(
        self, memory: Memory, keys: WitnessKeys, logs: Mapping[str, tuple[str, ...]], clock: Callable[[], int]
    ) -> None:
        self._memory = memory
        self._keys = keys
        self._logs = logs
        self._clock = clock
        self._locks = {origin: asyncio.Lock() for origin in logs}
        self._origins = {origin_hash(origin): origin for origin in logs}
        self._stopped: dict[str, str] = {}

    async def add_checkpoint(self, body: bytes) -> str:
        """Return the cosignature lines for the head in a request.

        Raises:
            Rejected: With the status that the specification gives (`Conflict` for 409).
            StoreError: WITNESS_STOPPED if an earlier head of this log could not be made durable.
        """
        try:
            request = parse_witness_request(body.decode())  # 1
        except UnicodeDecodeError:
            raise _malformed("the body is not UTF-8") from None
        except ProofError as error:
            raise _malformed(f"{error.code}: {error.what}") from None
        head = self._trusted(request)  # 2
        # Shielded: a caller who hangs up must not open the critical section while a thread still writes.
        return await asyncio.shield(self._decide(request, head))

    async def _decide(self, request: WitnessRequest, head: TreeHead) -> str:
        async with self._locks[head.origin]:
            if head.origin in self._stopped:
                raise StoreError("WITNESS_STOPPED", self._stopped[head.origin], "Mend the disk and start again.")
            memory = self._memory.logs[head.origin]
            await self._compare(request, head, memory)  # 3
            return await self._cosign(request.note, head, memory)  # 4, 5

    @property
    def stopped(self) -> list[str]:
        """Origins of the logs of which nothing is cosigned any more until the next start."""
        return sorted(self._stopped)

    def latest(self, hashed_origin: str) -> str | None:
        """Return the latest cosigned note of the log with that hex SHA-256 of its origin, None if there is none."""
        origin = self._origins.get(hashed_origin)
        latest = self._memory.logs[origin].latest if origin is not None else None
        return latest.note if latest is not None else None

    def _trusted(self, request: WitnessRequest) -> TreeHead:
        origin = request.note.partition("\n")[0]  # unverified: it only says whose keys to try
        vkeys = self._logs.get(origin)
        if vkeys is None:
            raise Rejected("LOG_UNKNOWN", f"no log {origin[:100]!r} is trusted here", "Ask the operator.", status=404)
        try:
            return verify_checkpoint(request.note, origin, vkeys)
        except ProofError as error:
            if error.code == "NOTE_UNSIGNED" or error.code.startswith("SIGNATURE_"):
                raise Rejected(error.code, error.what, "Sign with the key that is trusted here.", status=403) from None
            if error.code == "HEAD_EMPTY_ROOT":
                raise _inconsistent(error.what) from None
            raise _malformed(f"{error.code}: {error.what}") from None

    async def _compare(self, request: WitnessRequest, head: TreeHead, memory: LogMemory) -> None:
        if request.old_size > head.size:
            raise _malformed(f"the old size {request.old_size} is above the tree's {head.size}")
        known = memory.at_size(head.size)
        if known is not None and known.head.root != head.root:
            await self._keep(known, request, head)  # a fork, whatever old size comes with it
        latest = memory.latest
        size = latest.head.size if latest is not None else 0
        if request.old_size != size:
            raise Conflict(request.old_size, size)
        before = latest.head.root if latest is not None else EMPTY_ROOT
        try:
            verify_consistency(size, head.size, request.path, before, head.root)
        except ProofError as error:
            if latest is not None:
                await self._keep(latest, request, head)
            raise _inconsistent(error.what) from None

    async def _keep(self, known: Cosigned, request: WitnessRequest, head: TreeHead) -> None:
        evidence = collect(head.origin, self._logs[head.origin], known.note, request.note, request.path)
        try:
            path = await asyncio.to_thread(self._memory.evidence[head.origin].keep, evidence)
        except OSError as error:  # refused all the same
            log.error("event=evidence_not_kept origin=%s reason=%s", head.origin, error)
            return
        log.warning(
            "event=refused origin=%s size=%d known=%d shown=%s file=%s",
            head.origin, head.size, known.head.size, check_evidence(evidence).shown, path.name if path else "none",
        )  # fmt: skip

    async def _cosign(self, note: str, head: TreeHead, memory: LogMemory) -> str:
        earlier = memory.latest.at if memory.latest is not None else 0
        at = max(self._clock(), earlier)  # a clock that was set back must not contradict what was said
        cosigned = by_log = _keep_signatures(note, self._logs[head.origin])
        for signer in self._keys.signers:
            cosigned = cosign(cosigned, signer, at)
        try:
            await asyncio.to_thread(memory.append, Cosigned(head, cosigned, at))
            await asyncio.to_thread(self._memory.evidence[head.origin].clear, head)
        except OSError as error:
            self._stopped[head.origin] = f"the head of size {head.size} could not be kept: {error}"
            log.error("event=stopped origin=%s reason=%s", head.origin, error)
            raise StoreError("WITNESS_STOPPED", str(error), "Mend the disk and start the witness again.") from None
        log.info("event=cosigned origin=%s size=%d at=%d", head.origin, head.size, at)
        return cosigned.removeprefix(by_log)


def _keep_signatures(note: str, vkeys: Sequence[str]) -> str:
    """Return a verified note without the signature lines of other keys: strangers' lines are not ours to keep.

    But for one: what the log's operator signed for a stake contract, so that a fork costs him (docs/protocol.md, 18).
    """
    text, signatures = parse_note(note)
    logs = [parse_vkey(vkey) for vkey in vkeys]
    ours = {(verifier.name, verifier.key_id) for verifier in logs}
    stake = [s for s in signatures if s.name in {f"{log.name}/stake" for log in logs} and len(s.signature) == 65]
    return text + "\n" + "".join(s.line() for s in signatures if (s.name, s.key_id) in ours or s in stake[:1])


def _malformed(what: str) -> Rejected:
    return Rejected("REQUEST_MALFORMED", what, "See c2sp.org/tlog-witness for the format.", status=400)


def _inconsistent(what: str) -> Rejected:
    return Rejected(
        "NOT_CONSISTENT", what, "Send the proof from the latest cosigned tree; a fork is never cosigned.", status=422
    )
