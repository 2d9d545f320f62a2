"""The client for programs without an event loop, and for notebooks, whose own loop it leaves alone."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from curiosity.client.outcome import PairOutcome
from curiosity.client.receipts import Proved
from curiosity.client.submission import Contributor
from curiosity.client.trust import KEPT_KEYS, Trust
from curiosity.host.settings.chain import ChainSettings
from curiosity.ledger.follow import Followed, Position
from curiosity.protocol.errors import ConfigError
from curiosity.protocol.messages import Answer, Decision, Found, Network
from curiosity.rewards.claim import ClaimOutcome
from curiosity.rewards.claims import ClaimView
from curiosity.rewards.earnings import Earnings
from curiosity.sdk.asynchronous import URL, AsyncClient
from curiosity.sdk.outbox import Submitted
from curiosity.sdk.things import Thing

T = TypeVar("T")


class Client:
    """A validator, for programs without an event loop; also within a running one, as in notebooks.

    The methods are those of `AsyncClient`, and wait. They run on an event loop in a thread of their own, so that one
    client may serve many threads at once. Use it as a context manager, or call `close`.

    Args:
        url: The validator's address.
        account: Who submits and claims, from `open_wallet`. Searching and following need none.
        trust: Keys that you have from elsewhere. What is left empty is taken from the validator's own word.
        chain: How to reach the chain, for claims.
        patience_s: How long one request is repeated while there is no answer.
        timeout_s: How long one try of a request may take.
        concurrency: Pairs on their way at once.

    Raises:
        ConfigError: URL_INVALID, VKEY_UNUSABLE, QUORUM_UNREACHABLE; CLIENT_CLOSED by each method after `close`.
    """

    def __init__(
        self,
        url: str = URL,
        *,
        account: Contributor | None = None,
        trust: Trust = KEPT_KEYS,
        chain: ChainSettings | None = None,
        patience_s: float = 60.0,
        timeout_s: float = 120.0,
        concurrency: int = 16,
    ) -> None:
        self._client = AsyncClient(
            url,
            account=account,
            trust=trust,
            chain=chain,
            patience_s=patience_s,
            timeout_s=timeout_s,
            concurrency=concurrency,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._started()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait for pairs that are on their way, end everything else, and close the connections. Safe to repeat."""
        with self._lock:
            self._is_closed = True
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(self._end(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _end(self) -> None:
        await self._client.settle()
        waiting = asyncio.all_tasks() - {asyncio.current_task()}  # of other threads, and of entries that are followed
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await self._client.__aexit__(None, None, None)
        loop = asyncio.get_running_loop()
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()

    def network(self) -> Network:
        """Return what the validator says of its network. As `AsyncClient.network`."""
        return self._wait(self._client.network())

    def submit(
        self,
        a: Thing,
        b: Thing,
        *,
        license: str,
        captured_at: int | None = None,
        again: bool = False,
        generated: bool = False,
    ) -> PairOutcome:
        """Sign a pair, send it, and return what was decided, its receipt checked. As `AsyncClient.submit`."""
        return self._wait(
            self._client.submit(a, b, license=license, captured_at=captured_at, again=again, generated=generated)
        )

    def submit_files(self, *paths: Path | str, license: str = "", again: bool = False) -> Submitted:
        """Submit all pairs of folders, manifests, shards and Parquet files. As `AsyncClient.submit_files`."""
        return self._wait(self._client.submit_files(*paths, license=license, again=again))

    def decision(self, pair: bytes | str, *, wait_s: float = 0.0) -> Decision:
        """Return the decision about a pair, its receipt checked; wait for it. As `AsyncClient.decision`."""
        return self._wait(self._client.decision(pair, wait_s=wait_s))

    def verify(self, receipt: PairOutcome | Path | str) -> Proved:
        """Check a saved receipt, with no network. As `AsyncClient.verify`."""
        return self._wait(self._client.verify(receipt))

    def prove(self, receipt: PairOutcome | Path | str) -> Proved:
        """Fetch the proof that a decision is in the log, and return what that proves. As `AsyncClient.prove`."""
        return self._wait(self._client.prove(receipt))

    def receipt_file(self, outcome: PairOutcome) -> Path:
        """Return where the receipt of a decided pair is kept.

        Raises:
            ConfigError: ACCOUNT_NEEDED.
        """
        return self._client.receipt_file(outcome)

    def search(self, thing: Thing, *, to: str = "image", k: int = 10) -> Answer:
        """Return the items nearest to a thing in the shared space. As `AsyncClient.search`."""
        return self._wait(self._client.search(thing, to=to, k=k))

    def content(self, found: Found | bytes) -> bytes:
        """Return the bytes of an item, compared with its SHA-256. As `AsyncClient.content`."""
        return self._wait(self._client.content(found))

    def earnings(self, account: bytes | None = None, *, copy: Path | None = None) -> Earnings:
        """Derive from the whole ledger what an account earned. As `AsyncClient.earnings`."""
        return self._wait(self._client.earnings(account, copy=copy))

    def claims(self, account: bytes | None = None, *, copy: Path | None = None) -> ClaimView:
        """Return where the money of each epoch is. As `AsyncClient.claims`."""
        return self._wait(self._client.claims(account, copy=copy))

    def claim(self, *, to: bytes | None = None, copy: Path | None = None) -> ClaimOutcome:
        """Have everything paid that is due to this client's account. As `AsyncClient.claim`."""
        return self._wait(self._client.claim(to=to, copy=copy))

    def follow(
        self, after: Position | str | None = None, *, wait: bool = False, poll_s: float = 2.0
    ) -> Iterator[Followed]:
        """Yield the entries of the ledger in order, each checked. As `AsyncClient.follow`."""
        entries = self._client.follow(after, wait=wait, poll_s=poll_s)
        try:
            while not isinstance(one := self._wait(_next(entries)), _End):
                yield one
        finally:
            if not self._is_closed:  # else it has been closed with the client
                self._wait(entries.aclose())

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._is_closed:
                raise self._closed()
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="curiosity-client", daemon=True)
                self._thread.start()
                asyncio.run_coroutine_threadsafe(self._client.__aenter__(), self._loop).result()
            return self._loop

    def _closed(self) -> ConfigError:
        return ConfigError("CLIENT_CLOSED", "this client was closed", "Make a new one.")

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what the work gives. Whoever interrupts the waiting ends the work too."""
        try:
            loop = self._started()
        except BaseException:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except CancelledError:
            raise self._closed() from None
        except BaseException:
            future.cancel()
            raise


class _End:
    """There is no further entry."""


async def _next(entries: AsyncGenerator[Followed, None]) -> Followed | _End:
    return await anext(entries, _End())
