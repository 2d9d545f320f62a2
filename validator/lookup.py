"""Lookups of the store that wait for each other: who asks while a read is running shares the next one."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class SharedLookup(Generic[K, V]):
    """Finds values by key off the event loop, with one read for all keys that were asked for in the meantime.

    A read of its own for each request costs a change of threads and a query each; under load they come in dozens.
    ``read`` is given distinct keys and returns those that it knows; it runs on ``executor``.
    """

    def __init__(self, read: Callable[[Sequence[K]], Mapping[K, V]], executor: Executor) -> None:
        self._read = read
        self._executor = executor
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._is_reading = False

    async def find(self, key: K) -> V | None:
        """Return what is known under ``key``, None if nothing is. Raises what ``read`` raises."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[V | None] = loop.create_future()
        self._waiting.setdefault(key, []).append(found)
        if not self._is_reading:
            self._is_reading = True
            # Not at once: whoever's request is ready in the same turn of the loop comes along.
            loop.call_soon(self._start)
        return await found

    def _start(self) -> None:
        asked, self._waiting = self._waiting, {}
        reading = asyncio.get_running_loop().run_in_executor(self._executor, self._read, list(asked))
        reading.add_done_callback(lambda done: self._answer(asked, done))

    def _answer(
        self, asked: Mapping[K, Sequence["asyncio.Future[V | None]"]], done: "asyncio.Future[Mapping[K, V]]"
    ) -> None:
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        for key, waiting in asked.items():
            for found in waiting:
                if found.done():
                    continue  # whoever asked has gone
                if error is not None:
                    found.set_exception(error)
                else:
                    found.set_result(done.result().get(key))
        if self._waiting:
            self._start()
        else:
            self._is_reading = False
