"""Who holds the connections, and which one is given up when there is no room for another.

When all are taken, the network that holds most of them gives one up, and of its addresses the one that holds most:

1. of those that are idle, the one that was asked something longest ago;
2. else one that has not asked anything yet, or sends a head;
3. else one whose body or answer is not through, if its network holds an eighth of all and more than the newcomer's
   would.

A request that is whole and being answered is never given up. So whoever takes all connections makes room out of his
own.
"""

from collections import Counter
from collections.abc import Hashable, Iterator
from enum import IntEnum
from typing import Generic, Protocol, TypeVar

from curiosity.host.port.address import Sender

_LARGE_SHARE = 8  # a network that holds one in so many connections is large


class ConnectionStage(IntEnum):
    """What a connection does; the lower, the less is lost with it."""

    IDLE = 0  # has been answered and asks nothing
    ASKING = 1  # has asked nothing yet, or sends a head
    MOVING = 2  # its body is not whole, or its answer not fetched
    ANSWERING = 3  # its request is whole


class CrowdMember(Protocol, Hashable):
    """An open connection, as the choice sees it."""

    @property
    def sender(self) -> Sender:
        """Who is at the other end."""

    @property
    def stage(self) -> ConnectionStage:
        """What it does now."""

    @property
    def asked_at(self) -> float:
        """When its last head began, or when it was made; in seconds of any clock."""


M = TypeVar("M", bound=CrowdMember)


class Crowd(Generic[M]):
    """The open connections, counted by address and by network."""

    def __init__(self) -> None:
        self._members: set[M] = set()
        self._by_address: Counter[str] = Counter()
        self._by_network: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[M]:
        return iter(tuple(self._members))

    def of_address(self, sender: Sender) -> int:
        """Return how many connections the sender's address holds."""
        return self._by_address[sender.address]

    def add(self, member: M) -> None:
        """Count a connection."""
        self._members.add(member)
        self._by_address[member.sender.address] += 1
        self._by_network[member.sender.network] += 1

    def discard(self, member: M) -> None:
        """Forget a connection, if it is counted."""
        if member not in self._members:
            return
        self._members.discard(member)
        for counts, key in ((self._by_address, member.sender.address), (self._by_network, member.sender.network)):
            counts[key] -= 1
            if counts[key] <= 0:
                del counts[key]

    def pick(self, newcomer: Sender) -> M | None:
        """Return the connection to give up for one of this sender's; None if there is none that may be."""
        fair = self._by_network[newcomer.network] + 1
        best: tuple[tuple[int, int, int, float], M] | None = None
        for member in self._members:
            stage = member.stage
            held = self._by_network[member.sender.network]
            if stage is ConnectionStage.ANSWERING:
                continue
            if stage is ConnectionStage.MOVING and (held <= fair or held * _LARGE_SHARE < len(self._members)):
                continue
            rank = (-held, int(stage), -self._by_address[member.sender.address], member.asked_at)
            if best is None or rank < best[0]:
                best = (rank, member)
        return best[1] if best is not None else None
