"""Power cuts: what had reached the disk when the power went is all that there is afterwards.

The ledger lies on a file system of its own, on a loop device whose backing file is written past the kernel's cache.
What that file system has not flushed is in memory only; so a copy of the backing file, taken as it is and without
freezing anything, is the disk of a machine whose power went at that moment. The copy is mounted, its journal replayed,
and the ledger opened. The control arm runs with ``synchronous=OFF`` and must lose promises, or the test would see none.
"""

import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curiosity.protocol.errors import StoreError
from curiosity.protocol.receipt import Receipt
from tests.material.ledger import make_entries, open_ledger
from tests.material.ledger_worker import Worker, check_promises, worker

_MIB = 1 << 20


def run(*command: object) -> str:
    """Run a command of the system and return what it printed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True, timeout=600)
    return done.stdout.strip()


@contextmanager
def mounted(image: Path, where: Path) -> Iterator[None]:
    """The image mounted, its backing file written directly. Nothing is flushed at the end: `umount` comes after."""
    device = run("losetup", "--direct-io=on", "--find", "--show", image)
    try:
        run("mount", "-t", "ext4", "-o", "noatime,commit=300", device, where)
        try:
            yield
        finally:
            run("umount", where)
    finally:
        run("losetup", "--detach", device)


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    """The image of an empty file system, and that it can be mounted here."""
    image, where = tmp_path / "blank.img", tmp_path / "try"
    where.mkdir()
    with image.open("wb") as file:
        file.truncate(48 * _MIB)
    try:
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
        with mounted(image, where):
            pass
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no power can be cut here, mounting is impossible: {getattr(error, 'stderr', error)}")
    return image


def cut(process: Worker, blank: Path, folder: Path, number: int, after_s: float, *, unsafe: bool) -> str:
    """Let a process append for a while on a new file system, cut the power, look; return what was found.

    "whole" if every promise is kept, "lost" if the ledger is refused for being smaller than what it had promised.
    """
    disk, image, copy = folder / "disk", folder / "disk.img", folder / "cut.img"
    disk.mkdir(exist_ok=True)
    run("cp", "--sparse=always", blank, image)
    with mounted(image, disk):
        # New files and folders must be durable by name when the first promise is given.
        with open_ledger(f"sqlite:///{disk}/ledger.db", disk / "head") as opened:
            before = dict(enumerate(opened.ledger.append(make_entries(number, number + 3)), number))
        promised, _ = process.append(
            f"sqlite:///{disk}/ledger.db", disk / "head", number + 3, kill_after_s=after_s, unsafe=unsafe
        )
        run("cp", "--sparse=always", image, copy)
    with mounted(copy, disk):
        try:
            return look(disk, before | promised, number)
        finally:
            image.unlink()
            copy.unlink()


def look(disk: Path, promised: dict[int, Receipt], number: int) -> str:
    """Open the ledger after the cut."""
    try:
        with open_ledger(f"sqlite:///{disk}/ledger.db", disk / "head") as opened:
            opened.ledger.verify()
            assert opened.ledger.size >= len(promised), "promises are missing and nobody said so"
            check_promises(opened, promised, number)
    except StoreError as error:
        if error.code != "LEDGER_SMALLER":
            raise
        return "lost"
    return "whole"


def cuts(process: Worker, blank: Path, folder: Path, rounds: int, seed: int, *, unsafe: bool) -> list[str]:
    """Cut the power so many times at random moments."""
    chance = random.Random(seed)
    return [
        cut(process, blank, folder, 1000 * number, chance.uniform(0, 0.4), unsafe=unsafe) for number in range(rounds)
    ]


def test_a_power_cut_loses_no_promise_unless_nothing_is_synced(blank: Path, tmp_path: Path) -> None:
    with worker() as process:
        assert cuts(process, blank, tmp_path, 3, seed=1, unsafe=False) == ["whole"] * 3
        assert "lost" in cuts(process, blank, tmp_path, 2, seed=2, unsafe=True)


@pytest.mark.slow
def test_a_hundred_power_cuts(blank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with worker() as process:
        found = cuts(process, blank, tmp_path, 100, seed=3, unsafe=False)
        control = cuts(process, blank, tmp_path, 20, seed=4, unsafe=True)
    with capsys.disabled():
        print(f"\n100 power cuts: {found.count('lost')} lost; with synchronous=OFF {control.count('lost')} of 20 lost")
    assert found == ["whole"] * 100
    assert control.count("lost") > 5
    shutil.rmtree(tmp_path / "disk")
