"""A switch of the checkpoint: what is built beside, what goes on meanwhile, and that a failure changes nothing."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import curiosity.embedding.checkpoint
import validator.reindex as reindex
import validator.service as service_module
from curiosity.host.port.shares import Shares
from curiosity.ledger.rules import BadEntry
from curiosity.protocol.errors import CheckpointError, Overloaded, Rejected, StoreError
from curiosity.protocol.messages import Decision
from curiosity.protocol.pair import Part
from curiosity.serving.embedder import Embedder
from curiosity.serving.in_force import InForce, load
from tests.material.child_checkpoint import child_of_genesis
from tests.material.service import BOB, Running, pictures, running
from tests.material.switch import FAULT, audited, is_right, search
from tests.material.takedown import digest_of, forget, submit
from validator.service import switch_checkpoint

WAIT_S = 60.0


@pytest.fixture
def child(tmp_path: Path) -> Path:
    return child_of_genesis(tmp_path / "child", fit=True)


@contextmanager
def held(live: Running, meanwhile: Callable[[InForce], Awaitable[None]]) -> Iterator[None]:
    """Do something each time that something is to be embedded under what is being built."""
    embedder = live.service.embedder
    embed_whole = embedder.embed_whole

    async def hold(modality: str, arrays: Any, under: InForce | None = None) -> Any:
        if under is not None and under is not embedder.in_force:
            await meanwhile(under)
        return await embed_whole(modality, arrays, under)

    embedder.embed_whole = hold  # type: ignore[method-assign]
    try:
        yield
    finally:
        embedder.embed_whole = embed_whole  # type: ignore[method-assign]


async def test_pairs_and_searches_go_on_under_the_old_checkpoint(live: Running, child: Path) -> None:
    await submit(live, 6)
    old, before = live.network.checkpoint, await search(live)
    go, is_building = asyncio.Event(), asyncio.Event()

    async def wait(_state: InForce) -> None:
        is_building.set()
        await go.wait()

    with held(live, wait):
        switching = asyncio.create_task(switch_checkpoint(live.service, child))
        async with asyncio.timeout(WAIT_S):
            await is_building.wait()
            assert await search(live) == before
            late = [await live.client.post_pair(live.sign(one, BOB).encode()) for one in pictures(4, start=6)]
            assert {decision.verdict.checkpoint for decision in late} == {old}
            during = await search(live)
        assert during.checkpoint == old
        assert during.indexed > before.indexed
        assert not switching.done()
        go.set()
        _, count = await switching
    assert count == during.indexed == (await search(live)).indexed
    after = await live.client.post_pair(live.sign(pictures(1, start=11)[0]).encode())
    assert after.verdict.checkpoint != old
    assert (await is_right(live)).checkpoint == after.verdict.checkpoint


async def test_a_query_is_answered_under_one_checkpoint(live: Running, child: Path) -> None:
    """Embedded before the switch and looked up after it: in the index of the checkpoint that embedded it."""
    await submit(live, 3)
    old, decode = live.network.checkpoint, live.service.decoder.decode
    go, is_decoding = asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        if len(arguments) > 3:  # with somebody's account: of the query
            is_decoding.set()
            await go.wait()
        return await decode(*arguments)

    live.service.decoder.decode = slow  # type: ignore[assignment, method-assign]
    query = asyncio.create_task(search(live))
    async with asyncio.timeout(WAIT_S):
        await is_decoding.wait()
        await switch_checkpoint(live.service, child)
        go.set()
        answer = await query
        assert answer.checkpoint == old
        assert (await search(live)).checkpoint == live.service.embedder.checkpoint != old


STEPS = ("load", "copy", "device", "read a page", "read an item", "decode", "embed", "note the path", "log")


def _break(live: Running, step: str, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    s = live.service
    where, name = {
        "load": (curiosity.embedding.checkpoint, "load"),
        "copy": (curiosity.embedding.checkpoint, "copy"),
        "device": (service_module, "put_on_device"),
        "read a page": (s.store, "accepted"),
        "read an item": (s.store, "blob"),
        "decode": (s.decoder, "decode"),
        "embed": (s.embedder, "embed_whole"),
        "note the path": (s.store, "meta_set"),
        "log": (s.ledger, "append"),
    }[step]
    real, calls = getattr(where, name), 0

    def fail(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= at:
            raise FAULT
        return real(*arguments, **named)

    monkeypatch.setattr(where, name, fail)


async def test_a_fault_at_any_step_leaves_the_old_checkpoint_whole(
    tmp_path: Path, child: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step, at its first call and at later ones, on one validator; then it switches as if nothing had been."""
    monkeypatch.setattr(reindex, "_PAGE", 2)
    monkeypatch.setattr(reindex, "WAVE_ITEMS", 2)
    later = {"read a page": (2, 3, 4), "read an item": (2, 5, 8), "decode": (2, 5, 8), "embed": (2, 4)}
    async with running(tmp_path / "validator") as live:
        await submit(live, 6)
        fresh = iter(pictures(30, start=6))
        for step in STEPS:
            for at in (1, *later.get(step, ())):
                state, size = live.service.embedder.in_force, live.service.ledger.size
                live.service.store.drop_finals(())  # what an earlier attempt has embedded
                with monkeypatch.context() as patch:
                    _break(live, step, at, patch)
                    with pytest.raises(StoreError, match="BROKEN"):
                        await switch_checkpoint(live.service, child)
                assert live.service.embedder.in_force is state, step
                assert live.service.ledger.size == size, step
                decision = await live.client.post_pair(live.sign(next(fresh)).encode())
                assert decision.verdict.checkpoint == live.network.checkpoint, step
                await is_right(live)
    async with running(tmp_path / "validator") as live:  # nor does a start put the child in force
        assert (await is_right(live)).checkpoint == live.network.checkpoint
        entry, count = await switch_checkpoint(live.service, child)
        assert count == (await search(live)).indexed
        assert entry == live.service.ledger.size - 1
        await live.client.post_pair(live.sign(next(fresh)).encode())
        assert (await is_right(live)).checkpoint != state.digest
    async with running(tmp_path / "validator") as live:
        assert (await is_right(live)).checkpoint != state.digest


