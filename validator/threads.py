"""The threads that a validator's work is done on, beside the event loop and the device thread."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_READERS = 4


class Threads:
    """One writer, on which everything that the ledger holds is decided and appended in order, and four readers."""

    def __init__(self) -> None:
        self._writer = ThreadPoolExecutor(1, "writer")
        self.readers = ThreadPoolExecutor(_READERS, "reader")

    async def on_writer(self, work: Callable[[], T]) -> T:
        """Run ``work`` on the writer thread, between two batches: the way to append anything but a pair."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    async def on_reader(self, work: Callable[[], T]) -> T:
        """Run a blocking read of the store off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.readers, work)

    def close(self) -> None:
        """Finish what was begun and end the threads."""
        self._writer.shutdown()
        self.readers.shutdown()
