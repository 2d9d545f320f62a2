"""The guard at the port: deadlines and limits of connections, which the HTTP library leaves open.

aiohttp bounds the size of a head but not the time that it takes, and neither the time nor the pace of a body; its one
timer is for connections that are idle. So each connection here is its `RequestHandler` with three additions:

- it is refused at once, with a 503 that says why, beyond a number of connections from its address; beyond a number in
  all another one is given up for it (`curiosity.host.port.crowd`), and it is refused only if none may be;
- a round, four times a second over all connections, cuts whoever is late (docs/protocol.md, steps 3.1 to 3.5): a head
  that is not whole in time, a body that comes too slowly or too late, an answer that nobody fetches;
- a request that cannot be parsed is answered with an ErrorMessage like every other error.

The path of a request that is in time costs one comparison: everything else is looked at in the round.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from aiohttp import web
from aiohttp.streams import StreamReader

from curiosity.host.port.address import UNKNOWN, Sender, sender_of
from curiosity.host.port.crowd import ConnectionStage, Crowd
from curiosity.protocol.errors import Overloaded, Rejected
from curiosity.protocol.messages import ErrorMessage
from curiosity.protocol.wire import encode

log = logging.getLogger(__name__)

ROUND_S = 0.25
PACE_S = 3.5  # over so long a time the pace of a body is measured
_REFUSED_LINGER_S = 1.0  # time to fetch a 503 before the connection is reset
_MAX_LINGERING = 64
_REMEDY = "Send the same bytes again after the time in Retry-After."


@dataclass(frozen=True)
class GuardLimits:
    """What a connection may take. Seconds, bytes a second, connections; 0 connections from an address is no limit."""

    header_timeout_s: float
    body_timeout_s: float
    min_body_bytes_per_s: int
    answer_timeout_s: float
    idle_timeout_s: float
    max_connections: int
    max_connections_per_address: int
    evict_when_full: bool

    @classmethod
    def of(cls, settings: object) -> "GuardLimits":
        """Return the limits in a service's settings, which have the same names there."""
        return cls(**{limit.name: getattr(settings, limit.name) for limit in fields(cls)})


class BodyEnded(TimeoutError):
    """Raised to whoever reads a body that will not be whole; aiohttp takes a TimeoutError for an ordinary end."""

    def __init__(self, refusal: Rejected | Overloaded) -> None:
        super().__init__(refusal.what)
        self.refusal = refusal


def _too_slow(what: str) -> Rejected:
    return Rejected("BODY_TIMEOUT", what, "Send it faster.", status=408)


