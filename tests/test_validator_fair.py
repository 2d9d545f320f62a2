"""The fair queue and the shares: counted, never timed."""

from collections import Counter

import hypothesis.strategies as st
from hypothesis import given

from curiosity.host.port.shares import Shares
from curiosity.serving.fair import FairQueue

Path = tuple[str, str, str]


def serve(queue: "FairQueue[tuple[Path, int]]", count: int) -> list[Path]:
    """Take items one after another, as one worker does; return whose they were."""
    served = []
    for _ in range(count):
        taken = queue.take()
        served.append(taken.item[0])
        queue.settle(taken, taken.item[1])
    return served


def flood(queue: "FairQueue[tuple[Path, int]]", path: Path, count: int, cost: int) -> None:
    for _ in range(count):
        queue.put(path, (path, cost))


EVE, ALICE, BOB = ("n1", "a1", "eve"), ("n2", "a2", "alice"), ("n3", "a3", "bob")


def test_forty_expensive_items_delay_another_sender_by_one() -> None:
    for is_fair, place in ((False, 40), (True, 1)):
        queue: FairQueue[tuple[Path, int]] = FairQueue(is_fair=is_fair)
        flood(queue, EVE, 40, 2_000_000)
        running = queue.take()
        flood(queue, ALICE, 1, 1_000)
        queue.settle(running, running.item[1])
        assert [running.item[0], *serve(queue, 40)].index(ALICE) == place


def test_many_wallets_of_one_address_share_what_one_address_gets() -> None:
    queue: FairQueue[tuple[Path, int]] = FairQueue()
    for n in range(50):
        flood(queue, ("n1", "a1", f"eve{n}"), 10, 100)
    flood(queue, ALICE, 20, 100)
    assert Counter(path[1] for path in serve(queue, 40)) == {"a1": 20, "a2": 20}


def test_many_addresses_of_one_network_share_what_one_network_gets() -> None:
    queue: FairQueue[tuple[Path, int]] = FairQueue()
    for n in range(50):
        flood(queue, ("n1", f"a{n}", f"eve{n}"), 10, 100)
    flood(queue, ALICE, 20, 100)
    assert Counter(path[0] for path in serve(queue, 40)) == {"n1": 20, "n2": 20}


def test_cheap_items_get_as_much_cost_as_expensive_ones() -> None:
    queue: FairQueue[tuple[Path, int]] = FairQueue()
    flood(queue, EVE, 100, 1_000)
    flood(queue, ALICE, 1_000, 100)
    served = Counter(serve(queue, 550))
    assert abs(served[EVE] - 50) <= 1
    assert abs(served[ALICE] - 500) <= 1


def test_who_was_idle_gains_nothing_by_it() -> None:
    queue: FairQueue[tuple[Path, int]] = FairQueue()
    flood(queue, EVE, 200, 100)
    serve(queue, 50)
    flood(queue, ALICE, 100, 100)
    assert Counter(serve(queue, 40)) == {EVE: 20, ALICE: 20}


@given(st.lists(st.tuples(st.sampled_from([EVE, ALICE, BOB]), st.integers(1, 1_000)), max_size=60), st.integers(1, 4))
def test_everything_comes_out_once_and_nobody_falls_behind(items: list[tuple[Path, int]], workers: int) -> None:
    queue: FairQueue[tuple[Path, int]] = FairQueue()
    for path, cost in items:
        queue.put(path, (path, cost))
    left, out, spent, running = Counter(path for path, _ in items), [], Counter[Path](), []
    while len(queue):
        taken = queue.take()
        out.append(taken.item)
        left[taken.item[0]] -= 1
        running.append(taken)
        if len(running) == workers:
            done = running.pop(0)
            queue.settle(done, done.item[1])
            spent[done.item[0]] += done.item[1]
            behind = min((spent[path] for path in left if left[path] > 0), default=spent.total())
            # Nobody is ahead of who still waits by more than what was on its way.
            assert all(spent[path] - behind <= 1_000 * (workers + 1) for path in spent)
    for done in running:
        queue.settle(done, done.item[1])
    assert Counter(out) == Counter(items)
    assert not queue._root.children


def test_keys_that_are_done_are_forgotten() -> None:
    queue: FairQueue[tuple[Path, int]] = FairQueue()
    flood(queue, ALICE, 3_000, 10)
    for n in range(2_000):
        flood(queue, (f"n{n}", "a", "c"), 1, 10)
        serve(queue, 2)
    assert len(queue._root.children) < 20


@given(st.integers(1, 8))
def test_of_a_stock_there_is_always_something_left_for_a_newcomer(attackers: int) -> None:
    for is_fair in (False, True):
        stock = Shares(1_000, is_fair=is_fair)
        moved = True
        while moved:
            moved = False
            for n in range(attackers):
                if stock.may_take((f"n{n}", f"a{n}"), 10):
                    stock.take((f"n{n}", f"a{n}"), 10)
                    moved = True
        assert stock.may_take(("honest", "honest"), 10) is is_fair
        assert stock.peak <= 1_000


def test_what_is_given_back_may_be_taken_again() -> None:
    stock = Shares(10)
    with stock.holding(("n", "a"), 5):
        assert not stock.may_take(("n", "a"), 1)
        assert stock.may_take(("n", "b2"), 5) is False  # the same network
        assert stock.may_take(("m", "c"), 5)
    assert stock.used == 0
    assert stock.may_take(("n", "a"), 5)
