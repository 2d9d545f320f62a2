"""What the HTTP port stands: slow, broken and too many connections, against the real service over real sockets.

Few rounds here; the slow campaigns run the same code in full and print their counts.
"""

import asyncio
import contextlib
import gzip
import io
import logging
import random
import resource
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from PIL import Image

from curiosity.host.port.crowd import ConnectionStage
from curiosity.host.port.guard import PACE_S
from curiosity.protocol.pair import Item
from curiosity.protocol.wire import canonical_json
from tests.material.http import Loris, Reply, address, break_upload, drip, exchange, head_of, read_replies
from tests.material.service import Running, pictures, running
from tests.material.waiting import PATIENCE_S, in_the_end

HEAD = b"POST /v1/pairs HTTP/1.1\r\nHost: validator\r\nX-Slow: "


@pytest.fixture(autouse=True)
def _nothing_is_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What strangers send is their fault: a log that fills with tracebacks is an attack that succeeded."""
    yield
    assert not [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]


async def besiege(live: Running, count: int, *, give_up_s: float = PATIENCE_S) -> tuple[list[Loris], int]:
    """Hold ``count`` slow connections, half in the head and half in the body, from several addresses; meanwhile an
    honest client submits. Return how they ended and how often the client was served."""
    served = 0

    async def be_honest() -> None:
        nonlocal served
        while True:
            for pair in pictures(8):
                await live.client.post_pair(live.sign(pair).encode())
                served += 1
                await asyncio.sleep(0.05)

    honest = asyncio.create_task(be_honest())
    try:
        slow = await asyncio.gather(*(
            drip(live, HEAD if n % 2 else head_of(80_000) + b"\0\0\2\0{", f"127.0.1.{1 + n % 4}", give_up_s=give_up_s)
            for n in range(count)
        ))  # fmt: skip
    finally:
        honest.cancel()
        await asyncio.gather(honest, return_exceptions=True)
    return list(slow), served


async def test_slow_connections_are_cut_and_told_while_others_are_served(live: Running) -> None:
    slow, served = await besiege(live, 24)
    assert Counter(loris.reply.code if loris.reply else "" for loris in slow) == {
        "HEAD_TIMEOUT": 12,
        "BODY_TIMEOUT": 12,
    }
    assert {loris.reply.status for loris in slow if loris.reply} == {408}
    assert served >= 3
    text = live.service.metrics.text().decode()
    assert 'curiosity_connections_cut_total{code="HEAD_TIMEOUT"} 12.0' in text


async def test_without_deadlines_slow_connections_stay(tmp_path: Path) -> None:
    """The other arm: the same attack where no deadline is in force holds every connection that it opens."""
    off = {"header_timeout_s": 1e9, "body_timeout_s": 1e9, "min_body_bytes_per_s": 0}
    async with running(tmp_path / "validator", **off) as live:
        slow, _ = await besiege(live, 8, give_up_s=8.0)
    assert [loris.reply for loris in slow] == [None] * 8
    assert {loris.seconds for loris in slow} == {float("inf")}


@pytest.mark.slow
async def test_three_hundred_slow_connections(live: Running) -> None:
    slow, served = await besiege(live, 300)
    codes = Counter(loris.reply.code if loris.reply else "" for loris in slow)
    seconds = sorted(loris.seconds for loris in slow)
    print(f"300 slow connections: {dict(codes)}; cut after {seconds[0]:.2f} to {seconds[-1]:.2f} s; {served} served")
    assert codes == {"HEAD_TIMEOUT": 150, "BODY_TIMEOUT": 150}
    assert served >= 10


async def test_a_body_at_a_modest_pace_is_waited_for(tmp_path: Path) -> None:
    """A slow line is no attack: 2 KiB a second, for longer than the pace is measured over, is a decision.

    The least pace is a sixteenth of it: a busy machine makes the line slower still.
    """
    async with running(tmp_path / "validator", min_body_bytes_per_s=128, body_timeout_s=PATIENCE_S) as live:
        await send_slowly(live)


async def send_slowly(live: Running) -> None:
    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(noise, "PNG")
    pair = (Item("image", "image/png", noise.getvalue()), Item("text", "text/plain", b"noise"))
    body = live.sign(pair).encode()
    assert len(body) > 2048 * 2 * PACE_S * 0.7
    reader, writer = await asyncio.open_connection(*address(live))
    writer.write(head_of(len(body), "Connection: close"))
    for start in range(0, len(body), 1024):
        writer.write(body[start : start + 1024])
        await asyncio.sleep(0.5)
    (reply,) = read_replies(await asyncio.wait_for(reader.read(), PATIENCE_S))
    writer.close()
    assert reply.status == 200


async def test_an_answer_that_nobody_fetches_does_not_hold_the_connection(tmp_path: Path) -> None:
    async def hold(live: Running, seconds: float) -> bool:
        """Ask for more than the buffers hold and read nothing; True if the connection is cut."""
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect(address(live))
            raw.setblocking(False)
            ask = head_of(0, method="GET", path="/openapi.json")
            for _ in range(400):
                with contextlib.suppress(BlockingIOError, ConnectionError):  # full, or cut already
                    raw.send(ask)
                await asyncio.sleep(0.002)
            for _ in range(int(seconds / 0.1)):
                if b'code="ANSWER_TIMEOUT"} 1.0' in live.service.metrics.text():
                    return True
                await asyncio.sleep(0.1)
        return False

    async with running(tmp_path / "on", answer_timeout_s=1.0) as live:
        assert await hold(live, PATIENCE_S)
    async with running(tmp_path / "off", answer_timeout_s=1e9) as live:
        assert not await hold(live, 4.0)


ASK = head_of(0, method="GET", path="/health")


async def test_connections_are_limited_by_address_and_in_all(tmp_path: Path) -> None:
    async with running(tmp_path / "validator", max_connections=12, max_connections_per_address=6) as live:
        held = await hold(live, "127.0.1.1", 6)
        (seventh,) = await exchange(live, ASK, source="127.0.1.1")
        assert (seventh.status, seventh.code) == (503, "CONNECTIONS_FROM_ADDRESS")
        assert "Retry-After: 2" in seventh.head
        await live.client.health()  # another address is served: 127.0.0.1, by a connection that it has
        held += await hold(live, "127.0.1.2", 5)
        (thirteenth,) = await exchange(live, ASK, source="127.0.1.3")
        assert thirteenth.status == 200
        assert 'code="CONNECTION_EVICTED"} 1.0' in live.service.metrics.text().decode()
        for _, writer in held:
            writer.close()


async def test_idle_connections_that_fill_the_port_lock_nobody_out(tmp_path: Path) -> None:
    """Five addresses of one network take every connection and ask nothing more; twenty others come after them."""
    for evicts, expected in ((False, {503: 20}), (True, {200: 20})):
        async with running(tmp_path / str(evicts), max_connections=41, evict_when_full=evicts) as live:
            held = [one for n in range(5) for one in await hold(live, f"127.0.1.{1 + n}", 8, ask=True)]
            # the client of the fixture has a connection too, which the network with most connections spares
            replies = [(await exchange(live, ASK, source=f"127.0.{9 + n}.1"))[0] for n in range(20)]
            assert Counter(reply.status for reply in replies) == expected
            assert {reply.code for reply in replies} == ({""} if evicts else {"CONNECTIONS_FULL"})
            for _, writer in held:
                writer.close()


async def test_slow_bodies_that_fill_the_port_make_room_out_of_their_own(tmp_path: Path) -> None:
    """The same with uploads that never end: the network that holds most gives one up, and it is told why."""
    begun = head_of(80_000) + b"\0\0\2\0{"
    async with running(tmp_path / "validator", max_connections=12) as live:
        held = [await asyncio.open_connection(*address(live), local_addr=(f"127.0.1.{1 + n}", 0)) for n in range(11)]
        for _, writer in held:
            writer.write(begun)
        guard = live.guard
        assert guard is not None
        await in_the_end(lambda: sum(connection.stage is ConnectionStage.MOVING for connection in guard.crowd) == 11)
        upload, honest = await asyncio.gather(first_answer(held), exchange(live, ASK, source="127.0.9.1"))
        assert [reply.status for reply in honest] == [200]
        assert [(reply.status, reply.code) for reply in upload] == [(503, "CONNECTION_EVICTED")]
        await live.client.health()  # its idle connection was spared
        for _, writer in held:
            writer.close()


async def hold(
    live: Running, source: str, count: int, *, ask: bool = False
) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open connections from an address that stay idle, after one request each if it is said so."""
    held = [await asyncio.open_connection(*address(live), local_addr=(source, 0)) for _ in range(count)]
    for reader, writer in held if ask else []:
        writer.write(ASK)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
    return held