class Guard:
    """Knows the open connections; one instance a service. Used from one event loop."""

    def __init__(self, limits: GuardLimits, on_cut: Callable[[str], None]) -> None:
        self.limits = limits
        self.on_cut = on_cut  # is told the code of each connection that is refused or cut
        self.crowd: Crowd[GuardedConnection] = Crowd()
        self._lingering = 0
        self._is_on_round = False

    @property
    def connections(self) -> int:
        """Connections that are open and were not refused."""
        return len(self.crowd)

    def admit(self, connection: "GuardedConnection") -> Overloaded | None:
        """Count a new connection, giving up another if all are taken; return why it is refused instead, if it is."""
        limit, sender = self.limits.max_connections_per_address, connection.sender
        if limit and self.crowd.of_address(sender) >= limit:
            what = f"{limit} connections from {sender.address} are open, no more are taken"
            return Overloaded("CONNECTIONS_FROM_ADDRESS", what, "Use the connections that you have.", retry_after_s=2)
        if len(self.crowd) >= self.limits.max_connections and not self._make_room(sender):
            what = f"{len(self.crowd)} connections are open, at most {self.limits.max_connections}, and none is idle"
            return Overloaded("CONNECTIONS_FULL", what, _REMEDY, retry_after_s=2)
        self.crowd.add(connection)
        if not self._is_on_round:
            self._is_on_round = True
            asyncio.get_running_loop().call_later(ROUND_S, self._go_round)
        return None

    def _make_room(self, newcomer: Sender) -> bool:
        victim = self.crowd.pick(newcomer) if self.limits.evict_when_full else None
        if victim is None:
            return False
        self.crowd.discard(victim)
        self.on_cut("CONNECTION_EVICTED")
        victim.evict()
        return True

    def release(self, connection: "GuardedConnection") -> None:
        """Forget a connection that has ended."""
        self.crowd.discard(connection)

    def linger(self, transport: asyncio.Transport) -> None:
        """Leave a refused connection open for a moment: a reset would take the answer from whoever still sends."""
        if self._lingering >= _MAX_LINGERING:
            transport.close()
            return
        self._lingering += 1

        def end() -> None:
            self._lingering -= 1
            transport.abort()

        if transport.can_write_eof():
            transport.write_eof()
        asyncio.get_running_loop().call_later(_REFUSED_LINGER_S, end)

    def _go_round(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in self.crowd:
            connection.check(now)
        if self.crowd:
            loop.call_later(ROUND_S, self._go_round)
        else:
            self._is_on_round = False


class GuardedConnection(web.RequestHandler):
    """One connection under a guard."""

    __slots__ = (
        "_answer_left",
        "_answer_since",
        "_body",
        "_body_since",
        "_guard",
        "_head_number",
        "_head_since",
        "_is_half_closed",
        "_pace_bytes",
        "_pace_since",
        "_was_refused",
        "sender",
    )

    def __init__(self, guard: Guard, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._guard = guard
        self.sender = UNKNOWN
        self._was_refused = False
        self._is_half_closed = False
        self._head_number = 0  # of the request whose head has begun, counted from 0
        self._head_since = 0.0
        self._body: StreamReader | None = None
        self._body_since = self._pace_since = 0.0
        self._pace_bytes = 0
        self._answer_left = 0
        self._answer_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection, or answer 503 and let it go."""
        assert isinstance(transport, asyncio.Transport)
        peer = transport.get_extra_info("peername")
        self.sender = sender_of(str(peer[0])) if isinstance(peer, tuple) else UNKNOWN
        self._head_since = self._loop.time()  # whoever connects is about to ask
        refusal = self._guard.admit(self)
        if refusal is not None:
            self._was_refused = True
            self._guard.on_cut(refusal.code)
            transport.write(_raw_answer(503, refusal.code, refusal.what, refusal.remedy, "infrastructure", retry_s=2))
            self._guard.linger(transport)
            return
        super().connection_made(transport)

    def connection_lost(self, error: BaseException | None) -> None:
        """Free the place that the connection took."""
        self._guard.release(self)
        if not self._was_refused:
            super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Read a piece of a request, and measure how fast it comes."""
        if self._was_refused:
            return
        super().data_received(data)
        # Still waiting for a request: what came is the beginning of a head.
        waiter = self._waiter
        if waiter is not None and self._head_number != self._request_count and not waiter.done():
            self._head_number = self._request_count
            self._head_since = self._loop.time()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio looks at the answer, aiohttp gives none
        """Answer what is whole although its sender has closed his half; the next round ends the connection."""
        is_waiting = self._waiter is not None and not self._messages
        if self._was_refused or self._request_count == 0 or is_waiting:
            return False
        self._is_half_closed = True
        return True

    # -- giving way

    @property
    def stage(self) -> ConnectionStage:
        """What the connection does now."""
        if self.transport is None:
            return ConnectionStage.ANSWERING  # it ends by itself
        request = self._current_request
        if request is not None:
            is_answering = request.content.is_eof() and not self._paused  # paused: what is written is not fetched
            return ConnectionStage.ANSWERING if is_answering else ConnectionStage.MOVING
        if self._waiter is None or self._messages:
            return ConnectionStage.ANSWERING
        if isinstance(self.transport, asyncio.WriteTransport) and self.transport.get_write_buffer_size():
            return ConnectionStage.MOVING
        return ConnectionStage.ASKING if self._head_number == self._request_count else ConnectionStage.IDLE

    @property
    def asked_at(self) -> float:
        """When the head of its last request began, or the connection was made; seconds of the loop's clock."""
        return self._head_since

    def evict(self) -> None:
        """End the connection for the sake of another; a body that is not whole is answered first."""
        request = self._current_request
        if request is not None and not request.content.is_eof():
            what = "all connections are taken, and the network of this address holds the most"
            self._close = True
            request.content.set_exception(BodyEnded(Overloaded("CONNECTION_EVICTED", what, _REMEDY, retry_after_s=2)))
        else:
            self.force_close()

    # -- the round

    def check(self, now: float) -> None:
        """Cut the connection if it is late."""
        if self.transport is None:
            return
        request = self._current_request
        is_waiting = self._waiter is not None and not self._messages
        if self._check_answer(now):
            return
        if request is not None:
            if not request.content.is_eof():
                self._check_body(now, request.content)
        elif is_waiting and self._is_half_closed:
            self.force_close()
        elif (
            is_waiting
            and self._head_number == self._request_count
            and now - self._head_since > self._guard.limits.header_timeout_s
        ):
            what = f"the head of the request is not whole after {self._guard.limits.header_timeout_s:g} s"
            self._cut("HEAD_TIMEOUT", what, "Send it at once.")

    def _check_body(self, now: float, body: StreamReader) -> None:
        limits = self._guard.limits
        if self._is_half_closed:
            what = f"the connection was closed after {body.total_bytes} bytes of the body"
            self._end_body(body, Rejected("BODY_TRUNCATED", what, "Send the whole body."))
            return
        if body is not self._body or self._reading_paused:
            if body is not self._body:
                self._body, self._body_since = body, now
            self._pace_since, self._pace_bytes = now, body.total_bytes  # while we do not read, nobody is slow
            return
        if now - self._body_since > limits.body_timeout_s:
            self._end_body(body, _too_slow(f"the body is not whole after {limits.body_timeout_s:g} s"))
        elif now - self._pace_since >= PACE_S:
            came, least = body.total_bytes - self._pace_bytes, int(limits.min_body_bytes_per_s * PACE_S)
            self._pace_since, self._pace_bytes = now, body.total_bytes
            if came < least:
                what = f"{came} bytes of the body came in {PACE_S:g} s, at least {least} are expected"
                self._end_body(body, _too_slow(what))

    def _end_body(self, body: StreamReader, refusal: Rejected) -> None:
        """Let whoever reads the body answer; the connection ends with that, since more of the body may come."""
        self._guard.on_cut(refusal.code)
        self._close = True
        body.set_exception(BodyEnded(refusal))

    def _check_answer(self, now: float) -> bool:
        assert self.transport is not None
        left = self.transport.get_write_buffer_size()
        if left == 0 or left != self._answer_left:
            self._answer_left, self._answer_since = left, now
            return False
        if now - self._answer_since <= self._guard.limits.answer_timeout_s:
            return False
        self._guard.on_cut("ANSWER_TIMEOUT")
        self.transport.abort()
        return True

    def _cut(self, code: str, what: str, remedy: str) -> None:
        assert self.transport is not None
        self._guard.on_cut(code)
        self.transport.write(_raw_answer(408, code, what, remedy, "contributor"))
        self.force_close()

    # -- what cannot be parsed

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to a request that is not HTTP as we speak it; the connection ends with it."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun, another cannot be sent")
        self._close = True
        code = f"HTTP_{status}"
        self._guard.on_cut(code)
        what = " ".join(str(message or exc or "the request cannot be read").split())[:200]
        told = ErrorMessage(
            code, what, "Send one whole HTTP/1.1 request.", "contributor" if status < 500 else "validator"
        )
        response = web.Response(status=status, body=encode(told), content_type="application/json")
        response.force_close()
        return response


_REASONS = {408: "Request Timeout", 503: "Service Unavailable"}


def _raw_answer(status: int, code: str, what: str, remedy: str, fault: str, *, retry_s: int = 0) -> bytes:
    body = encode(ErrorMessage(code, what, remedy, fault))
    retry = f"Retry-After: {retry_s}\r\n" if retry_s else ""
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"{retry}Connection: close\r\n\r\n"
    )
    return head.encode() + body
