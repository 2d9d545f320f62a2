"""Items of a training run, each decoded and prepared once, held as one tensor for each modality.

Decoded items are dropped (an hour of video is 100 times its features); features and tensors beyond a bound lie in files
(``trainer.spill``). Nothing is decoded while steps are taken.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curiosity.embedding.modalities import decode
from curiosity.embedding.modality import Array
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.towers.base import Features, Tower
from curiosity.protocol.errors import Rejected
from trainer.feed import FedItem, FedPair
from trainer.spill import Spill

# Between drawing every pair alike (0: digits are half of all batches) and every text alike (1: they are never seen).
SHARED_POWER = 0.25
# Decoded items of each modality that junk is cut from; shuffles of few pictures teach those pictures.
KEPT_BYTES = 64 * 2**20
COLLATED = 512  # items that one call of a tower's collate takes
_UNKNOWN_BYTES = 2**18  # what an item that is not decoded yet counts for
_AHEAD = 256  # pairs whose items are decoded side by side

Progress = Callable[[str, int, int], None]
"""Called as (what is being done, done, total)."""


@dataclass(frozen=True)
class Stream:
    """The pairs of one modality pair: rows of the library's tensors, and how often each is drawn.

    ``rows_a``, ``rows_b`` int64[P]; ``weights`` float64[P] sum to 1. ``loss_weight`` is what the stream counts for in
    a step, beside the others.
    """

    a: str
    b: str
    rows_a: NDArray[np.int64]
    rows_b: NDArray[np.int64]
    weights: NDArray[np.float64]
    loss_weight: float = 1.0


Prepared = dict[tuple[str, str], Features]
"""Features of each (modality, digest): preparing does not depend on the trained weights."""

_Decoded = tuple[Features, Array] | Rejected


class Library:
    """Features and frozen-tower outputs by content digest; grows as pairs are added.

    ``prepared`` is shared by the libraries of one run, so that an item is decoded once for training, calibration and
    both evaluations.
    """

    def __init__(self, space: EmbeddingSpace, prepared: Prepared | None = None, spill: Spill | None = None) -> None:
        self.space = space
        self.spill = spill or Spill()
        self._prepared: Prepared = {} if prepared is None else prepared
        self.features: dict[str, list[Features]] = {name: [] for name in space.modalities}
        self.digests: dict[str, list[str]] = {name: [] for name in space.modalities}
        self._kept: dict[str, list[Array | FedItem]] = {name: [] for name in space.modalities}
        self._kept_bytes: dict[str, int] = {}
        self._row: dict[tuple[str, str], int] = {}
        self._same: dict[tuple[str, bytes], int] = {}
        self._tensors: dict[str, tuple[tuple[int, bool], Tensor]] = {}
        self.refused: list[str] = []

    @property
    def kept(self) -> dict[str, list[Array]]:
        """The first ``KEPT_BYTES`` of each modality's decoded items: real material for the junk that is cut from it."""
        for kept in self._kept.values():  # what another library prepared is decoded again, once, if it is asked for
            kept[:] = [_decode(one) if isinstance(one, FedItem) else one for one in kept]
        return cast(dict[str, list[Array]], self._kept)

    def add(self, pairs: Iterable[FedPair], progress: Progress | None = None) -> list[FedPair]:
        """Prepare every item that is new, on as many threads as torch uses.

        Return the pairs whose halves could be decoded.

        Raises:
            SourceError: When an item is missing or has another digest.
        """
        asked = list(pairs)
        kept = []
        for start in range(0, len(asked), _AHEAD):
            window = asked[start : start + _AHEAD]
            decoded = dict(self._decode_side_by_side(window))
            for done, pair in enumerate(window, start=start + 1):
                try:
                    for item in (pair.a, pair.b):
                        self._add(item, decoded)
                    kept.append(pair)
                except Rejected as error:
                    self.refused.append(f"{pair.digest.hex()}: {error.code}")
                if progress and (done % 200 == 0 or done == len(asked)):
                    progress("prepare", done, len(asked))
        return kept

    def add_item(self, item: FedItem) -> int:
        """Return the row of the item; items of equal features (a text in two encodings) share one.

        Raises:
            Rejected: when it cannot be decoded.
            SourceError: when it is missing or has another digest.
        """
        return self._add(item, {})

    def _add(self, item: FedItem, decoded: dict[FedItem, _Decoded]) -> int:
        key = (item.modality, item.digest)
        if key in self._row:
            return self._row[key]
        array: Array | None = None
        if key not in self._prepared:
            found = decoded.pop(item) if item in decoded else self._decode(item)
            if isinstance(found, Rejected):
                raise found
            array = found[1]
            self._prepared[key] = self.spill.keep(found[0])
        features = self._prepared[key]
        content = (item.modality, _digest(features))
        if content not in self._same:
            self._same[content] = len(self.features[item.modality])
            self.features[item.modality].append(features)
            self.digests[item.modality].append(item.digest)
            if self._kept_bytes.get(item.modality, 0) < KEPT_BYTES:
                self._kept[item.modality].append(item if array is None else array)
                size = _UNKNOWN_BYTES if array is None else array.nbytes
                self._kept_bytes[item.modality] = self._kept_bytes.get(item.modality, 0) + size
        self._row[key] = self._same[content]
        return self._row[key]

    def _decode_side_by_side(self, pairs: Sequence[FedPair]) -> Iterator[tuple[FedItem, _Decoded]]:
        """Yield decoded items of the pairs that are not prepared yet.

        The order of adding does not depend on the threads.
        """
        items = {(i.modality, i.digest, i.media_type): i for pair in pairs for i in (pair.a, pair.b)}
        new = [item for item in items.values() if (item.modality, item.digest) not in self._prepared]
        workers = torch.get_num_threads()
        if workers > 1 and len(new) > 1:
            with ThreadPoolExecutor(workers) as pool:
                yield from zip(new, pool.map(self._decode, new), strict=True)

    def _decode(self, item: FedItem) -> _Decoded:
        try:
            array = _decode(item)
            return self.space.prepare(item.modality, [array])[0], array
        except Rejected as error:
            return error

    def row(self, item: FedItem) -> int:
        """Return the row of an item that was added.

        Raises:
            KeyError: when it was not.
        """
        return self._row[(item.modality, item.digest)]

    def tensors(self) -> dict[str, Tensor]:
        """Return collated inputs of every item, by modality, made once; frozen towers run here."""
        out = {}
        for name, features in self.features.items():
            tower = self.space.tower(name)
            state = (len(features), tower.is_frozen)
            if features and self._tensors.get(name, ((-1, False),))[0] != state:
                self._tensors[name] = (state, self._collate(tower, features))
            if features:
                out[name] = self._tensors[name][1]
        return out

    def _collate(self, tower: Tower, features: Sequence[Features]) -> Tensor:
        first = tower.collate(features[:COLLATED])
        room = torch.from_numpy(self.spill.make_room((len(features), *first.shape[1:]), first.numpy().dtype))
        room[: len(first)] = first
        for start in range(COLLATED, len(features), COLLATED):
            room[start : start + COLLATED] = tower.collate(features[start : start + COLLATED])
        return room

    def streams(
        self, pairs: Sequence[FedPair], replay: Sequence[FedPair] = (), replay_share: float = 0.0
    ) -> list[Stream]:
        """Return one stream for each modality pair, by name; ``replay`` is drawn with at least ``replay_share``.

        A pair is drawn in proportion to n ** -1/4, n the number of pairs that share its most shared half: the hundred
        scans of one digit teach less than a hundred different things, yet more than one scan.
        """
        out = []
        for name in sorted({pair.name for pair in [*pairs, *replay]}):
            fresh = [pair for pair in pairs if pair.name == name]
            again = [pair for pair in replay if pair.name == name]
            chosen = fresh + again
            rows_a = np.array([self.row(pair.a) for pair in chosen], dtype=np.int64)
            rows_b = np.array([self.row(pair.b) for pair in chosen], dtype=np.int64)
            shared = np.maximum(np.bincount(rows_a)[rows_a], np.bincount(rows_b)[rows_b])
            weights = shared**-SHARED_POWER
            weights /= weights.sum()
            old = weights[len(fresh) :].sum()
            if fresh and again and old < replay_share:
                weights[: len(fresh)] *= (1 - replay_share) / (1 - old)
                weights[len(fresh) :] *= replay_share / old
            out.append(Stream(chosen[0].a.modality, chosen[0].b.modality, rows_a, rows_b, weights))
        return out


def _decode(item: FedItem) -> Array:
    return decode(item.modality, item.load(), item.media_type)


def _digest(features: Features) -> bytes:
    return hashlib.sha256(f"{features.shape}".encode() + features.tobytes()).digest()
