"""What one sender may cost, and what that leaves to the others: counted in units, bytes and turns, never in seconds."""

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from benchmarks.dear import dear_items, flac, video, webp
from curiosity.client.client import ValidatorClient
from curiosity.embedding.modalities import decode
from curiosity.embedding.modalities.video import LIMITS
from curiosity.embedding.work import ITEM_UNITS, Budget, measure
from curiosity.host.port.address import Sender, sender_of
from curiosity.host.settings.validator import ValidatorConfig
from curiosity.protocol.errors import Rejected
from curiosity.protocol.pair import Item
from curiosity.serving.decode import Decoder, Unjudged
from curiosity.serving.quotas import Payer, QuotaLimits, Quotas
from tests.material.http import address, exchange, head_of, read_replies
from tests.material.service import ALICE, BOB, Running, item_of, pictures, running
from tests.material.waiting import in_the_end

DEFAULTS = ValidatorConfig()
SEARCH, PAIR = Budget(*DEFAULTS.search_budget), Budget(*DEFAULTS.pair_budget)
UNLIMITED = (10**15, 0, 10**15)
SLOWEST_NS_PER_UNIT = 40  # of the machines that we measured; benchmarks/results/routes.json has this one's
EVE, HONEST = Payer(Sender("10.0.0.1", "10.0.0.0/24"), "eve"), Payer(Sender("10.9.0.1", "10.9.0.0/24"), "alice")


# -- what an item may cost


@pytest.mark.parametrize("kind", sorted(dear_items()))
def test_what_unpacks_to_much_of_little_is_over_both_budgets(kind: str) -> None:
    modality, media_type, data = dear_items()[kind]
    units = measure(modality, data, media_type)
    assert decode(modality, data, media_type).size  # it is within the limits of its modality
    for budget in (SEARCH, PAIR):
        with pytest.raises(Rejected, match=f"ITEM_OVER_BUDGET: .*{units} units, allowed are {budget.units(len(data))}"):
            budget.check(units, len(data), media_type)


def test_no_byte_buys_more_than_twenty_microseconds() -> None:
    """20 CPU seconds per MB is 20 us a byte; the base is beside three honest requests (`benchmarks.routes`)."""
    for budget in (SEARCH, PAIR):
        assert budget.per_byte * SLOWEST_NS_PER_UNIT <= 20_000
        assert all(budget.units(size) <= budget.base + budget.per_byte * size for size in (0, 1, 2_000, 1 << 24))
    assert SEARCH.base * SLOWEST_NS_PER_UNIT <= 20_000_000  # 20 ms
    assert SEARCH.most < PAIR.most


def test_ordinary_items_are_far_within_both_budgets() -> None:
    for pair in pictures(10):
        for item in (item_of(pair, "a"), item_of(pair, "b")):
            assert 10 * measure(item.modality, item.data, item.media_type) < SEARCH.units(len(item.data))


def test_frames_that_nobody_sees_count() -> None:
    """A superframe of VP9 with a hidden frame: twice the work in one packet."""
    from curiosity.embedding.coded_frames import count_coded_frames, frames_in

    shown = video("libvpx-vp9", "webm")
    assert count_coded_frames(shown, "video/webm") >= 60 * 640 * 360
    assert frames_in("vp9", b"\x82frame" + b"\xc1\x05\x05\xc1", b"") == 2
    assert frames_in("av1", bytes([0x12, 0, 0x32, 1, 0, 0x32, 1, 0, 0x1A, 1, 0]), b"") == 3
    two = b"\0\0\0\4\x65\x88aa\0\0\0\4\x41\x9aaa" + b"\0\0\0\4\x41\x1aaa"  # the last is no first slice
    assert frames_in("h264", two, b"\1aaa\xff") == 2
    assert frames_in("hevc", b"\0\0\1\x26\1\x80a\0\0\1\2\1\x80a", b"") == 2
    assert count_coded_frames(video("libx264", "mp4"), "video/mp4") == 60 * 640 * 360
    assert LIMITS.max_pixels >= 640 * 360


async def test_a_dear_search_is_refused_by_its_header(tmp_path: Path) -> None:
    bomb, honest = webp(), item_of(pictures(1)[0], "a")
    for budget, status, code in ((UNLIMITED, 200, ""), (DEFAULTS.search_budget, 422, "ITEM_OVER_BUDGET")):
        async with (
            running(tmp_path / str(status), search_budget=budget) as live,
            aiohttp.ClientSession(live.url) as session,
        ):
            answer = await session.post(
                "/v1/query?modality=image&to=text", data=bomb, headers={"Content-Type": "image/webp"}
            )
            told = await answer.json()
            assert (answer.status, told.get("code", "")) == (status, code)
            spent = live.service.decoder.describe()["units"]
            # What was refused by its header cost no more than an item that needs no unpacking.
            assert (spent > 4_000_000) is (status == 200)
            assert status == 200 or spent <= ITEM_UNITS + len(bomb)
            answer = await session.post("/v1/query?modality=image&to=text", data=honest.data)
            assert answer.status == 200
            if code:
                assert "4000038 units, allowed are 411400" in told["what"]
                assert "384 px" in told["remedy"]


