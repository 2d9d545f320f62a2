"""A stock of places or bytes that many senders take from, of which nobody may hold more than is left.

That rule (dynamic thresholds: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998) needs no list of who
is honest and leaves room for the next sender whatever the others do: one sender alone can take a half, n of them
together n / (n + 1) of all.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from curiosity.host.port.address import Sender


def keys_of(sender: Sender) -> tuple[str, str]:
    """Return under which keys a sender's holdings are counted."""
    return sender.network, sender.address


class Shares:
    """A stock of ``total`` units; 0 means no limit. With ``is_fair`` False only the total counts."""

    def __init__(self, total: int, *, is_fair: bool = True) -> None:
        self.total = total
        self.used = 0
        self.peak = 0  # the most that was ever held at a time
        self._is_fair = is_fair
        self._held: Counter[str] = Counter()

    def may_take(self, keys: Sequence[str], amount: int) -> bool:
        """Return True if there is room, and each key would hold no more than is left.

        A key's first piece only needs room.
        """
        if not self.total:
            return True
        left = self.total - self.used
        if amount > left:
            return False
        return not self._is_fair or all(not self._held[key] or self._held[key] + amount <= left for key in keys)

    def take(self, keys: Sequence[str], amount: int) -> None:
        """Take so much, whether it may be or not."""
        self.used += amount
        self.peak = max(self.peak, self.used)
        for key in keys:
            self._held[key] += amount

    def give(self, keys: Sequence[str], amount: int) -> None:
        """Give back what was taken under these keys."""
        self.used -= amount
        for key in keys:
            self._held[key] -= amount
            if self._held[key] <= 0:
                del self._held[key]

    @contextmanager
    def holding(self, keys: Sequence[str], amount: int) -> Iterator[None]:
        """Hold so much within a block."""
        self.take(keys, amount)
        try:
            yield
        finally:
            self.give(keys, amount)
