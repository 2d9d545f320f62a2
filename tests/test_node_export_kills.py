"""Imports that are killed at random moments go on to the same ledger: nothing lost, nothing come back."""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks.fixed_verdict import build_fixed
from curiosity.client.client import ValidatorClient
from curiosity.host.settings.validator import ValidatorConfig
from curiosity.ledger.copy import copy_ledger
from curiosity.ledger.reader import LedgerCopy
from curiosity.protocol.pair import Item
from curiosity.protocol.signing import Domain
from curiosity.protocol.verdict import Outcome, Reason, Verdict
from tests.material.service import Running
from tests.material.takedown import forget
from validator.app import listen
from validator.config import ServiceSettings
from validator.keys import load_keys
from validator.ledger import Ledger
from validator.store import Store

ACCEPTED = Verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, bytes(32))


def _rows(store: Store, size: int) -> list[object]:
    """What a store knows of its pairs, but for the time since when it keeps their items: that is its own."""
    return [replace(row, items_since=None) for row in store.submissions(0, size)]


@dataclass(frozen=True)
class Owner:
    """A validator's export, its keys, and what its store holds."""

    folder: Path  # export/ and keys/
    size: int
    root: bytes
    domain: Domain
    rows: list[object]  # every pair that is not taken down
    gone: list[bytes]  # contents of those that are


async def make_owner(folder: Path, count: int) -> Owner:
    """A real validator that takes pairs in under a verdict fixed beforehand; every seventh picture is large."""
    config = ValidatorConfig(
        data_dir=folder / "validator", port=0, decode_workers=1, rule2_epoch=0, genesis=Path("tiny")
    )
    service = await build_fixed(ServiceSettings(config), ACCEPTED)
    runner = await listen(service)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with ValidatorClient(url) as client:
            live = Running(service, client, await client.network(), url)
            signed = [
                live.sign(
                    (
                        Item("image", "image/png", b"picture %d " % n * (2000 if n % 7 == 3 else 20)),
                        Item("text", "text/plain", b"caption %d" % n),
                    )
                )
                for n in range(count)
            ]
            for start in range(0, count, 64):
                await asyncio.gather(*(client.post_pair(one.encode()) for one in signed[start : start + 64]))
            gone = [signed[3], signed[count // 2], signed[-1]]
            for one in gone:
                await forget(live, one)
            done = await copy_ledger(client, folder / "export", token=service.keys.admin_token)
            rows: list[object] = _rows(service.store, count + 10)
    finally:
        await runner.cleanup()
    shutil.copytree(folder / "validator" / "keys", folder / "keys")
    contents = [item.digest for one in gone for item in (one.a, one.b)]
    return Owner(folder, done.size, done.root, live.network.domain, rows, contents)


async def start_import(owner: Owner, data: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "node.cli", "ledger", "import", str(owner.folder / "export"), "--json",
        env=os.environ | {"CURIOSITY_VALIDATOR__DATA_DIR": str(data)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def fresh(owner: Owner, data: Path) -> None:
    shutil.copytree(owner.folder / "keys", data / "keys")


def check_whole(owner: Owner, data: Path) -> None:
    """Everything that the owner's store holds is here, held to its entries; nothing else is."""
    keys = load_keys(data / "keys", "curiosity-local")
    with Store.open(f"sqlite:///{data / 'ledger.sqlite'}") as store:
        ledger = Ledger(
            store,
            origin="curiosity-local",
            log_signer=keys.log,
            receipt_signer=keys.receipt,
            head_path=data / "tree-head.txt",
            clock=lambda: 0,
        )
        ledger.verify()
        ledger.verify_pairs(owner.domain)
        assert (ledger.size, ledger.root()) == (owner.size, owner.root)
        assert _rows(store, owner.size) == owner.rows
        assert [store.item(digest) for digest in owner.gone] == [None] * len(owner.gone)
        blocked = LedgerCopy(owner.folder / "export").blocked()
        assert blocked is not None
        assert store.blocked() == set(blocked.keys)
        assert len(blocked.keys) == len(owner.gone) // 2


async def killed_imports_go_on(folder: Path, rounds: int, count: int) -> None:
    """Each import is killed once or twice, at a random moment of a random bundle, and then let go on to its end."""
    owner = await make_owner(folder, count)
    started = time.monotonic()
    fresh(owner, folder / "whole")
    process = await start_import(owner, folder / "whole")
    assert process.stderr is not None
    await process.stderr.readline()
    first_s = time.monotonic() - started
    assert await process.wait() == 0
    bundles = -(-owner.size // 256)
    bundle_s = (time.monotonic() - started - first_s) / bundles
    check_whole(owner, folder / "whole")
    chance = random.Random(5)
    killed, halves = 0, []
    for number in range(rounds):
        data = folder / f"copy{number}"
        fresh(owner, data)
        half = 0
        for _ in range(1 + number % 2):
            process = await start_import(owner, data)
            assert process.stderr is not None
            lines = chance.randint(int(number == 0), bundles - half // 256 - 1)
            for _ in range(lines):
                await process.stderr.readline()
            if number:  # the first is killed in the middle for certain
                await asyncio.sleep(chance.random() * (bundle_s if lines else first_s))
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            killed += await process.wait() == -signal.SIGKILL
            if (data / "ledger.sqlite").exists():
                with Store.open(f"sqlite:///{data / 'ledger.sqlite'}") as store:
                    assert store.size() >= half
                    half = store.size()
        halves.append(half)
        process = await start_import(owner, data)
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        told = json.loads(out)
        assert (told["size"], told["entries"]) == (owner.size, owner.size - half)
        assert (told["root"], told["unknown"]) == ("0x" + owner.root.hex(), 0)
        check_whole(owner, data)
        shutil.rmtree(data)
    assert killed > 0
    inside = sum(0 < half < owner.size for half in halves)
    print(f"{rounds} imports of {owner.size} entries, {killed} kills, {inside} with a part written: 0 entries lost")


async def test_an_import_that_is_killed_goes_on_to_the_same_ledger(tmp_path: Path) -> None:
    await killed_imports_go_on(tmp_path, 1, 300)


@pytest.mark.slow
async def test_forty_killed_imports_go_on_to_the_same_ledger(tmp_path: Path) -> None:
    await killed_imports_go_on(tmp_path, 40, 1500)
