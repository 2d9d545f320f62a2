"""What answers hold of memory: counted before they are read, and held until whoever asked has fetched them.

A few bytes of a request ask for an item of megabytes. Who asks on many connections and fetches nothing would have each
of them hold a copy of its own; nothing of that is a body, and nothing of it is signed.
"""

from typing import Final

from aiohttp import web

from curiosity.host.port.address import sender_of
from curiosity.host.port.shares import Shares, keys_of
from curiosity.protocol.errors import Overloaded

SMALL_BYTES: Final = 64 << 10
"""An answer of at most so many bytes is not counted: a connection's own buffer holds as much."""

_STEP_BYTES: Final = 64 << 10


class HeldAnswer:
    """What the answer to one request holds of a stock."""

    def __init__(self, stock: Shares, remote: str | None) -> None:
        self._stock = stock
        self._remote = remote
        self._held = 0

    def expect(self, size: int) -> None:
        """Hold ``size`` bytes, in place of what was held before. At most `SMALL_BYTES` are not counted.

        Raises:
            Overloaded: ANSWERS_FULL if too many bytes are held already; then nothing more is held than before.
        """
        size = 0 if size <= SMALL_BYTES else min(size, self._stock.total or size)  # one of any size is given alone
        keys = keys_of(sender_of(self._remote))
        more = size - self._held
        if more > 0:
            if not self._stock.may_take(keys, more):
                raise Overloaded(
                    "ANSWERS_FULL",
                    f"{self._stock.used} bytes of answers wait to be fetched, at most {self._stock.total}, "
                    "of which nobody may hold more than is left",
                    "Fetch the answers that you asked for; ask again after the time in Retry-After, fewer at a time.",
                    retry_after_s=2,
                )
            self._stock.take(keys, more)
        elif more < 0:
            self._stock.give(keys, -more)
        self._held = size

    def release(self) -> None:
        """Hold nothing any more."""
        self.expect(0)


async def write_in_steps(request: web.BaseRequest, response: web.Response) -> None:
    """Write a response whose body is bytes, no faster than it is fetched.

    Raises:
        ConnectionError: If it never is.
    """
    body = response.body
    if request.method == "HEAD" or not isinstance(body, bytes) or len(body) <= SMALL_BYTES:
        return  # the library writes it at once
    await response.prepare(request)
    view = memoryview(body)
    for start in range(0, len(view), _STEP_BYTES):
        await response.write(view[start : start + _STEP_BYTES])
    await web.StreamResponse.write_eof(response)  # below Response, which would write the body again
