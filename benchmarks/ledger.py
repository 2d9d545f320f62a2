"""What the ledger costs beside the bare operation, as ratios within one run.

    python -m benchmarks.ledger [--json FILE] [--entries N] [--folder FOLDER]

Absolute figures depend on the machine, its disk and on who else uses both; the ratios are what to quote. Every part
checks that both sides did the same work, or that the answers are right.

- **Append**: `Store.append` of batches of 100 decided pairs beside the driver's own inserts of the same rows into the
  same tables with the same indexes and settings, one transaction a batch: ``executemany`` on SQLite, ``COPY`` on
  PostgreSQL. Ours also looks up which contents are known, makes the tiles of the tree, and keeps items above 16 KiB in
  a pack, with a sync of its own. A pair's picture has 3,000 bytes (in the database) or 80,000 (in a pack).
- **Ingest, recover**: see `benchmarks.ledger_ingest`.
- **Proofs, audit**: of a ledger of a million entries that a fresh process opens with the kernel's cache dropped.
"""

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pysqlite3 import dbapi2 as sqlite

from benchmarks.ledger_append import BATCH, measure_ledger, measure_postgres, measure_sqlite
from benchmarks.ledger_ingest import measure_often
from benchmarks.ledger_proofs import fill, in_fresh_process

SMALL, LARGE = 3_000, 80_000
WRITES = {
    "ours": "entries, pairs, items and tiles through Store.append: unknown contents found out, those above 16 KiB put"
    " into a pack that is synced before the transaction commits; synchronous=FULL, synchronous_commit=on",
    "bare": "the same rows of entries, pairs and items into tables with the same indexes, all contents inline, made"
    " ready before the clock starts; same settings and batches, one transaction each: executemany, or binary COPY",
}
ROUNDS = 5
INGEST_RUNS = 7
BATCHES = 20  # of a round: checkpoints of SQLite's log fall into every round


def measure(folder: Path, entries: int) -> dict[str, float]:
    """Return all figures; each ratio stands beside our figure and the bare one that it is made of."""
    figures = measure_appends(folder)
    ingest = measure_often(INGEST_RUNS, folder=folder)
    ingest["recover_ratio"] = ingest["recover_per_cpu_s"] / ingest["eth_account_recover_per_cpu_s"]
    _say("ingest, pairs a CPU-second", ingest, "ingest_per_cpu_s", "bare_handler_per_cpu_s", "ingest_ratio")
    _say("lowest and highest of the runs", ingest, "ingest_per_cpu_s_lowest")
    _say("", ingest, "ingest_per_cpu_s_highest")
    _say(
        "signatures recovered a CPU-second",
        ingest,
        "recover_per_cpu_s",
        "eth_account_recover_per_cpu_s",
        "recover_ratio",
    )
    return figures | ingest | measure_large(folder, entries)


def measure_appends(folder: Path) -> dict[str, float]:
    """Return appends through the store beside the driver's, and appends through the whole ledger."""
    runs: dict[str, dict[str, float]] = {
        "sqlite_append": measure_sqlite(folder, SMALL, ROUNDS, BATCHES),
        "sqlite_append_large": measure_sqlite(folder, LARGE, ROUNDS, BATCHES // 4),
        "postgres_append": measure_postgres(SMALL, ROUNDS, BATCHES),
        "postgres_append_large": measure_postgres(LARGE, ROUNDS, BATCHES // 4),
    }
    figures: dict[str, float] = {}
    for name, found in runs.items():
        figures |= {f"{name}_{key}": value for key, value in found.items()}
        _say(f"{name.replace('_', ' ')}, pairs a second", found, "per_s", "bare_per_s", "ratio")
    figures["ledger_append_per_s"] = measure_ledger(folder, SMALL, BATCHES)
    _say("the same with receipts and tree head", figures, "ledger_append_per_s")
    return figures


def measure_large(folder: Path, entries: int) -> dict[str, float]:
    """Return what a ledger of so many entries takes to make, to prove from and to audit."""
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        filled = fill(Path(inside), entries)
        proofs = in_fresh_process("proofs", Path(inside), entries)
        audit = in_fresh_process("audit", Path(inside), entries)
    figures = {
        "entries": entries,
        "entry_bytes": filled["leaf_bytes"],
        "bulk_append_per_s": filled["fill_per_s"],
        "proofs_per_s": proofs["per_s"],
        "proofs_per_cpu_s": proofs["per_cpu_s"],
        "audit_1e6_seconds": audit["seconds"] * 1e6 / entries,
        "audit_1e6_cpu_seconds": audit["cpu_seconds"] * 1e6 / entries,
    }
    _say(f"proofs a second at {entries:,} entries", figures, "proofs_per_s")
    _say("seconds to audit a million entries", figures, "audit_1e6_seconds")
    return figures


def _say(what: str, found: Mapping[str, float], ours: str, bare: str = "", ratio: str = "") -> None:
    beside = f"   bare {found[bare]:12,.1f}   ratio {found[ratio]:6.2f}" if bare else ""
    print(f"{what:44}{found[ours]:12,.1f}{beside}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, write JSON if asked. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger")
    parser.add_argument("--json", type=Path, dest="json_path")
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the ledger for proofs and audit")
    parser.add_argument("--folder", type=Path, help="where to put databases; its disk is what is measured")
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    figures = measure(options.folder or Path(tempfile.gettempdir()), options.entries)
    if options.json_path is not None:
        facts = {
            "command": shlex.join(["python", "-m", "benchmarks.ledger", *(arguments or sys.argv[1:])]),
            "machine": f"{platform.machine()}, Python {platform.python_version()}, SQLite {sqlite.sqlite_version}",
            "batch": BATCH,
            "append_writes": WRITES,
            "picture_bytes": {"append": SMALL, "append_large": LARGE},
            "load_average_before": round(load, 1),
            "unit": "append, bulk append and proofs a second; ingest and recover a CPU-second; audit in seconds",
        }
        rounded = {name: round(value, 4) for name, value in figures.items()}
        options.json_path.write_text(json.dumps(facts | rounded, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
