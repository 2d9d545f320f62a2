"""The HTTP routes: each reads the request, calls one method, and writes a protocol message.

Errors become ErrorMessages in one middleware, `edge`.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aiohttp import web

from embedding.modalities import BY_NAME
from protocol.errors import CuriosityError, Overloaded, Rejected
from protocol.merkle import leaf_hash
from protocol.messages import (
    Answer,
    CheckpointOrder,
    CheckpointReport,
    ClaimTicket,
    ConsistencyProof,
    Decision,
    EntryPage,
    EpochReport,
    ErrorMessage,
    Health,
    InclusionProof,
    IndexedSubmission,
    Network,
    SubmissionPage,
)
from protocol.pair import MAX_ENVELOPE_BYTES, Envelope
from protocol.verdict import Opening
from protocol.wire import encode, from_hex, parse
from validator.openapi import PAIR_MEDIA_TYPE, Operation, describe
from validator.pipeline import FAULT_STATUS, replay
from validator.service import Service, switch_checkpoint

log = logging.getLogger(__name__)

VERSION = version("curiosity")
MAX_PAGE = 1000
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

SERVICE = web.AppKey("service", Service)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


# -- reading requests


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """Return the raw request body. Raises Rejected BODY_TOO_LARGE (413) before reading, BODY_TIMEOUT, BODY_ENCODED."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Rejected("BODY_ENCODED", "the body is compressed", "Send the bytes as they are.", status=415)
    length = request.content_length
    if length is not None and length > max_bytes:
        raise Rejected("BODY_TOO_LARGE", f"{length} bytes, at most {max_bytes}", "Send a smaller item.", status=413)
    timeout_s = request.app[SERVICE].settings.validator.body_timeout_s
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > max_bytes:
                    raise Rejected("BODY_TOO_LARGE", f"over {max_bytes} bytes", "Send a smaller item.", status=413)
    except TimeoutError:
        raise Rejected("BODY_TIMEOUT", f"not whole after {timeout_s:g} s", "Send it faster.", status=408) from None
    return bytes(body)


def number(request: web.Request, name: str, default: int | None = None, *, most: int | None = None) -> int:
    """Return a whole number from the query string. Raises Rejected QUERY_INVALID."""
    text = request.query.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise Rejected("QUERY_INVALID", f"{name} is {text!r}", f"Give {name} as a whole number.")
    return int(text) if most is None else min(int(text), most)


def hex_in_path(request: web.Request, name: str, length: int) -> bytes:
    """Return bytes from the path. Raises Rejected QUERY_INVALID."""
    try:
        return from_hex(request.match_info[name].lower(), length)
    except ValueError as error:
        raise Rejected(
            "QUERY_INVALID", f"{name} is {request.match_info[name][:80]!r}: {error}", "Correct it."
        ) from None


def answer(message: Any, status: int = 200) -> web.Response:
    """Return a protocol message as a JSON response."""
    return web.Response(body=encode(message), status=status, content_type="application/json")


def not_found(what: str) -> Rejected:
    """The refusal of something that is not here (HTTP 404)."""
    return Rejected("NOT_FOUND", what, "Check the id; GET /v1/network tells the ledger's size.", status=404)


# -- routes: contributors


async def get_network(request: web.Request) -> web.Response:
    s = request.app[SERVICE]
    judge = s.pipeline.judge
    modalities = sorted({name for pair in judge.pairs for name in pair.split("-")})
    return answer(
        Network(
            name=s.settings.validator.name,
            network_id=s.network_id,
            domain=s.domain,
            origin=s.settings.validator.name,
            receipt_vkey=s.keys.receipt.verifier.vkey(),
            log_vkey=s.keys.log.verifier.vkey(),
            token=s.addresses.token,
            checkpoint=judge.checkpoint,
            checkpoint_parent=s.embedder.parent,
            modalities=tuple(modalities),
            pairs=tuple(sorted(judge.pairs)),
            max_item_bytes={name: BY_NAME[name].limits.max_bytes for name in modalities},
            media_types={name: tuple(BY_NAME[name].media_types) for name in modalities},
            licenses=tuple(s.settings.validator.licenses),
            epoch=s.epochs.open_epoch,
            ledger_size=s.ledger.size,
        )
    )


async def post_pair(request: web.Request) -> web.Response:
    """The front door of the spine."""
    limit = 4 + MAX_ENVELOPE_BYTES + 2 * max(modality.limits.max_bytes for modality in BY_NAME.values())
    return answer(await request.app[SERVICE].pipeline.validate(await read_body(request, limit)))


async def get_receipt(request: web.Request) -> web.Response:
    s = request.app[SERVICE]
    digest = hex_in_path(request, "pair", 32)
    decided = await s.pipeline.on_reader(lambda: s.store.find_pair(digest))
    if decided is None:
        raise not_found(f"pair 0x{digest.hex()} is not in this ledger")
    return answer(replay(decided))