async def test_a_dear_pair_is_refused_and_leaves_no_entry(tmp_path: Path) -> None:
    pair = (Item("image", "image/webp", webp()), Item("text", "text/plain", b"a white square"))
    for budget, entries in ((UNLIMITED, 2), (DEFAULTS.pair_budget, 1)):
        async with running(tmp_path / str(entries), pair_budget=budget) as live:
            signed = live.sign(pair)
            (answer,) = await asyncio.gather(live.client.post_pair(signed.encode()), return_exceptions=True)
            assert isinstance(answer, Rejected) is (entries == 1)
            assert entries == 2 or "ITEM_OVER_BUDGET: item a" in str(answer)
            assert live.service.ledger.size == entries


# -- whose turn it is


async def order_of(decoder: Decoder, jobs: Sequence[tuple[str, Payer, str, str, bytes]]) -> list[str]:
    """Let jobs gather while the only worker stands still; return their names in the order in which they were done."""
    done: list[str] = []

    async def one(name: str, payer: Payer, modality: str, media_type: str, data: bytes) -> None:
        await decoder.decode(modality, media_type, data, payer)
        done.append(name)

    (pid,) = decoder.pids
    os.kill(pid, signal.SIGSTOP)
    tasks = []
    for job in jobs:
        tasks.append(asyncio.create_task(one(*job)))
        await asyncio.sleep(0)
    os.kill(pid, signal.SIGCONT)
    await asyncio.wait_for(asyncio.gather(*tasks), 60)
    return done


async def test_forty_dear_items_of_one_sender_delay_another_by_one() -> None:
    picture = webp(400)
    jobs = [(f"eve {n}", EVE, "image", "image/webp", picture) for n in range(40)]
    jobs.append(("honest", HONEST, "text", "text/plain", b"a cat"))
    for is_fair, place in ((False, 40), (True, 1)):
        decoder = Decoder(1, is_fair=is_fair)
        await decoder.start()
        try:
            done = await order_of(decoder, jobs)
        finally:
            await decoder.close()
        assert done.index("honest") == place


@pytest.mark.parametrize("is_fair", [False, True])
async def test_pairs_are_written_in_turns(is_fair: bool, tmp_path: Path) -> None:
    """Thirty pairs of one address wait for the writer when one of another comes."""
    async with running(tmp_path / "v", fair_queues=is_fair, max_batch_pairs=2) as live:
        pipeline, go = live.service.pipeline, asyncio.Event()
        held = asyncio.create_task(live.service.batches.paused(go.wait()))
        flood = [asyncio.create_task(pipeline.validate(live.sign(one).encode(), EVE.sender)) for one in pictures(30)]
        await in_the_end(lambda: len(live.service.batches._queue) == 30)
        honest = asyncio.create_task(pipeline.validate(live.sign(pictures(1)[0], BOB).encode(), HONEST.sender))
        await in_the_end(lambda: len(live.service.batches._queue) == 31)
        go.set()
        await asyncio.gather(held, *flood, honest)
        assert (honest.result().receipt.index <= 3) is is_fair


@pytest.mark.parametrize(("is_fair", "refused", "code"), [(False, 12, "QUEUE_FULL"), (True, 16, "")])
async def test_one_address_cannot_take_every_place(is_fair: bool, refused: int, code: str, tmp_path: Path) -> None:
    async with running(tmp_path / "v", fair_queues=is_fair, max_queue_pairs=8) as live:
        pipeline, go = live.service.pipeline, asyncio.Event()
        held = asyncio.create_task(live.service.batches.paused(go.wait()))
        await asyncio.sleep(0)
        flood = [asyncio.create_task(pipeline.validate(live.sign(one).encode(), EVE.sender)) for one in pictures(20)]
        await in_the_end(lambda: sum(task.done() for task in flood) == refused)
        honest = asyncio.create_task(pipeline.validate(live.sign(pictures(1)[0], BOB).encode(), HONEST.sender))
        await asyncio.sleep(0)
        go.set()
        (answer,) = await asyncio.gather(honest, return_exceptions=True)
        assert getattr(answer, "code", "") == code
        await asyncio.gather(held, *flood, return_exceptions=True)