async def first_answer(held: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> list[Reply]:
    """What the first of some connections to be ended was answered."""
    reads = [asyncio.create_task(reader.read()) for reader, _ in held]
    done, rest = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_S)
    for one in rest:
        one.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    return [reply for one in done for reply in read_replies(one.result())]


async def batter(live: Running, count: int, seed: int) -> Counter[str]:
    """Send ``count`` broken uploads, eight at a time; check each answer and return how many had which code."""
    chance = random.Random(seed)
    bodies = [live.sign(pair).encode() for pair in pictures(8)]
    broken = [break_upload(chance.choice(bodies), chance) for _ in range(count)]
    codes: Counter[str] = Counter()
    gate = asyncio.Semaphore(8)

    async def send(kind: str, data: bytes, is_whole: bool) -> None:
        async with gate:
            replies = await exchange(live, data)
        assert replies or not is_whole, f"{kind}: no answer to {data[:300]!r}"
        for reply in replies:
            assert 400 <= reply.status < 500, f"{kind}: {reply}"
            assert reply.code, f"{kind}: {reply}"
        codes.update(f"{kind}: {reply.code}" for reply in replies[:1])

    size = live.service.ledger.size
    await asyncio.gather(*(send(*one) for one in broken))
    assert live.service.ledger.size == size
    assert live.service.pipeline.queued == 0
    assert (await live.client.health()).status == "ok"
    decision = await live.client.post_pair(bodies[0])
    assert decision.receipt.index == size
    return codes


