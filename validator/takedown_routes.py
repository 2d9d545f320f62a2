"""The route of whoever wants something forgotten."""

from aiohttp import web

from protocol.pair import MAX_ENVELOPE_BYTES
from protocol.takedown import SignedTakedown
from protocol.wire import parse
from validator.admin_routes import require_admin
from validator.edge import SERVICE, answer, read_body


async def post_takedown(request: web.Request) -> web.Response:
    """A contributor's request is signed; the operator's comes with the admin token instead."""
    is_operator = "Authorization" in request.headers
    if is_operator:
        require_admin(request)
    signed = parse(SignedTakedown, await read_body(request, MAX_ENVELOPE_BYTES))
    return answer(await request.app[SERVICE].takedowns.take_down(signed, is_operator=is_operator))
