"""The device thread on the genesis checkpoint: batches, cache, failures, cancelled callers, swaps."""

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import curiosity.serving.embedder as embedder_module
from curiosity.embedding.checkpoint import GENESIS, Checkpoint, load, save
from curiosity.embedding.masks import mask_seed
from curiosity.embedding.modality import Array
from curiosity.embedding.space import Measured
from curiosity.embedding.weights import encode_weights, read_space
from curiosity.protocol.errors import CheckpointError, ConfigError, Overloaded, Rejected
from curiosity.protocol.judgement import Embedded
from curiosity.serving import in_force
from curiosity.serving.embedder import Embedder
from tests.material.waiting import PATIENCE_S, in_the_end


class Device:
    """A real space on a device whose memory, speed and health the test decides: that part lies outside our program."""

    def __init__(self, space: Any) -> None:
        self.space = space
        self.device = space.device
        self.batches: list[tuple[str, int]] = []
        self.taken = 0
        self.refused = 0
        self.capacity = 1_000
        self.free = threading.Event()
        self.free.set()

    def measure(self, modality: str, arrays: Sequence[Array], seeds: Sequence[int], masks: int) -> Measured:
        self.taken += len(arrays)
        assert self.free.wait(PATIENCE_S)
        if len(arrays) > self.capacity:
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        measured: Measured = self.space.measure(modality, arrays, seeds, masks)
        self.batches.append((modality, len(arrays)))
        return measured

    def embed(self, modality: str, arrays: Sequence[Array]) -> Array:
        assert self.free.wait(PATIENCE_S)
        rows: Array = self.space.embed(modality, arrays)
        return rows


@pytest.fixture
async def embedder() -> AsyncIterator[Embedder]:
    embedder = Embedder.load(GENESIS, "cpu")
    yield embedder
    await asyncio.to_thread(embedder.close)


@pytest.fixture
def device(embedder: Embedder) -> Device:
    device = Device(embedder.in_force.space)
    embedder.in_force = dataclasses.replace(embedder.in_force, space=device)
    return device


def words(number: int) -> Array:
    return np.frombuffer(f"item number {number}".encode(), dtype=np.uint8)


def picture(seed: int) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def digest(number: int) -> bytes:
    return sha256(b"%d" % number).digest()


async def embed_words(embedder: Embedder, numbers: Sequence[int]) -> list[Any]:
    jobs = (embedder.embed("text", digest(n), words(n)) for n in numbers)
    return await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), PATIENCE_S)


async def test_a_batch_gives_what_each_item_alone_gives(embedder: Embedder, device: Device) -> None:
    device.free.clear()
    jobs = [asyncio.create_task(embedder.embed("text", digest(n), words(n))) for n in range(20)]
    jobs += [asyncio.create_task(embedder.embed("image", digest(n), picture(n))) for n in range(20)]
    await in_the_end(lambda: device.taken + len(embedder._waiting) == 40)
    device.free.set()
    results = await asyncio.wait_for(asyncio.gather(*jobs), PATIENCE_S)
    assert sum(size for _, size in device.batches) == 40
    assert len(device.batches) <= 4  # whatever had gathered went together, one modality at a time
    for at, embedded in enumerate(results):
        modality, number = ("text", at) if at < 20 else ("image", at - 20)
        array = words(number) if modality == "text" else picture(number)
        assert embedded.checkpoint == embedder.checkpoint == bytes.fromhex(load(GENESIS).digest)
        seed = mask_seed(embedder.checkpoint, digest(number))
        alone = device.space.measure(modality, [array], [seed], embedder.calibration.masks)
        for ours, expected in (
            (embedded.whole, alone.whole[0]),
            (embedded.masked, alone.masked),
            (embedded.halves, alone.halves[0]),
        ):
            assert ours.dtype == np.int16
            assert ours.shape == expected.shape
            # A larger matrix product may add in another order: one step of 1/32767, the unit that the margin covers.
            assert np.abs(ours.astype(int) - expected).max() <= 1
    other = device.space.measure("text", [words(0)], [mask_seed(digest(1), digest(0))], embedder.calibration.masks)
    assert not np.array_equal(other.halves[0], results[0].halves)  # the seed decides


async def test_a_cancelled_caller_does_not_end_the_thread(embedder: Embedder, device: Device) -> None:
    device.free.clear()
    running = asyncio.create_task(embedder.embed("text", digest(1), words(1)))
    await in_the_end(lambda: device.taken == 1)
    waiting = asyncio.create_task(embedder.embed("text", digest(2), words(2)))
    await in_the_end(lambda: len(embedder._waiting) == 1)
    running.cancel()
    waiting.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    device.free.set()
    assert [type(r) for r in await embed_words(embedder, [3, 4])] == [Embedded, Embedded]
    assert sum(size for _, size in device.batches) == 3  # nobody waited for item 2: it was not embedded


async def test_a_device_without_memory_gets_smaller_batches(embedder: Embedder, device: Device) -> None:
    device.capacity = 5
    await embed_words(embedder, [999])
    device.free.clear()
    jobs = asyncio.create_task(embed_words(embedder, range(40)))
    await in_the_end(lambda: device.taken + len(embedder._waiting) == 41)
    device.free.set()
    results = await jobs
    assert [r for r in results if isinstance(r, BaseException)] == []
    assert max(size for _, size in device.batches) <= 5
    refused = device.refused
    assert refused > 0
    await embed_words(embedder, range(1_000, 1_200))
    # It has learned: a try now and then whether more fits. Batches of 64 would fail fifteen times each, 45 in all.
    assert device.refused - refused <= 20


