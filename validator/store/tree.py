"""Which complete subtrees make up a tree or a proof: pure index arithmetic over RFC 6962 trees.

A node ``(level, position)`` is the complete subtree of the ``1 << level`` leaves from ``position << level`` on. Every
hash of every proof is a fold of at most log2(n) such nodes, so that proofs need O(log n) reads and no leaf.
"""

from collections.abc import Sequence

from protocol.merkle import Frontier, node_hash
from validator.store.rows import Node

Place = tuple[int, int]  # level, position
Span = tuple[int, int]  # leaves from the first up to, without, the second


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


def grow(frontier: Frontier, leaf_hashes: Sequence[bytes]) -> list[Node]:
    """Append leaf hashes to the frontier and return every node that this completes, leaves included."""
    made: list[Node] = []
    for hash_ in leaf_hashes:
        index = frontier.size
        pending = list(frontier.nodes)
        made.append(Node(0, index, hash_))
        level = 0
        while (index >> level) & 1:
            level += 1
            hash_ = node_hash(pending.pop(), hash_)
            made.append(Node(level, index >> level, hash_))
        pending.append(hash_)
        frontier.nodes = pending
        frontier.size = index + 1
    return made


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
