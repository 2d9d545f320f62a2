"""Re-embedding: after a start or a switch of checkpoint, what was accepted becomes searchable and known again."""

import asyncio
import logging
from collections.abc import Sequence

from protocol.entry import PairEntry
from protocol.errors import Rejected
from protocol.pair import Envelope, Part
from protocol.scoring import Quantised, cross_average, joint, pulls_micro, quantise
from protocol.wire import parse
from validator.decided import unpack_embeddings
from validator.decode import Decoder
from validator.embedder import Array, Embedder
from validator.pipeline import INDEX_KEYS_PER_ENTRY, Pipeline
from validator.store import Store, StoredSubmission

log = logging.getLogger(__name__)

_PAGE = 256


class Reindexer:
    """Fills the pipeline's index and its judge's history from the accepted pairs in the store."""

    def __init__(self, store: Store, decoder: Decoder, embedder: Embedder, pipeline: Pipeline) -> None:
        self._store = store
        self._decoder = decoder
        self._embedder = embedder
        self._pipeline = pipeline

    async def rebuild(self) -> int:
        """Empty the index and fill it under the embedder's checkpoint; return how many accepted pairs it holds.

        Pairs that were judged under this checkpoint keep their embeddings; others are decoded and embedded again. Call
        it while no batch is being decided.
        """
        self._pipeline.index.clear()
        start = count = 0
        while True:
            page = await self._pipeline.on_reader(lambda start=start: list(self._store.accepted(start, _PAGE)))  # type: ignore[misc]
            if not page:
                return count
            finals = await self._finals(page)
            for row in page:
                if row.index in finals:
                    self._add(row, *finals[row.index])
            count += len(finals)
            start = page[-1].index + 1

    def _add(self, row: StoredSubmission, modalities: str, final_a: Quantised, final_b: Quantised) -> None:
        for side, (name, vector) in enumerate(zip(modalities.split("-"), (final_a, final_b), strict=True)):
            self._pipeline.index.add([INDEX_KEYS_PER_ENTRY * row.index + side], name, vector[None, :])
        entry = parse(PairEntry, row.leaf)
        if entry.verdict.novel:
            self._pipeline.judge.remember(modalities, joint(final_a, final_b), row.index)
        if row.pair in self._pipeline.forgotten:  # taken down since the page was read
            self._pipeline.forget(row.index, modalities)

    async def _finals(self, page: Sequence[StoredSubmission]) -> dict[int, tuple[str, Quantised, Quantised]]:
        """Return modalities and final embeddings by index; pairs that were taken down meanwhile are left out."""
        finals: dict[int, tuple[str, Quantised, Quantised]] = {}
        stale: list[tuple[int, Part, Part]] = []
        for row in page:
            entry = parse(PairEntry, row.leaf)
            if entry.verdict.checkpoint == self._embedder.checkpoint and row.embeddings is not None:
                _, _, final_a, final_b = unpack_embeddings(row.embeddings)
                finals[row.index] = (entry.modalities, final_a, final_b)
            else:
                submission = parse(Envelope, row.envelope).submission
                stale.append((row.index, submission.a, submission.b))
        for index, a, b, whole_a, whole_b in await self._embed_again(stale):
            medians = self._embedder.calibration.median_loss_micro
            pulls = pulls_micro(medians[a.modality], medians[b.modality])
            finals[index] = (f"{a.modality}-{b.modality}", *cross_average(whole_a, whole_b, *pulls))
        return finals

    async def _embed_again(
        self, stale: Sequence[tuple[int, Part, Part]]
    ) -> list[tuple[int, Part, Part, Quantised, Quantised]]:
        parts = {part.sha256: part for _, a, b in stale for part in (a, b)}
        decoded = await asyncio.gather(*(self._decode(part) for part in parts.values()))
        arrays = {digest: array for digest, array in zip(parts, decoded, strict=True) if array is not None}
        for index, a, b in stale:
            for part in (a, b):
                if part.sha256 not in arrays and await self._is_living(index):
                    raise Rejected("ITEM_GONE", f"item 0x{part.sha256.hex()} is not in the store", "Restore the blobs.")
        wholes: dict[bytes, Quantised] = {}
        for modality in {part.modality for part in parts.values()}:
            chosen = [(digest, array) for digest, array in arrays.items() if parts[digest].modality == modality]
            vectors = await self._embedder.embed_whole(modality, [array for _, array in chosen])
            wholes.update(zip((digest for digest, _ in chosen), quantise(vectors), strict=True))
        return [
            (index, a, b, wholes[a.sha256], wholes[b.sha256])
            for index, a, b in stale
            if a.sha256 in wholes and b.sha256 in wholes
        ]

    async def _is_living(self, index: int) -> bool:
        """False if the pair of this entry was taken down since it was read."""
        rows = await self._pipeline.on_reader(lambda: self._store.submissions(index, 1))
        return bool(rows) and rows[0].index == index

    async def _decode(self, part: Part) -> Array | None:
        content = await self._pipeline.on_reader(lambda: self._store.blob(part.sha256))
        return None if content is None else await self._decoder.decode(part.modality, part.media_type, content)
