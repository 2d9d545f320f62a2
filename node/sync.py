"""A log as static files, and a whole ledger as a folder from which a validator can be built again.

checkpoint, tile/...            c2sp.org/tlog-tiles: any web server serves the log from here
network.json                    what the validator said of itself
pairs/<as its bundle>.jsonl     what is given out beside the pair entries of one bundle, a `ExportedPair` a line
blobs/<sha256>                  their items

Everything is verified before it is written, full files are never fetched twice, and ``checkpoint`` is written last: a
folder without it, or with an older one, is one whose copy was interrupted, and the same command goes on.
"""

import asyncio
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from node.client import ValidatorClient
from node.mirror import Gone, fetch_items, is_accepted, read_network, write_whole
from node.tiles import Ahead, LogFiles
from protocol.decision import ExportedPair, check_exported, pairs_path
from protocol.errors import ProofError, Rejected, SourceError
from protocol.messages import Network
from protocol.pair import Envelope
from protocol.tiles import WIDTH, bundles_for, parse_bundle, tiles_for
from protocol.tlog import Bundle, Tile, TileReader, TreeHead, verify_checkpoint
from protocol.tombstones import find_takedowns
from protocol.wire import encode, parse

Progress = Callable[[str, int, int], None]
_ATTEMPTS = 3
_PARALLEL = 16


@dataclass(frozen=True)
class Copied:
    """A log's static files."""

    size: int
    root: bytes
    files: int
    fetched: int  # files that were not there yet


@dataclass(frozen=True)
class Exported:
    """A whole ledger in a folder."""

    size: int
    root: bytes
    pairs: int
    items: int
    taken_down: int


class _Copy:
    """One run of copying the static files under a head; everything here runs in a thread."""

    def __init__(self, out: Path, head: TreeHead, ahead: Ahead) -> None:
        self._out, self._head, self._ahead = out, head, ahead
        self._pending: dict[str, bytes] = {}  # fetched, not yet verified
        self._local: set[str] = set()  # read from the folder, not yet verified
        self.fetched = 0

    def _fetch(self, path: str) -> bytes | None:
        file = self._out / path
        if file.exists():
            self._local.add(path)
            return file.read_bytes()
        data = self._ahead.fetch(path)
        if data is not None:
            self._pending[path] = data
        return data

    def run(self, tell: Progress) -> None:
        """Verify and write every tile and bundle. Raises ProofError as `TileReader`."""
        self._out.mkdir(parents=True, exist_ok=True)
        bundles = bundles_for(self._head.size)
        wanted = [path for bundle in bundles for path in (_tile_of(bundle).path, bundle.path)]
        self._ahead.plan([path for path in wanted if not (self._out / path).exists()])
        reader = TileReader(self._head, self._fetch)
        for bundle in bundles:
            try:
                reader.entries(bundle.index)
            except ProofError:
                if not self._local:
                    raise
                for path in self._local:  # torn by a power cut, or of another tree: fetched again
                    (self._out / path).unlink(missing_ok=True)
                self._local.clear()
                self._pending.clear()
                reader = TileReader(self._head, self._fetch)
                reader.entries(bundle.index)
            self._write()
            tell("entries", bundle.index * WIDTH + bundle.width, self._head.size)

    def _write(self) -> None:
        for path, data in self._pending.items():
            (self._out / path).parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._out / path, data)
        self.fetched += len(self._pending)
        self._pending.clear()
        self._local.clear()


def _tile_of(bundle: Bundle) -> Tile:
    return Tile(0, bundle.index, bundle.width)


def _expected(size: int) -> set[str]:
    return {tile.path for tile in tiles_for(size)} | {bundle.path for bundle in bundles_for(size)}


