"""Tiles and entry bundles: a log as static files (c2sp.org/tlog-tiles). Paths, and bytes built and parsed strictly.

A tile of level l holds the hashes of up to 256 consecutive complete subtrees of ``256 ** l`` leaves, 32 bytes each. A
bundle holds the entries under one tile of level 0. Paths are relative to the log's URL prefix, with no slash in front.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from curiosity.protocol.errors import ProofError
from curiosity.protocol.merkle import Frontier
from curiosity.protocol.note import MAX_SIZE
from curiosity.protocol.subtrees import Place, Read

WIDTH = 256
HEIGHT = 8
"""A full tile is `WIDTH` wide, two to the power of `HEIGHT`."""
MAX_LEVEL = 63
MAX_ENTRY_BYTES = 65_535
"""An entry's length is a uint16."""

_PATH = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII
)  # anything longer than its one spelling is refused by spelling it again
_MAX_PATH_CHARS = 64


@dataclass(frozen=True)
class Tile:
    """The ``index``-th tile of a level, and how many hashes it holds: 256 if it is full."""

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Where it is served."""
        return tile_path(self.level, self.index, self.width)

    def places(self) -> list[Place]:
        """Return the complete subtrees whose hashes it holds, in order."""
        first = self.index * WIDTH
        return [(HEIGHT * self.level, position) for position in range(first, first + self.width)]


@dataclass(frozen=True)
class Bundle:
    """The ``index``-th bundle of entries, and how many it holds: 256 if it is full."""

    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Where it is served."""
        return bundle_path(self.index, self.width)


def _suffix(index: int, width: int) -> str:
    if not 0 <= index <= MAX_SIZE or not 1 <= width <= WIDTH:
        raise ProofError(
            "TILE_OUT_OF_RANGE",
            f"there is no tile {index} of width {width}",
            f"An index is from 0 to {MAX_SIZE}, a width from 1 to {WIDTH}.",
        )
    path = f"{index % 1000:03d}"
    while index := index // 1000:
        path = f"x{index % 1000:03d}/{path}"
    return path if width == WIDTH else f"{path}.p/{width}"


def tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """Return ``tile/<L>/<N>[.p/<W>]`` (c2sp.org/tlog-tiles, "Merkle Tree"); full tiles have no suffix.

    Raises:
        ProofError: TILE_OUT_OF_RANGE for a level above 63, a negative index, a width outside 1 to 256.
    """
    if not 0 <= level <= MAX_LEVEL:
        raise ProofError("TILE_OUT_OF_RANGE", f"there is no tile level {level}", f"Levels go from 0 to {MAX_LEVEL}.")
    return f"tile/{level}/{_suffix(index, width)}"


def bundle_path(index: int, width: int = WIDTH) -> str:
    """Return ``tile/entries/<N>[.p/<W>]`` (c2sp.org/tlog-tiles, "Log entries").

    Raises:
        ProofError: As `tile_path`.
    """
    return f"tile/entries/{_suffix(index, width)}"


def parse_tile_path(path: str) -> Tile | Bundle:
    """Return what a path names.

    Raises:
        ProofError: TILE_PATH unless it is the one spelling of a tile or a bundle.
    """
    match = _PATH.fullmatch(path) if len(path) <= _MAX_PATH_CHARS else None
    if match is not None:
        level, number, width = match.groups()
        index = int(number.replace("x", "").replace("/", ""))
        found: Tile | Bundle
        if level == "entries":
            found = Bundle(index, int(width or WIDTH))
        else:
            found = Tile(int(level), index, int(width or WIDTH))
        try:
            if found.path == path:
                return found
        except ProofError:
            pass
    raise ProofError("TILE_PATH", f"not the path of a tile: {path[:80]!r}", "See c2sp.org/tlog-tiles.")


def tile_width(level: int, index: int, size: int) -> int:
    """Return how wide a tile is in a tree of ``size`` leaves, 0 if it does not exist there."""
    return max(0, min(WIDTH, (size >> HEIGHT * level) - index * WIDTH))


