"""Where the checkpoint in force lies: in the data folder, so that it moves with the ledger."""

import hashlib
import logging
from pathlib import Path
from typing import Final

import curiosity.embedding.checkpoint
from curiosity.embedding.checkpoint import FILES, MANIFEST, SHIPPED, Checkpoint, find_genesis
from curiosity.host.paths import inside
from curiosity.protocol.entry import CheckpointEntry, parse_entry
from curiosity.protocol.errors import CheckpointError
from validator.importer import last_checkpoint
from validator.store import Store

log = logging.getLogger(__name__)

CHECKPOINT_PATH: Final = "checkpoint_path"
"""Name of the store's note on where the checkpoint in force lies: a path below the data folder. Notes of earlier
versions are absolute paths."""
_COPIES: Final = "checkpoints"  # folder of them in the data folder, each under its digest


def note_of(digest: bytes) -> str:
    """Return what is noted of a checkpoint that has a copy in the data folder."""
    return f"{_COPIES}/{digest.hex()}"


def keep_copy(data_dir: Path, checkpoint: Checkpoint) -> Checkpoint:
    """Return a durable copy of a checkpoint in the data folder, made now if there is none.

    Raises:
        CheckpointError: As `curiosity.embedding.checkpoint.copy` does.
    """
    return curiosity.embedding.checkpoint.copy(
        checkpoint, inside(data_dir, note_of(bytes.fromhex(checkpoint.digest)), links=True)
    )


def find_file(data_dir: Path, in_force: Checkpoint, digest: bytes, name: str) -> Path | None:
    """Return the file of a checkpoint that this ledger was judged under, None if there is none.

    Every checkpoint that was ever in force is kept: without its checkpoint nobody can repeat a verdict.
    """
    if name not in FILES:
        return None
    folder = in_force.path if in_force.digest == digest.hex() else inside(data_dir, note_of(digest), links=True)
    path = inside(folder, name, one=True, links=True)
    return path if path.is_file() else None


def find_first(store: Store, given: Path | None) -> Path:
    """Return the folder of the checkpoint that the network begins with, or began with.

    Where none is ``given``, a ledger that has entries says with which of the shipped ones it began: the network's id
    depends on it, and which one a new network starts with changes between versions.
    """
    if given is None and store.size():
        first = parse_entry(store.leaves(0, 1)[0])
        for folder in SHIPPED.values():
            digest = hashlib.sha256((folder / MANIFEST).read_bytes()).digest()
            if isinstance(first, CheckpointEntry) and first.checkpoint == digest:
                return folder
    return find_genesis(given)


def find_checkpoint(store: Store, data_dir: Path, genesis: Path) -> Path:
    """Return the folder to load: the one that is noted, else the copy of what the ledger names, else ``genesis``.

    Raises:
        CheckpointError: CHECKPOINT_MISSING, with the place where its folder is looked for, if a noted one is gone.
    """
    note = store.meta_get(CHECKPOINT_PATH)
    if not note:
        return genesis
    path = Path(note) if Path(note).is_absolute() else inside(data_dir, note, links=True)
    if (path / MANIFEST).is_file():
        return path
    named = last_checkpoint(store)
    copy = inside(data_dir, note_of(named), links=True) if named is not None else path
    if (copy / MANIFEST).is_file():
        return copy
    raise CheckpointError(
        "CHECKPOINT_MISSING",
        f"the checkpoint in force, {named.hex() if named else 'which the ledger does not name'}, is not in {path}",
        f"Put its folder back there, or at {copy}; whoever published it has it.",
    )


def adopt(store: Store, data_dir: Path, checkpoint: Checkpoint) -> None:
    """Copy the checkpoint in force into the data folder if a note says that it lies elsewhere, and note the copy.

    A disk without place for it stops nothing: the next start tries again.
    """
    note, wanted = store.meta_get(CHECKPOINT_PATH), note_of(bytes.fromhex(checkpoint.digest))
    if not note or note == wanted:
        return
    try:
        keep_copy(data_dir, checkpoint)
    except CheckpointError as error:
        log.warning("event=checkpoint_not_copied code=%s what=%r", error.code, error.what)
        return
    store.meta_set(CHECKPOINT_PATH, wanted)
