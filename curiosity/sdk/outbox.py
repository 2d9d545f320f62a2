"""Pairs on their way: what many callers submit at once goes out together, under one lock of one journal."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from curiosity.client.client import ValidatorClient
from curiosity.client.outcome import KEPT_OUTCOMES, PairOutcome
from curiosity.client.submission import Contributor, Rules, submit_pairs
from curiosity.client.taken import check_taken
from curiosity.protocol.errors import CuriosityError, SourceError
from curiosity.sources.pairset import SourcePair

Connect = Callable[[], ValidatorClient]


@dataclass(frozen=True)
class Submitted:
    """What came of many pairs. ``unreadable`` rows and files became no pair, ``not_taken`` pairs were not sent."""

    pairs: tuple[PairOutcome, ...]  # decided and refused ones, those of earlier runs too
    unreadable: tuple[SourceError, ...]
    not_taken: Mapping[str, int]  # by pair of modalities, which the network does not judge


@dataclass(eq=False)
class _Waiting:
    pair: SourcePair
    rules: Rules
    result: "asyncio.Future[PairOutcome]"


@dataclass
class _Told:
    """What a batch was told: an outcome, or the error where there is none, by the pair's place."""

    outcomes: dict[int, PairOutcome | CuriosityError] = field(default_factory=dict)
    failure: CuriosityError | None = None  # that ended the batch


class Outbox:
    """Submits pairs for one account. While a batch is on its way, new pairs wait for the next.

    A batch runs in a thread with an event loop of its own: it reads, decodes and syncs files.
    """

    def __init__(self, account: Contributor, connect: Connect) -> None:
        self._account, self._connect = account, connect
        self._waiting: list[_Waiting] = []
        self._sending: asyncio.Task[None] | None = None
        self._sole = asyncio.Lock()  # the journal has one writer

    async def submit_all(self, rows: Iterable[SourcePair | SourceError], rules: Rules) -> Submitted:
        """Submit every row.

        Raises:
            CuriosityError: What `submit_pairs` raises; a later call goes on where this one stopped.
        """
        async with self._sole:
            return await asyncio.to_thread(lambda: asyncio.run(self._submit_all(rows, rules)))

    async def _submit_all(self, rows: Iterable[SourcePair | SourceError], rules: Rules) -> Submitted:
        async with self._connect() as client:
            network = await client.network()
            done = await submit_pairs(rows, client=client, network=network, contributor=self._account, rules=rules)
        sent = tuple(one for one in done.pairs if one.outcome in KEPT_OUTCOMES)
        return Submitted(sent, tuple(done.unreadable), dict(done.not_taken))

    async def submit(self, pair: SourcePair, rules: Rules) -> PairOutcome:
        """Return what was decided.

        Raises:
            Rejected: If the validator refuses to decide.
            CuriosityError: What `submit_pairs` and `check_taken` raise.
        """
        mine = _Waiting(pair, rules, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        return await mine.result

    async def close(self) -> None:
        """Wait until what is on its way has come to its end."""
        if self._sending is not None:
            await self._sending

    async def _send(self) -> None:
        while self._waiting:
            rules = self._waiting[0].rules
            batch: list[_Waiting] = []
            later: list[_Waiting] = []
            contents: set[tuple[bytes | None, ...]] = set()
            for one in self._waiting:  # the same pair twice: the second finds the first one's decision
                content = (one.pair.a.content, one.pair.b.content, one.pair.license.encode())
                (batch if one.rules == rules and content not in contents else later).append(one)
                contents.add(content)
            self._waiting = later
            try:
                async with self._sole:
                    told = await asyncio.to_thread(self._run, [one.pair for one in batch], rules)
            except BaseException as error:
                for one in batch:
                    _resolve(one.result, error)
                raise
            for place, one in enumerate(batch):
                outcome = told.outcomes.get(place) or told.failure
                if outcome is None and told.outcomes:  # the same as another, its licence spelled otherwise
                    self._waiting.append(one)
                else:
                    _resolve(one.result, outcome or _lost())

    def _run(self, pairs: list[SourcePair], rules: Rules) -> _Told:
        return asyncio.run(self._submit(pairs, rules))

    async def _submit(self, pairs: list[SourcePair], rules: Rules) -> _Told:
        told = _Told()
        places = {id(pair): place for place, pair in enumerate(pairs)}

        def tell(pair: SourcePair, outcome: PairOutcome, error: CuriosityError | None) -> None:
            told.outcomes[places[id(pair)]] = error or outcome

        try:
            async with self._connect() as client:
                network = await client.network()
                taken = []
                for place, pair in enumerate(pairs):
                    try:
                        check_taken(pair, network)
                        taken.append(pair)
                    except CuriosityError as error:
                        told.outcomes[place] = error
                await submit_pairs(
                    taken, client=client, network=network, contributor=self._account, rules=rules, told=tell
                )
        except CuriosityError as error:
            told.failure = error
        return told


def _lost() -> RuntimeError:
    return RuntimeError("a pair was submitted and nothing was told of it")


def _resolve(result: "asyncio.Future[PairOutcome]", told: PairOutcome | BaseException) -> None:
    if result.done():  # whoever waited has given up
        return
    if isinstance(told, BaseException):
        result.set_exception(told)
    else:
        result.set_result(told)
