"""Raw connections to a service, slow and broken ones included, for tests of what the HTTP port stands."""

import asyncio
import json
import random
import struct
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from tests.material.waiting import PATIENCE_S


class Listening(Protocol):
    """Whatever listens at a URL."""

    @property
    def url(self) -> str: ...


@dataclass(frozen=True)
class Reply:
    """One HTTP answer: status and the code of its ErrorMessage, empty if it is no error."""

    status: int
    code: str
    head: str


def address(live: Listening) -> tuple[str, int]:
    """Host and port of a service."""
    parts = urlsplit(live.url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def head_of(length: object, *fields: str, method: str = "POST", path: str = "/v1/pairs") -> bytes:
    """The head of a request with this Content-Length."""
    lines = [f"{method} {path} HTTP/1.1", "Host: validator", f"Content-Length: {length}", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_replies(data: bytes) -> list[Reply]:
    """The answers in what a server sent, in order. Raises ValueError where it is not HTTP as we speak it."""
    replies = []
    while data:
        head, separator, rest = data.partition(b"\r\n\r\n")
        if not separator:
            raise ValueError(f"not an answer: {data[:200]!r}")
        lines = head.decode("ascii").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = int(fields["content-length"])
        content = json.loads(rest[:length]) if fields.get("content-type", "").startswith("application/json") else {}
        replies.append(Reply(int(lines[0].split()[1]), content.get("code", ""), head.decode("ascii")))
        data = rest[length:]
    return replies


async def exchange(
    live: Listening, data: bytes, *, source: str = "127.0.0.1", half_close: bool = True, timeout_s: float = PATIENCE_S
) -> list[Reply]:
    """Send bytes, close our half, and return the answers until the server closes its own."""
    reader, writer = await asyncio.open_connection(*address(live), local_addr=(source, 0))
    received = b""
    try:
        async with asyncio.timeout(timeout_s):
            try:
                writer.write(data)
                await writer.drain()
                if half_close:
                    writer.write_eof()
                while chunk := await reader.read(1 << 16):
                    received += chunk
            except ConnectionError:
                pass  # it was cut while we still sent
    finally:
        writer.close()
    return read_replies(received)


@dataclass(frozen=True)
class Loris:
    """How a slow connection ended: the answer that it got, if any, and after how many seconds."""

    reply: Reply | None
    seconds: float


async def drip(
    live: Listening, first: bytes, source: str, *, give_up_s: float = PATIENCE_S, every_s: float = 0.5
) -> Loris:
    """Send ``first``, then a byte every half second, and wait to be cut; give up after ``give_up_s``."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection(*address(live), local_addr=(source, 0))
    started = loop.time()
    received = b""
    dripping = asyncio.create_task(_drip_on(writer, every_s))
    try:
        writer.write(first)
        async with asyncio.timeout(give_up_s):
            while chunk := await reader.read(1 << 16):
                received += chunk
    except TimeoutError:
        return Loris(None, float("inf"))
    except ConnectionError:
        pass
    finally:
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        writer.close()
    replies = read_replies(received)
    return Loris(replies[0] if replies else None, loop.time() - started)


async def _drip_on(writer: asyncio.StreamWriter, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        writer.write(b"x")


def break_upload(body: bytes, chance: random.Random) -> tuple[str, bytes, bool]:
    """Return one broken request made of a good pair's body: its kind, its bytes, and if its head is whole."""
    n = len(body)
    cut = chance.randrange(1, n)
    nonsense = chance.choice(["-1", "+5", "0x10", "1 2", "", "1e3", "9" * 40])
    encoding = chance.choice(["gzip", "br", "zstd", "GZIP", "identity, gzip"])
    size = chance.choice([b"zz\r\n", b"-5\r\n", b"ffffffffffffffffff\r\n"])
    claimed = struct.pack(">I", chance.randrange(2000, 1 << 32))
    kinds: dict[str, bytes] = {
        "head cut": head_of(n)[: chance.randrange(1, len(head_of(n)) - 1)],
        "body cut": head_of(n) + body[:cut],
        "claims more": head_of(n + chance.randrange(1, 5000)) + body,
        "claims less": head_of(n - chance.randrange(1, n)) + body,
        "claims nonsense": head_of(nonsense) + body,
        "two lengths": head_of(n, f"Content-Length: {n + chance.choice([-1, 0, 1])}") + body,
        "length and chunks": head_of(n, "Transfer-Encoding: chunked") + body,
        "chunks without end": _chunked(f"{cut:x}\r\n".encode() + body[:cut]),
        "chunks of nonsense": _chunked(size + body),
        "chunks cut short": _chunked(f"{n:x}\r\n".encode() + body[:cut] + b"\r\n0\r\n\r\n"),
        "encoded": head_of(n, f"Content-Encoding: {encoding}") + body,
        "garbage behind": head_of(cut) + body[:cut] + chance.randbytes(300),
        "garbage": chance.randbytes(chance.randrange(20, 2000)) + b"\r\n\r\n",
        "flipped byte": head_of(n) + body[: cut - 1] + bytes([body[cut - 1] ^ 1]) + body[cut:],
        "envelope claims more": head_of(n) + claimed + body[4:],
        "a control character": head_of(n, "X-Odd: a\x00b") + body,
        "a huge field": head_of(n, "X-Big: " + "a" * 20_000) + body,
        "many fields": head_of(n, *(f"X-{i}: 1" for i in range(500))) + body,
    }
    kind = chance.choice(sorted(kinds))
    return kind, kinds[kind], kind != "head cut"


def _chunked(chunks: bytes) -> bytes:
    return b"POST /v1/pairs HTTP/1.1\r\nHost: validator\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
