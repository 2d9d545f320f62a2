"""Between HTTP and the routes.

Here are reading what was asked, writing answers, and the one middleware, `edge`, in which every error becomes an
ErrorMessage.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from curiosity.host.port.answer import HeldAnswer, write_in_steps
from curiosity.host.port.refusal import http_headers, http_message, printable
from curiosity.protocol.errors import CuriosityError, Fault, Overloaded, Rejected
from curiosity.protocol.messages import ErrorMessage
from curiosity.protocol.wire import from_hex, to_json
from validator.service import Service

log = logging.getLogger(__name__)

_SAFE = "X-Content-Type-Options"
_HEADERS = {
    _SAFE: "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_JSON_HEADERS = CIMultiDict({"Content-Type": "application/json", **_HEADERS})

FAULT_STATUS = {Fault.CONTRIBUTOR: 400, Fault.VALIDATOR: 500, Fault.INFRASTRUCTURE: 503}
"""HTTP status of an error that names none itself."""

SERVICE = web.AppKey("service", Service)
_HELD = web.RequestKey("held answer", HeldAnswer)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def number(request: web.Request, name: str, default: int | None = None, *, most: int | None = None) -> int:
    """Return a whole number from the query string.

    Raises:
        Rejected: QUERY_INVALID.
    """
    text = request.query.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise Rejected("QUERY_INVALID", f"{name} is {text!r}", f"Give {name} as a whole number.")
    return int(text) if most is None else min(int(text), most)


def hex_in_path(request: web.Request, name: str, length: int) -> bytes:
    """Return bytes from the path.

    Raises:
        Rejected: QUERY_INVALID.
    """
    try:
        return from_hex(request.match_info[name].lower(), length)
    except ValueError as error:
        raise Rejected(
            "QUERY_INVALID", f"{name} is {request.match_info[name][:80]!r}: {error}", "Correct it."
        ) from None


def answer(message: Any, status: int = 200) -> web.Response:
    """Return a protocol message as a JSON response."""
    return web.Response(body=to_json(message), status=status, headers=_JSON_HEADERS)


def expect(request: web.BaseRequest, size: int) -> None:
    """Hold memory for an answer of about ``size`` bytes before it is read.

    Raises:
        Overloaded: ANSWERS_FULL.
    """
    request[_HELD].expect(size)


def not_found(what: str) -> Rejected:
    """Return the refusal of something that is not here (HTTP 404)."""
    return Rejected("NOT_FOUND", what, "Check the id; GET /v1/network tells the ledger's size.", status=404)


@web.middleware
async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Do for every route what `at_the_edge` does."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "none"
    return await at_the_edge(request.app[SERVICE], request, handler(request), route)


async def at_the_edge(
    service: Service, request: web.BaseRequest, answering: Awaitable[web.StreamResponse], route: str
) -> web.StreamResponse:
    """Answer every error as an ErrorMessage, add the security headers, log one line a request.

    The answer counts in the service's stock until it is fetched.
    """
    held = request[_HELD] = HeldAnswer(service.answers, request.remote)
    try:
        response = await _answer_within(service, request, held, answering, route)
        if isinstance(response, web.Response):
            await write_in_steps(request, response)
        return response
    finally:
        held.release()


async def _answer_within(
    service: Service,
    request: web.BaseRequest,
    held: HeldAnswer,
    answering: Awaitable[web.StreamResponse],
    route: str,
) -> web.StreamResponse:
    started = time.monotonic()
    code = ""
    try:
        response = await answering
        held.expect(
            len(response.body) if isinstance(response, web.Response) and isinstance(response.body, bytes) else 0
        )
    except CuriosityError as error:
        code = error.code
        response = error_response(error)
    except web.HTTPException as error:
        message = http_message(error, f"{request.method} {request.path[:100]}")
        code = message.code
        response = answer(message, error.status)
        response.headers.update(http_headers(error))
    except ConnectionError:
        raise
    except Exception:  # the process edge: logged once, told without a traceback
        log.exception("event=request_failed path=%s", request.path)
        code = "INTERNAL"
        message = ErrorMessage(code, "the validator failed on this request", "Send it again later.", "validator")
        response = answer(message, 500)
    if code:
        service.metrics.count_refusal(code)
    if _SAFE not in response.headers:  # what `answer` made has them
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
    seconds = time.monotonic() - started
    service.metrics.time_request(route, seconds)
    if log.isEnabledFor(logging.INFO):
        log.info(
            "event=request method=%s route=%s status=%d code=%s ms=%.1f",
            request.method, route, response.status, code or "-", 1000 * seconds,
        )  # fmt: skip
    return response


def error_response(error: CuriosityError) -> web.Response:
    """Return an error as the JSON and status that the protocol gives it."""
    message = ErrorMessage(error.code, printable(error.what), error.remedy, error.fault.value)
    if not isinstance(error, Rejected | Overloaded):
        return answer(message, FAULT_STATUS[error.fault])
    response = answer(message, error.status if isinstance(error, Rejected) else 503)
    if error.retry_after_s:
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response