def tiles_for(size: int, since: int = 0) -> list[Tile]:
    """Return the tiles of a tree of ``size`` leaves, those that a tree of ``since`` leaves had as wide left out.

    Partial tiles, which the next tree may replace, are the last of their level ("Partial Tiles"). There is none empty.
    """
    tiles: list[Tile] = []
    level = 0
    while end := size >> HEIGHT * level:
        start = since >> HEIGHT * level
        if start < end:
            tiles += [Tile(level, n, min(WIDTH, end - n * WIDTH)) for n in range(start // WIDTH, -(-end // WIDTH))]
        level += 1
    return tiles


def bundles_for(size: int, since: int = 0) -> list[Bundle]:
    """Return the bundles of a tree of ``size`` leaves, those that a tree of ``since`` leaves had as wide left out."""
    if since >= size:
        return []
    return [Bundle(n, min(WIDTH, size - n * WIDTH)) for n in range(since // WIDTH, -(-size // WIDTH))]


def tiles_from(read: Read, size: int, since: int = 0) -> Iterator[tuple[Tile, bytes]]:
    """Yield `tiles_for` with their bytes, from who keeps the subtrees."""
    for tile in tiles_for(size, since):
        yield tile, b"".join(read(tile.places()))


def parse_tile(data: bytes, width: int = WIDTH) -> list[bytes]:
    """Return the hashes of a tile, unchecked ("Merkle Tree").

    Raises:
        ProofError: TILE_SIZE for another length.
    """
    if not 1 <= width <= WIDTH or len(data) != 32 * width:
        raise ProofError("TILE_SIZE", f"a tile of width {width} has {len(data)} bytes, expected {32 * width}")
    return [bytes(data[at : at + 32]) for at in range(0, len(data), 32)]


def entry_bundle(entries: Sequence[bytes]) -> bytes:
    """Return the bundle of 1 to 256 entries ("Log entries"): each after its length, two bytes, big-endian.

    Raises:
        ValueError: For more, for none, or for an entry above 65,535 bytes.
    """
    if not 1 <= len(entries) <= WIDTH or max(map(len, entries)) > MAX_ENTRY_BYTES:
        raise ValueError(f"a bundle holds 1 to {WIDTH} entries of at most {MAX_ENTRY_BYTES} bytes, got {len(entries)}")
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)


def parse_bundle(data: bytes, width: int = WIDTH) -> list[bytes]:
    """Return the ``width`` entries of a bundle, unchecked ("Log entries").

    Raises:
        ProofError: BUNDLE_TRUNCATED if it holds fewer, BUNDLE_TRAILING if anything follows them.
    """
    entries: list[bytes] = []
    at, end = 0, len(data)
    for _ in range(width):
        start = at + 2
        if start > end:
            raise ProofError("BUNDLE_TRUNCATED", f"the bundle holds {len(entries)} entries, expected {width}")
        at = start + (data[at] << 8 | data[at + 1])
        if at > end:
            raise ProofError("BUNDLE_TRUNCATED", f"entry {len(entries)} of the bundle is cut off after {end} bytes")
        entries.append(bytes(data[start:at]))
    if at != end:
        raise ProofError("BUNDLE_TRAILING", f"{end - at} bytes follow the {width} entries of the bundle")
    return entries


class TileWriter:
    """Makes the tiles of a growing tree, each once, holding no more than the partial one of every level."""

    def __init__(self) -> None:
        self.frontier = Frontier()
        self._partial: list[list[bytes]] = []  # by level

    def append(self, leaf_hashes: Sequence[bytes]) -> list[tuple[Tile, bytes]]:
        """Add leaf hashes and return the tiles that they fill."""
        full: list[tuple[Tile, bytes]] = []
        for run in self.frontier.extend(leaf_hashes):
            level, between = divmod(run.level, HEIGHT)
            if between:
                continue
            if level == len(self._partial):
                self._partial.append([])
            index = run.first // WIDTH
            hashes = self._partial[level] + run.hashes
            while len(hashes) >= WIDTH:
                full.append((Tile(level, index), b"".join(hashes[:WIDTH])))
                hashes = hashes[WIDTH:]
                index += 1
            self._partial[level] = hashes
        return full

    def partial(self) -> list[tuple[Tile, bytes]]:
        """Return the partial tiles of the tree as it is."""
        size = self.frontier.size
        return [
            (Tile(level, (size >> HEIGHT * level) // WIDTH, len(hashes)), b"".join(hashes))
            for level, hashes in enumerate(self._partial)
            if hashes
        ]
