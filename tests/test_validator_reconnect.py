"""A PostgreSQL that ends connections, restarts, or lets somebody else write: go on, or end the process."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pgserver._commands import pg_ctl  # type: ignore[attr-defined]
from sqlalchemy import make_url, text

from curiosity.client.client import ValidatorClient
from curiosity.protocol.errors import CuriosityError, ExitCode, StoreError
from tests.material.ledger import Opened, make_entries, open_ledger, tamper
from tests.material.service import pictures, running
from tests.material.up import PATIENCE_S, environment
from validator.store import Store, claim

_LOCK = claim._LEDGER_LOCK


def end_connections(url: str) -> None:
    """End every connection to the database but this one."""
    with tamper(url) as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


@contextmanager
def somebody_else(url: str) -> Iterator[None]:
    """Another session holds the claim to the ledger."""
    parsed = make_url(url)
    host = str(parsed.query["host"])
    with psycopg.connect(host=host, user="postgres", dbname=parsed.database, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        yield


def is_claimed_by_the_writer(opened: Opened, url: str) -> bool:
    """Whether the session that writes is the one that holds the lock."""
    pid = opened.store._database._connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    opened.store._database._connection.rollback()
    with tamper(url) as connection:
        holders = (
            connection.execute(
                text(
                    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND database = "
                    "(SELECT oid FROM pg_database WHERE datname = current_database())"
                )
            )
            .scalars()
            .all()
        )
    return list(holders) == [pid]


@contextmanager
def refused(code: str) -> Iterator[None]:
    with pytest.raises(StoreError) as caught:
        yield
    assert caught.value.code == code


@pytest.fixture(autouse=True)
def short_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "CLAIM_TIMEOUT_S", 1.0)


def test_an_ended_idle_connection_is_replaced_under_the_claim(postgres_url: str, tmp_path: Path) -> None:
    with open_ledger(postgres_url, tmp_path / "head") as opened:
        receipts = opened.ledger.append(make_entries(0, 3))
        for start, write in ((3, False), (5, True)):
            end_connections(postgres_url)
            if write:  # any write connects again, not only the ledger's
                opened.store.meta_set("name", "value")
                assert is_claimed_by_the_writer(opened, postgres_url)
            receipts += opened.ledger.append(make_entries(start, start + 2))
            assert is_claimed_by_the_writer(opened, postgres_url)
            with Store.open(postgres_url) as other, refused("LEDGER_IN_USE"):
                other.claim_ledger()
        opened.ledger.verify()
    with open_ledger(postgres_url, tmp_path / "head") as opened:
        assert opened.ledger.append(make_entries(0, 7)) == receipts


def test_a_restarted_server_stops_nothing(own_server: tuple[Any, str], tmp_path: Path) -> None:
    server, url = own_server
    with open_ledger(url, tmp_path / "head") as opened:
        receipts = opened.ledger.append(make_entries(0, 3))
        pg_ctl(["-m", "fast", "-w", "stop"], pgdata=server.pgdata, user=server.system_user)
        for _ in range(2):
            with refused("STORE_UNREACHABLE"):
                opened.ledger.append(make_entries(3, 4))
        assert not opened.ledger.is_stopped
        server.ensure_postgres_running()
        receipts += opened.ledger.append(make_entries(3, 5))
        assert is_claimed_by_the_writer(opened, url)
        assert opened.ledger.append(make_entries(0, 5)) == receipts
        opened.ledger.verify()


def test_another_writer_stops_the_ledger(postgres_url: str, tmp_path: Path) -> None:
    with open_ledger(postgres_url, tmp_path / "head") as opened:
        opened.ledger.append(make_entries(0, 3))
        end_connections(postgres_url)
        with somebody_else(postgres_url):
            with refused("LEDGER_IN_USE"):
                opened.store.meta_set("name", "value")
            with refused("LEDGER_IN_USE"):
                opened.ledger.append(make_entries(3, 4))
        assert opened.ledger.is_stopped
        with refused("LEDGER_STOPPED"):
            opened.ledger.append(make_entries(3, 4))


def test_another_head_stops_the_ledger(postgres_url: str, tmp_path: Path) -> None:
    with open_ledger(postgres_url, tmp_path / "head") as opened:
        opened.ledger.append(make_entries(0, 3))
        end_connections(postgres_url)
        with open_ledger(postgres_url, tmp_path / "head") as other:
            other.ledger.append(make_entries(3, 4))
        with refused("LEDGER_DIFFERENT"):
            opened.ledger.append(make_entries(4, 5))
        assert opened.ledger.is_stopped


@pytest.mark.parametrize("when", ["IMMEDIATE", "DEFERRED"])
def test_a_connection_ended_in_a_commit_stops_the_ledger(postgres_url: str, tmp_path: Path, when: str) -> None:
    """A trigger ends the session that writes: at the row, or in the commit itself."""
    with open_ledger(postgres_url, tmp_path / "head") as opened:
        receipts = opened.ledger.append(make_entries(0, 3))
        with tamper(postgres_url) as connection:
            connection.execute(
                text(
                    "CREATE FUNCTION ended() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                    " PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60); RETURN NULL; END $$"
                )
            )
            connection.execute(
                text(
                    "CREATE CONSTRAINT TRIGGER ended AFTER INSERT ON pairs DEFERRABLE INITIALLY "
                    f"{when} FOR EACH ROW EXECUTE FUNCTION ended()"
                )
            )
        stopped: list[BaseException] = []
        opened.ledger.on_stop = stopped.append
        with refused("STORE_UNREACHABLE"):
            opened.ledger.append(make_entries(3, 5))
        assert len(stopped) == 1
        with refused("LEDGER_STOPPED"):
            opened.ledger.append(make_entries(3, 5))
    with tamper(postgres_url) as connection:
        connection.execute(text("DROP TRIGGER ended ON pairs"))
    with open_ledger(postgres_url, tmp_path / "head") as opened:
        assert opened.ledger.append(make_entries(0, 5))[:3] == receipts
        opened.ledger.verify()
        assert os.path.getsize(tmp_path / "head.leaves") == opened.ledger.size * 32


async def test_a_service_takes_pairs_after_a_restart(own_server: tuple[Any, str], tmp_path: Path) -> None:
    server, url = own_server
    async with running(tmp_path / "v", store_url=url) as live:
        one, two = (live.sign(pair) for pair in pictures(2))
        first = await live.client.post_pair(one.encode())
        pg_ctl(["-m", "fast", "-w", "stop"], pgdata=server.pgdata, user=server.system_user)
        async with ValidatorClient(live.url, patience_s=0.0) as impatient:
            with pytest.raises(CuriosityError) as caught:
                await impatient.post_pair(two.encode())
        assert caught.value.code == "STORE_UNREACHABLE"
        server.ensure_postgres_running()
        assert (await live.client.post_pair(two.encode())).receipt
        assert (await live.client.post_pair(one.encode())).receipt == first.receipt
        assert not live.service.batches.failed.is_set()


async def test_a_stopped_ledger_ends_the_process(postgres_url: str, tmp_path: Path) -> None:
    """Somebody else took the claim: the process says so in one line, with its status."""
    async with running(tmp_path / "v", store_url=postgres_url) as live:
        body = live.sign(pictures(1)[0]).encode()
    config, ready = tmp_path / "v.toml", tmp_path / "ready"
    config.write_text(
        f'[validator]\ndata_dir = "{tmp_path / "v"}"\nport = 0\ndecode_workers = 1\ngenesis = "tiny"\n'
        f'store_url = "{postgres_url}"\n'
    )
    command = [sys.executable, "-m", "validator", "run", "--config", str(config), "--ready-file", str(ready)]
    process = await asyncio.create_subprocess_exec(*command, env=environment(), stderr=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not ready.exists() and process.returncode is None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            url = json.loads(ready.read_bytes())["url"]
            end_connections(postgres_url)
            with somebody_else(postgres_url):
                async with ValidatorClient(url, patience_s=0.0) as client:
                    with pytest.raises(CuriosityError) as caught:
                        await client.post_pair(body)
                _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert caught.value.code == "LEDGER_IN_USE"
    assert process.returncode == ExitCode.STORE
    last = said.decode().strip().splitlines()[-1]
    assert last.startswith("LEDGER_IN_USE: another process writes this ledger")
