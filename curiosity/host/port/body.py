"""Reading a request's body: bounded, never inflated, told why where it is not whole, and counted while it is held."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from aiohttp import web

from curiosity.host.port.address import sender_of
from curiosity.host.port.guard import BodyEnded
from curiosity.host.port.shares import Shares, keys_of
from curiosity.protocol.errors import Overloaded, Rejected

_STEP_BYTES = 1 << 18  # a body that does not tell its length is counted in steps of this size
_UNLIMITED = Shares(0)  # for bodies so small that nobody has to count them


class Body:
    """A request's body, read in two steps: what stands first in it, then all.

    Use it in an ``async with`` block: its bytes count in ``stock`` until the block ends, so that what waits for a
    decision counts too. What stands first is read before anything is reserved; the HTTP library holds no more than 128
    KiB of it.
    """

    def __init__(self, request: web.BaseRequest, max_bytes: int, stock: Shares = _UNLIMITED) -> None:
        self.length = request.content_length  # None if the sender does not tell
        self._request = request
        self._max_bytes = max_bytes
        self._stock = stock
        self._keys: Sequence[str] = ()
        self._reserved = 0
        self._parts: list[bytes] = []
        self._size = 0

    async def __aenter__(self) -> Self:
        """Refuse what the head of the request shows to be too much.

        Raises:
            Rejected: BODY_ENCODED (415); BODY_TOO_LARGE (413).
        """
        if any(encoding != "identity" for encoding in self._request.headers.getall("Content-Encoding", ())):
            raise Rejected("BODY_ENCODED", "the body is compressed", "Send the bytes as they are.", status=415)
        if self.length is not None and self.length > self._max_bytes:
            raise self._too_large(f"{self.length} bytes")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what was reserved."""
        if self._reserved:
            self._stock.give(self._keys, self._reserved)
            self._reserved = 0

    async def first(self, count: int) -> bytes:
        """Return what has come once it is at least ``count`` bytes, or the whole body if it is shorter.

        Raises:
            CuriosityError: What `whole` raises, without BODIES_FULL.
        """
        while self._size < count and await self._read():
            pass
        return self._joined()

    async def whole(self) -> bytes:
        """Return the raw body.

        Raises:
            Overloaded: BODIES_FULL before reading if too many bytes are held already.
            Rejected: BODY_TOO_LARGE (413), BODY_TIMEOUT (408), BODY_TRUNCATED, BODY_MALFORMED.
        """
        self._keys = keys_of(sender_of(self._request.remote))
        self._reserve(self._size if self.length is None else self.length)
        while await self._read():
            if self._size > self._reserved:
                self._reserve(_STEP_BYTES)
        return self._joined()

    def _reserve(self, amount: int) -> None:
        if not self._stock.may_take(self._keys, amount):
            raise Overloaded(
                "BODIES_FULL",
                f"{self._stock.used} bytes of bodies are held, at most {self._stock.total}, "
                "of which nobody may hold more than is left",
                "Send the same bytes again after the time in Retry-After, fewer at a time.",
                retry_after_s=2,
            )
        self._stock.take(self._keys, amount)
        self._reserved += amount

    async def _read(self) -> bool:
        """Read what is there, waiting for something; False at the end of the body."""
        try:
            part = await self._request.content.readany()
        except BodyEnded as ended:
            raise ended.refusal from None
        except web.RequestPayloadError as error:
            what = " ".join(str(error).split())[:200]
            raise Rejected(
                "BODY_MALFORMED", f"the body's chunks cannot be read: {what}", "Correct the framing."
            ) from None
        if not part:
            return False
        self._size += len(part)
        if self._size > self._max_bytes:
            raise self._too_large(f"over {self._max_bytes} bytes")
        self._parts.append(part)
        return True

    def _joined(self) -> bytes:
        if len(self._parts) != 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0]

    def _too_large(self, what: str) -> Rejected:
        return Rejected("BODY_TOO_LARGE", f"{what}, at most {self._max_bytes}", "Send a smaller item.", status=413)


async def read_body(request: web.BaseRequest, max_bytes: int) -> bytes:
    """Return a body so small that nobody has to count it.

    Raises:
        CuriosityError: What `Body` raises.
    """
    async with Body(request, max_bytes) as body:
        return await body.whole()
