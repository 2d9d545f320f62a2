"""The HTTP client of a validator: the only place where a node talks to one, always outwards.

Every answer is parsed into its protocol type; every receipt is checked before it is believed.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp

from curiosity.client.unreachable import why_silent
from curiosity.protocol.errors import CuriosityError, Fault, Overloaded, Rejected, ServiceError
from curiosity.protocol.item_request import SignedItemRequest
from curiosity.protocol.json_reader import read_json
from curiosity.protocol.messages import (
    Answer,
    ConsistencyProof,
    Decision,
    EntryPage,
    Health,
    InclusionProof,
    Network,
    SubmissionPage,
    TakedownReport,
)
from curiosity.protocol.orders import (
    BlockOrder,
    BlockReport,
    CheckpointOrder,
    CheckpointReport,
    ExpiryReport,
    RuleOrder,
    RuleReport,
)
from curiosity.protocol.reward_messages import ClaimTicket, EpochAttestation, EpochLeaves, EpochReport, EpochSignature
from curiosity.protocol.takedown import Blocked, SignedTakedown
from curiosity.protocol.url import check_url, without_userinfo
from curiosity.protocol.wire import encode, parse

log = logging.getLogger(__name__)

T = TypeVar("T")
PAIR_MEDIA_TYPE = "application/vnd.curiosity.pair"
_FIRST_WAIT_S = 0.2
_LONGEST_QUOTA_S = 3600.0  # a quota is worked off within an hour
_LONGEST_WAIT_S = 5.0
_MAX_REFUSAL_BYTES = 1 << 20
_LONGEST_RETRY_S = 86_400
_MAX_ANSWER_BYTES = 256 << 20  # a page of 1,000 entries of 65,535 bytes each is the largest honest answer


class ValidatorClient:
    """One validator at ``url``.

    A request without an answer is repeated, the same bytes, for ``patience_s``. ``on_wait`` is told of each failure
    that is waited out.

    Raises:
        ConfigError: URL_INVALID for what is not the address of a web server.
        ServiceError: By every method: SERVICE_UNREACHABLE, SERVICE_ANSWER (what came is not a message of the protocol).
        Rejected: By every method, with the validator's own code.
        Overloaded: By every method, if the validator stays so.
    """

    def __init__(
        self,
        url: str,
        *,
        patience_s: float = 60.0,
        timeout_s: float = 120.0,
        connections: int = 32,
        on_wait: Callable[[CuriosityError], None] = lambda _failure: None,
    ) -> None:
        self.url = check_url(url, "the validator's address (--url, [node] validator_url, in a program url)").rstrip("/")
        self._on_wait = on_wait
        self.patience_s = patience_s
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=self._connections)
        self._session = aiohttp.ClientSession(timeout=self._timeout, connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    # -- what a contributor asks

    async def network(self) -> Network:
        """Return what must be known before signing."""
        return await self._ask(Network, "GET", "/v1/network")

    async def post_pair(self, body: bytes) -> Decision:
        """Return the decision about a signed pair; safe to repeat, the nonce makes it one submission."""
        return await self._ask(Decision, "POST", "/v1/pairs", data=body, content_type=PAIR_MEDIA_TYPE)

    async def receipt(self, pair: bytes, index: int | None = None) -> Decision:
        """Return the newest decision about a pair by its digest, or that of the entry at ``index``."""
        query = "" if index is None else f"?index={index}"
        return await self._ask(Decision, "GET", f"/v1/receipts/0x{pair.hex()}{query}")

    async def takedown(self, signed: SignedTakedown, token: str = "") -> TakedownReport:
        """Have a pair forgotten; ``token`` is the operator's, whose request is not signed. Safe to repeat."""
        return await self._ask(TakedownReport, "POST", "/v1/takedowns", data=encode(signed), token=token)

    async def block_items(self, token: str, pair: bytes, modalities: str) -> BlockReport:
        """Have items of a pair refused from now on; the operator's order. Safe to repeat."""
        order = encode(BlockOrder(pair, modalities))
        return await self._ask(BlockReport, "POST", "/v1/admin/blocked-items", data=order, token=token)

    async def claim(self, account: bytes, first: int = 1) -> ClaimTicket:
        """Return what an account may claim of the epochs from ``first`` on, a page of them."""
        return await self._ask(ClaimTicket, "GET", f"/v1/claims/0x{account.hex()}", query={"first": first})

    # -- what anybody checks

    async def epoch_leaves(self, epoch: int) -> EpochLeaves:
        """Return the leaves of a closed epoch's reward tree as the validator attests it."""
        return await self._ask(EpochLeaves, "GET", f"/v1/epochs/{epoch}/leaves")

    async def entries(self, start: int, count: int) -> EntryPage:
        """Return leaves of the ledger."""
        return await self._ask(EntryPage, "GET", "/v1/entries", query={"start": start, "count": count})

    async def submissions(self, start: int, count: int) -> SubmissionPage:
        """Return signed submissions."""
        return await self._ask(SubmissionPage, "GET", "/v1/submissions", query={"start": start, "count": count})

    async def inclusion(self, index: int, size: int | None = None) -> InclusionProof:
        """Return an inclusion proof in the tree of ``size`` leaves, by default all."""
        query = {"index": index} | ({} if size is None else {"size": size})
        return await self._ask(InclusionProof, "GET", "/v1/proof/inclusion", query=query)

    async def consistency(self, first: int, size: int) -> ConsistencyProof:
        """Return a consistency proof."""
        return await self._ask(ConsistencyProof, "GET", "/v1/proof/consistency", query={"first": first, "size": size})

    async def tlog_proof(self, index: int) -> str:
        """Return the offline proof of an entry (c2sp.org/tlog-proof) under the newest cosigned head; waits for that."""
        return (await self._request("GET", "/v1/proof/tlog", query={"index": index})).decode(errors="replace")

    async def tree_head(self) -> str:
        """Return the signed tree head, a note."""
        return (await self._request("GET", "/checkpoint")).decode(errors="replace")

    async def item(self, digest: bytes) -> bytes:
        """Return the bytes of an item of an accepted pair, not yet checked against its digest."""
        return await self._request("GET", f"/v1/items/0x{digest.hex()}")

    async def checkpoint_file(self, digest: bytes, name: str) -> bytes:
        """Return a file of a checkpoint that judged entries, not yet checked."""
        return await self._request("GET", f"/v1/checkpoints/0x{digest.hex()}/{name}")

    async def signed_item(self, signed: SignedItemRequest) -> bytes:
        """Return an item's bytes to its contributor or an auditor, likewise; the request counts once."""
        return await self._request("POST", "/v1/items", data=encode(signed))

    # -- what a searcher asks

    async def query(self, modality: str, media_type: str, data: bytes, to: str, k: int) -> Answer:
        """Return the items of modality ``to`` nearest to the one given."""
        query = {"modality": modality, "to": to, "k": k}
        return await self._ask(Answer, "POST", "/v1/query", query=query, data=data, content_type=media_type)

    # -- what another validator asks

    async def attestation(self) -> EpochAttestation:
        """Return what a quorum has to sign for the next epoch.

        Raises:
            Rejected: ATTESTATION_NONE.
        """
        return await self._ask(EpochAttestation, "GET", "/v1/attestation")

    async def sign_attestation(self, signature: EpochSignature) -> EpochAttestation:
        """Hand in a validator's signature under it."""
        return await self._ask(EpochAttestation, "POST", "/v1/attestation", data=encode(signature))

    # -- what an operator asks

    async def health(self) -> Health:
        """Return liveness."""
        return await self._ask(Health, "GET", "/health")

    async def blocked(self, token: str) -> Blocked:
        """Return what the validator refuses because it was taken down there, as keyed hashes."""
        return await self._ask(Blocked, "GET", "/v1/admin/blocked", token=token)

    async def expire(self, token: str) -> ExpiryReport:
        """Let go the items of refused pairs that were kept long enough."""
        return await self._ask(ExpiryReport, "POST", "/v1/admin/expiries", token=token)

    async def close_epoch(self, token: str) -> EpochReport:
        """Close the open epoch."""
        return await self._ask(EpochReport, "POST", "/v1/admin/epochs", token=token)

    async def announce_rule(self, token: str, order: RuleOrder) -> RuleReport:
        """Have pay follow other parameters from an epoch on."""
        return await self._ask(RuleReport, "POST", "/v1/admin/rules", data=encode(order), token=token)

    async def switch_checkpoint(self, token: str, path: str, *, force: bool = False) -> CheckpointReport:
        """Switch to the checkpoint in a folder on the validator's machine; ``force``: also to a worse one."""
        order = encode(CheckpointOrder(path, force))
        return await self._ask(CheckpointReport, "POST", "/v1/admin/checkpoints", data=order, token=token)

    # -- how

    async def _ask(self, type_: type[T], method: str, path: str, **arguments: Any) -> T:
        body = await self._request(method, path, **arguments)
        try:
            return parse(type_, body)
        except Rejected as error:
            raise ServiceError(
                "SERVICE_ANSWER",
                f"{method} {path} answered {body[:80]!r}, which is no {type_.__name__} ({error.what})",
                "Check that the address is a Curiosity validator of this version.",
            ) from None

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        data: bytes | None = None,
        content_type: str = "application/json",
        token: str = "",
    ) -> bytes:
        headers = {"Content-Type": content_type} if data is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        parameters = {name: str(value) for name, value in (query or {}).items()}
        started = time.monotonic()
        deadline = started + self.patience_s
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                return await self._once(method, path, parameters, data, headers)
            except Overloaded as error:
                failure: CuriosityError = error
                if error.code == "QUOTA_EXCEEDED":  # it answers, and says when: that is not what patience is for
                    later = time.monotonic() + 2 * error.retry_after_s + self.patience_s
                    deadline = max(deadline, min(later, started + _LONGEST_QUOTA_S))
                pause_s = max(float(error.retry_after_s), wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            except ServiceError as error:
                if error.code == "SERVICE_ANSWER":
                    raise
                failure, pause_s = error, wait_s
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            pause_s *= 0.75 + 0.5 * random.random()  # noqa: S311 - so that many clients do not come back at once
            if time.monotonic() + pause_s > deadline:
                raise failure
            self._on_wait(failure)
            log.info("event=retry path=%s code=%s wait_s=%.2f", path, failure.code, pause_s)
            await asyncio.sleep(pause_s)

    async def _once(
        self, method: str, path: str, query: Mapping[str, str], data: bytes | None, headers: Mapping[str, str]
    ) -> bytes:
        if self._session is None:
            raise RuntimeError("use the client as a context manager")
        try:
            async with self._session.request(
                method, self.url + path, params=query, data=data, headers=headers
            ) as response:
                body = await _read(response, f"{method} {path}")
                if response.status == 200:
                    return body
                raise _refusal(response.status, body, response.headers.get("Retry-After", ""), f"{method} {path}")
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise ServiceError(
                "SERVICE_UNREACHABLE",
                without_userinfo(f"{self.url} did not answer {method} {path}: {why_silent(error)}"),
                "Check the address (--url, [node] validator_url, in a program url) and that the validator runs: "
                "curiosity doctor.",
            ) from None


async def _read(response: aiohttp.ClientResponse, what: str) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > _MAX_ANSWER_BYTES:
            raise ServiceError(
                "SERVICE_ANSWER",
                f"{what} answered more than {_MAX_ANSWER_BYTES} bytes",
                "Check that the address is a Curiosity validator of this version.",
            )
    return bytes(body)


def _refusal(status: int, body: bytes, retry_after: str, what: str) -> CuriosityError:
    try:
        message = read_json(body, max_bytes=_MAX_REFUSAL_BYTES, max_depth=8)
        texts = [message[name] for name in ("code", "what", "remedy")]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError
        code, happened, remedy = texts
    except (ValueError, KeyError, TypeError):
        return ServiceError(
            "SERVICE_ANSWER",
            f"{what} answered status {status} with {body[:80]!r}",
            "Check that the address is a Curiosity validator of this version.",
        )
    if status in (429, 503):  # too much from us, or too much in all: the same bytes later
        return Overloaded(code, happened, remedy, retry_after_s=_seconds(retry_after))
    if status >= 500:
        return ServiceError(code, happened, remedy)
    fault = message.get("fault")
    known = {each.value: each for each in Fault}
    return Rejected(
        code,
        happened,
        remedy,
        status=status,
        fault=known.get(fault, Fault.CONTRIBUTOR) if isinstance(fault, str) else Fault.CONTRIBUTOR,
    )


def _seconds(retry_after: str) -> int:
    """Return what a Retry-After header asks for, a day at most; 1 where it is not a number of seconds."""
    if not retry_after.isascii() or not retry_after.isdecimal():
        return 1
    return min(int(retry_after), _LONGEST_RETRY_S) if len(retry_after) < 10 else _LONGEST_RETRY_S