async def get_claim(request: web.Request) -> web.Response:
    s = request.app[SERVICE]
    account = hex_in_path(request, "account", 20)
    return answer(await s.pipeline.on_reader(lambda: s.epochs.ticket(account)))


# -- routes: whoever checks


async def get_entries(request: web.Request) -> web.Response:
    s = request.app[SERVICE]
    start, count = number(request, "start", 0), number(request, "count", 100, most=MAX_PAGE)
    leaves = await s.pipeline.on_reader(lambda: s.store.leaves(start, count))
    return answer(EntryPage(start, s.ledger.size, tuple(leaf.decode() for leaf in leaves)))


async def get_submissions(request: web.Request) -> web.Response:
    s = request.app[SERVICE]
    start, count = number(request, "start", 0), number(request, "count", 100, most=MAX_PAGE)
    rows = await s.pipeline.on_reader(lambda: s.store.submissions(start, count))
    shown = []
    for row in rows:
        envelope = parse(Envelope, row.envelope)
        opening = parse(Opening, row.opening)
        shown.append(IndexedSubmission(row.index, envelope.submission, envelope.signature, opening))
    following = rows[-1].index + 1 if len(rows) == count else None
    return answer(SubmissionPage(start, following, tuple(shown)))


async def get_tree_head(request: web.Request) -> web.Response:
    s = request.app[SERVICE]
    return web.Response(text=await s.pipeline.on_reader(s.ledger.tree_head), content_type="text/plain")


async def get_inclusion(request: web.Request) -> web.Response:
    s = request.app[SERVICE]
    size = number(request, "size", s.ledger.size)
    index = number(request, "index")

    def prove() -> InclusionProof:
        if not 0 <= index < size <= s.ledger.size:
            raise not_found(f"entry {index} in a tree of {size}; the ledger has {s.ledger.size}")
        (leaf,) = s.store.leaves(index, 1)
        root = s.ledger.root_at(size)
        path = tuple(s.ledger.inclusion_proof(index, size))
        return InclusionProof(index, size, leaf_hash(leaf), path, root, s.ledger.tree_head_at(size))

    return answer(await s.pipeline.on_reader(prove))


async def get_consistency(request: web.Request) -> web.Response:
    s = request.app[SERVICE]
    size = number(request, "size", s.ledger.size)
    first = number(request, "first")
    if not 0 < first <= size <= s.ledger.size:
        raise not_found(f"no proof from {first} to {size}; the ledger has {s.ledger.size} entries")
    path = await s.pipeline.on_reader(lambda: tuple(s.ledger.consistency_proof(first, size)))
    return answer(ConsistencyProof(first, size, path))


async def get_item(request: web.Request) -> web.Response:
    s = request.app[SERVICE]
    digest = hex_in_path(request, "sha256", 32)
    item, content = await s.pipeline.on_reader(lambda: (s.store.item(digest), s.store.blob(digest)))
    if item is None or content is None:
        raise not_found(f"item 0x{digest.hex()} is not kept here")
    return web.Response(
        body=content,
        content_type=item.media_type,
        headers={"Cache-Control": "public, max-age=31536000, immutable", "Content-Disposition": "attachment"},
    )


# -- routes: who searches


async def post_query(request: web.Request) -> web.Response:
    s = request.app[SERVICE]
    wait_s = s.query_limit.retry_after_s(request.remote)
    if wait_s:
        limit = s.settings.validator.queries_per_minute
        remedy = f"Ask again in {wait_s} s."
        raise Rejected("QUOTA_EXCEEDED", f"over {limit} queries a minute", remedy, status=429, retry_after_s=wait_s)
    modality = request.query.get("modality", "text")
    known = BY_NAME.get(modality)
    if known is None:
        raise Rejected("QUERY_INVALID", f"modality is {modality!r}", f"Use one of {', '.join(sorted(BY_NAME))}.")
    default = known.media_types[0]
    media_type = default if request.content_type == "application/octet-stream" else request.content_type
    body = await read_body(request, known.limits.max_bytes)
    to = request.query.get("to", "image")
    return answer(await s.search.search(modality, media_type, body, to, number(request, "k", 10), s.pipeline.on_reader))


# -- routes: who runs it


def require_admin(request: web.Request) -> None:
    """Raise Rejected ADMIN_TOKEN (401) unless the request carries the admin token."""
    expected = f"Bearer {request.app[SERVICE].keys.admin_token}"
    if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected.encode()):
        raise Rejected(
            "ADMIN_TOKEN",
            "the admin token is missing or wrong",
            "Send the content of keys/admin.token in the validator's data folder as a bearer token.",
            status=401,
        )


async def post_epoch(request: web.Request) -> web.Response:
    require_admin(request)
    return answer(await request.app[SERVICE].epochs.close())


async def post_checkpoint(request: web.Request) -> web.Response:
    require_admin(request)
    s = request.app[SERVICE]
    order = parse(CheckpointOrder, await read_body(request, MAX_ENVELOPE_BYTES))
    started = time.monotonic()
    index, reindexed = await switch_checkpoint(s, Path(order.path))
    seconds = round(time.monotonic() - started)
    return answer(CheckpointReport(s.embedder.checkpoint, index, reindexed, seconds))


