"""Routes of whoever runs the validator: orders under the admin token, health and counters."""

import hmac
import time
from importlib.metadata import version
from pathlib import Path

from aiohttp import web

from curiosity.host.port.body import read_body
from curiosity.protocol.errors import CheckpointError, Rejected
from curiosity.protocol.messages import Health
from curiosity.protocol.orders import BlockOrder, CheckpointOrder, CheckpointReport, ExpiryReport, RuleOrder
from curiosity.protocol.pair import MAX_ENVELOPE_BYTES
from curiosity.protocol.wire import parse
from validator.block_orders import block_pair
from validator.edge import SERVICE, answer
from validator.service import switch_checkpoint

VERSION = version("curiosity")


def require_admin(request: web.Request) -> None:
    """Check that the request carries the admin token.

    Raises:
        Rejected: ADMIN_TOKEN (401).
    """
    expected = f"Bearer {request.app[SERVICE].keys.admin_token}"
    # Any byte may stand in a header: those that are no UTF-8 come as surrogates.
    given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
    if not hmac.compare_digest(given, expected.encode()):
        raise Rejected(
            "ADMIN_TOKEN",
            "the admin token is missing or wrong",
            "Send the content of keys/admin.token in the validator's data folder as a bearer token.",
            status=401,
        )


async def post_epoch(request: web.Request) -> web.Response:
    """Close the open epoch."""
    require_admin(request)
    return answer(await request.app[SERVICE].epochs.close())


async def post_rule(request: web.Request) -> web.Response:
    """Announce another rule of pay."""
    require_admin(request)
    order = parse(RuleOrder, await read_body(request, MAX_ENVELOPE_BYTES))
    return answer(await request.app[SERVICE].epochs.announce(order))


async def post_blocked_items(request: web.Request) -> web.Response:
    """Refuse items of a pair from now on."""
    require_admin(request)
    order = parse(BlockOrder, await read_body(request, MAX_ENVELOPE_BYTES))
    return answer(await block_pair(request.app[SERVICE], order))


async def post_expiry(request: web.Request) -> web.Response:
    """Let items of refused pairs go that were kept long enough."""
    require_admin(request)
    done = await request.app[SERVICE].refused_items.expire(int(time.time()))
    return answer(ExpiryReport(done.pairs, done.items, done.size))


async def post_checkpoint(request: web.Request) -> web.Response:
    """Switch to another checkpoint."""
    require_admin(request)
    s = request.app[SERVICE]
    order = parse(CheckpointOrder, await read_body(request, MAX_ENVELOPE_BYTES))
    if "\0" in order.path:
        raise Rejected("QUERY_INVALID", "the path holds a zero byte", "Give the path of the checkpoint's folder.")
    started = time.monotonic()
    try:
        index, reindexed = await switch_checkpoint(s, Path(order.path), force=order.force)
    except CheckpointError as error:  # of the order: the validator goes on with what it has
        raise Rejected(error.code, error.what, error.remedy, status=422, fault=error.fault) from None
    seconds = round(time.monotonic() - started)
    return answer(CheckpointReport(s.embedder.checkpoint, index, reindexed, seconds))


async def get_health(request: web.Request) -> web.Response:
    """Answer whether the validator works, and what it serves."""
    s = request.app[SERVICE]
    return answer(
        Health(
            status="ok" if s.batches.failure is None else s.batches.failure.code,
            version=VERSION,
            device=s.embedder.device,
            checkpoint=s.embedder.checkpoint,
            ledger_size=s.ledger.size,
            queue=s.pipeline.queued,
            epoch=s.epochs.open_epoch,
            epochs=s.epochs.standing,
            held=await s.held.count(),
        ),
        status=200 if s.batches.failure is None else 503,
    )


async def get_metrics(request: web.Request) -> web.Response:
    """Answer with the counters for Prometheus."""
    s = request.app[SERVICE]
    s.metrics.ledger_size.set(s.ledger.size)
    s.metrics.queued.set(s.pipeline.queued)
    s.metrics.held.set(await s.held.count())
    s.metrics.work.set(s.decoder.units)
    s.metrics.bodies.set(s.bodies.used)
    s.metrics.answers.set(s.answers.used)
    s.metrics.epoch.set(s.epochs.open_epoch)
    s.metrics.show_standing(s.epochs.standing)
    return web.Response(body=s.metrics.text(), content_type="text/plain", charset="utf-8")
