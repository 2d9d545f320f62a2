"""All endpoints of one chain as one: it says what a quorum of them says, and nothing that any of them contradicts.

Silence is not contradiction: an endpoint that does not answer is left out for a while, as long as the quorum answers.
One that says something else is on a fork, or lies; which of two that is nobody can tell from here, so nothing is said.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from statistics import median_low
from typing import Any, Literal

from curiosity.chain.chain import BlockHeader, ChainConfig
from curiosity.chain.evm.connection import Connection, ContractTarget, Fees
from curiosity.protocol.errors import ChainError

log = logging.getLogger(__name__)

At = Literal["latest", "final"] | int
"""As of which block: the newest that all have, the newest that is final, or that number."""

_TRIES = 3  # blocks come in between two questions; what is still contradicted after so many is
_REST_S = 30.0  # how long an endpoint that did not answer is not asked
_MOST_EXCHANGES = 4  # with an endpoint for one question, each within the time of a request
_MAX_LAG_BLOCKS = 64  # further behind the others, an endpoint has stopped following the chain
_SILENCE = ("CHAIN_UNREACHABLE", "CHAIN_REFUSED")


@dataclass(frozen=True)
class _Answer:
    """What one endpoint said: a value, or the error that it is by the rules of the contract."""

    value: Any = None
    error: ChainError | None = None

    def is_same(self, other: "_Answer") -> bool:
        if self.error is None or other.error is None:
            return self.error is other.error and self.value == other.value
        return (self.error.code, self.error.what) == (other.error.code, other.error.what)


class Endpoints:
    """The first endpoint of the configuration and the others. Safe to share between threads.

    Raises:
        ChainError: By every read, besides the errors of `Connection`: ``CHAIN_ENDPOINTS_DISAGREE`` naming who says
            something else, and ``CHAIN_ENDPOINTS_FEW`` naming who is silent when fewer than the quorum answer.
    """

    def __init__(self, config: ChainConfig) -> None:
        self._config = config
        urls = dict.fromkeys((config.rpc_url, *config.other_rpc_urls))
        self._all = [Connection(url, config.request_timeout_s) for url in urls]
        self._quorum = config.rpc_quorum or len(self._all) // 2 + 1
        if self._quorum > len(self._all):
            raise ChainError(
                "CHAIN_ENDPOINTS_FEW",
                f"{self._quorum} endpoints must agree, {len(self._all)} are named",
                "Name more endpoints, or lower rpc_quorum.",
            )
        self._lock = threading.Lock()
        self._rests_until: dict[str, float] = {}

    def check_chain(self) -> None:
        """Check that every endpoint that answers is of the right chain.

        Raises:
            ChainError: ``CHAIN_WRONG_ID``.
        """
        addresses = self._config.addresses
        expected = {self._config.chain_id} | ({addresses.chain_id} if addresses else set())
        for connection, answer in self._ask_all(lambda one: one.chain_id()):
            if expected != {answer.value}:
                raise ChainError(
                    "CHAIN_WRONG_ID",
                    f"{connection.place} is chain {answer.value}, expected {' and '.join(map(str, sorted(expected)))}",
                    "Point the RPC URL at the right chain, or set the chain id to the one meant.",
                )

    def first(self) -> Connection:
        """Return the first endpoint that answers, for sending: it is of the right chain."""
        for connection in self._awake():
            try:
                actual = connection.chain_id()
            except ChainError as error:
                if error.code not in _SILENCE or len(self._all) == 1:
                    raise
                self._let_rest(connection, error)
                continue
            if actual == self._config.chain_id:
                return connection
            raise ChainError(
                "CHAIN_WRONG_ID",
                f"{connection.place} is chain {actual}, expected {self._config.chain_id}",
                "It was the right one before: somebody put another chain behind that URL. Nothing was sent.",
            )
        raise self._too_few([])

    def height(self, at: At = "latest") -> int:
        """Return the number of the newest block, or newest final one, that all endpoints have that follow the chain."""
        if isinstance(at, int):
            return at
        answers = self._ask_all(self._final_height if at == "final" else lambda one: one.height())
        best = max(answer.value for _, answer in answers)
        following = [answer.value for _, answer in answers if answer.value >= best - _MAX_LAG_BLOCKS]
        if len(following) < self._quorum:
            raise ChainError(
                "CHAIN_ENDPOINTS_FEW",
                "the endpoints are at different blocks: "
                + ", ".join(f"{connection.place} at {answer.value}" for connection, answer in answers),
                "Wait until they have caught up, or leave out the one that is wrong.",
            )
        return int(min(following))

    def wait_for(self, block: int, patience_s: float) -> None:
        """Return when all endpoints have the block, or after so many seconds: what is read next shall know of it."""
        end = time.monotonic() + patience_s
        while len(self._all) > 1 and self.height() < block and time.monotonic() < end:
            time.sleep(self._config.poll_interval_s)

    def read(self, target: ContractTarget, function: str, *arguments: Any, at: At = "latest") -> Any:
        """Return what the contract's function returns, by all endpoints."""
        return self._agree(
            f"{target.name}.{function}",
            at,
            lambda one, block: one.read(target, function, *arguments, block=block),
        )

    def header(self, at: At = "latest") -> BlockHeader:
        """Return number, time and hash of a block, by all endpoints."""
        header: BlockHeader = self._agree("a block", at, lambda one, block: one.header(block))
        return header

    def code(self, address: bytes, *, at: At = "latest") -> bytes:
        """Return the code at the address, by all endpoints."""
        code: bytes = self._agree(f"code of 0x{address.hex()}", at, lambda one, block: one.code(address, block))
        return code

    def balance_wei(self, account: bytes, *, at: At = "latest") -> int:
        """Return the coins for gas that the account holds, by all endpoints."""
        balance: int = self._agree("balance", at, lambda one, block: one.balance_wei(account, block))
        return balance

    def nonce(self, account: bytes, *, at: At = "latest") -> int:
        """Return how many transactions of the account are counted, by all endpoints."""
        counted: int = self._agree("nonce", at, lambda one, block: one.nonce(account, block))
        return counted

    def fees(self) -> Fees:
        """Return what to offer now.

        It is the lower median of what the endpoints say, so that one that lies decides nothing.
        """
        said: list[Fees] = [answer.value for _, answer in self._ask_all(lambda one: one.fees()) if answer.error is None]
        if not said:
            raise self._too_few([])
        tip_wei = median_low(one.tip_wei for one in said)
        return Fees(max(tip_wei, median_low(one.most_wei for one in said)), tip_wei)

    def _final_height(self, connection: Connection) -> int:
        if self._config.finality == "finalized":
            final = connection.finalized_height()
            if final is not None:
                return final
        return max(connection.height() - self._config.finality_depth, 0)

    def _agree(self, what: str, at: At, ask: Callable[[Connection, str | int], Any]) -> Any:
        for attempt in range(1, _TRIES + 1):
            # One endpoint needs no common block to be compared at.
            block: str | int = at if len(self._all) == 1 and at == "latest" else self.height(at)
            answers = self._ask_all(lambda one, block=block: ask(one, block))  # type: ignore[misc]
            (first, said), *others = answers
            liars = [connection.place for connection, answer in others if not answer.is_same(said)]
            if not liars:
                if said.error is not None:
                    raise said.error
                return said.value
            if attempt < _TRIES:
                time.sleep(self._config.poll_interval_s)
        raise ChainError(
            "CHAIN_ENDPOINTS_DISAGREE",
            f"about {what} in block {block}, {', '.join(liars)} and {first.place} say different things",
            "One of them is on a fork or lies: do nothing until they agree, or leave it out.",
        )

    def _ask_all(self, ask: Callable[[Connection], Any]) -> list[tuple[Connection, _Answer]]:
        """Return what each endpoint answers that does.

        Raises:
            ChainError: When fewer than the quorum do.
        """
        asked = self._awake()
        if len(asked) == 1:
            answers = [_answer(asked[0], ask)]
        else:
            answers = self._ask_beside(asked, ask)
        heard = []
        for connection, answer in zip(asked, answers, strict=True):
            if answer.error is not None and answer.error.code in _SILENCE:
                if len(self._all) == 1:
                    raise answer.error
                self._let_rest(connection, answer.error)
            else:
                heard.append((connection, answer))
        if len(heard) < self._quorum:
            raise self._too_few([connection for connection, _ in heard])
        return heard

    def _ask_beside(self, asked: Sequence[Connection], ask: Callable[[Connection], Any]) -> list[_Answer]:
        """Ask all at once. Who takes much longer than the exchanges may (a name that does not resolve) is silent."""
        pool = ThreadPoolExecutor(len(asked))
        try:
            waited = [pool.submit(_answer, one, ask) for one in asked]
            wait(waited, timeout=_MOST_EXCHANGES * self._config.request_timeout_s)
            return [
                future.result() if future.done() else _Answer(error=_late(connection))
                for connection, future in zip(asked, waited, strict=True)
            ]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _awake(self) -> list[Connection]:
        """Return the endpoints to ask: those that answered lately, or all when these are fewer than the quorum."""
        with self._lock:
            now = time.monotonic()
            awake = [one for one in self._all if self._rests_until.get(one.url, 0.0) <= now]
        return awake if len(awake) >= self._quorum else list(self._all)

    def _let_rest(self, connection: Connection, error: ChainError) -> None:
        with self._lock:
            self._rests_until[connection.url] = time.monotonic() + _REST_S
        log.warning("event=endpoint_silent url=%s code=%s what=%r", connection.place, error.code, error.what)

    def _too_few(self, heard: Sequence[Connection]) -> ChainError:
        silent = [one.place for one in self._all if one not in heard]
        return ChainError(
            "CHAIN_ENDPOINTS_FEW",
            f"{len(heard)} of {len(self._all)} endpoints answer, {self._quorum} must; silent: {', '.join(silent)}",
            "Nothing is decided on fewer. Start them again, or name others.",
        )


def _late(connection: Connection) -> ChainError:
    return ChainError(
        "CHAIN_UNREACHABLE",
        f"{connection.place} does not answer: its time is over",
        "Start the chain or correct the RPC URL, then look at the state before sending again.",
    )


def _answer(connection: Connection, ask: Callable[[Connection], Any]) -> _Answer:
    try:
        return _Answer(ask(connection))
    except ChainError as error:
        return _Answer(error=error)
