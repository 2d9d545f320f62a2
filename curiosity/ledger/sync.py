"""A log as static files: checkpoint and tile/... as in c2sp.org/tlog-tiles, for any web server to serve it from there.

Everything is verified before it is written, full files are never fetched twice, and ``checkpoint`` is written last: a
folder without it, or with an older one, is one whose copy was interrupted, and the same command goes on.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from curiosity.host.files import make_folder, write_whole
from curiosity.host.paths import inside
from curiosity.ledger.layout import HEAD
from curiosity.ledger.tiles import Ahead, LogFiles
from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import ProofError, SourceError
from curiosity.protocol.tiles import WIDTH, bundles_for, tiles_for
from curiosity.protocol.tlog import Bundle, Tile, TileReader, TreeHead, entry_bundle, verify_checkpoint

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Copied:
    """A log's static files."""

    size: int
    root: bytes
    files: int
    fetched: int  # files that were not there yet


class _Copy:
    """One run of copying the static files under a head; everything here runs in a thread."""

    def __init__(self, out: Path, head: TreeHead, ahead: Ahead, known: Sequence[bytes]) -> None:
        self._out, self._head, self._ahead = out, head, ahead
        self._known = known  # leaves that an older copy has, not yet verified
        self._whole = {one.path: one for one in bundles_for(head.size) if one.index * WIDTH + one.width <= len(known)}
        self._pending: dict[str, bytes] = {}  # fetched, not yet verified
        self._local: set[str] = set()  # read from the folder, not yet verified
        self.fetched = 0

    def _fetch(self, path: str) -> bytes | None:
        file = inside(self._out, path, links=True)
        if file.exists():
            self._local.add(path)
            return file.read_bytes()
        if path in self._whole:
            first = self._whole[path].index * WIDTH
            self._pending[path] = entry_bundle(self._known[first : first + self._whole[path].width])
            return self._pending[path]
        data = self._ahead.fetch(path)
        if data is not None:
            self._pending[path] = data
        return data

    def run(self, tell: Progress) -> None:
        """Verify and write every tile and bundle.

        Raises:
            ProofError: As `TileReader`.
        """
        make_folder(self._out)
        bundles = bundles_for(self._head.size)
        wanted = [path for bundle in bundles for path in (_tile_of(bundle).path, bundle.path)]
        missing = [path for path in wanted if not inside(self._out, path, links=True).exists()]
        self._ahead.plan([path for path in missing if path not in self._whole])
        reader = TileReader(self._head, self._fetch)
        for bundle in bundles:
            while True:
                try:
                    reader.entries(bundle.index)
                    break
                except ProofError:
                    if not self._local and not self._whole:  # then it is what came just now
                        raise
                    self._drop()
                    reader = TileReader(self._head, self._fetch)
            self._write()
            tell("entries", bundle.index * WIDTH + bundle.width, self._head.size)

    def _drop(self) -> None:
        """Remove what was read here and not verified: torn by a power cut, or of another tree. It is fetched again."""
        for path in self._local:
            inside(self._out, path, links=True).unlink(missing_ok=True)
        self._local.clear()
        self._pending.clear()
        self._whole = {}

    def _write(self) -> None:
        for path, data in self._pending.items():
            file = inside(self._out, path, links=True)
            make_folder(file.parent)
            write_whole(file, data)
        self.fetched += len(self._pending)
        self._pending.clear()
        self._local.clear()


def _tile_of(bundle: Bundle) -> Tile:
    return Tile(0, bundle.index, bundle.width)


def _expected(size: int) -> set[str]:
    return {tile.path for tile in tiles_for(size)} | {bundle.path for bundle in bundles_for(size)}


async def copy_tiles(
    files: LogFiles,
    out: Path,
    note: str,
    head: TreeHead,
    *,
    progress: Progress | None = None,
    last: bool = True,
    known: Sequence[bytes] = (),
) -> Copied:
    """Copy a log's static files under a verified head to ``out``, going on from what is there.

    ``last`` writes the head too. ``known`` are leaves that somebody has already, in order: what holds of them is not
    fetched.

    Raises:
        ProofError: What `TileReader` raises, SYNC_SHRANK if ``out`` holds a newer head of the log.
        SourceError: SYNC_NOT_WRITTEN.
    """
    ahead = Ahead(files)
    copy = _Copy(out, head, ahead, known)
    try:
        await asyncio.to_thread(copy.run, progress or (lambda *_: None))
        if last:
            await asyncio.to_thread(finish_tiles, out, note, head)
    except OSError as error:
        raise not_written(out, error) from None
    finally:
        await ahead.close()
    return Copied(head.size, head.root, len(_expected(head.size)), copy.fetched)


def finish_tiles(out: Path, note: str, head: TreeHead) -> None:
    """Write the head, and remove the partial files of earlier ones.

    Raises:
        OSError: If the folder cannot be written.
    """
    expected = _expected(head.size)
    write_whole(out / HEAD, note.encode())
    for path in out.glob("tile/**/*.p/*"):
        if str(path.relative_to(out)) not in expected:
            path.unlink()


def not_written(out: Path, error: OSError) -> SourceError:
    """Return the error of a folder that cannot be written."""
    return SourceError(
        "SYNC_NOT_WRITTEN", f"{out}: {error.strerror}", "Free space there; the same command goes on where it stopped."
    )


def check_not_shrunk(out: Path, head: TreeHead, log_vkey: str, kept_head: Path | None = None) -> None:
    """Check that the folder holds no newer head of the log than the one that is shown.

    ``kept_head`` is the file with the folder's head, where it has another name.

    Raises:
        ProofError: SYNC_SHRANK, and what `verify_checkpoint` raises.
    """
    try:
        note = (kept_head or out / HEAD).read_text(errors="replace")
    except OSError:
        return
    kept = verify_checkpoint(note, head.origin, [log_vkey])
    if kept.size > head.size:
        raise ProofError(
            "SYNC_SHRANK", f"{out} holds {number_of(kept.size, 'entry')} that were signed, the log shows {head.size}"
        )
