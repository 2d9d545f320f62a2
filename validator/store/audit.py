"""Every leaf and tile hashed again, and compared with what is stored and what was signed."""

from collections.abc import Callable, Sequence

from curiosity.protocol.merkle import leaf_hash
from validator.store.head import KeptHead
from validator.store.store import Store
from validator.store.tree import Edge, FullTile, split

_PAGE = 4096  # leaves held at a time


def first_damage(
    store: Store, kept: KeptHead, size: int, root: bytes, progress: Callable[[int, int], None] | None = None
) -> tuple[int, str] | None:
    """Return the first bad index among ``size`` entries that should have this root, and what is wrong with it.

    A leaf that disagrees with its hash in a tile is bad itself. Where all agree on another root than the signed
    one, the leaf hashes kept outside the database tell which leaf was rewritten; they accuse nobody on their own.
    """
    edge = Edge()
    rewritten: tuple[int, str] | None = None
    for start in range(0, size, _PAGE):
        count = min(_PAGE, size - start)
        found = store.indexed_leaves(start, count)
        # Up to the first gap.
        hashes = [leaf_hash(leaf) for index, (stored, leaf) in enumerate(found, start) if index == stored]
        if rewritten is None:
            signed = kept.hashes(start, len(hashes))
            if signed != hashes[: len(signed)]:
                at = next(at for at, hash_ in enumerate(signed) if hash_ != hashes[at])
                rewritten = start + at, f"the leaf hashes to {hashes[at].hex()}, signed was {signed[at].hex()}"
        damaged = _damaged_tiles(store, edge.append(hashes))
        if damaged:
            return min(damaged)
        if len(hashes) < count:
            return start + len(hashes), "the entry is missing"
        if progress is not None:
            progress(start + count, size)
    if edge.root() != root:
        return rewritten or (0, f"all hashes agree, but on root {edge.root().hex()}, signed was {root.hex()}")
    return None


def _damaged_tiles(store: Store, made: Sequence[FullTile]) -> list[tuple[int, str]]:
    """Return (first leaf below, what is wrong) of each stored tile that is not as computed."""
    damaged: list[tuple[int, str]] = []
    for level in sorted({tile.level for tile in made}):
        tiles = [tile for tile in made if tile.level == level]
        stored = store.tiles(level, tiles[0].position, len(tiles))
        damaged += [_difference(tile, stored.get(tile.position)) for tile in tiles if stored.get(tile.position) != tile]
    return damaged


def _difference(expected: FullTile, stored: FullTile | None) -> tuple[int, str]:
    """Return the first leaf below what differs, and how."""
    place = f"the tile of level {expected.level} at {expected.position}"
    if stored is None:
        return expected.first_leaf, f"{place} is missing"
    hashes = zip(split(expected.hashes), split(stored.hashes), strict=False)
    for number, (computed, found) in enumerate(hashes):
        if computed != found:
            index = expected.leaf_below(number)
            return index, f"hash {number} of {place} is {found.hex()}, computed is {computed.hex()}"
    return expected.first_leaf, f"{place} has other hashes above it than its own lead to"
