"""Which complete subtrees make up a tree or a proof: index arithmetic over RFC 6962 trees.

A place ``(level, position)`` is the complete subtree of the ``1 << level`` leaves from ``position << level`` on. Every
hash of every proof is a fold of at most log2(n) of them, so that any proof needs O(log n) reads and no leaf. Who keeps
the subtrees (a database, tiles, a dictionary) only has to return the hashes of the places that it is asked for.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256

from curiosity.protocol.errors import ProofError
from curiosity.protocol.merkle import EMPTY_ROOT, node_hash, split_point

Place = tuple[int, int]  # level, position
Span = tuple[int, int]  # leaves from the first up to, without, the second
Read = Callable[[Sequence[Place]], Sequence[bytes]]
"""Returns the hashes of complete subtrees, 32 bytes each, in the order of the places asked for."""


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


def layers(hashes: Sequence[bytes]) -> list[list[bytes]]:
    """Return the hashes of subtrees side by side, then by layers those of the complete pairs of the one below."""
    made = [list(hashes)]
    while len(made[-1]) > 1:
        pairs = iter(made[-1])
        made.append([sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)])
    return made


def inclusion_spans(index: int, size: int) -> list[Span]:
    """Return the spans whose hashes are the audit path of a leaf, nearest sibling first (RFC 6962 section 2.1.1)."""
    low, high = 0, size
    spans: list[Span] = []
    while high - low > 1:
        middle = low + split_point(high - low)
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
        middle = low + split_point(high - low)
        if first <= middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low = middle
            whole = False
    return spans[::-1] if whole else [(low, high), *spans[::-1]]


def hashes_of(read: Read, spans: Sequence[Span]) -> list[bytes]:
    """Return the hashes of spans from one read of the subtrees that make them up."""
    covers = [cover(span) for span in spans]
    hashes = iter(read([place for places in covers for place in places]))
    return [fold([next(hashes) for _ in places]) for places in covers]


def root_from(read: Read, size: int) -> bytes:
    """Return the root of the first ``size`` leaves (RFC 6962 section 2.1)."""
    return hashes_of(read, [(0, size)])[0] if size else EMPTY_ROOT


def inclusion_from(read: Read, index: int, size: int) -> list[bytes]:
    """Return the audit path of a leaf in the tree of ``size`` leaves, nearest sibling first (RFC 6962 section 2.1.1).

    Raises:
        ProofError: PROOF_INDEX_OUT_OF_RANGE if there is no such leaf.
    """
    if not 0 <= index < size:
        raise ProofError(
            "PROOF_INDEX_OUT_OF_RANGE",
            f"leaf {index} is not in a tree of size {size}",
            "Ask for an index below the size of the tree.",
        )
    return hashes_of(read, inclusion_spans(index, size))


def consistency_from(read: Read, first: int, size: int) -> list[bytes]:
    """Return the proof that the first ``first`` of ``size`` leaves are a prefix (RFC 6962 section 2.1.2).

    Empty from no leaf on and between equal sizes.

    Raises:
        ProofError: PROOF_INDEX_OUT_OF_RANGE if first is beyond size.
    """
    if not 0 <= first <= size:
        raise ProofError(
            "PROOF_INDEX_OUT_OF_RANGE",
            f"no consistency proof from size {first} to size {size}",
            "Ask for a first size that is at most the size of the tree.",
        )
    return hashes_of(read, consistency_spans(first, size)) if first else []
