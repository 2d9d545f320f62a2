"""A queue that is fair by cost: whoever was given least is next, whatever the others have put in.

It is start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) in levels: among networks, within a network among
its addresses, within an address among its contributors. An item's cost may be known only once it is done; it is charged
then. So a sender who comes new is served as soon as one item of the others is done, and forty wallets of one address
share what one address gets.
"""

import heapq
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class _Node:
    """One key at one level: what waits below it, and up to where it was served, in units of cost."""

    key: Hashable = None
    served: int = 0
    clock: int = 0  # `served` of the child that was taken last, before it was charged
    waiting: int = 0
    running: int = 0
    children: "dict[Hashable, _Node]" = field(default_factory=dict)
    heap: "list[tuple[int, int, _Node]]" = field(default_factory=list)  # children for which something waits
    idle: "list[tuple[int, int, _Node]]" = field(default_factory=list)  # children for which nothing does
    items: deque[object] = field(default_factory=deque)  # of a leaf


@dataclass(frozen=True)
class TakenItem(Generic[T]):
    """An item that was taken, and who has to pay for it."""

    item: T
    path: Sequence[_Node]
    charged: int


class FairQueue(Generic[T]):
    """Items under paths of keys. With ``is_fair`` False it is a plain queue: first come, first served."""

    def __init__(self, *, is_fair: bool = True) -> None:
        self._is_fair = is_fair
        self._root = _Node()
        self._count = 0  # of what was ever compared: older ones first among equals

    def __len__(self) -> int:
        return self._root.waiting

    def put(self, path: Sequence[Hashable], item: T) -> None:
        """Add an item behind those of the same path, which has one length for all items."""
        node = self._root
        node.waiting += 1
        for key in path if self._is_fair else path[:0] or ("",):
            child = node.children.get(key)
            if child is None:
                child = node.children[key] = _Node(key, served=node.clock)
            if child.waiting == 0:
                child.served = max(child.served, node.clock)
                heapq.heappush(node.heap, (child.served, self._number(), child))
            child.waiting += 1
            node = child
        node.items.append(item)

    def take(self, cost: int = 1) -> TakenItem[T]:
        """Return the next item and charge ``cost`` for it; `settle` it when it is done. Something must wait."""
        node, path = self._root, list[_Node]()
        node.waiting -= 1
        node.running += 1
        while node.heap:
            served, number, child = heapq.heappop(node.heap)
            if child.served > served:  # was charged since
                heapq.heappush(node.heap, (child.served, number, child))
                continue
            node.clock = served
            child.served += cost
            child.waiting -= 1
            child.running += 1
            if child.waiting:
                heapq.heappush(node.heap, (child.served, self._number(), child))
            path.append(child)
            self._forget_idle(node)
            node = child
        item: T = node.items.popleft()  # type: ignore[assignment]
        return TakenItem(item, path, cost)

    def settle(self, taken: TakenItem[T], cost: int) -> None:
        """Charge what an item cost in the end, which is no less than what `take` charged."""
        node = self._root
        node.running -= 1
        for child in taken.path:
            child.served += max(0, cost - taken.charged)
            child.running -= 1
            if not child.waiting and not child.running:
                heapq.heappush(node.idle, (child.served, self._number(), child))
            node = child
        if not self._root.waiting and not self._root.running:
            self._root = _Node()  # nobody waits for anybody: all begin anew

    def drain(self) -> Iterator[T]:
        """Take everything out, in order."""
        while self._root.waiting:
            yield self.take().item

    def _forget_idle(self, node: _Node) -> None:
        """Drop children that have nothing to wait for and no more behind them than anybody who comes new."""
        while node.idle and node.idle[0][0] <= node.clock:
            served, _, child = heapq.heappop(node.idle)
            is_gone = not child.waiting and not child.running and child.served == served
            if is_gone and node.children.get(child.key) is child:
                del node.children[child.key]

    def _number(self) -> int:
        self._count += 1
        return self._count
