"""Processes killed at random moments under load, servers stopped and killed, clocks that jump."""

import os
import random
import signal
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pgserver._commands import pg_ctl  # type: ignore[attr-defined]

from curiosity.protocol.errors import StoreError
from curiosity.protocol.receipt import Receipt, verify_receipt
from tests.material.ledger import LOG, NOW, ORIGIN, RECEIPT_VKEY, RECEIPTS, make_entries, open_ledger
from tests.material.ledger_worker import Worker, check_promises, worker
from validator.ledger import Ledger
from validator.store import Store

# SIGKILL


def kill_rounds(process: Worker, url: str, head: Path, rounds: int, seed: int) -> dict[int, Receipt]:
    """Kill and restart; return what was promised. Each process begins where a contributor would resume."""
    chance = random.Random(seed)
    promised: dict[int, Receipt] = {}
    number = 0
    for count in range(rounds):
        new, stopped = process.append(url, head, number, kill_after_s=chance.uniform(0, 0.12))
        assert stopped == ""
        assert set(new) == set(range(number, number + len(new)))
        number += len(new)
        promised |= new
        with open_ledger(url, head) as opened:
            check_promises(opened, new)
            # The last batch may be durable without a promise; sent again, each pair is there once all the same.
            assert opened.ledger.size - number in range(9)
            resumed = opened.ledger.append(make_entries(number, number + 9))
            assert [receipt.index for receipt in resumed] == list(range(number, number + 9))
            promised |= dict(enumerate(resumed, number))
            number += 9
            if count % 50 == 49:
                opened.ledger.verify()
    with open_ledger(url, head) as opened:
        opened.ledger.verify()
        check_promises(opened, promised)
        pairs = [row.pair for row in opened.store.submissions(0, 1_000_000)]
        assert len(set(pairs)) == len(pairs) == opened.ledger.size
    return promised


def test_no_promise_is_lost_by_kill_nine(store_url: str, tmp_path: Path) -> None:
    with worker() as process:
        assert len(kill_rounds(process, store_url, tmp_path / "head", rounds=4, seed=1)) > 40


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_no_promise_is_lost_by_a_thousand_kills(
    seed: int, store_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds = 100 if store_url.startswith("sqlite") else 10
    with worker() as process:
        promised = kill_rounds(process, store_url, tmp_path / "head", rounds, 100 + seed)
    with capsys.disabled():
        print(f"\n{rounds} kills, {len(promised)} promises, 0 lost")


# PostgreSQL stopped and killed


def stop_rounds(server: Any, url: str, head: Path, ways: list[str]) -> int:
    """Append while the server is stopped in each way, start it again, look; return how many pairs were promised."""
    promised: dict[int, Receipt] = {}
    chance = random.Random(9)
    for way in ways:
        with open_ledger(url, head) as opened:
            check_promises(opened, {n: r for n, r in promised.items() if n > len(promised) - 50})
            stopping = threading.Timer(chance.uniform(0.1, 0.6), stop, [server, way])
            stopping.start()
            error = append_until_refused(opened.ledger, promised)
            assert error.code == "STORE_UNREACHABLE"
            stopping.join()
            with pytest.raises(StoreError, match=r"LEDGER_STOPPED|STORE_UNREACHABLE"):
                opened.ledger.append(make_entries(len(promised), len(promised) + 1))
        server.ensure_postgres_running()
    with open_ledger(url, head) as opened:
        opened.ledger.verify()
        check_promises(opened, promised)
    return len(promised)


def append_until_refused(ledger: Ledger, promised: dict[int, Receipt]) -> StoreError:
    """Append three pairs at a time; return the error that ended it."""
    while True:
        number = len(promised)
        try:
            receipts = ledger.append(make_entries(number, number + 3))
        except StoreError as error:
            return error
        promised |= dict(enumerate(receipts, number))


def stop(server: Any, way: str) -> None:
    """Stop the server: in an orderly way, at once, or by killing it and all its processes."""
    if way == "kill":
        pid = server.get_pid()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for process in [pid, *map(int, children)]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        # Where nobody collects dead processes the server would look alive.
        for file in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (server.pgdata / file).unlink(missing_ok=True)
    else:
        pg_ctl(["-m", way, "-w", "stop"], pgdata=server.pgdata, user=server.system_user)


def test_a_stopped_postgresql_loses_no_promise(own_server: tuple[Any, str], tmp_path: Path) -> None:
    assert stop_rounds(*own_server, tmp_path / "head", ["kill"]) > 5


@pytest.mark.slow
def test_nine_stops_of_postgresql_lose_no_promise(
    own_server: tuple[Any, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = stop_rounds(*own_server, tmp_path / "head", ["fast", "immediate", "kill"] * 3)
    with capsys.disabled():
        print(f"\n9 stops of PostgreSQL, {count} promises, 0 lost")


# Clocks


def test_a_clock_that_jumps_changes_nothing_but_times(store_url: str, tmp_path: Path) -> None:
    """Two hours back and twenty years ahead: order, indices, roots and replays are as they would have been."""
    clock = [NOW, NOW - 2 * 3600, NOW + 20 * 365 * 86_400, NOW]
    times = []
    receipts: list[Receipt] = []
    for now in clock:
        with Store.open(store_url) as store:
            ledger = Ledger(
                store,
                origin=ORIGIN,
                log_signer=LOG,
                receipt_signer=RECEIPTS,
                head_path=tmp_path / "head",
                clock=partial(int, now),
            )
            number = len(receipts)
            receipts += ledger.append(make_entries(number, number + 5))
            assert ledger.append(make_entries(0, number + 5)) == receipts
            times += [verify_receipt(receipt, ORIGIN, RECEIPT_VKEY).issued_at for receipt in receipts[number:]]
    assert times == [now for now in clock for _ in range(5)]
    assert [receipt.index for receipt in receipts] == list(range(20))
    with open_ledger(store_url, tmp_path / "head") as opened:
        opened.ledger.verify()
        steady = opened.ledger.root()
    with open_ledger(f"sqlite:///{tmp_path}/steady.db", tmp_path / "steady") as opened:
        opened.ledger.append(make_entries(0, 20))
        assert opened.ledger.root() == steady
