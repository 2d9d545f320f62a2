"""Disks that fail, fill up or forget: system calls that fail under a working ledger, logs that were torn."""

import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from curiosity.protocol.errors import StoreError
from curiosity.protocol.receipt import Receipt
from tests.material.ledger import make_entries, open_ledger
from tests.material.ledger_worker import Worker, check_promises, worker
from validator.ledger import NewEntry

# What may fail, of which file, and how the ledger may answer.
FAULTS = {
    ("ledger.db-wal", "sync"): {"STORE_IO"},
    ("ledger.db-wal", "write"): {"STORE_IO"},
    ("ledger.db-wal", "full"): {"STORE_FULL", "STORE_IO"},
    ("ledger.db-wal", "short"): {""},  # the rest is written
    (".pack", "sync"): {"BLOB_UNWRITABLE"},
    (".pack", "write"): {"BLOB_UNWRITABLE"},
    (".pack", "full"): {"BLOB_UNWRITABLE"},
    (".pack", "short"): {""},
    ("/head", "sync"): {"LEDGER_HEAD_UNWRITABLE"},
    ("/head", "write"): {"LEDGER_HEAD_UNWRITABLE"},
    ("/head", "full"): {"LEDGER_HEAD_UNWRITABLE"},
    ("/head", "short"): {""},
}


@pytest.fixture(scope="module")
def broken_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker whose system calls can be made to fail."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to make system calls fail with")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    source = Path(__file__).parent / "material/ledger_faults.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    with worker(library) as process:
        yield process


def fault_rounds(process: Worker, folder: Path, rounds: int, seed: int) -> Counter[str]:
    """Let a call fail in each round, look that the ledger stopped, and that a restart has every promise."""
    chance = random.Random(seed)
    url, head = f"sqlite:///{folder}/ledger.db", folder / "head"
    answers: Counter[str] = Counter()
    promised: dict[int, Receipt] = {}
    for number in range(rounds):
        (part, kind), allowed = list(FAULTS.items())[number % len(FAULTS)]
        new, stopped = process.append(url, head, len(promised), fault=[part, kind, chance.randint(1, 12)], batches=30)
        assert stopped in allowed, f"{kind} of {part} was answered with {stopped!r}"
        answers[f"{kind} of {part}: {stopped or 'went on'}"] += 1
        promised |= new
        with open_ledger(url, head) as opened:
            check_promises(opened, new)
            # What was durable without a promise gets it now.
            rest = range(len(promised), opened.ledger.size)
            promised |= dict(zip(rest, opened.ledger.append(make_entries(rest.start, rest.stop)), strict=True))
            assert opened.ledger.size == len(promised)
    with open_ledger(url, head) as opened:
        opened.ledger.verify()
        check_promises(opened, promised)
    return answers


def test_a_failing_disk_stops_the_ledger(broken_disk: Worker, tmp_path: Path) -> None:
    fault_rounds(broken_disk, tmp_path, len(FAULTS), seed=1)


@pytest.mark.slow
def test_a_disk_that_fails_three_hundred_times(
    broken_disk: Worker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = fault_rounds(broken_disk, tmp_path, 300, seed=2)
    with capsys.disabled():
        print("\n" + "\n".join(f"{count} times {answer}" for answer, count in sorted(answers.items())))


def test_a_full_file_system_stops_the_ledger(tmp_path: Path) -> None:
    """A really full one: a few megabytes of memory mounted as a disk."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
    try:
        promised: dict[int, Receipt] = {}
        url = f"sqlite:///{disk}/ledger.db"
        with open_ledger(url, disk / "head") as opened:
            with pytest.raises(StoreError, match=r"STORE_FULL|BLOB_UNWRITABLE|LEDGER_HEAD") as caught:
                fill(opened.ledger.append, promised)
            with pytest.raises(StoreError, match=f"LEDGER_STOPPED.*{caught.value.code}"):
                opened.ledger.append(make_entries(0, 1))
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        with open_ledger(url, disk / "head") as opened:
            opened.ledger.verify()
            check_promises(opened, promised)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def fill(append: object, promised: dict[int, Receipt]) -> None:
    """Append two pairs at a time until that fails."""
    while True:
        number = len(promised)
        promised |= dict(enumerate(append(make_entries(number, number + 2)), number))  # type: ignore[operator]


# A log that is not as it was


def tear(data: bytes, chance: random.Random) -> bytes:
    """Return a write-ahead log as a bad disk may give it back."""
    at = chance.randrange(len(data))
    match chance.randrange(4):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + bytes(min(4096, len(data) - at)) + data[at + 4096 :]
        case 2:
            return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        case _:
            return data[: at // 4096 * 4096] + chance.randbytes(len(data) - at // 4096 * 4096)


def log_rounds(folder: Path, rounds: int, seed: int) -> Counter[str]:
    """Damage the write-ahead log of a killed ledger: it must open whole, or be refused at the first bad index."""
    chance = random.Random(seed)
    begun, damaged = folder / "begun", folder / "damaged"
    begun.mkdir()
    url, head = f"sqlite:///{begun}/ledger.db", begun / "head"
    with worker() as process:
        promised, _ = process.append(url, head, 0, kill_after=200)
    leaves = [entry.leaf for entry in make_entries(0, len(promised) + 8)]
    log = (begun / "ledger.db-wal").read_bytes()
    assert len(log) > 100_000
    answers: Counter[str] = Counter()
    for _ in range(rounds):
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(begun, damaged)
        (damaged / "ledger.db-wal").write_bytes(tear(log, chance))
        try:
            with open_ledger(f"sqlite:///{damaged}/ledger.db", damaged / "head") as opened:
                opened.ledger.verify()
                assert opened.ledger.size >= len(promised), "entries are missing and nobody said so"
                assert opened.store.leaves(0, len(promised)) == leaves[: len(promised)]
            answers["whole"] += 1
        except StoreError as error:
            check_refusal(error)
            answers[error.code] += 1
    return answers


def check_refusal(error: StoreError) -> None:
    """A ledger that lost its newest entries says how many it still has."""
    assert error.code in ("LEDGER_SMALLER", "STORE_CORRUPT")
    if error.code == "LEDGER_SMALLER":
        held = int(error.what.split("holds ")[1].split()[0])
        assert f"first bad index {held}" in error.what


def test_a_torn_log_is_refused(tmp_path: Path) -> None:
    answers = log_rounds(tmp_path, 16, seed=3)
    assert answers["LEDGER_SMALLER"] > 4


@pytest.mark.slow
def test_a_thousand_torn_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = log_rounds(tmp_path, 1000, seed=4)
    with capsys.disabled():
        print(f"\ntorn logs: {dict(answers)}; 0 opened with a loss")


def test_an_entry_without_pairs_needs_no_pack(tmp_path: Path) -> None:
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "head") as opened:
        opened.ledger.append([NewEntry(b"{}")])
    assert not (tmp_path / "ledger.db.blobs").exists()
