"""What a witness must never forget: the heads that it cosigned, a file for each log, and evidence of forks.

``logs/<SHA-256 of the origin>.jsonl`` holds one cosigned head a line, the last one is in force. A line is appended and
synced before its cosignature leaves, so a line that was cut off by a crash was never answered and is dropped at the
next start. Earlier lines serve to convict a log that comes back with another tree of a size that it had.

``evidence/<SHA-256 of the origin>/<id>.json`` holds one `protocol.evidence.Evidence` each.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from protocol.errors import ProofError, StoreError
from protocol.evidence import Evidence, check_evidence, encode_evidence, parse_evidence
from protocol.tlog import TreeHead, parse_tree_head, verify_checkpoint

LOGS_FOLDER = "logs"
EVIDENCE_FOLDER = "evidence"
MAX_LINES = 8192
KEPT_LINES = 4096
"""At a start with more than MAX_LINES heads of a log the oldest are dropped, so that KEPT_LINES are left."""


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` whole or not at all, and only return once it is on the disk."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def origin_hash(origin: str) -> str:
    """Return the hex SHA-256 of an origin line, by which files and the monitoring route name a log."""
    return sha256(origin.encode()).hexdigest()


@dataclass(frozen=True)
class Cosigned:
    """A head that was cosigned: the note with the log's signature and ours, and when (Unix seconds)."""

    head: TreeHead
    note: str
    at: int


class LogMemory:
    """The heads of one log that this witness cosigned. One writer."""

    def __init__(self, path: Path, origin: str, vkeys: Sequence[str]) -> None:
        self._path = path
        self.latest: Cosigned | None = None
        self._by_size: dict[int, Cosigned] = {}
        for cosigned in _read(path, origin, vkeys):
            self._remember(cosigned)

    def _remember(self, cosigned: Cosigned) -> None:
        self.latest = cosigned
        self._by_size[cosigned.head.size] = cosigned

    def at_size(self, size: int) -> Cosigned | None:
        """Return what was cosigned at that size, None if nothing was or it was dropped."""
        return self._by_size.get(size)

    def append(self, cosigned: Cosigned) -> None:
        """Make the head the latest, durably. Raises OSError; then nothing may be answered until a new start."""
        line = json.dumps({"at": cosigned.at, "note": cosigned.note}, ensure_ascii=False).encode() + b"\n"
        is_new = not self._path.exists()
        with self._path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_directory(self._path.parent)
        self._remember(cosigned)


def _read(path: Path, origin: str, vkeys: Sequence[str]) -> Iterator[Cosigned]:
    """Yield the heads of a file, oldest first. Drops a last line that was cut off, and the oldest of very many."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    lines = data.split(b"\n")
    if lines.pop():
        with path.open("r+b") as file:
            file.truncate(sum(len(line) + 1 for line in lines))
            os.fsync(file.fileno())
    if len(lines) > MAX_LINES:
        lines = lines[-KEPT_LINES:]
        write_durably(path, b"".join(line + b"\n" for line in lines))
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            # The latest decides what is cosigned; an earlier one may be by a key that is trusted no more.
            is_latest = number == len(lines)
            head = verify_checkpoint(row["note"], origin, vkeys) if is_latest else _parse_unverified(row["note"])
            yield Cosigned(head, row["note"], int(row["at"]))
        except (ValueError, KeyError, TypeError, ProofError) as error:
            raise StoreError(
                "WITNESS_STATE_DAMAGED",
                f"{path}, line {number}: {error}",
                "Restore the file; if its newest lines are lost, retire this key and start a new witness.",
            ) from None


def _parse_unverified(note: str) -> TreeHead:
    return parse_tree_head(note.rpartition("\n\n")[0] + "\n")


class Memory:
    """Everything that one witness keeps below its folder. Holds the folder's lock until it is closed.

    Raises StoreError: WITNESS_IN_USE if another process has the folder, WITNESS_STATE_DAMAGED.
    """

    def __init__(self, folder: Path, logs: dict[str, tuple[str, ...]], *, max_evidence: int = 1000) -> None:
        self._evidence = folder / EVIDENCE_FOLDER
        self._max_evidence = max_evidence
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StoreError(
                "WITNESS_IN_USE", f"another process has {folder}", "Stop it, or give this witness its own folder."
            ) from None
        (folder / LOGS_FOLDER).mkdir(exist_ok=True, mode=0o700)
        self._evidence.mkdir(exist_ok=True, mode=0o700)
        self.logs = {
            origin: LogMemory(folder / LOGS_FOLDER / f"{origin_hash(origin)}.jsonl", origin, vkeys)
            for origin, vkeys in logs.items()
        }

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._lock)

    def keep_evidence(self, evidence: Evidence) -> Path | None:
        """Write evidence once, durably, and return its file; None if the log has as much as is kept."""
        folder = self._evidence / origin_hash(evidence.origin)
        folder.mkdir(exist_ok=True, mode=0o700)
        path = folder / f"{evidence.id}.json"
        if path.exists() and check_evidence(parse_evidence(path.read_bytes())).is_fork:
            return path
        if not path.exists() and len(list(folder.glob("*.json"))) >= self._max_evidence:
            return None
        write_durably(path, encode_evidence(evidence))
        return path

    def clear_suspicion(self, cosigned: TreeHead) -> None:
        """Remove kept refusals of this very head that showed no fork: it was shown to be consistent after all."""
        for path, evidence in read_evidence(self._evidence / origin_hash(cosigned.origin)):
            checked = check_evidence(evidence)
            if not checked.is_fork and checked.second == cosigned:
                path.unlink()


def read_evidence(folder: Path) -> Iterator[tuple[Path, Evidence]]:
    """Yield the evidence files below a folder in order of their names. Raises ProofError EVIDENCE_MALFORMED."""
    for path in sorted(folder.rglob("*.json")):
        yield path, parse_evidence(path.read_bytes())
