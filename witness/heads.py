"""What a witness must never forget: the heads that it cosigned, a file for each log; evidence of forks beside them.

``logs/<SHA-256 of the origin>.jsonl`` holds one cosigned head a line, the last one is in force. A line is appended and
synced before its cosignature leaves, so a line that was cut off by a crash was never answered and is dropped at the
next start. Earlier lines serve to convict a log that comes back with another tree of a size that it had.
"""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from curiosity.host.files import append_durably, cut_to, make_folder, open_locked, write_whole
from curiosity.host.paths import inside
from curiosity.protocol.errors import ProofError, StoreError
from curiosity.protocol.json_reader import read_json
from curiosity.protocol.tlog import TreeHead, parse_tree_head, verify_checkpoint
from witness.evidence import KeptEvidence
from witness.files import origin_hash

LOGS_FOLDER = "logs"
MAX_LINES = 8192
KEPT_LINES = 4096
"""Of more than MAX_LINES heads of a log the oldest are dropped, so that KEPT_LINES are left: 16 MB with both keys."""


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
        self._kept: deque[Cosigned] = deque()  # what the file holds
        self._by_size: dict[int, Cosigned] = {}
        for cosigned in _read(path, origin, vkeys):
            self._remember(cosigned)

    def _remember(self, cosigned: Cosigned) -> None:
        self._kept.append(cosigned)
        self._by_size[cosigned.head.size] = cosigned

    @property
    def latest(self) -> Cosigned | None:
        """The head that was cosigned last."""
        return self._kept[-1] if self._kept else None

    def at_size(self, size: int) -> Cosigned | None:
        """Return what was cosigned at that size, None if nothing was or it was dropped."""
        return self._by_size.get(size)

    def append(self, cosigned: Cosigned) -> None:
        """Make the head the latest, durably.

        Raises:
            OSError: If the disk does not take it; then nothing may be answered until a new start.
        """
        if len(self._kept) >= MAX_LINES:
            kept = [*self._kept, cosigned][-KEPT_LINES:]
            write_whole(self._path, b"".join(map(_line, kept)))
            self._kept.clear()
            self._by_size.clear()
            for one in kept:
                self._remember(one)
            return
        append_durably(self._path, _line(cosigned))
        self._remember(cosigned)


def _line(cosigned: Cosigned) -> bytes:
    return json.dumps({"at": cosigned.at, "note": cosigned.note}, ensure_ascii=False).encode() + b"\n"


def _read(path: Path, origin: str, vkeys: Sequence[str]) -> Iterator[Cosigned]:
    """Yield the heads of a file, oldest first. Drops a last line that was cut off, and the oldest of very many."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    lines = data.split(b"\n")
    if lines.pop():
        cut_to(path, sum(len(line) + 1 for line in lines))
    if len(lines) > MAX_LINES:
        lines = lines[-KEPT_LINES:]
        write_whole(path, b"".join(line + b"\n" for line in lines))
    for number, line in enumerate(lines, start=1):
        try:
            row = read_json(line)
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

    Raises:
        StoreError: WITNESS_IN_USE if another process has the folder, WITNESS_STATE_DAMAGED.
    """

    def __init__(self, folder: Path, logs: dict[str, tuple[str, ...]], *, max_evidence: int = 1000) -> None:
        make_folder(folder, mode=0o700)
        try:
            self._lock = open_locked(folder / "lock", mode=0o600)
        except BlockingIOError:
            raise StoreError(
                "WITNESS_IN_USE", f"another process has {folder}", "Stop it, or give this witness its own folder."
            ) from None
        make_folder(folder / LOGS_FOLDER, mode=0o700)
        self.evidence = {origin: KeptEvidence(folder, origin, max_forks=max_evidence) for origin in logs}
        self.logs = {
            origin: LogMemory(
                inside(folder / LOGS_FOLDER, f"{origin_hash(origin)}.jsonl", one=True, links=True), origin, vkeys
            )
            for origin, vkeys in logs.items()
        }

    def close(self) -> None:
        """Let another process have the folder."""
        self._lock.close()