async def copy_tiles(
    files: LogFiles, out: Path, note: str, head: TreeHead, *, progress: Progress | None = None, last: bool = True
) -> Copied:
    """Copy a log's static files under a verified head to ``out``, going on from what is there.

    ``last`` writes the head too. Raises ProofError: what `TileReader` raises, SYNC_SHRANK if ``out`` holds a newer head
    of the log; SourceError SYNC_NOT_WRITTEN.
    """
    ahead = Ahead(files)
    copy = _Copy(out, head, ahead)
    try:
        await asyncio.to_thread(copy.run, progress or (lambda *_: None))
        if last:
            await asyncio.to_thread(finish_tiles, out, note, head)
    except OSError as error:
        raise _not_written(out, error) from None
    finally:
        await ahead.close()
    return Copied(head.size, head.root, len(_expected(head.size)), copy.fetched)


def finish_tiles(out: Path, note: str, head: TreeHead) -> None:
    """Write the head, and remove the partial files of earlier ones. Raises OSError."""
    expected = _expected(head.size)
    write_whole(out / "checkpoint", note.encode())
    for path in out.glob("tile/**/*.p/*"):
        if str(path.relative_to(out)) not in expected:
            path.unlink()


def _not_written(out: Path, error: OSError) -> SourceError:
    return SourceError(
        "SYNC_NOT_WRITTEN", f"{out}: {error.strerror}", "Free space there; the same command goes on where it stopped."
    )


def check_not_shrunk(out: Path, head: TreeHead, log_vkey: str) -> None:
    """Raise ProofError SYNC_SHRANK if the folder holds a newer head of the log than the one that is shown."""
    try:
        note = (out / "checkpoint").read_text()
    except OSError:
        return
    kept = verify_checkpoint(note, head.origin, [log_vkey])
    if kept.size > head.size:
        raise ProofError("SYNC_SHRANK", f"{out} holds {kept.size} entries that were signed, the log shows {head.size}")


async def export(
    client: ValidatorClient, out: Path, *, log_vkey: str = "", receipt_vkey: str = "", progress: Progress | None = None
) -> Exported:
    """Copy a whole ledger to ``out``, going on from what is there, and verify all of it.

    Keys override those that the validator shows. Raises ProofError: SYNC_OF_ANOTHER if ``out`` holds another ledger,
    SYNC_SHRANK, EXPORT_MISSING for an accepted pair or an item of one that is neither given out nor taken down, what
    `protocol.decision.check_exported` and `copy_tiles` raise; SourceError SYNC_NOT_WRITTEN.
    """
    tell = progress or (lambda *_: None)
    network = await client.network()
    if (out / "network.json").exists() and read_network(out).network_id != network.network_id:
        raise ProofError("SYNC_OF_ANOTHER", f"{out} holds the ledger of another network", "Choose another folder.")
    size = -1
    async with LogFiles(client.url, patience_s=client.patience_s) as files:
        for attempt in range(1, _ATTEMPTS + 1):
            note = await client.tree_head()
            head = verify_checkpoint(note, network.origin, [log_vkey or network.log_vkey])
            check_not_shrunk(out, head, log_vkey or network.log_vkey)
            await copy_tiles(files, out, note, head, progress=tell, last=False)
            try:
                return await _export_pairs(client, out, network, note, head, receipt_vkey, tell)
            except OSError as error:
                raise _not_written(out, error) from None
            except Gone as gone:
                # It may have been taken down since: then the ledger has grown by the entry that says so.
                if head.size == size or attempt == _ATTEMPTS:
                    raise gone.error from None
                size = head.size
    raise AssertionError("the last attempt returns or raises")


def read_bundles(out: Path, size: int) -> Iterator[tuple[Bundle, list[bytes]]]:
    """Yield the bundles of a copied log with their entries, in order."""
    for bundle in bundles_for(size):
        yield bundle, parse_bundle((out / bundle.path).read_bytes(), bundle.width)


