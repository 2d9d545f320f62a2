"""HTTP's own refusals (no such route, method, expectation) in the format of all other errors."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import HttpVersion11, hdrs, web

from curiosity.protocol.messages import ErrorMessage
from curiosity.protocol.wire import encode

_KEPT = (hdrs.ALLOW, hdrs.CONNECTION)  # of the library's answer: what RFC 9110 demands of it


def http_message(error: web.HTTPException, asked: str) -> ErrorMessage:
    """Return what to tell of a request that the HTTP library refuses; ``asked`` is its method and path."""
    return ErrorMessage(
        f"HTTP_{error.status}",
        f"{printable(asked)}: {error.reason}",
        "GET /openapi.json lists the routes.",
        "contributor",
    )


def http_headers(error: web.HTTPException) -> dict[str, str]:
    """Return the headers that such an answer keeps, such as Allow."""
    return {name: error.headers[name] for name in _KEPT if name in error.headers}


def printable(text: str) -> str:
    """Return text that can be sent: bytes of a head that were no UTF-8 are spelled out."""
    return text.encode(errors="backslashreplace").decode()


def refusing(router: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    """Return ``router`` with the refusals that no middleware sees, because the library makes them before (Expect)."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        try:
            _check_expectation(request)
            response: web.StreamResponse = await router(request)
        except web.HTTPException as error:
            told = http_message(error, f"{request.method} {request.path[:100]}")
            response = web.Response(
                status=error.status,
                body=encode(told),
                content_type="application/json",
                headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", **http_headers(error)},
            )
        return response

    return handle


def _check_expectation(request: web.BaseRequest) -> None:
    """Refuse what nobody can meet; the library's own check fails where it is not a text.

    Raises:
        HTTPExpectationFailed: For everything but ``100-continue``.
    """
    expected = request.headers.get(hdrs.EXPECT)
    if expected and expected.lower() != "100-continue" and request.version >= HttpVersion11:
        raise web.HTTPExpectationFailed
