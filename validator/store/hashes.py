"""Hashes of the tree of a store: from its full tiles, a few of them kept in memory, and from its edge."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

from protocol.errors import StoreError
from protocol.merkle import leaf_hash
from validator.store.store import Store
from validator.store.tree import HEIGHT, WIDTH, Edge, Place, Span, Tile, cover, fold, in_tile, layers, split

_TILES_IN_MEMORY = 256  # about 50 KB each


class TreeHashes:
    """Reads the hashes that proofs are made of. Thread-safe.

    Raises StoreError LEDGER_CORRUPT, naming the first bad index, where a tile is missing.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._layers = lru_cache(_TILES_IN_MEMORY)(self._read_layers)

    def _read_layers(self, level: int, position: int) -> list[list[bytes]]:
        return layers(split(self.tile(level, position).hashes))

    def tile(self, level: int, position: int) -> Tile:
        """Return a full tile."""
        found = self._store.tiles(level, position, 1)
        if position not in found:
            raise _missing(level, position)
        return found[position]

    def load_edge(self, size: int) -> Edge:
        """Return the edge of the tree of the first ``size`` entries: at most 255 rows of each tile level are read."""
        start = size // WIDTH * WIDTH
        leaves = dict(self._store.indexed_leaves(start, size - start))
        for index in range(start, size):
            if index not in leaves:
                raise _corrupt(index, "the entry is missing")
        levels = [[leaf_hash(leaves[index]) for index in range(start, size)]]
        while count := size >> HEIGHT * len(levels):
            level = len(levels) - 1
            start = count // WIDTH * WIDTH
            roots = self._store.tile_roots(level, start, count - start)
            for position in range(start, count):
                if position not in roots:
                    raise _missing(level, position)
            levels.append([roots[position] for position in range(start, count)])
        return Edge(size, levels)

    def spans(self, edge: Edge, spans: Sequence[Span]) -> list[bytes]:
        """Return the hash of each span of a tree with this edge."""
        covers = [cover(span) for span in spans]
        hashes = iter([self._at(edge, place) for places in covers for place in places])
        return [fold(list(islice(hashes, len(places)))) for places in covers]

    def root_at(self, edge: Edge, size: int) -> bytes:
        """Return the root of the first ``size`` leaves of a tree with this edge; at least one."""
        (root,) = self.spans(edge, [(0, size)])
        return root

    def _at(self, edge: Edge, place: Place) -> bytes:
        level, position = in_tile(place)
        if edge.holds(level, position):
            return edge.hash_at(place)
        layer = place[0] % HEIGHT
        return self._layers(level, position)[layer][place[1] % (WIDTH >> layer)]


def _missing(level: int, position: int) -> StoreError:
    first = Tile(level, position, b"", b"").first_leaf
    return _corrupt(first, f"the tile of level {level} at {position} is missing")


def _corrupt(index: int, what: str) -> StoreError:
    return StoreError(
        "LEDGER_CORRUPT", f"first bad index {index}: {what}", "Restore the newest copy of the database."
    )  # fmt: skip
