"""Lookups of the store: none for what was never put there, one for all who ask while another is running."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class SharedLookup(Generic[K, V]):
    """Finds values by key off the event loop, with one read for all keys that were asked for in the meantime.

    A read of its own for each request costs a change of threads and a query each; under load they come in dozens.
    ``read`` is given distinct keys and returns those that it knows; it runs on ``executor``.

    Nearly every key that is asked for is new, and to learn that from the store cost more than a tenth of a pair. So the
    hashes of all keys there are kept, 65 bytes each: ``keys`` at the beginning, and whatever `expect` is told of. They
    are Python's own, under a key of the process: two that are equal can be neither foreseen nor do more than a read.
    """

    def __init__(
        self, read: Callable[[Sequence[K]], Mapping[K, V]], executor: Executor, keys: Iterable[K] = ()
    ) -> None:
        self._read = read
        self._executor = executor
        self._hashes = {hash(key) for key in keys}
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._is_reading = False

    def expect(self, keys: Iterable[K]) -> None:
        """Ask ``read`` for these keys from now on. Thread-safe; to be called before they can be found there."""
        self._hashes.update(map(hash, keys))

    async def find(self, key: K) -> V | None:
        """Return what is known under ``key``, None if nothing is.

        Raises:
            CuriosityError: What ``read`` raises.
        """
        if hash(key) not in self._hashes:
            return None
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
