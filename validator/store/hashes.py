"""Hashes of the tree of a store: from its full tiles, a few of them kept in memory, and from its edge."""

from collections.abc import Sequence
from functools import lru_cache

from curiosity.protocol.errors import StoreError
from curiosity.protocol.merkle import leaf_hash
from curiosity.protocol.subtrees import Place
from curiosity.protocol.tiles import HEIGHT, WIDTH
from validator.store.store import Store
from validator.store.tree import Edge, FullTile, hash_in

_TILES_IN_MEMORY = 4096  # 9 KB each; those of a million entries


class TreeHashes:
    """Reads the hashes that proofs are made of. Thread-safe.

    Raises:
        StoreError: LEDGER_CORRUPT, naming the first bad index, where a tile is missing.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.tile = lru_cache(_TILES_IN_MEMORY)(self._read_tile)

    def _read_tile(self, level: int, position: int) -> FullTile:
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

    def read(self, edge: Edge, places: Sequence[Place]) -> list[bytes]:
        """Return the hashes of complete subtrees of a tree with this edge."""
        return [self._at(edge, place) for place in places]

    def _at(self, edge: Edge, place: Place) -> bytes:
        level, layer = divmod(place[0], HEIGHT)
        position = place[1] >> (HEIGHT - layer)
        if edge.holds(level, position):
            return edge.hash_at(place)
        return hash_in(self.tile(level, position), layer, place[1] % (WIDTH >> layer))


def _missing(level: int, position: int) -> StoreError:
    first = FullTile(level, position, b"", b"", b"").first_leaf
    return _corrupt(first, f"the tile of level {level} at {position} is missing")


def _corrupt(index: int, what: str) -> StoreError:
    return StoreError(
        "LEDGER_CORRUPT", f"first bad index {index}: {what}", "Restore the newest copy of the database."
    )  # fmt: skip
