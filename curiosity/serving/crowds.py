"""How often an item was in a pair before: the counts that an entry's `curiosity.protocol.verdict.CrowdCounts` hold."""

from collections import Counter

from curiosity.protocol.scoring import Quantised
from curiosity.protocol.verdict import MAX_CROWD, CrowdCounts
from curiosity.serving.paid import PaidContents


class Crowds:
    """Counts of the accepted, novel pairs that hold an item, by the item's SHA-256. Used by one thread at a time.

    Copies are found by their exact bytes. Pairs that were paid and taken down count on (``paid``), and a near copy of
    one has the largest count there is.
    """

    def __init__(self) -> None:
        self.paid: PaidContents | None = None
        self._pairs: Counter[bytes] = Counter()  # by item
        self._held: dict[int, tuple[bytes, bytes]] = {}  # by ledger index

    def count(self, contents: tuple[bytes, bytes], point: Quantised) -> CrowdCounts:
        """Return how many earlier pairs share an item with these two, whose joint point int16[2d] is ``point``."""
        if self.paid is None:
            a, b = (self._pairs[one] for one in contents)
            return CrowdCounts.rounded(a, b, 0)
        a, b = (self._pairs[one] + self.paid.count(one) for one in contents)
        return CrowdCounts.rounded(a, b, MAX_CROWD if self.paid.is_near(point) else 0)

    def join(self, entry: int, contents: tuple[bytes, bytes]) -> None:
        """Count the pair of ledger index ``entry`` from now on."""
        if entry not in self._held:
            self._held[entry] = contents
            self._pairs.update(set(contents))

    def leave(self, entry: int) -> None:
        """Count the pair of ledger index ``entry`` no more."""
        self._pairs -= Counter(set(self._held.pop(entry, ())))
