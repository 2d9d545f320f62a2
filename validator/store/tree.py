"""The RFC 6962 tree in tiles of 256 hashes (c2sp.org/tlog-tiles), and which hashes a proof needs: pure arithmetic.

A place ``(level, position)`` is the complete subtree of the ``1 << level`` leaves from ``position << level`` on. Every
hash of every proof is a fold of at most log2(n) such subtrees. Tile level t holds the hashes of the places of level 8t;
the eight levels between two tile levels are hashed again when they are needed. Full tiles never change; what is not yet
in one is the tree's `Edge`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from protocol.merkle import Frontier, node_hash

Place = tuple[int, int]  # level, position
Span = tuple[int, int]  # leaves from the first up to, without, the second

HEIGHT = 8
WIDTH = 1 << HEIGHT
HASH_BYTES = 32


@dataclass(frozen=True)
class Tile:
    """256 hashes of tile level ``level``, from number ``position * 256`` on, and the hash above them all."""

    level: int
    position: int
    root: bytes
    hashes: bytes  # 8 KiB

    @property
    def first_leaf(self) -> int:
        """Index of the first leaf below."""
        return self.position << HEIGHT * (self.level + 1)

    def leaf_below(self, number: int) -> int:
        """Index of the first leaf below the tile's hash of that number."""
        return (self.position * WIDTH + number) << HEIGHT * self.level


def layers(hashes: Sequence[bytes]) -> list[list[bytes]]:
    """Return the hashes, then layer by layer those of the complete pairs of the layer below; empty layers left out."""
    made = [list(hashes)]
    while len(below := made[-1]) > 1:
        made.append(
            [sha256(b"\x01" + left + right).digest() for left, right in zip(below[::2], below[1::2], strict=False)]
        )
    return made


def split(data: bytes) -> list[bytes]:
    """Return the hashes that lie one after the other in ``data``."""
    return [data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)]


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
        self._layers: dict[int, list[list[bytes]]] = {}
        self._frontier = Frontier(size, [self.hash_at(place) for place in cover((0, size))])

    def copy(self) -> "Edge":
        """Return an independent copy."""
        other = Edge.__new__(Edge)
        other.size = self.size
        other._levels = [list(level) for level in self._levels]
        other._layers = {}
        other._frontier = self._frontier.copy()
        return other

    def root(self) -> bytes:
        """Return the root of the tree."""
        return self._frontier.root()

    def append(self, leaf_hashes: Sequence[bytes]) -> list[Tile]:
        """Add leaf hashes at the end and return the tiles that this fills, lower ones first."""
        self._layers = {}
        made: list[Tile] = []
        add = self._frontier.append
        lowest = self._levels[0]
        for hash_ in leaf_hashes:
            add(hash_)
            lowest.append(hash_)
            self.size += 1
            if len(lowest) == WIDTH:
                self._fill(0, made)
                lowest = self._levels[0]
        return made

    def _fill(self, level: int, made: list[Tile]) -> None:
        hashes = self._levels[level]
        self._levels[level] = []
        root = layers(hashes)[HEIGHT][0]
        made.append(Tile(level, (self.size >> HEIGHT * (level + 1)) - 1, root, b"".join(hashes)))
        if level + 1 == len(self._levels):
            self._levels.append([])
        self._levels[level + 1].append(root)
        if len(self._levels[level + 1]) == WIDTH:
            self._fill(level + 1, made)

    def holds(self, level: int, position: int) -> bool:
        """Say whether the tile is not full yet, so that its hashes are here."""
        return position == self.size >> HEIGHT * (level + 1)

    def hashes(self, level: int) -> list[bytes]:
        """Return the hashes of the tile level that fill no tile yet."""
        return self._levels[level] if level < len(self._levels) else []

    def layers(self, level: int) -> list[list[bytes]]:
        """Return `hashes` with the complete pairs above them."""
        if level not in self._layers:
            self._layers[level] = layers(self.hashes(level))
        return self._layers[level]

    def hash_at(self, place: Place) -> bytes:
        """Return the hash of a complete subtree that lies in no full tile."""
        level, layer, position = in_tile(place)[0], place[0] % HEIGHT, place[1]
        return self.layers(level)[layer][position % (WIDTH >> layer)]


def in_tile(place: Place) -> tuple[int, int]:
    """Return the tile, as tile level and position, from whose hashes that of a place follows."""
    level, layer = divmod(place[0], HEIGHT)
    return level, place[1] >> (HEIGHT - layer)


def cover(span: Span) -> list[Place]:
    """Return the complete subtrees that make up a span, widest first. The span starts where RFC 6962 would split."""
    low, high = span
    places: list[Place] = []
    while low < high:
        level = (high - low).bit_length() - 1
        places.append((level, low >> level))
        low += 1 << level
    return places


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the hash of a span from those of its cover, widest first."""
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = node_hash(left, result)
    return result


def _split(size: int) -> int:
    """The largest power of two smaller than ``size``."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_spans(index: int, size: int) -> list[Span]:
    """Return the spans whose hashes are the audit path of a leaf, nearest sibling first (RFC 6962 section 2.1.1)."""
    low, high = 0, size
    spans: list[Span] = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low = middle
    return spans[::-1]


def consistency_spans(first: int, size: int) -> list[Span]:
    """Return the spans whose hashes prove that the first ``first`` leaves are a prefix (RFC 6962 section 2.1.2)."""
    low, high = 0, size
    whole = True
    spans: list[Span] = []
    while first < high:
        middle = low + _split(high - low)
        if first <= middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low = middle
            whole = False
    return spans[::-1] if whole else [(low, high), *spans[::-1]]
