"""RFC 6962 Merkle trees: hashing, inclusion proofs, consistency proofs. SHA-256, hashes as 32 bytes, leaves as data.

Section numbers refer to RFC 6962; the verifying algorithms are those of RFC 9162 sections 2.1.3.2 and 2.1.4.2, which
describe the same trees.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from curiosity.protocol.errors import ProofError

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Return ``SHA-256(0x00 || leaf)`` (section 2.1)."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return ``SHA-256(0x01 || left || right)`` (section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True)
class SubtreeRun:
    """Hashes of consecutive complete subtrees of ``1 << level`` leaves each; the first is the ``first``-th of them.

    The subtree at position p of a level holds the leaves from ``p << level`` on. Level 0 are the leaf hashes.
    """

    level: int
    first: int
    hashes: list[bytes] = field(repr=False)


class Frontier:
    """An append-only tree's right edge, or compact range: grows by leaf hashes, knows its root, in O(log n) memory.

    Holds the roots of the complete subtrees that make up the tree, widest first, as the binary digits of its size.
    """

    def __init__(self, size: int = 0, nodes: Sequence[bytes] = ()) -> None:
        if len(nodes) != size.bit_count():
            raise ValueError(f"a tree of size {size} has {size.bit_count()} complete subtrees, got {len(nodes)}")
        self.size = size
        self.nodes = list(nodes)

    def append(self, hash_: bytes) -> None:
        """Add one leaf hash."""
        size = self.size
        while size & 1:
            hash_ = sha256(b"\x01" + self.nodes.pop() + hash_).digest()
            size >>= 1
        self.nodes.append(hash_)
        self.size += 1

    def extend(self, hashes: Iterable[bytes]) -> list[SubtreeRun]:
        """Add leaf hashes and return every subtree that they complete, themselves included, from level 0 up.

        What is returned is all that a storage needs to keep: any root, proof or tile of this tree or of an earlier one
        is made of such subtrees (`curiosity.protocol.subtrees`, `curiosity.protocol.tiles`). It hashes a whole level at
        a time, which takes two thirds of the time of as many `append`s.
        """
        runs: list[SubtreeRun] = []
        edge: list[bytes] = []  # narrowest first
        row = list(hashes)
        added, level = len(row), 0
        while row:
            position = self.size >> level
            runs.append(SubtreeRun(level, position, row))
            if position & 1:
                row = [self.nodes.pop(), *row]
            if len(row) & 1:
                edge.append(row[-1])
            pairs = iter(row)
            row = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
            level += 1
        self.nodes += reversed(edge)
        self.size += added
        return runs

    def copy(self) -> "Frontier":
        """Return an independent copy."""
        return Frontier(self.size, self.nodes)

    def root(self) -> bytes:
        """Return the Merkle tree hash of what was appended; the hash of nothing if it is empty."""
        if not self.nodes:
            return EMPTY_ROOT
        root = self.nodes[-1]
        for node in reversed(self.nodes[:-1]):
            root = node_hash(node, root)
        return root


def _root_of_hashes(hashes: Sequence[bytes]) -> bytes:
    frontier = Frontier()
    frontier.extend(hashes)
    return frontier.root()


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash of ``leaves`` (section 2.1); of no leaves, the hash of the empty string."""
    return _root_of_hashes([leaf_hash(leaf) for leaf in leaves])


def split_point(size: int) -> int:
    """Return where section 2.1 splits a tree of two or more leaves: the largest power of two below ``size``."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_path(index: int, hashes: Sequence[bytes]) -> list[bytes]:
    """Return the audit path of leaf ``index`` from leaf hashes, nearest sibling first (section 2.1.1)."""
    if not 0 <= index < len(hashes):
        raise ProofError(
            "PROOF_INDEX_OUT_OF_RANGE",
            f"leaf {index} is not in a tree of size {len(hashes)}",
            "Ask for an index below the size of the tree.",
        )
    low, high = 0, len(hashes)
    path: list[bytes] = []
    while high - low > 1:
        middle = low + split_point(high - low)
        if index < middle:
            path.append(_root_of_hashes(hashes[middle:high]))
            high = middle
        else:
            path.append(_root_of_hashes(hashes[low:middle]))
            low = middle
    return path[::-1]


def inclusion_proof(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return the audit path of leaf ``index``, nearest sibling first (section 2.1.1).

    Raises:
        ProofError: If there is no such leaf.
    """
    return inclusion_path(index, [leaf_hash(leaf) for leaf in leaves])


def _mismatch(what: str) -> ProofError:
    return ProofError("PROOF_MISMATCH", what)


def _too_long(length: int, what: str) -> ProofError:
    return ProofError("PROOF_TOO_LONG", f"the proof has {length} hashes, more than {what} needs")


