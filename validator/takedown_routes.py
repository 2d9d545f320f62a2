"""The route of whoever wants something forgotten."""

import asyncio

from aiohttp import web

from curiosity.host.port.body import read_body
from curiosity.protocol.pair import MAX_ENVELOPE_BYTES
from curiosity.protocol.takedown import SignedTakedown
from curiosity.protocol.wire import parse, to_json
from validator.admin_routes import require_admin
from validator.edge import SERVICE, answer


async def post_takedown(request: web.Request) -> web.Response:
    """Take a pair down: a contributor's request is signed; the operator's comes with the admin token instead."""
    is_operator = "Authorization" in request.headers
    if is_operator:
        require_admin(request)
    signed = parse(SignedTakedown, await read_body(request, MAX_ENVELOPE_BYTES))
    return answer(await request.app[SERVICE].takedowns.take_down(signed, is_operator=is_operator))


async def get_blocked(request: web.Request) -> web.Response:
    """Answer with what an export must carry.

    A validator built from it then takes nothing in that was taken down here.
    """
    require_admin(request)
    blocked = await request.app[SERVICE].takedowns.blocked()
    return web.Response(body=await asyncio.to_thread(to_json, blocked), content_type="application/json")
