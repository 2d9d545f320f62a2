"""Who pays for work, and quotas of it: bytes sent and units of work, of each contributor, address and network.

What work costs is declared (`curiosity.embedding.work`), so a quota is a sum over what was sent. The clock only says
how fast a sum is worked off, that is, when the same bytes may come again; it decides nothing about a pair.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from curiosity.host.port.address import UNKNOWN, Sender
from curiosity.protocol.errors import CuriosityError, Overloaded, Rejected

_HOUR_S = 3600.0
_MAX_TRACKED = 100_000
_MAX_WAIT_S = 600


@dataclass(frozen=True)
class Payer:
    """On whose account something is done: a sender and, of a pair, its contributor; without both the validator's."""

    sender: Sender = UNKNOWN
    contributor: str = ""

    @property
    def path(self) -> tuple[str, str, str]:
        """Where it stands in a fair queue."""
        return self.sender.network, self.sender.address, self.contributor

    @property
    def is_own(self) -> bool:
        """True of what the validator does for itself, which no quota holds back."""
        return self == OWN


OWN = Payer()


class HourlyMeter:
    """Sums by key that are worked off at a limit an hour; 0 means no limit. Remembers the 100,000 latest keys."""

    def __init__(self, per_hour: int, clock: Callable[[], float]) -> None:
        self.per_hour = per_hour
        self._clock = clock
        self._sums: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def sum(self, key: str) -> float:
        """Return what a key has not worked off yet."""
        before, then = self._sums.get(key, (0.0, 0.0))
        return max(0.0, before - (self._clock() - then) * self.per_hour / _HOUR_S)

    def charge(self, key: str, amount: int) -> None:
        """Add to a key's sum."""
        if not self.per_hour:
            return
        self._sums[key] = (self.sum(key) + amount, self._clock())
        self._sums.move_to_end(key)
        if len(self._sums) > _MAX_TRACKED:
            self._sums.popitem(last=False)

    def wait_s(self, key: str, margin: int = 0) -> int:
        """Return 0 if the key's sum is within the limit and a margin, else the seconds until it is."""
        if not self.per_hour:
            return 0
        over = self.sum(key) - self.per_hour - margin
        return 0 if over < 0 else min(_MAX_WAIT_S, 1 + int(over * _HOUR_S / self.per_hour))


@dataclass(frozen=True)
class QuotaLimits:
    """What a contributor may send in an hour, and how many times that an address and a network; 0 means no limit."""

    bytes_per_hour: int = 0
    work_per_hour: int = 0
    address_share: int = 0
    network_share: int = 0
    work_margin: int = 0  # so far over the limit what was admitted within it is still done: the other half of a pair


class Quotas:
    """The sums of all senders. Used from one event loop."""

    def __init__(self, limits: QuotaLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._margin = limits.work_margin
        shares = {"contributor": 1, "address": limits.address_share, "network": limits.network_share}
        self._bytes = {kind: HourlyMeter(limits.bytes_per_hour * share, clock) for kind, share in shares.items()}
        self._work = {kind: HourlyMeter(limits.work_per_hour * share, clock) for kind, share in shares.items()}

    def check(self, payer: Payer) -> None:
        """Check that no sum of this payer's is over its limit.

        Raises:
            Rejected: QUOTA_EXCEEDED (429).
        """
        _check(payer, self._bytes, "bytes", 0)
        _check(payer, self._work, "units of work", 0)

    def check_waiting(self, payer: Payer) -> None:
        """Check the limit of work, with a margin, for what was admitted and waits.

        How many bytes it brought is not asked.

        Raises:
            Rejected: QUOTA_EXCEEDED (429).
        """
        _check(payer, self._work, "units of work", self._margin)

    def spent(self, payer: Payer) -> dict[str, tuple[float, float]]:
        """Return the bytes and the units that are not worked off, by kind of quota."""
        return {kind: (self._bytes[kind].sum(key), self._work[kind].sum(key)) for kind, key in _keys(payer)}

    def charge_bytes(self, payer: Payer, amount: int) -> None:
        """Count bytes that were sent."""
        for kind, key in _keys(payer):
            self._bytes[kind].charge(key, amount)

    @contextmanager
    def charging_bytes(self, payer: Payer, amount: int) -> Iterator[None]:
        """Count bytes once a block is over, so that they do not limit the request that brings them.

        What is to come again (429, 503) is not counted: whoever does as he is told would never get through.
        """
        try:
            yield
        except CuriosityError as error:
            if not _comes_again(error):
                self.charge_bytes(payer, amount)
            raise
        self.charge_bytes(payer, amount)

    @contextmanager
    def charging_contributor(self, payer: Payer, amount: int) -> Iterator[None]:
        """Count bytes that a contributor signed, as `charging_bytes` does; that they were sent is counted apart."""
        try:
            yield
        except CuriosityError as error:
            if not _comes_again(error):
                self._bytes["contributor"].charge(payer.contributor, amount)
            raise
        self._bytes["contributor"].charge(payer.contributor, amount)

    def charge_work(self, payer: Payer, units: int) -> None:
        """Count units of work that were done."""
        for kind, key in _keys(payer):
            self._work[kind].charge(key, units)


def _check(payer: Payer, meters: Mapping[str, HourlyMeter], unit: str, margin: int) -> None:
    for kind, key in _keys(payer):
        meter = meters[kind]
        wait_s = meter.wait_s(key, margin)
        if wait_s:
            raise Rejected(
                "QUOTA_EXCEEDED",
                f"the {kind} {key} has sent {meter.sum(key):.0f} {unit}, {meter.per_hour} an hour are taken",
                f"Send the next one in {wait_s} s.",
                status=429,
                retry_after_s=wait_s,
            )


def _comes_again(error: CuriosityError) -> bool:
    return isinstance(error, Rejected | Overloaded) and error.retry_after_s > 0


def _keys(payer: Payer) -> Iterator[tuple[str, str]]:
    if payer.is_own:
        return
    if payer.contributor:
        yield "contributor", payer.contributor
    yield "address", payer.sender.address
    yield "network", payer.sender.network
