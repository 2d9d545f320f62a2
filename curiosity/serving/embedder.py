"""The device thread: everything that runs the encoders, one micro-batch after another.

Items that wait for the same modality go to the device together; a batch is whatever has gathered while the last one
ran, so that nobody waits for a batch to fill.
"""

import asyncio
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from curiosity.embedding.change import change_micro
from curiosity.embedding.masks import mask_seed
from curiosity.embedding.modality import Array
from curiosity.protocol.calibration import Calibration
from curiosity.protocol.curiosity import DEFAULT_RULE
from curiosity.protocol.errors import Overloaded
from curiosity.protocol.judgement import Embedded
from curiosity.protocol.scoring import Quantised
from curiosity.serving.in_force import InForce, load

log = logging.getLogger(__name__)

MAX_BATCH = 64  # items of one modality in one pass; ten encodings each
MAX_WAITING = 4096
CACHED_ITEMS = 20_000  # the same caption comes back with many pictures


@dataclass(frozen=True)
class _EmbedJob:
    modality: str
    digest: bytes  # of the item; empty for a query, which is not cached
    arrays: Sequence[Array]
    under: InForce | None  # None: whatever is in force when it runs, and with the masked halves
    done: "Future[Any]" = field(default_factory=Future)


class Embedder:
    """Embeds items under the checkpoint in force. Made by `load`; used from one event loop; owns one thread."""

    def __init__(self, in_force: InForce) -> None:
        self.in_force = in_force
        self._waiting: deque[_EmbedJob] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._cache: OrderedDict[tuple[bytes, str, bytes], Embedded] = OrderedDict()
        self._cache_lock = threading.Lock()
        self._max_batch = MAX_BATCH  # falls where the device turns out to be too small, and rises again
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self._thread.start()

    @classmethod
    def load(cls, path: Path, device: str | None = None, rule: str = DEFAULT_RULE) -> Self:
        """Return an embedder for the checkpoint in ``path`` on ``device`` ("cuda", "cpu"; None picks).

        ``rule`` is the judge's about curiosity.

        Raises:
            CheckpointError: If it does not verify.
            ConfigError: DEVICE_NOT_USABLE.
        """
        return cls(load(path, device, rule))

    # -- what is in force

    @property
    def checkpoint(self) -> bytes:
        """Digest of the checkpoint in force."""
        return self.in_force.digest

    @property
    def parent(self) -> bytes | None:
        """Digest of the checkpoint that it was trained from, None for genesis."""
        return self.in_force.parent

    @property
    def calibration(self) -> Calibration:
        """Its calibration."""
        return self.in_force.calibration

    @property
    def anchors(self) -> Mapping[str, Quantised]:
        """Its anchor arrays."""
        return self.in_force.anchors

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that it embeds."""
        return tuple(self.in_force.checkpoint.manifest.modalities)

    @property
    def dim(self) -> int:
        """Components of an embedding."""
        return self.in_force.dim

    @property
    def device(self) -> str:
        """Where the encoders run."""
        return str(self.in_force.space.device)

    # -- work

    async def embed(self, modality: str, digest: bytes, array: Array) -> Embedded:
        """Return an item's embeddings, with those of its masked halves, under the checkpoint that they name.

        ``digest`` is the item's SHA-256: it seeds the masks, with the checkpoint's digest as the beacon.

        Raises:
            Overloaded: DEVICE_BUSY if too many wait.
            Rejected: If ``array`` is not in its modality's contract.
        """
        key = (self.in_force.digest, modality, digest)
        with self._cache_lock:
            known = self._cache.get(key)
            if known is not None:
                self._cache.move_to_end(key)
                return known
        embedded: Embedded = await self._submit(_EmbedJob(modality, digest, [array], None))
        return embedded

    async def embed_whole(
        self, modality: str, arrays: Sequence[Array], under: InForce | None = None
    ) -> npt.NDArray[np.float32]:
        """Return unit embeddings float32[B, d] without the masked halves: for queries and re-indexing.

        ``under`` is what they are made under: what is in force now, or what is being built beside it.
        """
        under = under or self.in_force
        if not arrays:
            return np.zeros((0, under.dim), dtype=np.float32)
        vectors: npt.NDArray[np.float32] = await self._submit(_EmbedJob(modality, b"", arrays, under))
        return vectors

    def forget(self, digests: Collection[bytes]) -> None:
        """Drop the embeddings of these items from the cache. Thread-safe."""
        with self._cache_lock:
            for key in [key for key in self._cache if key[2] in digests]:
                del self._cache[key]

    def switch(self, in_force: InForce) -> None:
        """Put this in force, whole, by one assignment: the next batch runs under it. Thread-safe."""
        self.in_force = in_force
        with self._cache_lock:
            self._cache.clear()

    def close(self) -> None:
        """Finish what waits and stop the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    async def _submit(self, job: _EmbedJob) -> Any:
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
                in_force = self.in_force
            if batch and self._measure(in_force, batch) and len(batch) == self._max_batch:
                self._max_batch = min(MAX_BATCH, self._max_batch + 1)

    def _take(self) -> list[_EmbedJob]:
        """Take the oldest job that somebody still waits for, and those that can run with it."""
        batch, rest = list[_EmbedJob](), deque[_EmbedJob]()
        while self._waiting and len(batch) < self._max_batch:
            job = self._waiting.popleft()
            fits = not batch or (job.modality == batch[0].modality and job.under is None)
            if not fits:
                rest.append(job)
            # From here on the caller can no longer cancel it: a result for a cancelled job would end the thread.
            elif job.done.set_running_or_notify_cancel():
                batch.append(job)
                if job.under is not None:
                    break
        self._waiting.extendleft(reversed(rest))
        return batch

    def _measure(self, in_force: InForce, batch: Sequence[_EmbedJob]) -> bool:
        """Run a batch, in ever smaller parts where it fails; return True unless an item failed by itself.

        One bad item fails no other. If the batch failed but each part succeeds, the device has too little memory for
        it, and the next batches are smaller.
        """
        failure: Exception | None = None
        try:
            self._process(in_force, batch)
        except Exception as error:  # noqa: BLE001 - the edge of the thread: whoever waits gets the error
            failure = error
        # Outside the handler: there the failed batch's tensors would stay in memory.
        if failure is None:
            return True
        if len(batch) == 1:
            batch[0].done.set_exception(failure)
            return False
        failed = type(failure).__name__
        del failure
        half = len(batch) // 2
        first, second = self._measure(in_force, batch[:half]), self._measure(in_force, batch[half:])
        if first and second:
            self._max_batch = min(self._max_batch, half)
            log.warning("event=batch_halved error=%s failed=%d max_batch=%d", failed, len(batch), self._max_batch)
        return first and second

    def _process(self, in_force: InForce, batch: Sequence[_EmbedJob]) -> None:
        if batch[0].under is not None:
            batch[0].done.set_result(batch[0].under.space.embed(batch[0].modality, batch[0].arrays))
            return
        modality = batch[0].modality
        unique = {job.digest: job.arrays[0] for job in batch}
        seeds = [mask_seed(in_force.digest, digest) for digest in unique]
        measured = in_force.space.measure(modality, list(unique.values()), seeds, in_force.masks)
        for shared in (measured.whole, measured.masked, measured.halves):
            shared.flags.writeable = False  # the cache hands the same arrays to many
        embedded = {
            digest: Embedded(
                measured.whole[row],
                measured.masked,
                measured.halves[row],
                in_force.digest,
                change_micro(modality, array),
            )
            for row, (digest, array) in enumerate(unique.items())
        }
        with self._cache_lock:
            for digest, value in embedded.items():
                self._cache[in_force.digest, modality, digest] = value
            while len(self._cache) > CACHED_ITEMS:
                self._cache.popitem(last=False)
        for job in batch:
            job.done.set_result(embedded[job.digest])
