"""Static files of any C2SP log (c2sp.org/tlog-tiles), from a URL or a folder, fetched ahead of who reads them in order.

What comes is not believed here: `curiosity.protocol.tile_reader` holds it to a signed head.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from curiosity.client.trust import Trust
from curiosity.client.unreachable import why_silent
from curiosity.host.paths import PathRefused, inside
from curiosity.protocol.errors import ProofError, ServiceError, SourceError
from curiosity.protocol.tiles import MAX_ENTRY_BYTES, WIDTH, tile_width
from curiosity.protocol.tlog import Bundle, Tile, TileReader, verify_checkpoint
from curiosity.protocol.url import without_userinfo

MAX_FILE_BYTES = WIDTH * (MAX_ENTRY_BYTES + 2)  # a full bundle of the longest entries
AHEAD = 24
"""Files on their way or waiting to be read: what bounds the memory, at most 24 of 16.8 MB."""

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0


class LogFiles:
    """The files of one log; ``where`` is a URL prefix or a folder.

    A request without an answer is repeated; ``on_wait`` is told why, once for each reason.

    Raises:
        ServiceError: LOG_UNREACHABLE after ``patience_s`` without an answer, LOG_ANSWER for a file that is too long or
            a status that means nothing.
        SourceError: LOG_UNREADABLE for a folder's file.
    """

    def __init__(
        self,
        where: str,
        *,
        patience_s: float = 60.0,
        timeout_s: float = 60.0,
        on_wait: Callable[[str], None] = lambda _words: None,
    ) -> None:
        self._on_wait = on_wait
        self._told = ""  # what was waited out last
        self.where = where.rstrip("/")
        self.place = without_userinfo(self.where)  # as people are shown it
        self.is_folder = "://" not in where
        self._patience_s = patience_s
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self.fetched_bytes = 0

    async def __aenter__(self) -> Self:
        if self.is_folder and await asyncio.to_thread(Path(self.where).is_file):
            raise SourceError(
                "LOG_NOT_A_FOLDER",
                f"{self.place} is a file",
                "Name the folder of a log's files. Unpack an exported .tar into a folder first.",
            )
        if not self.is_folder:
            self._session = aiohttp.ClientSession(timeout=self._timeout, connector=aiohttp.TCPConnector(limit=AHEAD))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> bytes | None:
        """Return the file at a path relative to the prefix, None if there is none."""
        if self.is_folder:
            data = await asyncio.to_thread(_read, Path(self.where), path)
        else:
            data = await self._request(f"{self.where}/{path}")
        self.fetched_bytes += len(data or b"")
        return data

    async def head(self) -> str:
        """Return the log's signed tree head, a note, not yet verified.

        Raises:
            SourceError: LOG_EMPTY without one.
        """
        data = await self.get("checkpoint")
        if data is None:
            raise SourceError("LOG_EMPTY", f"{self.place}/checkpoint is not there", "Name the prefix of a C2SP log.")
        return data.decode(errors="replace")

    async def _request(self, url: str) -> bytes | None:
        deadline, wait_s = time.monotonic() + self._patience_s, _FIRST_WAIT_S
        while True:
            try:
                return await self._once(url)
            except (aiohttp.ClientError, TimeoutError, OSError, _Later) as error:
                why = str(error) if isinstance(error, _Later) else why_silent(error)
                if self._told != why:
                    self._on_wait(f"{self.place} did not answer: {why}. Trying again for up to {self._patience_s:g} s.")
                    self._told = why
                pause_s = wait_s * (0.75 + 0.5 * random.random())  # noqa: S311 - so that many do not come back at once
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
                if time.monotonic() + pause_s > deadline:
                    raise ServiceError(
                        "LOG_UNREACHABLE",
                        without_userinfo(f"{url} did not answer: {why}"),
                        "Check the address, and that the log is served there.",
                    ) from None
                await asyncio.sleep(pause_s)

    async def _once(self, url: str) -> bytes | None:
        assert self._session is not None, "use it as a context manager"
        async with self._session.get(url) as answer:
            if answer.status in (404, 410):
                return None
            if answer.status == 429 or answer.status >= 500:
                raise _Later(f"status {answer.status}")
            if answer.status != 200:
                what = f"{without_userinfo(url)} answered status {answer.status}"
                raise ServiceError("LOG_ANSWER", what, "Check the address.")
            body = bytearray()
            async for chunk in answer.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > MAX_FILE_BYTES:
                    what = f"{without_userinfo(url)} has over {MAX_FILE_BYTES} bytes"
                    raise ServiceError("LOG_ANSWER", what, "Check the address.")
            return bytes(body)


class _Later(Exception):
    """The server says to come back."""


def _read(folder: Path, name: str) -> bytes | None:
    try:
        return inside(folder, name).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        what = f"{folder}/{name}: {error.strerror}"
        raise SourceError("LOG_UNREADABLE", what, "Check the folder's permissions.") from None
    except PathRefused as error:
        raise SourceError("LOG_UNREADABLE", f"{folder}: {name} {error}", "Copy the log's files, not links.") from None


async def newest_head(files: LogFiles, origin: str, log_vkeys: Sequence[str], trust: Trust) -> str:
    """Return the head to verify: the newest, or where that has too few cosignatures the newest cosigned one."""
    note = await files.head()
    if trust.quorum:
        try:
            verify_checkpoint(note, origin, log_vkeys, trust.witness_vkeys, trust.quorum)
        except ProofError as error:
            cosigned = await files.get("v1/checkpoint/cosigned") if error.code == "HEAD_QUORUM" else None
            if cosigned is not None:
                return cosigned.decode(errors="replace")
    return note


class Ahead:
    """Fetches planned files before they are asked for. Made on the event loop; `fetch` is called from a thread."""

    def __init__(self, files: LogFiles) -> None:
        self._files = files
        self._loop = asyncio.get_running_loop()
        self._planned: Iterator[str] = iter(())
        self._tasks: dict[str, asyncio.Task[bytes | None]] = {}
        self._taken: set[str] = set()  # what was asked for before it was planned is not fetched again

    def fetch(self, path: str) -> bytes | None:
        """Return a file, as `curiosity.protocol.tile_reader.Fetch` does."""
        return asyncio.run_coroutine_threadsafe(self._take(path), self._loop).result()

    def plan(self, paths: Iterable[str]) -> None:
        """Say which files are read next, in order. From the thread too."""
        self._planned = iter(paths)

    async def _take(self, path: str) -> bytes | None:
        self._taken.add(path)
        task = self._tasks.pop(path, None) or asyncio.ensure_future(self._files.get(path))
        while len(self._tasks) < AHEAD and (coming := next(self._planned, None)) is not None:
            if coming not in self._taken and coming not in self._tasks:
                self._tasks[coming] = asyncio.ensure_future(self._files.get(coming))
        return await task

    async def close(self) -> None:
        """Drop what was fetched and not read."""
        self._planned = iter(())
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()


def read_entries(reader: TileReader, ahead: Ahead, start: int) -> Iterator[tuple[int, list[bytes], list[bytes]]]:
    """Yield (index, leaves, leaf hashes) of the entries from ``start`` on, a bundle at a time, verified.

    Runs in a thread.

    Raises:
        ProofError: As `TileReader.entries`.
    """
    size = reader.head.size
    numbers = range(start // WIDTH, -(-size // WIDTH)) if start < size else range(0)
    ahead.plan(
        path
        for number in numbers
        for width in (tile_width(0, number, size),)
        for path in (Tile(0, number, width).path, Bundle(number, width).path)
    )
    for number in numbers:
        leaves, hashes = reader.entries(number), reader.leaf_hashes(number)
        skip = max(0, start - number * WIDTH)
        yield number * WIDTH + skip, leaves[skip:], hashes[skip:]
