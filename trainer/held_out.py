"""Held-out material: pairs that training never sees, and their embeddings."""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from curiosity.embedding.space import EmbeddingSpace
from trainer.feed import FedItem, FedPair
from trainer.joined import Joined, join_by_concept, spread
from trainer.library import Library, Prepared

ALIGNED_EACH = 512  # pairs, one of each concept, that the alignment of two modalities is measured over


class HeldOut:
    """Held-out pairs and the embedding of every item of theirs, each made once."""

    def __init__(self, space: EmbeddingSpace, pairs: Sequence[FedPair], prepared: Prepared | None = None) -> None:
        library = Library(space, prepared)
        self.pairs = library.add(pairs)
        self.sets = sorted({pair.set for pair in self.pairs})
        self._library = library
        self._vectors = {name: space.embed_features(name, rows) for name, rows in library.features.items()}

    def rows(self, modality: str, items: Iterable[FedItem]) -> NDArray[np.float32]:
        """Return unit embeddings float32[N, D] of items of one modality."""
        found: NDArray[np.float32] = self._vectors[modality][[self._library.row(item) for item in items]]
        return found

    def partners(self, set_name: str) -> dict[tuple[str, str], list[Joined]]:
        """Return True pairs of every two modalities of a set, one of each concept; at most ``ALIGNED_EACH``."""
        own = [pair for pair in self.pairs if pair.set == set_name]
        out = {}
        for a, b in combinations(sorted({item.modality for pair in own for item in (pair.a, pair.b)}), 2):
            joined = join_by_concept(own, a, b)
            if joined:
                out[a, b] = spread(joined, min(ALIGNED_EACH, len({pair.concept for pair in joined})))
        return out