# -- what bodies hold


@pytest.mark.parametrize(("most", "expected"), [(0, 8), (4_500_000, 2)])
async def test_bodies_are_bounded_and_leave_room_for_others(most: int, expected: int, tmp_path: Path) -> None:
    """Eight uploads with a valid envelope, each of a megabyte that never comes, from two addresses of one network."""
    async with running(tmp_path / "v", max_body_bytes=most) as live:
        stock, bodies = live.service.bodies, [large_body(live) for _ in range(8)]
        held: list[asyncio.StreamWriter] = []
        for number, body in enumerate(bodies):
            source = (f"127.0.1.{1 + number % 2}", 0)
            reader, writer = await asyncio.open_connection(*address(live), local_addr=source)
            writer.write(head_of(len(body)) + body[:50_000])
            if number < expected:
                await in_the_end(lambda: stock.used > sum(len(body) for body in bodies[: len(held)]))
            else:
                assert b" 503 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            held.append(writer)
        assert stock.used == sum(len(body) for body in bodies[:expected])
        assert not most or stock.peak <= most
        await live.client.post_pair(live.sign(pictures(1)[0]).encode())  # another network is served
        for writer in held:
            writer.close()
        await in_the_end(lambda: stock.used == 0)


async def test_a_large_body_is_refused_by_its_envelope_alone(tmp_path: Path) -> None:
    """The items never come. A body so small that it is read first is waited for: the other arm."""
    async with running(tmp_path / "v") as live:
        good = large_body(live)
        signed, other = live.sign(large_pair()), live.sign(large_pair())
        forged = replace(signed, envelope=replace(signed.envelope, signature=other.envelope.signature)).encode()
        expired = live.sign(large_pair(), expiry=1).encode()
        foreign = live.sign(large_pair(), network_id=b"\1" * 32).encode()
        unlicensed = live.sign(large_pair(), license="MPL-2.0").encode()
        for body, status, code in (
            (forged, 401, "SIGNATURE_OF_ANOTHER"),
            (expired, 422, "SIGNATURE_EXPIRED"),
            (foreign, 400, "WRONG_NETWORK"),
            (unlicensed, 422, "LICENSE_NOT_ALLOWED"),
            (good, 400, "BODY_SIZE"),
        ):
            length = len(body) + (code == "BODY_SIZE")
            sent = body[: 4 + int.from_bytes(body[:4], "big")]
            (reply,) = await exchange(live, head_of(length) + sent, half_close=False)
            assert (reply.status, reply.code) == (status, code)
        assert live.service.bodies.peak == 0
        reader, writer = await asyncio.open_connection(*address(live))
        writer.write(head_of(60_000) + forged[: 4 + int.from_bytes(forged[:4], "big")])
        writer.write_eof()
        (reply,) = read_replies(await asyncio.wait_for(reader.read(), 60))
        assert reply.code == "BODY_TRUNCATED"
        writer.close()


def large_pair() -> tuple[Item, Item]:
    return Item("image", "image/png", os.urandom(1_000_000)), Item("text", "text/plain", b"noise")


def large_body(live: Running) -> bytes:
    return live.sign(large_pair(), ALICE).encode()


# -- quotas


def test_a_sender_is_an_address_of_ipv4_or_64_bits_of_ipv6() -> None:
    assert sender_of("192.0.2.7") == Sender("192.0.2.7", "192.0.2.0/24")
    assert sender_of("2001:db8:1:2:3:4:5:6") == Sender("2001:db8:1:2::/64", "2001:db8:1::/48")
    assert sender_of("2001:db8:1:2:ffff::1").address == sender_of("2001:db8:1:2::1").address
    assert sender_of("::ffff:192.0.2.7") == sender_of("192.0.2.7")
    assert sender_of("fe80::1%eth0").address == "fe80::/64"
    assert sender_of("/run/a.sock") == sender_of(None) == Sender("", "")


