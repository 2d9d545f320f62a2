"""RFC 6962 a second time, from its definitions and by recursion only: what the fast code is compared with.

Shares no line with `protocol`. Refusals are ValueError.
"""

from collections.abc import Sequence
from hashlib import sha256


def hash_leaf(leaf: bytes) -> bytes:
    """MTH({d(0)}) of section 2.1."""
    return sha256(b"\x00" + leaf).digest()


def hash_children(left: bytes, right: bytes) -> bytes:
    """What section 2.1 hashes two subtrees to."""
    return sha256(b"\x01" + left + right).digest()


def largest_power_below(n: int) -> int:
    """The k of section 2.1: a power of two with k < n <= 2k."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


class PlainTree:
    """The tree over leaf hashes; the hash of D[low:high] is kept once it was asked for."""

    def __init__(self, hashes: Sequence[bytes]) -> None:
        self.hashes = hashes
        self._known: dict[tuple[int, int], bytes] = {}

    def root(self, low: int, high: int) -> bytes:
        """MTH(D[low:high]) of section 2.1."""
        if high == low:
            return sha256(b"").digest()
        if high - low == 1:
            return self.hashes[low]
        if (low, high) not in self._known:
            k = largest_power_below(high - low)
            self._known[low, high] = hash_children(self.root(low, low + k), self.root(low + k, high))
        return self._known[low, high]

    def path(self, m: int, low: int, high: int) -> list[bytes]:
        """PATH(m, D[low:high]) of section 2.1.1."""
        n = high - low
        if n == 1:
            return []
        k = largest_power_below(n)
        if m < k:
            return [*self.path(m, low, low + k), self.root(low + k, high)]
        return [*self.path(m - k, low + k, high), self.root(low, low + k)]

    def proof(self, m: int, low: int, high: int, whole: bool = True) -> list[bytes]:
        """SUBPROOF(m, D[low:high], whole) of section 2.1.2; PROOF where it is the whole tree."""
        n = high - low
        if m == n:
            return [] if whole else [self.root(low, high)]
        k = largest_power_below(n)
        if m <= k:
            return [*self.proof(m, low, low + k, whole), self.root(low + k, high)]
        return [*self.proof(m - k, low + k, high, False), self.root(low, low + k)]


def root_of_path(leaf_hash: bytes, m: int, n: int, path: Sequence[bytes]) -> bytes:
    """The root that PATH(m, D[n]) leads to: section 2.1.1 read backwards."""
    if not 0 <= m < n:
        raise ValueError("no such leaf")
    if n == 1:
        if path:
            raise ValueError("too long")
        return leaf_hash
    if not path:
        raise ValueError("too short")
    *below, last = path
    k = largest_power_below(n)
    if m < k:
        return hash_children(root_of_path(leaf_hash, m, k, below), last)
    return hash_children(last, root_of_path(leaf_hash, m - k, n - k, below))


def roots_of_proof(m: int, n: int, proof: Sequence[bytes], old_root: bytes, whole: bool = True) -> tuple[bytes, bytes]:
    """The roots of D[m] and D[n] that SUBPROOF(m, D[n], whole) leads to: section 2.1.2 read backwards."""
    if not 0 < m <= n:
        raise ValueError("no such proof")
    if m == n:
        if whole:
            if proof:
                raise ValueError("too long")
            return old_root, old_root
        if len(proof) != 1:
            raise ValueError("wrong length")
        return proof[0], proof[0]
    if not proof:
        raise ValueError("too short")
    *below, last = proof
    k = largest_power_below(n)
    if m <= k:
        old, new = roots_of_proof(m, k, below, old_root, whole)
        return old, hash_children(new, last)
    old, new = roots_of_proof(m - k, n - k, below, old_root, False)
    return hash_children(last, old), hash_children(last, new)
