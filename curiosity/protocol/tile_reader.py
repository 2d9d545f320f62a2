"""A client of a tiled log that trusts only a tree head: every hash and entry that it gives was checked against it.

The right edge of the tree, which its root is made of, is read first and must lead to the head's root. Any other tile
is full, and its hash stands in the tile above it, up to the right edge (c2sp.org/tlog-tiles).
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from curiosity.protocol.errors import ProofError
from curiosity.protocol.merkle import leaf_hash
from curiosity.protocol.subtrees import Place, consistency_from, cover, fold, inclusion_from, layers, root_from
from curiosity.protocol.tiles import (
    HEIGHT,
    WIDTH,
    Bundle,
    Tile,
    bundle_path,
    parse_bundle,
    parse_tile,
    tile_path,
    tile_width,
)
from curiosity.protocol.tree_head import TreeHead

Fetch = Callable[[str], bytes | None]
"""Returns what is served at a path relative to the log's prefix, None if nothing is (HTTP 404)."""

_Rows = list[list[bytes]]  # a tile's hashes, then those of pairs, and so on as far as they are complete


class TileReader:
    """Reads the log under one verified tree head through a function that fetches. Keeps at most ``cached`` tiles.

    What ``fetch`` raises goes through.

    Raises:
        ProofError: By every method: TILE_MISSING, TILE_SIZE, and TILE_MISMATCH if a tile is not that of the tree;
            TILE_EDGE if those of the right edge do not lead to the head's root.
    """

    def __init__(self, head: TreeHead, fetch: Fetch, *, cached: int = 64) -> None:
        self.head = head
        self._fetch = fetch
        self._cached = cached
        self._edge: dict[int, _Rows] = {}  # by level
        self._full: OrderedDict[tuple[int, int], _Rows] = OrderedDict()

    def _bytes(self, path: str, full_path: str, width: int) -> tuple[bytes, int]:
        """Return what is at a path and its width: a log may drop a partial tile once it has the full one."""
        data = self._fetch(path)
        if data is not None:
            return data, width
        data = self._fetch(full_path) if full_path != path else None
        if data is None:
            raise ProofError("TILE_MISSING", f"the log serves nothing at {path}", "Try again; report a log that hides.")
        return data, WIDTH

    def _read_tile(self, level: int, index: int) -> list[bytes]:
        width = tile_width(level, index, self.head.size)
        data, found = self._bytes(tile_path(level, index, width), tile_path(level, index), width)
        return parse_tile(data, found)[:width]

    def _load_edge(self) -> None:
        """Fetch the last tile of every level that is not full, and check that together they have the head's root.

        A tree of any leaves has one: the highest level holds fewer than 256 hashes.
        """
        size, level = self.head.size, 0
        edge: dict[int, _Rows] = {}
        while end := size >> HEIGHT * level:
            if end % WIDTH:
                edge[level] = layers(self._read_tile(level, end // WIDTH))
            level += 1
        root = fold([_lookup(edge[place[0] // HEIGHT], place) for place in cover((0, size))])
        if root != self.head.root:
            paths = ", ".join(tile.path for tile in self._edge_tiles())
            raise ProofError("TILE_EDGE", f"{paths} lead to root {root.hex()}, the head has {self.head.root.hex()}")
        self._edge = edge

    def _edge_tiles(self) -> list[Tile]:
        ends = [(level, self.head.size >> HEIGHT * level) for level in range(HEIGHT)]
        return [Tile(level, end // WIDTH, end % WIDTH) for level, end in ends if end % WIDTH]

    def _tile(self, level: int, index: int) -> _Rows:
        """Return a tile's rows, checked."""
        if not self._edge:
            self._load_edge()
        if index == self.head.size >> HEIGHT * (level + 1):
            return self._edge[level]
        key = (level, index)
        rows = self._full.get(key)
        if rows is None:
            rows = layers(self._read_tile(level, index))
            above = self._tile(level + 1, index // WIDTH)[0][index % WIDTH]
            if rows[-1][0] != above:
                raise ProofError(
                    "TILE_MISMATCH",
                    f"{tile_path(level, index)} hashes to {rows[-1][0].hex()}, the tile above it has {above.hex()}",
                )
            while len(self._full) >= max(1, self._cached):
                self._full.popitem(last=False)
            self._full[key] = rows
        self._full.move_to_end(key)
        return rows

    def read(self, places: Sequence[Place]) -> list[bytes]:
        """Return the hashes of complete subtrees, as `curiosity.protocol.subtrees` asks for them.

        Raises:
            ProofError: PROOF_INDEX_OUT_OF_RANGE for one that is not in the tree.
        """
        for level, position in places:
            if not 0 <= level < 64 or position < 0 or (position + 1) << level > self.head.size:
                raise ProofError(
                    "PROOF_INDEX_OUT_OF_RANGE",
                    f"subtree {position} of level {level} is not in a tree of size {self.head.size}",
                )
        return [_lookup(self._tile(place[0] // HEIGHT, _tile_index(place)), place) for place in places]

    def root(self, size: int) -> bytes:
        """Return the root that the first ``size`` leaves have."""
        return root_from(self.read, size)

    def inclusion_path(self, index: int) -> list[bytes]:
        """Return the audit path of a leaf under the head.

        Raises:
            ProofError: PROOF_INDEX_OUT_OF_RANGE too.
        """
        return inclusion_from(self.read, index, self.head.size)

    def consistency_path(self, first: int) -> list[bytes]:
        """Return the proof from the tree of ``first`` leaves to the head.

        Raises:
            ProofError: PROOF_INDEX_OUT_OF_RANGE, and what every method raises.
        """
        return consistency_from(self.read, first, self.head.size)

    def leaf_hashes(self, index: int) -> list[bytes]:
        """Return the hashes of the ``index``-th 256 leaves, fewer at the end of the tree."""
        return list(self._tile(0, self._checked(index))[0])

    def entries(self, index: int) -> list[bytes]:
        """Return the ``index``-th 256 entries, fewer at the end of the tree.

        Raises:
            ProofError: BUNDLE_MISMATCH naming the first entry that does not have its leaf hash, BUNDLE_ codes too.
        """
        hashes = self.leaf_hashes(index)
        bundle = Bundle(index, len(hashes))
        data, found = self._bytes(bundle.path, bundle_path(index), bundle.width)
        entries = parse_bundle(data, found)[: bundle.width]
        for offset, (entry, hash_) in enumerate(zip(entries, hashes, strict=True)):
            if leaf_hash(entry) != hash_:
                raise ProofError(
                    "BUNDLE_MISMATCH",
                    f"entry {index * WIDTH + offset} hashes to {leaf_hash(entry).hex()}, the tree has {hash_.hex()}",
                )
        return entries

    def _checked(self, index: int) -> int:
        if not 0 <= index * WIDTH < self.head.size:
            raise ProofError("PROOF_INDEX_OUT_OF_RANGE", f"a tree of size {self.head.size} has no bundle {index}")
        return index


def _tile_index(place: Place) -> int:
    level, position = place
    return position >> HEIGHT - level % HEIGHT


def _lookup(rows: _Rows, place: Place) -> bytes:
    level, position = place
    up = level % HEIGHT
    return rows[up][position & (WIDTH >> up) - 1]
