"""Proofs and an audit of a large ledger, each in a process that has just opened it.

    python -m benchmarks.ledger_proofs proofs|audit FOLDER SIZE

is what `benchmarks.ledger` starts after `fill` has made the ledger in FOLDER. The kernel's cache of the files is
dropped first, so that a proof that needs a tile waits for the disk.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.ledger_append import make_entries
from curiosity.protocol.merkle import leaf_hash, verify_inclusion
from curiosity.protocol.receipt import issue_receipt
from curiosity.protocol.tlog import Signer
from validator.ledger import Ledger
from validator.store import NewRow, Store
from validator.store.tree import Edge

_ORIGIN = "bench.example/ledger"
_SIGNER = Signer("bench.example", bytes(32))
_BATCH = 10_000
PROOFS = 20_000


@contextmanager
def _open(folder: Path) -> Iterator[tuple[Store, Ledger]]:
    with Store.open(f"sqlite:///{folder / 'ledger.db'}") as store:
        yield (
            store,
            Ledger(
                store,
                origin=_ORIGIN,
                log_signer=_SIGNER,
                receipt_signer=_SIGNER,
                head_path=folder / "head",
                clock=lambda: 1,
            ),
        )


def fill(folder: Path, size: int) -> dict[str, float]:
    """Make a ledger of ``size`` entries of a pair's usual length; return the bytes of a leaf and entries a second.

    Through `Store.append` in large batches, as an import does it; every entry has the length of a real pair's and a
    number of its own in it. The receipts' notes are not signed one by one, which would take longer than all the rest.
    """
    (entry,) = make_entries(1, 1)
    tail = entry.leaf[64:]
    note = issue_receipt(entry.leaf, size, _ORIGIN, 1, _SIGNER).note
    with _open(folder):
        pass  # begins the ledger: from here on the head is kept
    started = time.perf_counter()
    with Store.open(f"sqlite:///{folder / 'ledger.db'}") as store:
        edge = Edge()
        for start in range(0, size, _BATCH):
            rows = [
                NewRow(index, b"%064d%b" % (index, tail), note, None)
                for index in range(start, min(start + _BATCH, size))
            ]
            store.append(rows, edge.append([leaf_hash(row.leaf) for row in rows]))
    return {"leaf_bytes": len(entry.leaf), "fill_per_s": size / (time.perf_counter() - started)}


def _drop_cache(folder: Path) -> None:
    """Let the kernel forget what it knows of the files."""
    for path in folder.iterdir():
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def in_fresh_process(what: str, folder: Path, size: int) -> dict[str, float]:
    """Return the figures of ``proofs`` or ``audit`` from a process that opens the ledger in ``folder``."""
    _drop_cache(folder)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.ledger_proofs", what, str(folder), str(size)],
        stdout=subprocess.PIPE,
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def measure_proofs(folder: Path, size: int) -> dict[str, float]:
    """Return inclusion proofs a second, of random entries in the whole tree; every proof is checked afterwards."""
    with _open(folder) as (store, ledger):
        chance = random.Random(1)
        indices = [chance.randrange(size) for _ in range(PROOFS)]
        started, cpu = time.perf_counter(), time.process_time()
        proofs = [ledger.inclusion_proof(index, size) for index in indices]
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
        root = ledger.root()
        for index, proof in zip(indices, proofs, strict=True):
            verify_inclusion(leaf_hash(store.leaves(index, 1)[0]), index, size, proof, root)
    return {"per_s": PROOFS / seconds, "per_cpu_s": PROOFS / cpu_s}


def measure_audit(folder: Path, size: int) -> dict[str, float]:
    """Return how long it takes to hash every entry and every tile again and to compare them, in seconds."""
    with _open(folder) as (_, ledger):
        if ledger.size != size:
            raise RuntimeError(f"the ledger has {ledger.size} entries, expected {size}")
        started, cpu = time.perf_counter(), time.process_time()
        ledger.verify()
        return {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}


def main(arguments: list[str]) -> None:
    """Measure one of the two and print JSON."""
    what, folder, size = arguments
    measure = {"proofs": measure_proofs, "audit": measure_audit}[what]
    print(json.dumps(measure(Path(folder), int(size))))


if __name__ == "__main__":
    main(sys.argv[1:])
