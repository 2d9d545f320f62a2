"""What a witness's port stands: slow, cut and too many connections, while an honest log is served."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from curiosity.protocol.errors import ConfigError
from tests.material.http import Loris, address, drip, exchange, head_of
from tests.material.log import Log, add_checkpoint
from tests.material.waiting import PATIENCE_S
from tests.material.witness import Live, witnessing

LOG = Log(40)
ASK = head_of(0, method="GET", path="/health")


async def besiege(live: Live, *, give_up_s: float = PATIENCE_S) -> tuple[list[Loris], int]:
    """Hold 12 slow connections, half in the head and half in the body; meanwhile a log asks again and again. Return
    how they ended and how many heads were cosigned."""
    cosigned = 0

    async def be_honest() -> None:
        nonlocal cosigned
        for size in range(1, LOG.size + 1):
            status, _, text = await live.post(add_checkpoint(LOG, size - 1, size))
            assert status == 200, text
            cosigned += 1
            await asyncio.sleep(0.05)

    honest = asyncio.create_task(be_honest())
    begun = head_of(300, path="/add-checkpoint")
    slow = await asyncio.gather(*(
        drip(live, begun if n % 2 else begun[:40], f"127.0.1.{1 + n % 3}", give_up_s=give_up_s) for n in range(12)
    ))  # fmt: skip
    await honest
    return list(slow), cosigned


async def test_slow_connections_are_cut_while_heads_are_cosigned(tmp_path: Path) -> None:
    async with witnessing(tmp_path / "witness", header_timeout_s=4.0) as live:
        slow, cosigned = await besiege(live)
    assert Counter(loris.reply.status if loris.reply else 0 for loris in slow) == {408: 12}
    assert Counter(loris.reply.code for loris in slow if loris.reply) == {
        "HEAD_TIMEOUT": 6,
        "": 6,
    }  # "": a line of text
    assert cosigned == LOG.size


async def test_without_deadlines_slow_connections_stay(tmp_path: Path) -> None:
    """The other arm: the same attack where no deadline is in force."""
    witness = witnessing(tmp_path / "witness", header_timeout_s=1e9, body_timeout_s=1e9, min_body_bytes_per_s=0)
    async with witness as live:
        slow, _ = await besiege(live, give_up_s=6.0)
    assert {loris.seconds for loris in slow} == {float("inf")}


async def test_connections_are_limited_by_address_and_in_all(tmp_path: Path) -> None:
    async with witnessing(tmp_path / "witness", max_connections=8, max_connections_per_address=4) as live:
        held = [await asyncio.open_connection(*address(live), local_addr=("127.0.1.1", 0)) for _ in range(4)]
        (fifth,) = await exchange(live, ASK, source="127.0.1.1")
        assert (fifth.status, fifth.code) == (503, "CONNECTIONS_FROM_ADDRESS")
        (other,) = await exchange(live, ASK, source="127.0.1.2")
        assert other.status == 200
        held += [await asyncio.open_connection(*address(live), local_addr=("127.0.1.2", 0)) for _ in range(4)]
        (ninth,) = await exchange(live, ASK, source="127.0.1.3")
        assert ninth.status == 200
        for _, writer in held:
            writer.close()


async def test_idle_connections_that_fill_the_port_lock_nobody_out(tmp_path: Path) -> None:
    for evicts, status in ((False, 503), (True, 200)):
        async with witnessing(tmp_path / str(evicts), max_connections=8, evict_when_full=evicts) as live:
            held = [await asyncio.open_connection(*address(live), local_addr=(f"127.0.1.{n}", 0)) for n in range(1, 9)]
            replies = [(await exchange(live, ASK, source=f"127.0.{9 + n}.1"))[0] for n in range(8)]
            assert {reply.status for reply in replies} == {status}
            for _, writer in held:
                writer.close()


async def test_a_taken_port_is_named_with_its_setting(tmp_path: Path) -> None:
    async with witnessing(tmp_path / "first") as live:
        taken = address(live)[1]
        with pytest.raises(ConfigError, match="PORT_TAKEN") as caught:
            async with witnessing(tmp_path / "second", port=taken):
                pass
        assert str(taken) in caught.value.what
        assert "[witness] port" in caught.value.remedy


async def test_broken_bodies_are_answered_and_leave_nothing(tmp_path: Path) -> None:
    whole = add_checkpoint(LOG, 0, 40)
    chunked = b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with witnessing(tmp_path / "witness") as live:
        for data, status in (
            (head_of(len(whole) + 9, path="/add-checkpoint") + whole, 400),  # ends early
            (head_of(10, path="/add-checkpoint") + whole, 400),  # goes on
            (head_of("9" * 30, path="/add-checkpoint") + whole, 400),
            (head_of(600_000, path="/add-checkpoint") + whole, 413),
            (chunked + b"zz\r\n" + whole, 400),
            (chunked + b"3\r\nold\r\nzz\r\n" + whole, 400),
            (head_of(len(whole), "Content-Encoding: gzip", path="/add-checkpoint") + whole, 415),
            (chunked + b"fffff\r\n" + bytes(600_000), 413),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        ):
            replies = await exchange(live, data)
            assert [reply.status for reply in replies[:1]] == [status], data[:80]
        assert (await live.post(whole))[0] == 200