async def test_broken_uploads_are_answered_and_leave_nothing(live: Running) -> None:
    codes = await batter(live, 60, seed=1)
    assert len(codes) >= 8


@pytest.mark.slow
async def test_three_hundred_broken_uploads(live: Running) -> None:
    codes = await batter(live, 300, seed=2)
    print("300 broken uploads:", dict(sorted(codes.items())))


async def repeat(live: Running, bodies: int, times: int) -> int:
    """Post each of some bodies many times at once, each on a connection of its own; return the entries made."""
    signed = [live.sign(pair).encode() for pair in pictures(bodies)]
    assert len(signed) == bodies
    before = live.service.ledger.size
    connector = aiohttp.TCPConnector(limit=0, force_close=True, local_addr=("127.0.0.1", 0))
    other = aiohttp.TCPConnector(limit=0, force_close=True, local_addr=("127.0.0.2", 0))
    async with (
        aiohttp.ClientSession(live.url, connector=connector) as one,
        aiohttp.ClientSession(live.url, connector=other) as two,
    ):

        async def post(number: int) -> tuple[int, str]:
            response = await (one, two)[number // bodies % 2].post("/v1/pairs", data=signed[number % bodies])
            assert response.status == 200, await response.text()
            return number % bodies, canonical_json((await response.json())["receipt"]).decode()

        answers = await asyncio.gather(*(post(number) for number in range(bodies * times)))
    assert len(set(answers)) == bodies
    assert live.service.ledger.size - before == bodies
    return live.service.ledger.size - before


async def test_a_body_posted_many_times_at_once_is_one_entry(live: Running) -> None:
    assert await repeat(live, 8, 6) == 8


@pytest.mark.slow
async def test_three_hundred_and_twenty_posts_of_twenty_bodies(live: Running) -> None:
    print("320 posts of 20 bodies:", await repeat(live, 20, 16), "entries, 20 receipts")


async def test_a_gzip_bomb_is_never_inflated(live: Running) -> None:
    """The first arm shows what the bomb does to a server that inflates; ours refuses it by its head."""
    bomb = gzip.compress(bytes(64 << 20), 9)
    assert len(bomb) < 70_000

    async def count(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    naive = web.Application(client_max_size=1 << 30)
    naive.router.add_post("/", count)
    runner = web.AppRunner(naive)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    headers = {"Content-Encoding": "gzip"}
    async with aiohttp.ClientSession() as session:
        response = await session.post(f"http://127.0.0.1:{runner.addresses[0][1]}/", data=bomb, headers=headers)
        assert int(await response.text()) == 64 << 20
    await runner.cleanup()

    replies = await asyncio.gather(*(
        exchange(live, head_of(len(bomb), f"Content-Encoding: {encoding}") + bomb)
        for encoding in ["gzip", "x-gzip", "GZIP", "deflate", "identity, gzip", "gzip, gzip", "br", "zstd"]
    ))  # fmt: skip
    assert [(r.status, r.code) for (r, *_) in replies] == [(415, "BODY_ENCODED")] * 8
    twice = await exchange(live, head_of(len(bomb), "Content-Encoding: identity", "Content-Encoding: gzip") + bomb)
    assert (twice[0].status, twice[0].code) == (415, "BODY_ENCODED")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    chunks = b"POST /v1/pairs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    replies = [await exchange(live, chunks + b"%x\r\n%b\r\n0\r\n\r\n" % (len(bomb), bomb)) for _ in range(3)]
    assert {reply.status for (reply, *_) in replies} <= {400, 501}
    assert all(reply.code for (reply, *_) in replies)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 32 << 10
    assert live.service.ledger.size == 1
