"""What answers hold of memory, counted in bytes: by address, by network and in all, until they are fetched."""

import asyncio
import io
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest
from PIL import Image

from curiosity.host.port.address import Sender
from curiosity.host.port.answer import SMALL_BYTES, HeldAnswer
from curiosity.host.port.crowd import ConnectionStage
from curiosity.host.port.shares import Shares, keys_of
from curiosity.protocol.errors import Overloaded
from curiosity.protocol.pair import Item
from tests.material.http import address
from tests.material.service import Running, item_of, pictures, running
from tests.material.waiting import PATIENCE_S, in_the_end

SIDE = 1600  # pixels; the file is far longer than what two sockets hold
OTHER = Sender("10.9.0.1", "10.9.0.0/24")


def enlarge(picture: Item) -> Item:
    """The same picture as a long PNG file."""
    pixels = Image.open(io.BytesIO(picture.data)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST)
    file = io.BytesIO()
    pixels.save(file, "PNG", compress_level=0)
    return Item("image", "image/png", file.getvalue())


async def accept_long_item(live: Running) -> Item:
    for pair in pictures(6, 30):
        long = enlarge(item_of(pair, "a"))
        decision = await live.client.post_pair(live.sign((long, item_of(pair, "b"))).encode())
        if decision.verdict.is_accepted:
            return long
    raise AssertionError("no picture was accepted")


@asynccontextmanager
async def asking(live: Running, item: Item, source: str) -> AsyncIterator[asyncio.StreamReader]:
    """A connection that asked for an item and fetches nothing by itself: its buffers are as small as they can be."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    raw.bind((source, 0))
    await asyncio.get_running_loop().sock_connect(raw, address(live))
    reader, writer = await asyncio.open_connection(sock=raw, limit=1024)
    writer.write(f"GET /v1/items/0x{item.digest.hex()} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    try:
        yield reader
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(("most", "expected"), [(0, 5), (30_000_000, 2)])
async def test_answers_are_bounded_and_leave_room_for_others(most: int, expected: int, tmp_path: Path) -> None:
    """Five connections of one network ask for 7.7 MB each and fetch nothing; the first arm is without the limit."""
    async with running(tmp_path / "v", max_answer_bytes=most, answer_timeout_s=PATIENCE_S) as live:
        stock, item = live.service.answers, await accept_long_item(live)
        size = len(item.data)
        connections = [asking(live, item, f"127.0.1.{1 + number % 2}") for number in range(5)]
        opened = []
        for number, connection in enumerate(connections):
            reader = await connection.__aenter__()
            opened.append(reader)
            if number < expected:
                await in_the_end(lambda: stock.used >= size * len(opened))
                continue
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
            assert b" 503 " in head
            assert b"Retry-After: 2" in head
            assert b"ANSWERS_FULL" in await asyncio.wait_for(reader.read(), PATIENCE_S)
        assert stock.used == expected * size
        async with asking(live, item, "127.0.9.1") as reader:  # another network has room, and what it fetches is whole
            answer = await asyncio.wait_for(reader.read(-1), PATIENCE_S)
        assert sha256(answer.partition(b"\r\n\r\n")[2]).digest() == item.digest
        await in_the_end(lambda: stock.used == expected * size)
        for connection in connections:
            await connection.__aexit__(None, None, None)
        await in_the_end(lambda: stock.used == 0)


async def test_an_answer_that_is_not_fetched_ends_and_gives_its_memory_back(tmp_path: Path) -> None:
    async with running(tmp_path / "v", answer_timeout_s=1.0) as live:
        stock, item = live.service.answers, await accept_long_item(live)
        async with asking(live, item, "127.0.1.1"):
            await in_the_end(lambda: stock.used == len(item.data))
            guard = live.guard
            assert guard is not None
            await in_the_end(lambda: ConnectionStage.MOVING in [one.stage for one in guard.crowd])  # it may give way
            await in_the_end(lambda: stock.used == 0)


async def test_pages_tiles_and_items_wait_for_room(tmp_path: Path) -> None:
    async with running(tmp_path / "v") as live:
        stock, item = live.service.answers, await accept_long_item(live)
        await asyncio.gather(*(live.client.post_pair(live.sign(pair).encode()) for pair in pictures(150)))
        size = live.service.ledger.size
        paths = (
            "/v1/entries?count=1000",
            "/v1/submissions?count=1000",
            f"/tile/entries/000.p/{size}",
            f"/v1/items/0x{item.digest.hex()}",
        )
        async with aiohttp.ClientSession(live.url, headers={"Accept-Encoding": "identity"}) as session:
            stock.take(keys_of(OTHER), stock.total)
            for path in paths:
                async with session.get(path) as response:
                    assert (response.status, response.headers["Retry-After"]) == (503, "2"), path
                    assert (await response.json())["code"] == "ANSWERS_FULL"
            async with session.get("/v1/entries?count=1") as response:  # what is small is never put off
                assert response.status == 200
            stock.give(keys_of(OTHER), stock.total)
            for path in paths:
                async with session.get(path) as response:
                    whole = await response.read()
                    assert (response.status, len(whole) > SMALL_BYTES) == (200, True), path
                async with session.head(path) as response:
                    assert (response.status, response.headers["Content-Length"]) == (200, str(len(whole))), path
        await in_the_end(lambda: stock.used == 0)


def test_one_answer_of_any_length_is_given_alone() -> None:
    stock = Shares(100_000)
    one, other = HeldAnswer(stock, "10.0.0.1"), HeldAnswer(stock, "10.9.0.1")
    one.expect(1 << 24)
    with pytest.raises(Overloaded, match="ANSWERS_FULL"):
        other.expect(SMALL_BYTES + 1)
    other.expect(SMALL_BYTES)
    one.release()
    other.expect(1 << 24)
    other.expect(70_000)
    assert stock.used == 70_000
    other.release()
    assert stock.used == 0
