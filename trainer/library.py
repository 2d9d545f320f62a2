"""Items of a training run, each decoded and prepared once, held as one tensor for each modality."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embedding.modalities import decode
from embedding.modality import Array
from embedding.space import EmbeddingSpace
from embedding.towers.base import Features
from protocol.errors import Rejected
from trainer.feed import FedItem, FedPair

# Between drawing every pair alike (0: digits are half of all batches) and every text alike (1: they are never seen).
SHARED_POWER = 0.25

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


Prepared = dict[tuple[str, str], tuple[Features, Array]]
"""Features and decoded array of each (modality, digest): preparing does not depend on the trained weights."""


class Library:
    """Features and frozen-tower outputs by content digest; grows as pairs are added.

    ``prepared`` is shared by the libraries of one run, so that an item is decoded once for training, calibration and
    both evaluations.
    """

    def __init__(self, space: EmbeddingSpace, prepared: Prepared | None = None) -> None:
        self.space = space
        self._prepared: Prepared = {} if prepared is None else prepared
        self.features: dict[str, list[Features]] = {name: [] for name in space.modalities}
        self.digests: dict[str, list[str]] = {name: [] for name in space.modalities}
        self.kept: dict[str, list[Array]] = {name: [] for name in space.modalities}
        self._row: dict[tuple[str, str], int] = {}
        self._same: dict[tuple[str, bytes], int] = {}
        self.refused: list[str] = []

    def add(self, pairs: Iterable[FedPair], progress: Progress | None = None) -> list[FedPair]:
        """Prepare every item that is new and return the pairs whose halves could be decoded."""
        asked = list(pairs)
        kept = []
        for done, pair in enumerate(asked, start=1):
            try:
                for item in (pair.a, pair.b):
                    self.add_item(item)
                kept.append(pair)
            except Rejected as error:
                self.refused.append(f"{pair.digest.hex()}: {error.code}")
            if progress and (done % 200 == 0 or done == len(asked)):
                progress("prepare", done, len(asked))
        return kept

    def add_item(self, item: FedItem) -> int:
        """Row of the item; items of equal features (a text in two encodings) share one.

        Raises:
            Rejected: when it cannot be decoded.
            SourceError: when it is missing or has another digest.
        """
        key = (item.modality, item.digest)
        if key not in self._row:
            if key not in self._prepared:
                array = decode(item.modality, item.load(), item.media_type)
                self._prepared[key] = (self.space.prepare(item.modality, [array])[0], array)
            features, array = self._prepared[key]
            content = (item.modality, features.tobytes())
            if content not in self._same:
                self._same[content] = len(self.features[item.modality])
                self.features[item.modality].append(features)
                self.digests[item.modality].append(item.digest)
                if len(self.kept[item.modality]) < 256:  # real material for the junk that is cut from it
                    self.kept[item.modality].append(array)
            self._row[key] = self._same[content]
        return self._row[key]

    def row(self, item: FedItem) -> int:
        """Row of an item that was added.

        Raises:
            KeyError: when it was not.
        """
        return self._row[(item.modality, item.digest)]

    def tensors(self) -> dict[str, Tensor]:
        """Collated inputs of every item, by modality; frozen towers run here, once."""
        out = {}
        for name, features in self.features.items():
            if features:
                parts = [self.space.tower(name).collate(features[i : i + 512]) for i in range(0, len(features), 512)]
                out[name] = torch.cat(parts)
        return out

    def streams(
        self, pairs: Sequence[FedPair], replay: Sequence[FedPair] = (), replay_share: float = 0.0
    ) -> list[Stream]:
        """One stream for each modality pair, by name; ``replay`` is drawn with at least ``replay_share``.

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
