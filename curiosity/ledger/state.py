"""What a monitor of a log keeps between rounds.

It keeps the last head that it verified, every leaf hash under it, and where the rules of the ledger stand.

state.json       the head's note and the rules' state; replaced last, so that a round counts whole or not at all
leaf-hashes      32 bytes an entry: they tell *which* entry a log has rewritten
pairs            8 bytes an entry: the beginning of a pair's digest, zeros for another entry
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curiosity.host.files import make_folder, sync_directory, sync_file, write_whole
from curiosity.ledger.rules import NO_PAIR, KeptRules
from curiosity.protocol.errors import ProofError, Rejected, SourceError
from curiosity.protocol.merkle import EMPTY_ROOT, Frontier
from curiosity.protocol.tlog import TreeHead, verify_checkpoint
from curiosity.protocol.wire import STRICT, encode, parse

_HASH_BYTES = 32
_PREFIX_BYTES = len(NO_PAIR)
_PAGE = 1 << 16


@dataclass(frozen=True)
class KeptState:
    """The content of ``state.json``."""

    note: str | None
    rules: KeptRules | None
    stake_vkey: str = ""  # the first that the log named: whose stake answers for its heads

    __pydantic_config__ = STRICT


class MonitorState:
    """The folder of one monitored log.

    Raises:
        SourceError: MONITOR_STATE if what is there does not fit together.
    """

    def __init__(self, folder: Path, origin: str, log_vkeys: Sequence[str]) -> None:
        self.folder = folder
        self._hashes, self._prefixes = folder / "leaf-hashes", folder / "pairs"
        self.head: TreeHead | None = None
        self.note: str | None = None
        self.rules: KeptRules | None = None
        self.stake_vkey = ""
        try:
            make_folder(folder)
            kept = parse(KeptState, (folder / "state.json").read_bytes())
        except FileNotFoundError:
            kept = KeptState(None, None)
        except (OSError, Rejected) as error:
            raise self._broken(str(error)) from None
        if kept.note is not None:
            try:
                self.head = verify_checkpoint(kept.note, origin, log_vkeys)
            except ProofError as error:
                raise self._broken(f"{error.code}: {error.what}") from None
            self.note, self.rules, self.stake_vkey = kept.note, kept.rules, kept.stake_vkey
        self._truncate()
        if self.root_at(self.size) != (self.head.root if self.head is not None else EMPTY_ROOT):
            raise self._broken("the leaf hashes do not lead to the kept head")

    def _broken(self, why: str) -> SourceError:
        return SourceError("MONITOR_STATE", f"{self.folder}: {why}", "Remove the folder to begin anew, or restore it.")

    @property
    def size(self) -> int:
        """Entries under the last verified head."""
        return self.head.size if self.head is not None else 0

    def _truncate(self) -> None:
        """Drop what an interrupted round wrote after the last head."""
        for path, width in ((self._hashes, _HASH_BYTES), (self._prefixes, _PREFIX_BYTES)):
            with path.open("ab") as file:
                if file.tell() < width * self.size:
                    raise self._broken(f"{path.name} is too short")
                file.truncate(width * self.size)

    def hashes(self, start: int, count: int) -> list[bytes]:
        """Return kept leaf hashes."""
        with self._hashes.open("rb") as file:
            file.seek(_HASH_BYTES * start)
            data = file.read(_HASH_BYTES * count)
        return [data[at : at + _HASH_BYTES] for at in range(0, len(data), _HASH_BYTES)]

    def prefixes(self) -> list[bytes]:
        """Return the beginnings of all pairs' digests, zeros for other entries."""
        data = self._prefixes.read_bytes()
        return [data[at : at + _PREFIX_BYTES] for at in range(0, len(data), _PREFIX_BYTES)]

    def root_at(self, size: int) -> bytes:
        """Return the root of the first ``size`` kept leaf hashes."""
        frontier = Frontier()
        for start in range(0, size, _PAGE):
            frontier.extend(self.hashes(start, min(_PAGE, size - start)))
        return frontier.root()

    def append(self, hashes: Sequence[bytes], prefixes: Sequence[bytes]) -> None:
        """Add entries of a round that is not over yet."""
        for path, rows in ((self._hashes, hashes), (self._prefixes, prefixes)):
            with path.open("ab") as file:
                file.write(b"".join(rows))

    def restart(self) -> None:
        """Forget everything: the next round begins with the first entry."""
        self._write(KeptState(None, None, self.stake_vkey))
        self.head = self.note = self.rules = None
        self._truncate()

    def finish(self, head: TreeHead, note: str, rules: KeptRules | None, stake_vkey: str = "") -> None:
        """Make a verified head the last one, durably; the first stake key stays."""
        self.stake_vkey = self.stake_vkey or stake_vkey
        for path in (self._hashes, self._prefixes):
            sync_file(path)
        sync_directory(self.folder)  # the two may be new
        self._write(KeptState(note, rules, self.stake_vkey))
        self.head, self.note, self.rules = head, note, rules

    def _write(self, kept: KeptState) -> None:
        write_whole(self.folder / "state.json", encode(kept))