def test_quotas_count_bytes_and_work_of_contributor_address_and_network() -> None:
    now = 0.0
    quotas = Quotas(
        QuotaLimits(bytes_per_hour=1_000, work_per_hour=3_600, address_share=2, network_share=4), lambda: now
    )

    def refused(payer: Payer) -> str:
        try:
            quotas.check(payer)
        except Rejected as refusal:
            told = (refusal.code, refusal.status, refusal.retry_after_s > 0)
            return refusal.what.split()[1] if told == ("QUOTA_EXCEEDED", 429, True) else str(told)
        return ""

    def wallet(number: int, last: int = 1) -> Payer:
        return Payer(sender_of(f"192.0.2.{last}"), f"0x{number}")

    quotas.charge_work(wallet(1), 3_600)
    assert (refused(wallet(1)), refused(wallet(2))) == ("contributor", "")
    quotas.charge_work(wallet(2), 3_600)
    assert (refused(wallet(3)), refused(wallet(3, last=2))) == ("address", "")
    for number in (4, 5):
        quotas.charge_work(wallet(number, last=2), 3_600)
    assert refused(wallet(6, last=3)) == "network"
    assert refused(Payer(sender_of("192.0.3.1"), "0x6")) == ""
    now = 1.0  # a unit a second is worked off
    assert refused(wallet(1)) == ""
    quotas.charge_bytes(Payer(sender_of("198.51.100.1")), 2_000)
    assert refused(Payer(sender_of("198.51.100.1"), "0x7")) == "address"
    assert refused(Payer()) == ""  # the validator's own work


async def test_work_beyond_the_quota_is_put_off_and_not_decided(tmp_path: Path) -> None:
    """The first pair of an address uses the quota up; another address is served."""
    sources = ("127.0.0.1", "127.0.0.1", "127.0.1.1")
    for limit, statuses in ((0, [200, 200, 200]), (2 * ITEM_UNITS, [200, 429, 200])):
        async with running(tmp_path / str(limit), work_per_hour=limit, quota_address_share=1) as live:
            got = []
            for pair, key, source in zip(pictures(3), (ALICE, ALICE, BOB), sources, strict=True):
                body = live.sign(pair, key).encode()
                (reply,) = await exchange(live, head_of(len(body)) + body, source=source)
                got.append(reply.status)
                assert reply.status == 200 or (reply.code == "QUOTA_EXCEEDED" and "Retry-After: " in reply.head)
            assert got == statuses
            assert live.service.ledger.size == 1 + statuses.count(200)


async def test_the_client_waits_as_long_as_a_quota_says(tmp_path: Path) -> None:
    """A validator that says when to come again has answered: patience is for one that does not."""
    async with running(tmp_path / "v", bytes_per_hour=3_600_000, quota_address_share=1) as live:
        live.service.quotas.charge_bytes(Payer(sender_of("127.0.0.1")), 3_600_500)  # half a second's worth too much
        async with ValidatorClient(live.url, patience_s=0.0) as client:
            assert (await client.post_pair(live.sign(pictures(1)[0]).encode())).receipt.index == 1
        assert 'code="QUOTA_EXCEEDED"' in live.service.metrics.text().decode()


async def test_a_pair_that_uses_a_quota_up_is_still_decided(tmp_path: Path) -> None:
    """Neither its bytes nor the work for its first item are held against the rest of it, however often it is sent."""
    for changes in ({"bytes_per_hour": 100}, {"work_per_hour": 100}):
        async with running(tmp_path / "".join(changes), **changes) as live:
            for pair, expected in zip(pictures(2), ((200, ""), (429, "QUOTA_EXCEEDED")), strict=True):
                body = live.sign(pair).encode()
                (reply,) = await exchange(live, head_of(len(body)) + body)
                assert (reply.status, reply.code) == expected


async def test_what_waits_when_a_quota_is_used_up_is_put_off_too() -> None:
    quotas = Quotas(QuotaLimits(work_per_hour=3 * ITEM_UNITS, address_share=1, network_share=1), lambda: 0.0)
    decoder = Decoder(1, quotas=quotas)
    await decoder.start()
    try:
        jobs = [asyncio.create_task(decoder.decode("text", "text/plain", b"a cat", EVE)) for _ in range(10)]
        answers = await asyncio.gather(*jobs, return_exceptions=True)
        await decoder.decode("text", "text/plain", b"a dog", HONEST)
    finally:
        await decoder.close()
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(refused) == 7
    assert {(type(one), getattr(one, "code", "")) for one in refused} == {(Unjudged, "QUOTA_EXCEEDED")}


async def test_what_keeps_a_worker_busy_costs_five_seconds_worth() -> None:
    from curiosity.embedding.work import LOST_PROCESS_UNITS

    quotas = Quotas(QuotaLimits(work_per_hour=10**12, address_share=1, network_share=1), lambda: 0.0)
    decoder = Decoder(1, quotas=quotas)
    await decoder.start()
    try:
        job = asyncio.create_task(decoder.decode("audio", "audio/flac", flac(), EVE))
        await in_the_end(lambda: not len(decoder._jobs))
        os.kill(decoder.pids[0], signal.SIGSEGV)
        with pytest.raises(Rejected, match="ITEM_CRASHED_DECODER"):
            await job
    finally:
        await decoder.close()
    assert quotas.spent(EVE)["contributor"][1] == LOST_PROCESS_UNITS