async def test_a_fault_once_the_entry_is_written_stops_the_validator(
    tmp_path: Path, child: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log names a checkpoint that is not in force: not one pair may be judged until the next start."""
    async with running(tmp_path / "validator") as live:
        await submit(live, 3)
        size = live.service.ledger.size

        def broken(_state: InForce) -> None:
            raise FAULT

        pipeline, fill, queued = live.service.pipeline, live.service.reindexer.fill, list[asyncio.Task[Decision]]()

        async def queue_one(state: InForce, start: int = 0) -> tuple[int, int]:
            if live.service.batches._gate.locked():  # embedded under the old checkpoint, it waits to be judged
                queued.append(asyncio.create_task(pipeline.validate(live.sign(pictures(6)[5]).encode())))
                await live.service.batches._is_queued.wait()
            return await fill(state, start)

        monkeypatch.setattr(live.service.embedder, "switch", broken)
        monkeypatch.setattr(live.service.reindexer, "fill", queue_one)
        with pytest.raises(StoreError, match="BROKEN"):
            await switch_checkpoint(live.service, child)
        with pytest.raises(StoreError, match="BROKEN"):
            await queued[0]
        with pytest.raises(StoreError, match="BROKEN"):
            await live.service.pipeline.validate(live.sign(pictures(4)[3]).encode())
        assert live.service.ledger.size == size + 1
        await audited(live)
    async with running(tmp_path / "validator") as live:
        decision = await live.client.post_pair(live.sign(pictures(4)[3]).encode())
        rules = await is_right(live)
        assert rules.checkpoint == decision.verdict.checkpoint
        assert rules.size == size + 2
        with pytest.raises(CheckpointError, match="CHECKPOINT_NOT_CHILD"):
            await switch_checkpoint(live.service, child)


async def test_what_the_rules_say_about_pairs_under_a_checkpoint_that_was_never_logged(
    live: Running, child: Path
) -> None:
    """The control arm: to replace what is in force before the entry is written spoils the log for good."""
    state = load(child, "cpu", "pinned")
    live.service.embedder.switch(state)
    await live.client.post_pair(live.sign(pictures(1)[0]).encode())
    with pytest.raises(BadEntry, match="LEDGER_CHECKPOINT"):
        await audited(live)


async def test_large_items_are_decoded_a_few_at_a_time(
    live: Running, child: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More bytes than the decoder takes at once: with the limit they are embedded again, without it they cannot be."""
    pairs = await submit(live, 20)
    room = 3 * max(len(one.a.data) for one, _ in pairs)
    monkeypatch.setattr(live.service.decoder, "_bytes", Shares(room, is_fair=True))
    monkeypatch.setattr(reindex, "_ATTEMPTS", 1)
    monkeypatch.setattr(reindex, "ARRAY_BYTES", 1)  # embedded at once
    with monkeypatch.context() as patch:
        patch.setattr(reindex, "WAVE_ITEMS", 1000)
        with pytest.raises(Overloaded, match="DECODER_BUSY"):
            await switch_checkpoint(live.service, child)
    await is_right(live)
    monkeypatch.setattr(reindex, "WAVE_ITEMS", 1000)
    monkeypatch.setattr(reindex, "WAVE_BYTES", room)
    _, count = await switch_checkpoint(live.service, child)
    assert count == len(pairs)
    await is_right(live)


def test_a_wave_is_bounded_in_items_and_in_bytes() -> None:
    def part(number: int, size: int) -> Part:
        return Part("image", "image/png", size, number.to_bytes(32))

    small = [part(number, 1) for number in range(20)]
    assert [len(wave) for wave in reindex.waves(small)] == [8, 8, 4]
    large = [part(number, reindex.WAVE_BYTES * 2 // 5) for number in range(5)]
    assert [len(wave) for wave in reindex.waves(large)] == [2, 2, 1]
    huge = [part(0, 1), part(1, reindex.WAVE_BYTES + 1), part(2, 1)]
    assert [len(wave) for wave in reindex.waves(huge)] == [1, 1, 1]
    assert list(reindex.waves([])) == []


async def test_a_busy_decoder_is_waited_for(live: Running, child: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = await submit(live, 3)
    monkeypatch.setattr(reindex, "_PAUSE_S", 0.0)
    decode, refused = live.service.decoder.decode, 0

    async def busy(*arguments: Any) -> Any:
        nonlocal refused
        refused += 1
        if refused < 10:
            raise Overloaded("DECODER_BUSY", "others wait", "Come again.", retry_after_s=2)
        return await decode(*arguments)

    monkeypatch.setattr(live.service.decoder, "decode", busy)
    assert (await switch_checkpoint(live.service, child))[1] == len(pairs)


@pytest.mark.parametrize("built", [0, 1, 3])
async def test_what_is_taken_down_meanwhile_is_not_in_what_was_built(
    built: int, live: Running, child: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its page is being embedded, and when it has long been added to what is being built."""
    monkeypatch.setattr(reindex, "_PAGE", 1)
    pairs = await submit(live, 6)
    signed, _ = pairs[0]

    async def take_down(state: InForce) -> None:
        if state.index.count("image") == built and digest_of(live, signed) not in live.service.forgotten:
            await forget(live, signed)

    with held(live, take_down):
        await switch_checkpoint(live.service, child)
    assert digest_of(live, signed) in live.service.forgotten
    answer = await live.client.query("image", "image/png", signed.a.data, "image", 20)
    assert signed.a.digest not in {one.sha256 for one in answer.found}
    assert answer.indexed == len(pairs) - 1
    await is_right(live)


async def test_pairs_that_come_faster_than_they_are_embedded_are_not_made_to_wait(
    tmp_path: Path, child: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last pause is for one batch at the most: rather than take longer, the switch is given up."""
    monkeypatch.setattr(service_module, "_ROUNDS", 3)
    async with running(tmp_path / "validator", max_batch_pairs=1) as live:
        await submit(live, 3)
        fresh, fill = iter(pictures(60, start=3)), live.service.reindexer.fill

        async def outrun(state: InForce, start: int = 0) -> tuple[int, int]:
            done, accepted = await fill(state, start), 0
            while accepted < 2:
                decision = await live.client.post_pair(live.sign(next(fresh)).encode())
                accepted += decision.verdict.is_accepted
            return done

        with monkeypatch.context() as patch:
            patch.setattr(live.service.reindexer, "fill", outrun)
            with pytest.raises(CheckpointError, match="CHECKPOINT_BEHIND"):
                await switch_checkpoint(live.service, child)
        assert (await is_right(live)).checkpoint == live.network.checkpoint
        await switch_checkpoint(live.service, child)
        assert (await is_right(live)).checkpoint != live.network.checkpoint


async def test_what_is_accepted_last_is_embedded_in_the_pause(
    live: Running, child: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await submit(live, 3)
    fill, rounds, fresh = live.service.reindexer.fill, list[int](), iter(pictures(20, start=3))

    async def leave_one(state: InForce, start: int = 0) -> tuple[int, int]:
        done = await fill(state, start)
        rounds.append(done[1])
        while (
            len(rounds) == 1 and not (await live.client.post_pair(live.sign(next(fresh)).encode())).verdict.is_accepted
        ):
            pass
        return done

    monkeypatch.setattr(live.service.reindexer, "fill", leave_one)
    _, count = await switch_checkpoint(live.service, child)
    assert rounds == [count - 1, 1]
    assert (await search(live)).indexed == count
    await is_right(live)


async def test_a_start_embeds_nothing_again(tmp_path: Path, child: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a second attempt embed what the first has. Without what is kept, as the control arm, all of it."""
    embedded, embed_whole = list[int](), Embedder.embed_whole

    async def count(self: Embedder, modality: str, arrays: Any, under: InForce | None = None) -> Any:
        embedded.append(len(arrays))
        return await embed_whole(self, modality, arrays, under)

    async def fail(*_arguments: Any) -> Any:
        raise FAULT

    async with running(tmp_path / "validator") as live:
        pairs = await submit(live, 6)
        with monkeypatch.context() as patch:
            patch.setattr(live.service.batches, "paused", lambda work: (work.close(), fail())[1])
            with pytest.raises(StoreError, match="BROKEN"):
                await switch_checkpoint(live.service, child)
        monkeypatch.setattr(Embedder, "embed_whole", count)
        await switch_checkpoint(live.service, child)
        assert sum(embedded) == 0
        before = await search(live)
        assert before.indexed == len(pairs)
        embedded.clear()
    async with running(tmp_path / "validator") as live:
        assert sum(embedded) == 0
        assert await search(live) == before
        await is_right(live)
        live.service.store.drop_finals(())
        embedded.clear()
    async with running(tmp_path / "validator") as live:
        assert sum(embedded) > len(pairs)
        assert await search(live) == before
        embedded.clear()
    async with running(tmp_path / "validator"):
        assert sum(embedded) == 0


async def test_what_is_kept_goes_with_its_pair(live: Running, child: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken down after it was embedded again, and while it is being."""
    (first, _), (second, one), *_ = await submit(live, 6)

    async def take_down(_state: InForce) -> None:
        if digest_of(live, first) not in live.service.forgotten:
            await forget(live, first)

    store = live.service.store
    with held(live, take_down):
        await switch_checkpoint(live.service, child)
    kept = store.finals(live.service.embedder.checkpoint, 0, 100)
    assert set(kept) == {row.index for row in store.accepted()}
    vectors = kept[one.receipt.index]
    files = [path for path in live.service.settings.validator.data_dir.rglob("*") if path.is_file()]
    assert any(vectors in path.read_bytes() for path in files)
    await forget(live, second)
    assert one.receipt.index not in store.finals(live.service.embedder.checkpoint, 0, 100)
    assert not any(vectors in path.read_bytes() for path in files if path.exists())


async def test_of_two_orders_at_once_one_is_followed(live: Running, child: Path, tmp_path: Path) -> None:
    await submit(live, 3)
    token = live.service.keys.admin_token
    orders = [live.client.switch_checkpoint(token, str(child)) for _ in range(2)]
    done = await asyncio.gather(*orders, return_exceptions=True)
    (refused,) = [one for one in done if isinstance(one, Rejected)]
    assert refused.code == "CHECKPOINT_NOT_CHILD"
    assert (await is_right(live)).size == live.service.ledger.size


async def test_a_network_needs_nothing_outside_its_folder_after_a_switch(tmp_path: Path, child: Path) -> None:
    """The folder that was switched to is removed, the data folder moved: it starts, with the same checkpoint."""
    async with running(tmp_path / "validator") as live:
        first = live.service.embedder.checkpoint
        await submit(live, 2)
        await switch_checkpoint(live.service, child)
        digest = live.service.embedder.checkpoint
    shutil.rmtree(child)
    (tmp_path / "validator").rename(tmp_path / "moved")
    async with running(tmp_path / "moved") as live:
        assert live.service.embedder.checkpoint == digest
        assert (await is_right(live)).checkpoint == digest
        grandchild = child_of_genesis(
            tmp_path / "grandchild", fit=True, parent=tmp_path / "moved" / "checkpoints" / digest.hex()
        )
        await switch_checkpoint(live.service, grandchild)
        assert set(os.listdir(tmp_path / "moved" / "checkpoints")) == {  # all, so that verdicts can be repeated
            first.hex(),
            digest.hex(),
            live.service.embedder.checkpoint.hex(),
        }


async def test_a_checkpoint_that_an_earlier_version_noted_elsewhere_is_copied(tmp_path: Path, child: Path) -> None:
    async with running(tmp_path / "validator") as live:
        await switch_checkpoint(live.service, child)
        digest = live.service.embedder.checkpoint
        live.service.store.meta_set("checkpoint_path", str(child))
    shutil.rmtree(tmp_path / "validator" / "checkpoints")
    async with running(tmp_path / "validator") as live:  # by its note
        assert live.service.embedder.checkpoint == digest
    elsewhere = shutil.move(child, tmp_path / "elsewhere")
    async with running(tmp_path / "validator") as live:
        assert live.service.store.meta_get("checkpoint_path") == f"checkpoints/{digest.hex()}"
        live.service.store.meta_set("checkpoint_path", str(child))
    shutil.rmtree(tmp_path / "validator" / "checkpoints")
    shutil.copytree(tmp_path / "validator", tmp_path / "without")
    with pytest.raises(CheckpointError, match=f"CHECKPOINT_MISSING.*{digest.hex()}"):
        async with running(tmp_path / "without"):
            pass
    os.mkdir(tmp_path / "validator" / "checkpoints")
    shutil.move(elsewhere, tmp_path / "validator" / "checkpoints" / digest.hex())  # as the message says
    async with running(tmp_path / "validator") as live:
        assert live.service.embedder.checkpoint == digest
