"""The device thread: everything that runs the encoders, one micro-batch after another.

Items that wait for the same modality go to the device together; a batch is whatever has gathered while the last one
ran, so that nobody waits for a batch to fill.
"""

import asyncio
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

import embedding.checkpoint
from embedding.checkpoint import Checkpoint
from embedding.masks import mask_seed
from protocol.errors import Overloaded
from protocol.judgement import Embedded
from protocol.scoring import Calibration, Quantised

log = logging.getLogger(__name__)

MAX_BATCH = 64  # items of one modality in one pass; ten encodings each
MAX_WAITING = 4096
CACHED_ITEMS = 20_000  # the same caption comes back with many pictures

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Job:
    modality: str
    digest: bytes  # of the item; empty for a query, which is not cached
    arrays: Sequence[Array]
    whole_only: bool
    done: "Future[Any]" = field(default_factory=Future)


@dataclass(frozen=True)
class _Loaded:
    """One checkpoint on the device. Swapped whole."""

    checkpoint: Checkpoint
    space: Any
    digest: bytes
    masks: int


class Embedder:
    """Embeds items under the checkpoint in force. Made by `load`; used from one event loop; owns one thread."""

    def __init__(self, loaded: _Loaded) -> None:
        self._loaded = loaded
        self._waiting: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._cache: OrderedDict[tuple[bytes, str, bytes], Embedded] = OrderedDict()
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self._thread.start()

    @classmethod
    def load(cls, path: Path, device: str | None = None) -> Self:
        """Return an embedder for the checkpoint in ``path`` on ``device`` ("cuda", "cpu"; None picks).

        Raises CheckpointError if it does not verify.
        """
        return cls(_load(path, device))

    # -- what is in force

    @property
    def checkpoint(self) -> bytes:
        """Digest of the checkpoint in force."""
        return self._loaded.digest

    @property
    def parent(self) -> bytes | None:
        """Digest of the checkpoint that it was trained from, None for genesis."""
        parent = self._loaded.checkpoint.manifest.parent
        return bytes.fromhex(parent) if parent else None

    @property
    def calibration(self) -> Calibration:
        """Its calibration."""
        return self._loaded.checkpoint.calibration

    @property
    def anchors(self) -> Mapping[str, Quantised]:
        """Its anchor arrays."""
        return self._loaded.checkpoint.anchors

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that it embeds."""
        return tuple(self._loaded.checkpoint.manifest.modalities)

    @property
    def dim(self) -> int:
        """Components of an embedding."""
        return self._loaded.checkpoint.manifest.dim

    @property
    def device(self) -> str:
        """Where the encoders run."""
        return str(self._loaded.space.device)

    # -- work

    async def embed(self, modality: str, digest: bytes, array: Array) -> tuple[Embedded, bytes]:
        """Return an item's embeddings, with those of its masked halves, and the checkpoint that made them.

        ``digest`` is the item's SHA-256: it seeds the masks. Raises Overloaded DEVICE_BUSY if too many wait.
        """
        known = self._cache.get((self._loaded.digest, modality, digest))
        if known is not None:
            return known, self._loaded.digest
        embedded, checkpoint = await self._submit(_Job(modality, digest, [array], whole_only=False))
        return embedded, checkpoint

    async def embed_whole(self, modality: str, arrays: Sequence[Array]) -> npt.NDArray[np.float32]:
        """Return unit embeddings float32[B, d] without the masked halves: for queries and re-indexing."""
        if not arrays:
            return np.zeros((0, self.dim), dtype=np.float32)
        vectors: npt.NDArray[np.float32] = await self._submit(_Job(modality, b"", arrays, whole_only=True))
        return vectors

    async def swap(self, path: Path) -> None:
        """Put the checkpoint in ``path`` in force between two batches. Raises CheckpointError; then nothing changed."""
        loaded = await asyncio.to_thread(_load, path, self.device)
        with self._wake:
            self._loaded = loaded
            self._cache.clear()

    def close(self) -> None:
        """Finish what waits and stop the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    async def _submit(self, job: _Job) -> Any:
        with self._wake:
            if len(self._waiting) >= MAX_WAITING or self._closing:
                raise Overloaded(
                    "DEVICE_BUSY",
                    f"{len(self._waiting)} items wait for the device, at most {MAX_WAITING}",
                    "Send the same bytes again after the time in Retry-After.",
                    retry_after_s=2,
                )
            self._waiting.append(job)
            self._wake.notify()
        return await asyncio.wrap_future(job.done)

    # -- the device thread

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closing:
                    self._wake.wait()
                if not self._waiting:
                    return
                batch = self._take()
                loaded = self._loaded
            try:
                self._process(loaded, batch)
            except Exception as error:  # noqa: BLE001 - the edge of the thread: whoever waits gets the error
                if len(batch) > 1:
                    self._one_by_one(loaded, batch)
                else:
                    batch[0].done.set_exception(error)

    def _take(self) -> list[_Job]:
        """Take the oldest job and those that can run with it."""
        first = self._waiting.popleft()
        if first.whole_only:
            return [first]
        batch, rest = [first], deque[_Job]()
        while self._waiting and len(batch) < MAX_BATCH:
            job = self._waiting.popleft()
            fits = job.modality == first.modality and not job.whole_only
            (batch if fits else rest).append(job)
        self._waiting.extendleft(reversed(rest))
        return batch

    def _one_by_one(self, loaded: _Loaded, batch: Sequence[_Job]) -> None:
        """Run a failed batch again item by item, so that one bad item or a full device fails no other."""
        for job in batch:
            if job.done.done():
                continue
            try:
                self._process(loaded, [job])
            except Exception as error:  # noqa: BLE001 - as in _run
                job.done.set_exception(error)

    def _process(self, loaded: _Loaded, batch: Sequence[_Job]) -> None:
        if batch[0].whole_only:
            batch[0].done.set_result(loaded.space.embed(batch[0].modality, batch[0].arrays))
            return
        unique = {job.digest: job.arrays[0] for job in batch}
        seeds = [mask_seed(loaded.digest, digest) for digest in unique]
        measured = loaded.space.measure(batch[0].modality, list(unique.values()), seeds, loaded.masks)
        embedded = {
            digest: Embedded(measured.whole[row], measured.masked, measured.halves[row])
            for row, digest in enumerate(unique)
        }
        for digest, value in embedded.items():
            self._cache[loaded.digest, batch[0].modality, digest] = value
        while len(self._cache) > CACHED_ITEMS:
            self._cache.popitem(last=False)
        for job in batch:
            job.done.set_result((embedded[job.digest], loaded.digest))


def _load(path: Path, device: str | None) -> _Loaded:
    from embedding.space import pick_device

    checkpoint = embedding.checkpoint.load(path)
    chosen = pick_device() if not device else type(pick_device())(device)
    space = checkpoint.space(chosen)
    return _Loaded(checkpoint, space, bytes.fromhex(checkpoint.digest), checkpoint.calibration.masks)