async def get_health(request: web.Request) -> web.Response:
    s = request.app[SERVICE]
    return answer(
        Health(
            status="ok" if s.pipeline.failure is None else s.pipeline.failure.code,
            version=VERSION,
            device=s.embedder.device,
            checkpoint=s.embedder.checkpoint,
            ledger_size=s.ledger.size,
            queue=s.pipeline.queued,
            epoch=s.epochs.open_epoch,
        ),
        status=200 if s.pipeline.failure is None else 503,
    )


async def get_metrics(request: web.Request) -> web.Response:
    s = request.app[SERVICE]
    s.metrics.ledger_size.set(s.ledger.size)
    s.metrics.queued.set(s.pipeline.queued)
    s.metrics.epoch.set(s.epochs.open_epoch)
    return web.Response(body=s.metrics.text(), content_type="text/plain", charset="utf-8")


async def get_openapi(_request: web.Request) -> web.Response:
    return web.json_response(describe(tuple(operation for operation, _ in ROUTES), VERSION))


_TEXT = "text/plain"
ROUTES: tuple[tuple[Operation, Handler], ...] = (
    (Operation("GET", "/health", "Liveness and what is served", Health), get_health),
    (Operation("GET", "/metrics", "Counters for Prometheus", _TEXT), get_metrics),
    (Operation("GET", "/openapi.json", "This document", "application/json"), get_openapi),
    (Operation("GET", "/v1/network", "What a contributor needs to know before signing", Network), get_network),
    (Operation("POST", "/v1/pairs", "Submit a signed pair", Decision, takes=PAIR_MEDIA_TYPE), post_pair),
    (Operation("GET", "/v1/receipts/{pair}", "The decision about a pair, again", Decision), get_receipt),
    (Operation("GET", "/v1/entries", "Leaves of the ledger", EntryPage, query=("start", "count")), get_entries),
    (
        Operation("GET", "/v1/submissions", "Signed submissions", SubmissionPage, query=("start", "count")),
        get_submissions,
    ),
    (Operation("GET", "/checkpoint", "Signed tree head, c2sp.org/tlog-checkpoint", _TEXT), get_tree_head),
    (
        Operation("GET", "/v1/proof/inclusion", "RFC 6962 inclusion proof", InclusionProof, query=("index", "size")),
        get_inclusion,
    ),
    (
        Operation("GET", "/v1/proof/consistency", "RFC 6962 consistency", ConsistencyProof, query=("first", "size")),
        get_consistency,
    ),
    (Operation("GET", "/v1/items/{sha256}", "An item's bytes", "application/octet-stream"), get_item),
    (
        Operation(
            "POST",
            "/v1/query",
            "Search by any modality",
            Answer,
            query=("modality", "to", "k"),
            takes="application/octet-stream",
        ),
        post_query,
    ),
    (Operation("GET", "/v1/claims/{account}", "What an account may claim", ClaimTicket), get_claim),
    (Operation("POST", "/v1/admin/epochs", "Close the open epoch", EpochReport, admin=True), post_epoch),
    (
        Operation(
            "POST",
            "/v1/admin/checkpoints",
            "Switch the checkpoint",
            CheckpointReport,
            takes=CheckpointOrder,
            admin=True,
        ),
        post_checkpoint,
    ),
)


# -- the edge


@web.middleware
async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error as an ErrorMessage, add the security headers, log one line a request."""
    started = time.monotonic()
    service = request.app[SERVICE]
    code = ""
    try:
        response = await handler(request)
    except CuriosityError as error:
        code = error.code
        response = error_response(error)
    except web.HTTPException as error:
        code = f"HTTP_{error.status}"
        remedy = "GET /openapi.json lists the routes."
        message = ErrorMessage(code, f"{request.method} {request.path[:100]}: {error.reason}", remedy, "contributor")
        response = answer(message, error.status)
    except ConnectionError:
        raise
    except Exception:  # the process edge: logged once, told without a traceback
        log.exception("event=request_failed path=%s", request.path)
        code = "INTERNAL"
        message = ErrorMessage(code, "the validator failed on this request", "Send it again later.", "validator")
        response = answer(message, 500)
    if code:
        service.metrics.count_refusal(code)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    seconds = time.monotonic() - started
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "none"
    service.metrics.time_request(route, seconds)
    log.info(
        "event=request method=%s route=%s status=%d code=%s ms=%.1f",
        request.method, route, response.status, code or "-", 1000 * seconds,
    )  # fmt: skip
    return response


def error_response(error: CuriosityError) -> web.Response:
    """Return an error as the JSON and status that the protocol gives it."""
    message = ErrorMessage(error.code, error.what, error.remedy, error.fault.value)
    if not isinstance(error, Rejected | Overloaded):
        return answer(message, FAULT_STATUS[error.fault])
    response = answer(message, error.status if isinstance(error, Rejected) else 503)
    if error.retry_after_s:
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response