async def test_a_bad_item_fails_alone(embedder: Embedder, device: Device) -> None:
    device.free.clear()
    blocker = asyncio.create_task(embed_words(embedder, [99]))
    await in_the_end(lambda: device.taken == 1)
    jobs = [asyncio.create_task(embedder.embed("image", digest(n), picture(n))) for n in range(7)]
    jobs.insert(3, asyncio.create_task(embedder.embed("image", digest(50), picture(1).astype(np.float64))))
    await in_the_end(lambda: len(embedder._waiting) == 8)
    device.free.set()
    await blocker
    results = await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), PATIENCE_S)
    bad = results.pop(3)
    assert isinstance(bad, Rejected)
    assert bad.code == "ARRAY_NOT_IN_CONTRACT"
    assert all(isinstance(r, Embedded) for r in results)
    await embed_words(embedder, [100])  # the thread is done with the batch of before
    assert embedder._max_batch == embedder_module.MAX_BATCH  # a bad item says nothing about the device


async def test_known_items_come_from_the_cache_and_the_least_used_leaves(
    embedder: Embedder, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder_module, "CACHED_ITEMS", 2)
    (first,) = await embed_words(embedder, [1])
    await embed_words(embedder, [2])
    (again,) = await embed_words(embedder, [1])
    assert again is first
    assert len(device.batches) == 2
    with pytest.raises(ValueError, match="read-only"):
        first.whole[0] = 7
    await embed_words(embedder, [3])  # 2 was used longer ago than 1
    await embed_words(embedder, [1])
    assert len(device.batches) == 3
    await embed_words(embedder, [2])
    assert len(device.batches) == 4


async def test_the_same_item_twice_in_a_batch_is_measured_once(embedder: Embedder, device: Device) -> None:
    device.free.clear()
    blocker = asyncio.create_task(embed_words(embedder, [99]))
    await in_the_end(lambda: device.taken == 1)
    jobs = asyncio.create_task(embed_words(embedder, [0, 1, 1, 1, 2]))
    await in_the_end(lambda: len(embedder._waiting) == 5)
    device.free.set()
    await blocker
    results = await jobs
    assert [size for _, size in device.batches] == [1, 3]
    assert np.array_equal(results[1].whole, results[3].whole)


async def test_a_full_queue_refuses_and_recovers(
    embedder: Embedder, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder_module, "MAX_WAITING", 3)
    device.free.clear()
    jobs = [asyncio.create_task(embed_words(embedder, [0]))]
    await in_the_end(lambda: device.taken == 1)  # no longer waiting
    jobs += [asyncio.create_task(embed_words(embedder, [n])) for n in (1, 2, 3)]
    await in_the_end(lambda: len(embedder._waiting) == 3)
    with pytest.raises(Overloaded, match="DEVICE_BUSY"):
        await embedder.embed("text", digest(4), words(4))
    device.free.set()
    assert all(isinstance(r, Embedded) for (r,) in await asyncio.gather(*jobs))
    assert isinstance((await embed_words(embedder, [4]))[0], Embedded)


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Genesis with other weights, as a trainer would publish it."""
    genesis = load(GENESIS)
    space = read_space(genesis)
    for parameter in space.parameters():
        parameter.data.mul_(1.25)
    manifest = dataclasses.replace(genesis.manifest, parent=genesis.digest)
    path = tmp_path_factory.mktemp("child") / "checkpoint"
    return save(path, manifest=manifest, model=encode_weights(space), anchors=genesis.anchors, card="# A child\n")


async def test_what_runs_during_a_swap_says_the_old_checkpoint(
    embedder: Embedder, device: Device, child: Checkpoint
) -> None:
    old, new = embedder.checkpoint, bytes.fromhex(child.digest)
    device.free.clear()
    running = asyncio.create_task(embed_words(embedder, [1]))
    await in_the_end(lambda: device.taken == 1)
    embedder.switch(in_force.load(child.path, "cpu", "pinned"))
    assert embedder.checkpoint == new
    assert embedder.parent == old
    device.free.set()
    (before,) = await running
    (after,) = await embed_words(embedder, [1])
    assert (before.checkpoint, after.checkpoint) == (old, new)
    assert not np.array_equal(before.whole, after.whole)


def test_a_checkpoint_that_differs_is_not_put_on_the_device(tmp_path: Path) -> None:
    for name in ("manifest.json", "config.json", "anchors.safetensors", "README.md"):
        (tmp_path / name).write_bytes((GENESIS / name).read_bytes())
    weights = bytearray((GENESIS / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match="CHECKPOINT_DIFFERS"):
        in_force.load(tmp_path, "cpu", "pinned")


async def test_what_is_built_beside_is_embedded_under_itself(embedder: Embedder, child: Checkpoint) -> None:
    beside = in_force.load(child.path, "cpu", "pinned")
    under_old = await embedder.embed_whole("text", [words(1)])
    under_new = await embedder.embed_whole("text", [words(1)], beside)
    assert not np.array_equal(under_old, under_new)
    embedder.switch(beside)
    assert np.array_equal(await embedder.embed_whole("text", [words(1)]), under_new)


async def test_whole_embeddings_are_unit_rows_in_order(embedder: Embedder) -> None:
    rows = await embedder.embed_whole("text", [words(n) for n in range(5)])
    assert rows.shape == (5, embedder.dim)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    alone = await embedder.embed_whole("text", [words(3)])
    assert np.allclose(alone[0], rows[3], atol=1e-5)
    assert (await embedder.embed_whole("text", [])).shape == (0, embedder.dim)


@pytest.mark.parametrize("name", ["toaster", "cuda:99"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Embedder.load(GENESIS, name)
