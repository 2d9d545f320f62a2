"""Following a ledger: every entry under a signed head, from any place on, and no history but one."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from curiosity.client.trust import Trust
from curiosity.ledger.follow import Followed, Position, follow
from curiosity.ledger.tiles import LogFiles
from curiosity.protocol.entry import CheckpointEntry, encode_entry
from curiosity.protocol.errors import ConfigError, ProofError, SourceError
from tests.material.log import LOG_VKEY, ORIGIN, Log, TileServer, tile_server

SIZE = 600
TRUST = Trust(log_vkey=LOG_VKEY)


def leaf(index: int) -> bytes:
    return encode_entry(CheckpointEntry(index.to_bytes(32, "big"), None))


@pytest.fixture
async def server() -> AsyncIterator[TileServer]:
    async with tile_server(Log(SIZE, leaf)) as made:
        yield made


async def all_of(server: TileServer, after: Position | None = None, trust: Trust = TRUST) -> list[Followed]:
    async with LogFiles(server.url, patience_s=0.0) as files:
        return [one async for one in follow(files, ORIGIN, trust, after=after)]


async def test_entries_come_in_order_with_what_they_say(server: TileServer) -> None:
    found = await all_of(server)
    assert [(one.index, one.leaf) for one in found] == [(index, leaf(index)) for index in range(SIZE)]
    assert found[7].entry == CheckpointEntry((7).to_bytes(32, "big"), None)


@pytest.mark.parametrize("last", [0, 100, 255, 256, SIZE - 1])
async def test_a_stored_position_goes_on_behind_it_also_when_the_log_has_grown(server: TileServer, last: int) -> None:
    stored = (await all_of(server))[last].position.encode()
    server.log.grow(SIZE + 300)
    found = await all_of(server, Position.parse(stored))
    assert [one.index for one in found] == list(range(last + 1, SIZE + 300))


async def test_a_rewritten_history_is_refused_before_any_entry_of_it(server: TileServer) -> None:
    position = (await all_of(server))[99].position
    server.log = server.log.fork(3)
    for grown in (0, 1, 300):
        server.log.grow(SIZE + grown)
        with pytest.raises(ProofError) as refused:
            await all_of(server, position)
        assert refused.value.code == "FOLLOW_FORKED"


async def test_an_entry_that_is_not_in_the_tree_is_refused(server: TileServer) -> None:
    forged = server.content("tile/entries/001")
    assert forged is not None
    server.spoil["tile/entries/001"] = forged[:-1] + bytes([forged[-1] ^ 1])
    async with LogFiles(server.url, patience_s=0.0) as files:
        entries = follow(files, ORIGIN, TRUST)
        assert [(await anext(entries)).index for _ in range(256)] == list(range(256))
        with pytest.raises(ProofError, match="BUNDLE_MISMATCH"):
            await anext(entries)


async def test_a_head_of_another_key_is_refused(server: TileServer) -> None:
    other = Log(SIZE, leaf, origin="other.example/log")
    with pytest.raises(ProofError):
        async with LogFiles(server.url, patience_s=0.0) as files:
            _ = [one async for one in follow(files, other.origin, TRUST)]


async def test_an_older_head_of_the_same_history_yields_nothing(server: TileServer) -> None:
    position = (await all_of(server))[-1].position
    server.size = SIZE - 10
    assert await all_of(server, position) == []


async def test_a_position_behind_its_own_tree_is_refused(server: TileServer) -> None:
    found = await all_of(server)
    with pytest.raises(ProofError, match="FOLLOW_POSITION_AHEAD"):
        await all_of(server, Position(SIZE + 1, found[0].note))


async def test_a_text_that_is_no_position_is_refused() -> None:
    for text in ("", "{}", '{"next":-1,"note":""}', "[1]"):
        with pytest.raises(SourceError, match="FOLLOW_POSITION"):
            Position.parse(text)


async def test_without_a_witness_that_cosigned_nothing_comes(server: TileServer) -> None:
    with pytest.raises((ProofError, ConfigError), match="HEAD_QUORUM"):
        await all_of(server, trust=Trust(log_vkey=LOG_VKEY, quorum=1))


async def test_who_waits_is_given_what_is_added(server: TileServer) -> None:
    async with LogFiles(server.url, patience_s=60.0) as files:
        entries = follow(files, ORIGIN, TRUST, wait=True, poll_s=0.01)
        for index in range(SIZE):
            assert (await anext(entries)).index == index
        coming = asyncio.ensure_future(anext(entries))
        await asyncio.sleep(0.05)
        assert not coming.done()
        server.log.grow(SIZE + 2)
        assert (await coming).index == SIZE
        assert (await anext(entries)).index == SIZE + 1
        await entries.aclose()


async def test_an_empty_log_has_no_entries() -> None:
    async with tile_server(Log(0, leaf)) as server:
        assert await all_of(server) == []
        position = Position(0, server.log.head())
        server.log.grow(5)
        assert [one.index for one in await all_of(server, position)] == list(range(5))
