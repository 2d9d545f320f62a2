"""How often an item was in a pair before: the counts that an entry's `curiosity.protocol.verdict.CrowdCounts` hold."""

from collections import Counter

from curiosity.protocol.verdict import CrowdCounts


class Crowds:
    """Counts of the accepted, novel pairs that hold an item, by the item's SHA-256. Used by one thread at a time.

    Copies are found by their exact bytes.
    """

    def __init__(self) -> None:
        self._pairs: Counter[bytes] = Counter()  # by item
        self._held: dict[int, tuple[bytes, bytes]] = {}  # by ledger index

    def count(self, contents: tuple[bytes, bytes]) -> CrowdCounts:
        """Return how many earlier pairs share an item with these two."""
        a, b = contents
        return CrowdCounts.rounded(self._pairs[a], self._pairs[b], 0)

    def join(self, entry: int, contents: tuple[bytes, bytes]) -> None:
        """Count the pair of ledger index ``entry`` from now on."""
        if entry not in self._held:
            self._held[entry] = contents
            self._pairs.update(set(contents))

    def leave(self, entry: int) -> None:
        """Count the pair of ledger index ``entry`` no more."""
        self._pairs -= Counter(set(self._held.pop(entry, ())))