async def _export_pairs(
    client: ValidatorClient,
    out: Path,
    network: Network,
    note: str,
    head: TreeHead,
    receipt_vkey: str,
    tell: Progress,
) -> Exported:
    (out / "blobs").mkdir(exist_ok=True)
    leaves = [leaf for _, page in read_bundles(out, head.size) for leaf in page]
    erased = {entry.index for _, entry in find_takedowns(leaves)}
    referenced: set[str] = set()
    pairs = 0
    for bundle in bundles_for(head.size):
        path = out / pairs_path(bundle)
        first = bundle.index * WIDTH
        if path.exists() and bundle.width == WIDTH:
            rows = [parse(ExportedPair, line) for line in path.read_bytes().splitlines()]
            kept = [row for row in rows if row.index not in erased]
            if len(kept) < len(rows):
                write_whole(path, b"".join(encode(row) + b"\n" for row in kept))
        else:
            kept = await _fetch_pairs(client, bundle, leaves, erased, network, receipt_vkey)
            await _fetch_blobs(client, out / "blobs", kept)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, b"".join(encode(row) + b"\n" for row in kept))
        pairs += len(kept)
        referenced |= {item.hex() for row in kept for item in (row.submission.a.sha256, row.submission.b.sha256)}
        tell("pairs", first + bundle.width, head.size)
    await asyncio.to_thread(_finish, out, head, referenced, network, note)
    return Exported(head.size, head.root, pairs, len(referenced), len(erased))


def _finish(out: Path, head: TreeHead, referenced: set[str], network: Network, note: str) -> None:
    """Remove what nothing refers to any more, taken down or replaced, and write the head last."""
    for file in (out / "blobs").iterdir():
        if file.name not in referenced:
            file.unlink()
    expected = {pairs_path(bundle) for bundle in bundles_for(head.size)}
    for file in out.glob("pairs/**/*.p/*.jsonl"):
        if str(file.relative_to(out)) not in expected:
            file.unlink()
    write_whole(out / "network.json", encode(network))
    finish_tiles(out, note, head)


def pack(folder: Path, out: Path) -> None:
    """Put an exported folder into a tar file, the same bytes for the same ledger, and remove the folder.

    Raises SourceError SYNC_NOT_WRITTEN.
    """
    temporary = out.with_name(f".{out.name}.tmp")

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.isdir() else 0o644
        return member

    try:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(folder.rglob("*")):
                archive.add(path, str(path.relative_to(folder)), recursive=False, filter=plain)
        temporary.replace(out)
        shutil.rmtree(folder)
    except OSError as error:
        raise _not_written(out, error) from None


async def _fetch_pairs(
    client: ValidatorClient, bundle: Bundle, leaves: list[bytes], erased: set[int], network: Network, receipt_vkey: str
) -> list[ExportedPair]:
    first, end = bundle.index * WIDTH, bundle.index * WIDTH + bundle.width
    page = await client.submissions(first, WIDTH)
    rows = [row for row in page.submissions if row.index < end and row.index not in erased]
    gate = asyncio.Semaphore(_PARALLEL)

    async def complete(index: int, envelope: Envelope) -> ExportedPair:
        async with gate:
            try:
                decision = await client.receipt(envelope.submission.digest(network.domain))
            except Rejected as error:
                raise Gone(ProofError("EXPORT_MISSING", f"entry {index}: {error.what}")) from None
        pair = ExportedPair(index, envelope.submission, envelope.signature, decision)
        check_exported(pair, leaves[index], network.domain, network.origin, receipt_vkey or network.receipt_vkey)
        return pair

    found = await asyncio.gather(*(complete(row.index, Envelope(row.submission, row.signature)) for row in rows))
    given = {row.index for row in rows} | erased
    for index in range(first, end):
        if index not in given and is_accepted(leaves[index]):
            raise Gone(
                ProofError("EXPORT_MISSING", f"entry {index} is an accepted pair, and nothing of it is given out")
            )
    return list(found)


async def _fetch_blobs(client: ValidatorClient, folder: Path, pairs: list[ExportedPair]) -> None:
    wanted = [item for pair in pairs for item in (pair.submission.a.sha256, pair.submission.b.sha256)]
    await fetch_items(client, folder, list(dict.fromkeys(wanted)), lambda *_: None)
