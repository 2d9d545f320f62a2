"""Re-embedding: after a start or for a switch of checkpoint, what was accepted becomes searchable and known again.

However large the items are, few are held at a time: a page of entries is read without them, they are decoded a few at
a time, and arrays go to the device before they fill much memory.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from curiosity.embedding.modality import Array
from curiosity.embedding.sketch import is_of_this_form, sketch_item
from curiosity.protocol.entry import PairEntry
from curiosity.protocol.errors import Overloaded, Rejected
from curiosity.protocol.pair import Envelope, Part
from curiosity.protocol.scoring import Quantised, cross_average, joint, pulls_micro, quantise
from curiosity.protocol.wire import parse
from curiosity.serving.crowds import Crowds
from curiosity.serving.decode import Decoder
from curiosity.serving.embedder import Embedder
from curiosity.serving.in_force import InForce
from validator.decided import pack_embeddings, unpack_embeddings
from validator.forgotten import Forgotten
from validator.store import Store, StoredSubmission
from validator.threads import Threads

log = logging.getLogger(__name__)

T = TypeVar("T")
_Finals = tuple[str, Quantised, Quantised]  # modalities, final embeddings of both items

_PAGE = 64  # entries read at a time
WAVE_ITEMS = 8  # decoded at a time
WAVE_BYTES = 16 << 20  # of items decoded at a time; one alone may be larger
ARRAY_BYTES = 64 << 20  # of decoded arrays, beyond which they are embedded before more are decoded
_ATTEMPTS = 60  # at work for which decoder or device have no place, since pairs come in meanwhile
_PAUSE_S = 1.0


class Reindexer:
    """Fills an index and a judge's history from the accepted pairs in the store."""

    def __init__(
        self,
        store: Store,
        decoder: Decoder,
        embedder: Embedder,
        threads: Threads,
        forgotten: Forgotten,
        crowds: Crowds,
    ) -> None:
        self._store = store
        self._decoder = decoder
        self._embedder = embedder
        self._threads = threads
        self._forgotten = forgotten
        self._crowds = crowds

    async def fill(self, state: InForce, start: int = 0) -> tuple[int, int]:
        """Add the accepted pairs from ledger index ``start`` on; return the index to go on from and how many they are.

        Pairs that were judged under the state's checkpoint keep their embeddings, and so do those that were embedded
        again under it before; others are decoded and embedded again, and that is kept. The state must be in force, or
        the one that `Batches.building` names, so that takedowns reach it; for the former call it while no batch is
        being decided.

        Raises:
            Rejected: ITEM_GONE or what an item's decoding raises.
            Overloaded: If decoder or device have no place for long.
            StoreError: If the store cannot be read or written.
        """
        count = 0
        while page := await self.after(start, _PAGE):
            finals = await self._finals(state, page)
            await asyncio.to_thread(self._add, state, page, finals)
            await self._join(page)
            count += len(finals)
            start = page[-1].index + 1
        return start, count

    async def after(self, start: int, most: int) -> list[StoredSubmission]:
        """Return up to ``most`` accepted pairs from ledger index ``start`` on."""
        return await self._threads.on_reader(lambda: list(self._store.accepted(start, most)))

    def _add(self, state: InForce, page: Sequence[StoredSubmission], finals: Mapping[int, _Finals]) -> None:
        for row in page:
            if row.index not in finals:
                continue
            modalities, final_a, final_b = finals[row.index]
            state.show(row.index, modalities, (final_a, final_b))
            if parse(PairEntry, row.leaf).verdict.novel:
                state.judge.remember(modalities, joint(final_a, final_b), row.index)
            if row.pair in self._forgotten:  # taken down since the page was read
                state.forget(row.index, modalities)

    async def _join(self, page: Sequence[StoredSubmission]) -> None:
        """Let pairs be found by copies of them, unless they are. Sketches that the store lacks are made and kept."""
        new = [row for row in page if row.index not in self._crowds]
        if not new:
            return
        known = await self._threads.on_reader(lambda: self._store.sketches(new[0].index, new[-1].index))
        made: dict[int, tuple[bytes, tuple[bytes, bytes]]] = {}
        for row in new:
            submission = parse(Envelope, row.envelope).submission
            names = [part.modality for part in submission.parts]
            packed = known.get(row.index)
            if packed is not None and not all(map(is_of_this_form, packed[: len(names)])):
                packed = None
            if packed is None and (packed := await self._sketch(submission.parts)) is not None:
                made[row.index] = (row.pair, packed)
            contents = (submission.a.sha256, submission.b.sha256)
            sketches = tuple(zip(names, packed, strict=False)) if packed is not None else ()
            if submission.is_single:
                self._crowds.join_item(row.index, contents[0], sketches)
            else:
                self._crowds.join(row.index, contents, sketches, is_novel=parse(PairEntry, row.leaf).verdict.novel)
            if row.pair in self._forgotten:  # taken down since the page was read
                self._crowds.leave(row.index)
        if made:
            await self._threads.on_writer(lambda: self._keep_sketches(made))

    async def _sketch(self, parts: Sequence[Part]) -> tuple[bytes, bytes] | None:
        """Return the packed sketches of two items, or of one and nothing; None if one is not in the store."""
        packed = [b"", b""]
        for place, part in enumerate(parts):
            array = await self._decode(part)
            if array is None:
                return None
            sketch = await self._threads.on_reader(lambda a=array, m=part.modality: sketch_item(m, a))  # type: ignore[misc]
            packed[place] = sketch.pack()
        return packed[0], packed[1]

    def _keep_sketches(self, made: Mapping[int, tuple[bytes, tuple[bytes, bytes]]]) -> None:
        """Keep sketches of what is not taken down by now; on the writer, as takedowns are."""
        living = {index: packed for index, (pair, packed) in made.items() if pair not in self._forgotten}
        self._store.keep_sketches(living)

    async def _finals(self, state: InForce, page: Sequence[StoredSubmission]) -> dict[int, _Finals]:
        """Return modalities and final embeddings by index; pairs that were taken down meanwhile are left out."""
        known = await self._threads.on_reader(lambda: self._store.finals(state.digest, page[0].index, page[-1].index))
        finals: dict[int, _Finals] = {}
        stale: list[tuple[int, Part, Part]] = []
        for row in page:
            entry = parse(PairEntry, row.leaf)
            if entry.is_single:  # searches find what belongs to something
                continue
            if entry.verdict.checkpoint == state.digest and row.embeddings is not None:
                _, _, final_a, final_b = unpack_embeddings(row.embeddings)
                finals[row.index] = (entry.modalities, final_a, final_b)
            elif row.index in known:
                final_a, final_b = unpack_embeddings(known[row.index], 2)
                finals[row.index] = (entry.modalities, final_a, final_b)
            else:
                submission = parse(Envelope, row.envelope).submission
                stale.append((row.index, submission.a, submission.b))
        wholes = await self._embed_again(state, {part.sha256: part for _, a, b in stale for part in (a, b)}.values())
        medians = state.calibration.median_loss_micro
        for index, a, b in stale:
            gone = [part for part in (a, b) if part.sha256 not in wholes]
            if not gone:
                pulls = pulls_micro(medians[a.modality], medians[b.modality])
                pair = cross_average(wholes[a.sha256], wholes[b.sha256], *pulls)
                finals[index] = (f"{a.modality}-{b.modality}", *pair)
            elif await self._is_living(index):
                what = f"item 0x{gone[0].sha256.hex()} is not in the store"
                raise Rejected("ITEM_GONE", what, "Restore the blobs.")
        pairs = {row.index: row.pair for row in page}
        made = {index: (pairs[index], finals[index]) for index, _, _ in stale if index in finals}
        if made:
            await self._threads.on_writer(lambda: self._keep(state.digest, made))
        return finals

    def _keep(self, checkpoint: bytes, made: Mapping[int, tuple[bytes, _Finals]]) -> None:
        """Keep embeddings; on the writer, as takedowns are.

        What is taken down by now is not kept, and the rest goes with its pair.
        """
        living = {
            index: pack_embeddings(*vectors)
            for index, (pair, (_, *vectors)) in made.items()
            if pair not in self._forgotten
        }
        self._store.keep_finals(checkpoint, living)

    async def _embed_again(self, state: InForce, parts: Iterable[Part]) -> dict[bytes, Quantised]:
        """Return the embeddings of those items that are in the store, by SHA-256."""
        wholes: dict[bytes, Quantised] = {}
        held: list[tuple[Part, Array]] = []
        for wave in waves(parts):
            decoded = await asyncio.gather(*(self._decode(part) for part in wave))
            held += [(part, array) for part, array in zip(wave, decoded, strict=True) if array is not None]
            if sum(array.nbytes for _, array in held) >= ARRAY_BYTES:
                wholes |= await self._embed(state, held)
                held = []
        return wholes | await self._embed(state, held)

    async def _embed(self, state: InForce, held: Sequence[tuple[Part, Array]]) -> dict[bytes, Quantised]:
        wholes: dict[bytes, Quantised] = {}
        for modality in sorted({part.modality for part, _ in held}):
            chosen = [(part.sha256, array) for part, array in held if part.modality == modality]
            arrays = [array for _, array in chosen]
            vectors = await patiently(lambda m=modality, some=arrays: self._embedder.embed_whole(m, some, state))  # type: ignore[misc]
            wholes.update(zip((digest for digest, _ in chosen), quantise(vectors), strict=True))
        return wholes

    async def _is_living(self, index: int) -> bool:
        """Return False if the pair of this entry was taken down since it was read."""
        rows = await self._threads.on_reader(lambda: self._store.submissions(index, 1))
        return bool(rows) and rows[0].index == index

    async def _decode(self, part: Part) -> Array | None:
        content = await self._threads.on_reader(lambda: self._store.blob(part.sha256))
        if content is None:
            return None
        return await patiently(lambda: self._decoder.decode(part.modality, part.media_type, content))


def waves(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Yield the items in order, up to WAVE_ITEMS and WAVE_BYTES at a time; an item larger than that comes alone."""
    wave: list[Part] = []
    for part in parts:
        if wave and (len(wave) == WAVE_ITEMS or sum(one.size for one in wave) + part.size > WAVE_BYTES):
            yield wave
            wave = []
        wave.append(part)
    if wave:
        yield wave


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Return what ``work`` returns, tried again while there is no place for it.

    Raises:
        Overloaded: In the end.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return await work()
        except Overloaded as busy:
            if busy.code == "DECODER_STOPPED":
                raise
        await asyncio.sleep(_PAUSE_S)
    return await work()
