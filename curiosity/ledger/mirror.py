"""A copy of a ledger that nobody has to be trusted for: leaves, submissions and items, every digest verified.

entries.jsonl       one leaf a line, canonical JSON
submissions.jsonl   one signed submission a line, with the index of its entry
tree-head.txt       the signed tree head that the leaves lead to
network.json        what the validator said of itself
blobs/<sha256>      items of accepted pairs
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from curiosity.client.client import ValidatorClient
from curiosity.host.files import append_durably, cut_to, make_folder, write_whole
from curiosity.ledger.tiles import Ahead, LogFiles, read_entries
from curiosity.protocol.decision import check_submission
from curiosity.protocol.entry import PairEntry, parse_entry
from curiosity.protocol.errors import ProofError, Rejected, SourceError
from curiosity.protocol.merkle import Frontier, leaf_hash
from curiosity.protocol.messages import IndexedSubmission, Network
from curiosity.protocol.tlog import TileReader, TreeHead, verify_checkpoint
from curiosity.protocol.tombstones import check_takedowns
from curiosity.protocol.wire import encode, parse

_PAGE = 1000
_PARALLEL = 32
_ATTEMPTS = 4  # a takedown in the middle of a copy makes what was about to be fetched disappear

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Mirrored:
    """What a mirror holds."""

    size: int
    root: bytes
    pairs: int
    accepted: int
    items: int
    fetched: int  # items that were not there yet
    taken_down: int  # pairs whose content is not kept any more


async def mirror(
    client: ValidatorClient, out: Path, *, log_vkey: str = "", progress: Progress | None = None
) -> Mirrored:
    """Copy the ledger to ``out``, going on from what is there, and verify all of it.

    ``log_vkey`` is the pinned tree head key; empty trusts the one that the validator shows. Raises ProofError: what
    `verify_checkpoint` raises, MIRROR_OF_ANOTHER if ``out`` holds another ledger, MIRROR_SHRANK if it holds more than
    is signed now, MIRROR_ROOT if the leaves do not lead to the signed root, MIRROR_SUBMISSION, MIRROR_OPENING or
    MIRROR_ITEM if content is missing or not what the ledger names, TAKEDOWN_ codes; SourceError MIRROR_NOT_WRITTEN,
    MIRROR_UNREADABLE. What the ledger says is taken down is neither fetched nor kept.
    """
    tell = progress or (lambda *_: None)
    network = await client.network()
    if (out / "network.json").exists() and (kept := read_network(out)).network_id != network.network_id:
        raise ProofError(
            "MIRROR_OF_ANOTHER",
            f"{out} holds the ledger {kept.origin!r}, the validator keeps {network.origin!r} of another network",
            "Choose another folder, or another validator.",
        )
    size = -1
    for attempt in range(1, _ATTEMPTS + 1):
        note = await client.tree_head()
        head = verify_checkpoint(note, network.origin, [log_vkey or network.log_vkey])
        try:
            async with LogFiles(client.url, patience_s=client.patience_s) as files:
                return await _copy(client, files, out, network, note, head, tell)
        except Gone as gone:
            # It may have been taken down since: then the ledger has grown by the entry that says so.
            if head.size == size or attempt == _ATTEMPTS:
                raise gone.error from None
            size = head.size
    raise AssertionError("the last attempt returns or raises")


class Gone(Exception):
    """Something is not there that the ledger names."""

    def __init__(self, error: ProofError) -> None:
        super().__init__(str(error))
        self.error = error


async def _copy(
    client: ValidatorClient, files: LogFiles, out: Path, network: Network, note: str, head: TreeHead, tell: Progress
) -> Mirrored:
    try:
        make_folder(out / "blobs")
        leaves = await _leaves(files, out / "entries.jsonl", head, tell)
        erased = check_takedowns(leaves, network.network_id, network.domain)
        submissions = await _submissions(client, leaves, erased, network, tell)
        wanted = _wanted(leaves, submissions)
        _forget(out, wanted)
        fetched = await fetch_items(client, out / "blobs", wanted, tell)
        write_whole(out / "submissions.jsonl", b"".join(encode(row) + b"\n" for row in submissions))
        write_whole(out / "network.json", encode(network))
        write_whole(out / "tree-head.txt", note.encode())
    except OSError as error:
        raise SourceError(
            "MIRROR_NOT_WRITTEN", f"{out}: {error.strerror}", "Free space there; the copy goes on where it stopped."
        ) from None
    accepted = sum(is_accepted(leaf) for leaf in leaves)
    return Mirrored(head.size, head.root, len(submissions), accepted, len(wanted), fetched, len(erased))


def _forget(out: Path, wanted: Collection[bytes]) -> None:
    """Remove the items that no pair here has any more, and the submissions: they are about to be written anew."""
    names = {digest.hex() for digest in wanted}
    gone = [path for path in (out / "blobs").iterdir() if path.name not in names]
    if gone:
        (out / "submissions.jsonl").unlink(missing_ok=True)
    for path in gone:
        path.unlink()


async def _leaves(files: LogFiles, path: Path, head: TreeHead, tell: Progress) -> list[bytes]:
    """Return all leaves under the head, what ``path`` lacks fetched from the log's bundles, all of it verified."""
    leaves = await asyncio.to_thread(_keep_whole_lines, path)
    if len(leaves) > head.size:
        raise ProofError(
            "MIRROR_SHRANK",
            f"{path} holds {len(leaves)} leaves that were signed once, the log now signs {head.size}",
        )
    ahead = Ahead(files)

    def read() -> None:
        reader = TileReader(head, ahead.fetch)
        if leaves and (mine := _root(leaves)) != reader.root(len(leaves)):
            raise ProofError(
                "MIRROR_ROOT", f"{path} has {len(leaves)} leaves that lead to {mine.hex()}, which is not the log's tree"
            )
        for first, fetched, _ in read_entries(reader, ahead, len(leaves)):
            append_durably(path, b"".join(leaf + b"\n" for leaf in fetched))
            leaves.extend(fetched)
            tell("leaves", first + len(fetched), head.size)

    try:
        await asyncio.to_thread(read)
    finally:
        await ahead.close()
    return leaves


