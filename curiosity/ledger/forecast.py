"""What a judge would say of pairs that were not sent, on this machine.

Decoder, encoders and rule are those of a validator, and nothing leaves the machine. Whether a pair is novel depends on
what others have sent: with a copy of the ledger that is told as of its head, without one as far as the checkpoint's own
points tell.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from curiosity.client.client import ValidatorClient
from curiosity.client.explain import OF_THIS_RUN, explain_belief, explain_crowd, explain_pay
from curiosity.client.outcome import ACCEPTED, PairOutcome, judged, names_of, short, withheld
from curiosity.client.submit import ask_network
from curiosity.client.taken import check_taken, stated_license
from curiosity.embedding.checkpoint import SHIPPED, Checkpoint, find_genesis, load
from curiosity.embedding.sketch import Sketch, sketch_item
from curiosity.host.paths import inside
from curiosity.ledger.known_pairs import KnownPairs, NearestPair, Progress
from curiosity.ledger.reader import LedgerCopy
from curiosity.ledger.rescore import fetch_checkpoint
from curiosity.protocol.counts import number_of
from curiosity.protocol.curiosity import DEFAULT_RULE, RULES
from curiosity.protocol.errors import CheckpointError, ConfigError, Rejected, SourceError
from curiosity.protocol.judgement import Embedded, Opinion
from curiosity.protocol.messages import Network
from curiosity.protocol.pair import NO_ITEM, Item
from curiosity.protocol.scoring import Quantised, cross_average, joint, quantise
from curiosity.protocol.verdict import Opening, Outcome, Reason, Verdict
from curiosity.protocol.weighing import weigh, weigh_item
from curiosity.serving.crowds import Crowds
from curiosity.serving.decode import Decoder
from curiosity.serving.embedder import Embedder
from curiosity.serving.in_force import put_on_device
from curiosity.serving.singles import judge_single
from curiosity.sources.own.item import check_item
from curiosity.sources.pairset import SourcePair

_TOGETHER: Final = 16  # pairs that are decoded and embedded together
_ITEMS_KEPT: Final = 4096  # embedded items: one may be in many pairs
_PAY_WITHOUT_COPY: Final = (
    "may be paid: it lies in a gap; --copy DIR says whether others have filled it or hold its items"
)
_NO_SALT: Final = bytes(32)


@dataclass(frozen=True)
class Forecast:
    """What a judge would say of one pair, and with a copy of the ledger the accepted pair that is nearest to it."""

    outcome: PairOutcome
    nearest: NearestPair | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        plain = self.outcome.to_json()
        for name in ("entry", "pair", "is_known", "is_taken_down"):  # nothing was decided
            del plain[name]
        return plain | {"nearest": asdict(self.nearest) if self.nearest is not None else None}


@dataclass(frozen=True)
class ChosenCheckpoint:
    """The checkpoint to judge by, the network that takes pairs under it if that is known, and where it came from."""

    checkpoint: Checkpoint
    network: Network | None
    origin: str


async def choose_checkpoint(
    client: ValidatorClient, home: Path, *, own: Path | None = None, copy: LedgerCopy | None = None
) -> ChosenCheckpoint:
    """Return the checkpoint in the folder ``own``, else the one in force at the validator, fetched once and kept.

    Where the validator does not answer it is the copy's, or genesis, if they are on this machine.

    Raises:
        CheckpointError: If a file is not the one that the digest names.
    """
    if own is not None:
        return ChosenCheckpoint(await asyncio.to_thread(load, own), None, f"the one in {own}")
    told = await ask_network(client)
    if isinstance(told, Network):
        kept = await asyncio.to_thread(at_hand, told.checkpoint, home)
        checkpoint = kept or await fetch_checkpoint(client, told.checkpoint, home)
        return ChosenCheckpoint(checkpoint, told, f"in force at {client.url}")
    if copy is not None:
        kept = await asyncio.to_thread(at_hand, copy.network.checkpoint, home)
        if kept is not None:
            return ChosenCheckpoint(kept, copy.network, f"the copy's; {told.code}: {told.what}")
    genesis = await asyncio.to_thread(load, find_genesis(None))
    return ChosenCheckpoint(genesis, None, f"the genesis one; {told.code}: {told.what}")


def at_hand(digest: bytes, home: Path) -> Checkpoint | None:
    """Return the checkpoint with a digest if it came with the program or was fetched before."""
    for folder in (*SHIPPED.values(), inside(home, f"checkpoints/{digest.hex()}", links=True)):
        try:
            return load(folder, expected=digest.hex())
        except CheckpointError:
            continue
    return None


class Forecaster:
    """Judges pairs under one checkpoint; use it as an asynchronous context manager."""

    def __init__(self, chosen: ChosenCheckpoint, *, copy: LedgerCopy | None = None, device: str | None = None) -> None:
        self._chosen = chosen
        self._copy = copy
        self._device = device
        self._decoder = Decoder(1)
        self._embedder: Embedder | None = None
        self._known: KnownPairs | None = None
        self._measured: dict[tuple[str, bytes], tuple[Embedded, Sketch]] = {}
        self._accepted: dict[tuple[bytes, bytes], int] = {}
        self._crowds = Crowds()
        self._next = self._sent = 0  # entry of the next accepted pair, as far as this machine knows, and of the first

    async def __aenter__(self) -> Self:
        """Load the encoders and start the process that decodes.

        Raises:
            StoreError: DECODER_NOT_STARTING.
            ConfigError: RULE_NOT_KNOWN (the network measures novelty by a rule that this version lacks),
                DEVICE_NOT_USABLE.
        """
        network = self._chosen.network
        rule = (network.curiosity_rule if network is not None else "") or DEFAULT_RULE
        if rule not in RULES:
            raise ConfigError(
                "RULE_NOT_KNOWN",
                f"the network measures novelty by the rule {rule!r}, which this version does not know",
                "Install the version that the network's operator runs.",
            )
        state = await asyncio.to_thread(put_on_device, self._chosen.checkpoint, self._device, rule)
        self._embedder = Embedder(state)
        await self._decoder.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process and the encoders' thread."""
        await self._decoder.close()
        if self._embedder is not None:
            self._embedder.close()

    async def read_copy(self, tell: Progress = lambda *_: None) -> None:
        """Read the accepted pairs of the copy, if there is one.

        Raises:
            ProofError: If it does not hold what its head promises.
        """
        if self._copy is not None:
            self._known = await KnownPairs(self._copy).read(
                self._running.in_force.judge, self._whole, self._sketch, tell
            )
            self._accepted |= self._known.contents
            self._next = self._sent = self._known.size

    async def forecast(
        self,
        rows: Iterable[SourcePair | SourceError],
        *,
        license: str = "",
        watch: Callable[[Forecast], None] = lambda _: None,
    ) -> list[Forecast]:
        """Return what a judge would say of every pair, in order, each as if those before it had been sent.

        ``license`` is for pairs that state none.

        Raises:
            Overloaded, StoreError: If the decoder does not work.
        """
        done: list[Forecast] = []
        for some in _in_groups(rows, _TOGETHER):
            opinions = await asyncio.gather(*(self._look(row, license) for row in some))
            for row, opinion in zip(some, opinions, strict=True):
                one = Forecast(opinion) if isinstance(opinion, PairOutcome) else self._judge(row, *opinion)
                done.append(one)
                watch(one)
        return done

    @property
    def _running(self) -> Embedder:
        assert self._embedder is not None, "the context is entered first"
        return self._embedder

    async def _look(
        self, row: SourcePair | SourceError, license: str
    ) -> PairOutcome | tuple[tuple[Item, Item], Opinion | Rejected | None, tuple[tuple[Embedded, Sketch], ...]]:
        """Return what a pair, or an item alone, is judged by, or why it would not be sent."""
        if isinstance(row, SourceError):
            return withheld(("", ""), row)
        try:
            a, b = (Item(part.modality, part.media_type, part.read()) for part in (row.a, row.b))
            items = (a, b)[: len(row.items)]
            self._check(row, items, license)
        except SourceError as error:
            return withheld(names_of(row), error)
        try:
            measured = tuple([await self._measure(item) for item in items])
        except Rejected as refusal:
            return (a, b), refusal, ()
        if len(measured) == 1:
            return (a, b), None, measured
        opinion = self._running.in_force.judge.opine(row.modalities, measured[0][0], measured[1][0])
        return (a, b), opinion, measured

    def _check(self, row: SourcePair, items: Sequence[Item], license: str) -> None:
        """Check what `curiosity submit` checks before it sends.

        Raises:
            SourceError: What `stated_license`, `check_taken` and `check_item` raise; PAIR_NOT_TAKEN, ITEM_TOO_LARGE.
        """
        network, judge = self._chosen.network, self._running.in_force.judge
        stated_license(row, license, network.licenses if network else None)
        if network is not None:
            check_taken(row, network)
        judged = judge.pairs if len(row.items) > 1 else judge.items.modalities
        if row.modalities not in judged:
            raise SourceError(
                "PAIR_NOT_TAKEN",
                f"{row.id} is {row.modalities}, which this checkpoint does not judge",
                f"It judges {', '.join(sorted(judged))}.",
            )
        for part, item in zip(row.items, items, strict=True):
            limit = network.max_item_bytes.get(item.modality) if network is not None else None
            if limit is not None and len(item.data) > limit:
                raise SourceError(
                    "ITEM_TOO_LARGE",
                    f"{row.id}: the {item.modality} has {number_of(len(item.data), 'byte')}, at most {limit}",
                    "Make it smaller.",
                )
            if (item.modality, item.digest) not in self._measured:
                check_item(part, item.data, where=row.id)

    async def _measure(self, item: Item) -> tuple[Embedded, Sketch]:
        key = (item.modality, item.digest)
        if key not in self._measured:
            array = await self._decoder.decode(item.modality, item.media_type, item.data)
            found = await self._running.embed(item.modality, item.digest, array), sketch_item(item.modality, array)
            if len(self._measured) >= _ITEMS_KEPT:
                del self._measured[next(iter(self._measured))]
            self._measured[key] = found
        return self._measured[key]

    async def _sketch(self, item: Item) -> Sketch:
        return sketch_item(item.modality, await self._decoder.decode(item.modality, item.media_type, item.data))

    async def _whole(self, item: Item) -> Quantised:
        array = await self._decoder.decode(item.modality, item.media_type, item.data)
        whole: Quantised = quantise(await self._running.embed_whole(item.modality, [array]))[0]
        return whole

    def _judge(
        self,
        row: SourcePair | SourceError,
        items: tuple[Item, Item],
        opinion: Opinion | Rejected | None,
        measured: tuple[tuple[Embedded, Sketch], ...],
    ) -> Forecast:
        """Return what the judge says, as `validator.batches` has it decide."""
        assert isinstance(row, SourcePair), "errors have no opinion"
        state, names, index = self._running.in_force, names_of(row), self._next
        contents = items[0].digest, items[1].digest
        if isinstance(opinion, Rejected):
            detail = f"{opinion.code}: {opinion.what}"
            verdict = state.judge.refuse(Reason.ITEM_UNDECODABLE)
            return Forecast(judged(names, verdict, Opening(_NO_SALT, *contents, detail), None))
        if contents in self._accepted:
            verdict = replace(state.judge.refuse(Reason.CONTENT_DUPLICATE), items=None if opinion else 0)
            detail = f"{self._name(self._accepted[contents])} holds the same two contents"
            return Forecast(judged(names, verdict, Opening(_NO_SALT, *contents, detail), None))
        crowds = self._known.crowds if self._known is not None else self._crowds
        if opinion is None:
            return self._judge_single(names, items[0], measured[0], crowds)
        (a, b), sketches = [one for one, _ in measured], [sketch for _, sketch in measured]
        found = crowds.find(contents, sketches)
        if opinion.outcome is Outcome.ACCEPTED and found.copy_of is not None:
            verdict = state.judge.refuse(Reason.PAIR_COPY, None)
            detail = f"{self._name(found.copy_of)} holds near copies of both"
            return Forecast(judged(names, verdict, Opening(_NO_SALT, *contents, detail), None))
        ranked = state.judge.rank(opinion, index, found.crowd)
        verdict, measurement = ranked.verdict, ranked.measurement
        weighing = weigh(measurement, verdict.reason, row.modalities, state.calibration, ranked.detail)
        told = judged(names, verdict, Opening(_NO_SALT, *contents, ranked.detail, measurement), weighing)
        told = replace(told, pay=self._pay(verdict, ranked.detail, (short(names[0]), short(names[1]))))
        if verdict.is_accepted:
            self._accepted[contents] = index
            crowds.join(index, contents, [(s.modality, s.pack()) for s in sketches], is_novel=verdict.novel)
            self._next = index + 1
        if self._known is None:
            return Forecast(told)
        pulls = measurement.pull_a_micro, measurement.pull_b_micro
        point = joint(*cross_average(a.whole, b.whole, *pulls))
        return Forecast(told, self._known.nearest(row.modalities, point))

    def _name(self, index: int) -> str:
        return f"entry {index}" if index < self._sent else OF_THIS_RUN

    def _judge_single(
        self, names: tuple[str, str], item: Item, measured: tuple[Embedded, Sketch], crowds: Crowds
    ) -> Forecast:
        """Return what the judge says of an item alone."""
        verdict, detail, numbers = judge_single(item, *measured, self._running.in_force.judge, crowds)
        if verdict.reason is Reason.ITEM_COPY and detail:  # it begins with "entry N"
            detail = f"{self._name(int(detail.split()[1]))} holds it or a near copy"
        opening = Opening(_NO_SALT, item.digest, NO_ITEM.digest, detail, item=numbers)
        if verdict.is_accepted:
            self._accepted[item.digest, NO_ITEM.digest] = self._next
            crowds.join_item(self._next, item.digest, [(measured[1].modality, measured[1].pack())])
            self._next += 1
        limits = self._running.in_force.judge.items.limits(item.modality)
        told = judged(names, verdict, opening, weigh_item(numbers, verdict.reason, limits))
        return Forecast(replace(told, pay=explain_pay(verdict, detail)))

    def _pay(self, verdict: Verdict, detail: str, names: tuple[str, str]) -> str:
        if self._known is None and verdict.is_accepted and verdict.novel:
            return _PAY_WITHOUT_COPY + explain_crowd(verdict.crowd, names) + explain_belief(verdict.belief)
        return explain_pay(verdict, detail, names)


def _in_groups(rows: Iterable[SourcePair | SourceError], count: int) -> Iterator[list[SourcePair | SourceError]]:
    group: list[SourcePair | SourceError] = []
    for row in rows:
        group.append(row)
        if len(group) == count:
            yield group
            group = []
    if group:
        yield group


def all_accepted(forecasts: Sequence[Forecast]) -> bool:
    """Return True if there are pairs and every one would be accepted."""
    return bool(forecasts) and all(one.outcome.outcome == ACCEPTED for one in forecasts)
