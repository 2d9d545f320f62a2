"""Copies of a ledger that a test makes."""

from pathlib import Path

from curiosity.ledger.reader import LedgerCopy
from validator.importer import Imported, MirrorRecord, import_ledger, write_mark
from validator.keys import load_keys
from validator.store import Store


def bring(exported: Path, data_dir: Path, url: str = "", *, without_blocked: bool = False) -> Imported:
    """Import into a data folder, as the command does."""
    found = LedgerCopy(exported)
    keys = load_keys(data_dir / "keys", found.network.name)
    data_dir.mkdir(parents=True, exist_ok=True)
    with Store.open(url or f"sqlite:///{data_dir / 'ledger.sqlite'}") as store:
        done = import_ledger(
            found,
            store,
            keys=keys,
            head_path=data_dir / "tree-head.txt",
            without_blocked=without_blocked,
        )
    write_mark(data_dir, MirrorRecord(found.network, found.note) if done.read_only else None)
    return done