def _root(leaves: Sequence[bytes]) -> bytes:
    frontier = Frontier()
    frontier.extend(leaf_hash(leaf) for leaf in leaves)
    return frontier.root()


def _keep_whole_lines(path: Path) -> list[bytes]:
    """Return the leaves in ``path``; a last line that was cut off is removed."""
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    if lines[-1]:
        cut_to(path, sum(len(line) + 1 for line in lines[:-1]))
    return lines[:-1]


async def _submissions(
    client: ValidatorClient,
    leaves: list[bytes],
    erased: Collection[int],
    network: Network,
    tell: Progress,
) -> list[IndexedSubmission]:
    rows: list[IndexedSubmission] = []
    start: int | None = 0
    while start is not None:
        page = await client.submissions(start, _PAGE)
        rows += [row for row in page.submissions if row.index < len(leaves) and row.index not in erased]
        start = page.next if page.next is not None and page.next < len(leaves) else None
        tell("submissions", len(rows), len(leaves))
    for row in rows:
        check_submission(row, leaves[row.index], network.domain)
    given = {row.index for row in rows} | set(erased)
    missing = [index for index, leaf in enumerate(leaves) if index not in given and is_accepted(leaf)]
    if missing:
        what = f"no submission behind {len(missing)} accepted entries, the first {missing[0]}"
        raise Gone(ProofError("MIRROR_SUBMISSION", what))
    return rows


def is_accepted(leaf: bytes) -> bool:
    """True if the leaf is the entry of an accepted pair."""
    entry = parse_entry(leaf)
    return isinstance(entry, PairEntry) and entry.verdict.is_accepted


def _wanted(leaves: list[bytes], submissions: list[IndexedSubmission]) -> list[bytes]:
    wanted: dict[bytes, None] = {}
    for row in submissions:
        if is_accepted(leaves[row.index]):
            wanted[row.submission.a.sha256] = None
            wanted[row.submission.b.sha256] = None
    return list(wanted)


async def fetch_items(client: ValidatorClient, folder: Path, wanted: Sequence[bytes], tell: Progress) -> int:
    """Fetch the items that ``folder`` lacks, verified, and return how many; raises `Gone` for one that is not there."""
    missing = [digest for digest in wanted if not (folder / digest.hex()).exists()]
    gate = asyncio.Semaphore(_PARALLEL)
    done = 0

    async def fetch(digest: bytes) -> None:
        nonlocal done
        async with gate:
            try:
                data = await client.item(digest)
            except Rejected as error:
                raise Gone(ProofError("MIRROR_ITEM", error.what)) from None
        if sha256(data).digest() != digest:
            raise ProofError("MIRROR_ITEM", f"item 0x{digest.hex()} came with digest {sha256(data).hexdigest()}")
        await asyncio.to_thread(write_whole, folder / digest.hex(), data)
        done += 1
        if done % 100 == 0 or done == len(missing):
            tell("items", done, len(missing))

    try:
        async with asyncio.TaskGroup() as group:
            for digest in missing:
                group.create_task(fetch(digest))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None  # the others are of the same moment: the group ended with the first
    return len(missing)


def read_leaves(path: Path) -> list[bytes]:
    """Return the leaves of a mirror folder or an entries file. Raises SourceError MIRROR_UNREADABLE."""
    file = path / "entries.jsonl" if path.is_dir() else path
    try:
        return [line for line in file.read_bytes().split(b"\n") if line]
    except OSError as error:
        raise SourceError(
            "MIRROR_UNREADABLE", f"{file}: {error.strerror}", "Make one with `curiosity ledger mirror --out DIR`."
        ) from None


async def fetch_leaves(client: ValidatorClient, log_vkey: str = "", progress: Progress | None = None) -> list[bytes]:
    """Return all leaves of a validator's ledger, checked against its signed tree head; ``log_vkey`` as in `mirror`."""
    tell = progress or (lambda *_: None)
    network = await client.network()
    head = verify_checkpoint(await client.tree_head(), network.origin, [log_vkey or network.log_vkey])
    async with LogFiles(client.url, patience_s=client.patience_s) as files:
        ahead = Ahead(files)
        try:
            return await asyncio.to_thread(_read_all, TileReader(head, ahead.fetch), ahead, head.size, tell)
        finally:
            await ahead.close()


def _read_all(reader: TileReader, ahead: Ahead, size: int, tell: Progress) -> list[bytes]:
    leaves: list[bytes] = []
    for _, page, _ in read_entries(reader, ahead, 0):
        leaves += page
        tell("leaves", len(leaves), size)
    return leaves


def read_network(folder: Path) -> Network:
    """Return the network message that a mirror holds. Raises SourceError MIRROR_UNREADABLE."""
    try:
        return parse(Network, (folder / "network.json").read_bytes())
    except OSError as error:
        raise SourceError("MIRROR_UNREADABLE", f"{folder}: {error.strerror}", "Name a mirror folder.") from None
    except Rejected as error:
        raise SourceError("MIRROR_UNREADABLE", f"{folder}: {error.what}", "Make the mirror again.") from None
