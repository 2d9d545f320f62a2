"""The tree of a store: full tiles of 256 hashes, which never change, and the edge, which is not in one yet.

Tile level t holds the hashes of the complete subtrees of level 8t (c2sp.org/tlog-tiles). Of the seven levels between
two tile levels the fourth is kept beside the tile, 512 bytes to its 8 KiB; with it a proof hashes 22 times in a tile,
not 247 times. Places are those of `curiosity.protocol.subtrees`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from curiosity.protocol.merkle import Frontier
from curiosity.protocol.subtrees import Place, cover, layers
from curiosity.protocol.tiles import HEIGHT, WIDTH

HASH_BYTES = 32
MIDDLE = 4
"""The layer of a tile that is kept: 16 hashes of 16 each."""


@dataclass(frozen=True)
class FullTile:
    """256 hashes of tile level ``level``, from number ``position * 256`` on, and the hash above them all."""

    level: int
    position: int
    root: bytes
    middle: bytes  # 16 hashes, each above 16 of the tile's
    hashes: bytes  # 8 KiB

    @property
    def first_leaf(self) -> int:
        """Index of the first leaf below."""
        return self.position << HEIGHT * (self.level + 1)

    def leaf_below(self, number: int) -> int:
        """Return the index of the first leaf below the tile's hash of that number."""
        return (self.position * WIDTH + number) << HEIGHT * self.level


def hash_in(tile: FullTile, layer: int, number: int) -> bytes:
    """Return the hash of that number in a layer of a full tile: layer 0 are its own hashes, layer 7 has two."""
    known, height = (tile.middle, layer - MIDDLE) if layer >= MIDDLE else (tile.hashes, layer)
    start = HASH_BYTES * (number << height)
    return layers(split(known[start : start + (HASH_BYTES << height)]))[-1][0]


def split(data: bytes) -> list[bytes]:
    """Return the hashes that lie one after the other in ``data``."""
    return [data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)]


def _cut(hashes: list[bytes], width: int) -> tuple[list[bytes], list[bytes]]:
    """Return the hashes joined in full rows of ``width``, and those that are left over."""
    count = len(hashes) // width
    return [b"".join(hashes[width * n : width * (n + 1)]) for n in range(count)], hashes[width * count :]


class Edge:
    """The right edge of a tree of ``size`` leaves: of each tile level the hashes that fill no tile yet.

    Takes O(log n) memory: at most 255 hashes a tile level. Once shared between threads it is not appended to.
    """

    def __init__(self, size: int = 0, levels: Sequence[Sequence[bytes]] = ()) -> None:
        self.size = size
        self._levels = [list(level) for level in levels] or [[]]
        expected = [(size >> HEIGHT * level) % WIDTH for level in range(len(self._levels))]
        if [len(level) for level in self._levels] != expected or size >> HEIGHT * len(self._levels):
            raise ValueError(f"a tree of {size} leaves has {expected} hashes in no tile, a number for each level")
        self._layers = {number: layers(level) for number, level in enumerate(self._levels)}  # of what was asked for
        self._middles = [rows[MIDDLE] if len(rows) > MIDDLE else [] for rows in self._layers.values()]
        self._frontier = Frontier(size, [self.hash_at(place) for place in cover((0, size))])

    def copy(self) -> "Edge":
        """Return an independent copy."""
        other = Edge.__new__(Edge)
        other.size = self.size
        other._levels = [list(level) for level in self._levels]
        other._middles = [list(level) for level in self._middles]
        other._layers = {}
        other._frontier = self._frontier.copy()
        return other

    def root(self) -> bytes:
        """Return the root of the tree."""
        return self._frontier.root()

    def append(self, leaf_hashes: Sequence[bytes]) -> list[FullTile]:
        """Add leaf hashes at the end and return the tiles that this fills, lower ones first."""
        made: list[FullTile] = []
        full: list[tuple[bytes, bytes]] = []  # middle and hashes of what the tile level below has filled
        for run in self._frontier.extend(leaf_hashes):
            level, layer = divmod(run.level, HEIGHT)
            if layer == 0:
                # What a tile level gains are the hashes above the tiles that the level below has filled.
                filled = enumerate(zip(run.hashes, full, strict=level > 0), run.first)
                made += [FullTile(level - 1, position, root, *tile) for position, (root, tile) in filled]
                if level == len(self._levels):
                    self._levels.append([])
                    self._middles.append([])
                hashes, self._levels[level] = _cut(self._levels[level] + run.hashes, WIDTH)
                full = [(b"", tile) for tile in hashes]
            elif layer == MIDDLE:
                middles, self._middles[level] = _cut(self._middles[level] + run.hashes, WIDTH >> MIDDLE)
                full = [(middle, tile) for middle, (_, tile) in zip(middles, full, strict=True)]
        self.size = self._frontier.size
        self._layers = {}
        return made

    def holds(self, level: int, position: int) -> bool:
        """Say whether the tile is not full yet, so that its hashes are here."""
        return position == self.size >> HEIGHT * (level + 1)

    def hashes(self, level: int) -> list[bytes]:
        """Return the hashes of the tile level that fill no tile yet."""
        return self._levels[level] if level < len(self._levels) else []

    def hash_at(self, place: Place) -> bytes:
        """Return the hash of a complete subtree that lies in no full tile."""
        level, layer = divmod(place[0], HEIGHT)
        if level not in self._layers:
            self._layers[level] = layers(self.hashes(level))
        return self._layers[level][layer][place[1] % (WIDTH >> layer)]