def _too_short(length: int, what: str) -> ProofError:
    return ProofError("PROOF_TOO_SHORT", f"the proof has {length} hashes, fewer than {what} needs")


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf is at ``index`` of the tree of ``size`` leaves with this root (RFC 9162 section 2.1.3.2).

    ``size`` and ``root`` are those of a verified tree head, never the prover's word.

    Raises:
        ProofError: PROOF_INDEX_OUT_OF_RANGE, PROOF_MALFORMED for hashes that are not 32 bytes, PROOF_TOO_LONG or
            PROOF_TOO_SHORT if the tree's shape demands another number of them, PROOF_MISMATCH if they lead to another
            root.
    """
    if not 0 <= index < size:
        raise ProofError("PROOF_INDEX_OUT_OF_RANGE", f"leaf {index} is not in a tree of size {size}")
    _check_hashes([leaf_hash, root, *proof])
    node, last, hash_ = index, size - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            raise _too_long(len(proof), f"leaf {index} of {size}")
        if node & 1 or node == last:
            hash_ = node_hash(sibling, hash_)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            hash_ = node_hash(hash_, sibling)
        node >>= 1
        last >>= 1
    if last != 0:
        raise _too_short(len(proof), f"leaf {index} of {size}")
    if hash_ != root:
        raise _mismatch(f"leaf {index} leads to root {hash_.hex()}, not to {root.hex()} of size {size}")


def consistency_path(first: int, hashes: Sequence[bytes]) -> list[bytes]:
    """Return the proof, from leaf hashes, that the first ``first`` leaves are a prefix (section 2.1.2)."""
    if not 0 < first <= len(hashes):
        raise ProofError(
            "PROOF_INDEX_OUT_OF_RANGE",
            f"no consistency proof from size {first} to size {len(hashes)}",
            "Ask for a first size between 1 and the size of the tree.",
        )

    def subproof(m: int, low: int, high: int, whole: bool) -> list[bytes]:
        size = high - low
        if m == size:
            return [] if whole else [_root_of_hashes(hashes[low:high])]
        k = split_point(size)
        if m <= k:
            return [*subproof(m, low, low + k, whole), _root_of_hashes(hashes[low + k : high])]
        return [*subproof(m - k, low + k, high, False), _root_of_hashes(hashes[low : low + k])]

    return subproof(first, 0, len(hashes), True)


def consistency_proof(first: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return the proof that the tree of the first ``first`` leaves is a prefix of this one (section 2.1.2).

    Raises:
        ProofError: If ``first`` is not between 1 and the number of leaves.
    """
    return consistency_path(first, [leaf_hash(leaf) for leaf in leaves])


def verify_consistency(size1: int, size2: int, proof: Sequence[bytes], root1: bytes, root2: bytes) -> None:
    """Check that the tree ``(size1, root1)`` is a prefix of ``(size2, root2)`` (RFC 9162 section 2.1.4.2).

    The empty tree is a prefix of every tree, by an empty proof.

    Raises:
        ProofError: As `verify_inclusion`.
    """
    if not 0 <= size1 <= size2:
        raise ProofError("PROOF_INDEX_OUT_OF_RANGE", f"a tree of size {size1} cannot be a prefix of one of {size2}")
    _check_hashes([root1, root2, *proof])
    if size1 == 0 or size1 == size2:
        if proof:
            raise _too_long(len(proof), f"consistency from {size1} to {size2}")
        if size1 == 0 and root1 != EMPTY_ROOT:
            raise _mismatch(f"root of size 0 is {root1.hex()}, expected {EMPTY_ROOT.hex()}")
        if size1 == size2 and root1 != root2:
            raise _mismatch(f"two roots of size {size1}: {root1.hex()} and {root2.hex()}")
        return
    path = [root1, *proof] if size1 & (size1 - 1) == 0 else list(proof)
    if not path:
        raise _too_short(len(proof), f"consistency from {size1} to {size2}")
    first, second = size1 - 1, size2 - 1
    while first & 1:
        first >>= 1
        second >>= 1
    old = new = path[0]
    for hash_ in path[1:]:
        if second == 0:
            raise _too_long(len(proof), f"consistency from {size1} to {size2}")
        if first & 1 or first == second:
            old, new = node_hash(hash_, old), node_hash(hash_, new)
            while not first & 1 and first:
                first >>= 1
                second >>= 1
        else:
            new = node_hash(new, hash_)
        first >>= 1
        second >>= 1
    if second != 0:
        raise _too_short(len(proof), f"consistency from {size1} to {size2}")
    if old != root1:
        raise _mismatch(f"the proof leads to root {old.hex()} of size {size1}, not to {root1.hex()}")
    if new != root2:
        raise _mismatch(f"the proof leads to root {new.hex()} of size {size2}, not to {root2.hex()}")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    for hash_ in hashes:
        if len(hash_) != 32:
            raise ProofError("PROOF_MALFORMED", f"a hash has {len(hash_)} bytes, expected 32")
