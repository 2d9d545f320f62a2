"""Lookups that share a read, batches that grow: everybody gets his own answer, and a crowd costs few of either."""

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from curiosity.protocol.errors import StoreError
from tests.material.waiting import PATIENCE_S
from validator.batches import gathered
from validator.lookup import SharedLookup


@contextmanager
def one_thread() -> Iterator[ThreadPoolExecutor]:
    executor = ThreadPoolExecutor(1)
    yield executor
    executor.shutdown()


async def test_everybody_gets_his_own_answer_from_few_reads() -> None:
    reads: list[Sequence[int]] = []

    def read(keys: Sequence[int]) -> Mapping[int, str]:
        reads.append(keys)
        return {key: f"value {key}" for key in keys if key % 3}

    with one_thread() as executor:
        lookup = SharedLookup(read, executor, range(50))
        found = await asyncio.gather(*(lookup.find(number % 50) for number in range(200)))
        assert found == [f"value {n % 50}" if n % 50 % 3 else None for n in range(200)]
        assert await lookup.find(7) == "value 7"
    assert len(reads) == 2
    assert all(len(set(keys)) == len(keys) for keys in reads)


async def test_who_asks_during_a_read_gets_what_a_later_read_finds() -> None:
    """A decision that was stored after a read had begun is found by whoever asked after that."""
    stored: dict[int, str] = {}
    began, go_on = threading.Event(), threading.Event()

    def read(keys: Sequence[int]) -> Mapping[int, str]:
        found = {key: stored[key] for key in keys if key in stored}
        began.set()
        assert go_on.wait(PATIENCE_S)
        return found

    with one_thread() as executor:
        lookup = SharedLookup(read, executor, [1])
        early = asyncio.create_task(lookup.find(1))
        await asyncio.to_thread(began.wait, PATIENCE_S)
        stored[1] = "decided"
        late = asyncio.create_task(lookup.find(1))
        await asyncio.sleep(0)
        go_on.set()
        assert (await early, await late) == (None, "decided")


async def test_a_failed_read_fails_those_who_waited_for_it_and_nobody_else() -> None:
    broken = True

    def read(keys: Sequence[int]) -> Mapping[int, str]:
        if broken:
            raise StoreError("STORE_UNREACHABLE", "gone", "Wait.")
        return dict.fromkeys(keys, "there")

    with one_thread() as executor:
        lookup = SharedLookup(read, executor, range(10))
        gone = asyncio.create_task(lookup.find(9))
        await asyncio.sleep(0)
        gone.cancel()
        results = await asyncio.gather(*(lookup.find(n) for n in range(5)), return_exceptions=True)
        assert {type(result) for result in results} == {StoreError}
        broken = False
        assert await lookup.find(1) == "there"
        with pytest.raises(asyncio.CancelledError):
            await gone


async def test_a_key_that_was_never_there_costs_no_read() -> None:
    reads: list[Sequence[bytes]] = []

    def read(keys: Sequence[bytes]) -> Mapping[bytes, str]:
        reads.append(keys)
        return {b"old": "from the store", b"new": "decided since"}

    with one_thread() as executor:
        lookup = SharedLookup(read, executor, [b"old"])
        assert await asyncio.gather(*(lookup.find(b"key %d" % n) for n in range(1000))) == [None] * 1000
        assert await lookup.find(b"new") is None
        assert reads == []
        lookup.expect([b"new"])
        assert await asyncio.gather(*map(lookup.find, (b"old", b"new"))) == ["from the store", "decided since"]
    assert reads == [[b"old", b"new"]]


@pytest.mark.parametrize(
    ("sizes", "step_s", "looks"),
    [
        ([3, 3, 3, 3, 9], 0.0, 5),  # nobody comes: until that was seen three times
        ([3, 9, 9, 20, 20, 20, 20, 21], 0.0, 8),
        ([3, 9, 20, 64, 70], 0.0, 4),  # until the batch is full
        ([64, 65], 0.0, 1),
        (list(range(1, 64)), 0.0011, 10),  # until it has taken 10 ms
    ],
)
async def test_a_batch_grows_while_pairs_keep_coming(sizes: list[int], step_s: float, looks: int) -> None:
    left = sizes.copy()
    await gathered(lambda: left.pop(0), 64, clock=lambda: step_s * (len(sizes) - len(left)))
    assert len(sizes) - len(left) == looks
