"""A whole ledger as a folder from which a validator can be built again: its static files, and beside them

network.json                    what the validator said of itself
pairs/<as its bundle>.jsonl     what is given out beside the pair entries of one bundle, a `ExportedPair` a line
blobs/<sha256>                  items of accepted pairs; those of others are not given to everybody
blocked.json                    with the operator's token only: what must not come back, for his own validator

Verified and resumed like the static files (`curiosity.ledger.sync`), of which ``checkpoint`` comes last here too.
"""

import asyncio
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from curiosity.client.client import ValidatorClient
from curiosity.host.files import make_folder, replacing, write_whole
from curiosity.host.paths import inside
from curiosity.ledger.mirror import Gone, fetch_items, is_accepted, read_network
from curiosity.ledger.sync import check_not_shrunk, copy_tiles, finish_tiles, not_written
from curiosity.ledger.tiles import LogFiles
from curiosity.protocol.decision import ExportedPair, check_exported, pairs_path
from curiosity.protocol.errors import ProofError, Rejected
from curiosity.protocol.messages import Network
from curiosity.protocol.pair import Envelope
from curiosity.protocol.takedown import BLOCKED_FILE
from curiosity.protocol.tiles import WIDTH, bundles_for, parse_bundle
from curiosity.protocol.tlog import Bundle, TreeHead, verify_checkpoint
from curiosity.protocol.tombstones import check_takedowns
from curiosity.protocol.wire import encode, parse

Progress = Callable[[str, int, int], None]
_ATTEMPTS = 3
_PARALLEL = 16


@dataclass(frozen=True)
class Exported:
    """A whole ledger in a folder."""

    size: int
    root: bytes
    pairs: int
    items: int
    taken_down: int
    blocked: int | None  # keyed hashes of contents that must not come back; None: whoever exported was not told


async def export(
    client: ValidatorClient,
    out: Path,
    *,
    log_vkey: str = "",
    receipt_vkey: str = "",
    token: str = "",
    progress: Progress | None = None,
) -> Exported:
    """Copy a whole ledger to ``out``, going on from what is there, and verify all of it.

    Keys override those that the validator shows. ``token`` is the operator's: with it the list of what must not come
    back is exported too. Raises ProofError: SYNC_OF_ANOTHER if ``out`` holds another ledger, SYNC_SHRANK,
    EXPORT_MISSING for an accepted pair or an item of one that is neither given out nor taken down, EXPORT_BLOCKED for a
    list that is older than the log, TAKEDOWN_ codes, what `curiosity.protocol.decision.check_exported` and `copy_tiles`
    raise;
    SourceError SYNC_NOT_WRITTEN; Rejected ADMIN_TOKEN.
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
                done = await _export_pairs(client, out, network, head, receipt_vkey, tell)
                if token:
                    done = replace(done, blocked=await _export_blocked(client, out, head, token))
                await asyncio.to_thread(finish_tiles, out, note, head)
                return done
            except OSError as error:
                raise not_written(out, error) from None
            except Gone as gone:
                # It may have been taken down since: then the ledger has grown by the entry that says so.
                if head.size == size or attempt == _ATTEMPTS:
                    raise gone.error from None
                size = head.size
    raise AssertionError("the last attempt returns or raises")


def read_bundles(out: Path, size: int) -> Iterator[tuple[Bundle, list[bytes]]]:
    """Yield the bundles of a copied log with their entries, in order."""
    for bundle in bundles_for(size):
        yield bundle, parse_bundle(inside(out, bundle.path, links=True).read_bytes(), bundle.width)


async def _export_pairs(
    client: ValidatorClient,
    out: Path,
    network: Network,
    head: TreeHead,
    receipt_vkey: str,
    tell: Progress,
) -> Exported:
    make_folder(out / "blobs")
    leaves = [leaf for _, page in read_bundles(out, head.size) for leaf in page]
    erased = set(check_takedowns(leaves, network.network_id, network.domain))
    referenced: set[str] = set()
    pairs = 0
    for bundle in bundles_for(head.size):
        path = inside(out, pairs_path(bundle), links=True)
        first = bundle.index * WIDTH
        if path.exists() and bundle.width == WIDTH:
            rows = [parse(ExportedPair, line) for line in path.read_bytes().splitlines()]
            kept = [row for row in rows if row.index not in erased]
            if len(kept) < len(rows):
                write_whole(path, b"".join(encode(row) + b"\n" for row in kept))
        else:
            kept = await _fetch_pairs(client, bundle, leaves, erased, network, receipt_vkey)
            await fetch_items(client, out / "blobs", _items_of(kept), lambda *_: None)
            make_folder(path.parent)
            write_whole(path, b"".join(encode(row) + b"\n" for row in kept))
        pairs += len(kept)
        referenced |= {digest.hex() for digest in _items_of(kept)}
        tell("pairs", first + bundle.width, head.size)
    await asyncio.to_thread(_clear, out, head, referenced)
    await asyncio.to_thread(write_whole, out / "network.json", encode(network))
    return Exported(head.size, head.root, pairs, len(referenced), len(erased), None)


async def _export_blocked(client: ValidatorClient, out: Path, head: TreeHead, token: str) -> int:
    """Write the operator's list, for his own eyes; asked for after the head, so that it lacks nothing of the log."""
    blocked = await client.blocked(token)
    if blocked.size < head.size:
        raise ProofError(
            "EXPORT_BLOCKED",
            f"what must not come back is told for {blocked.size} entries, the log has {head.size}",
            "Ask the validator that keeps the log, not a copy of it.",
        )
    await asyncio.to_thread(write_whole, out / BLOCKED_FILE, encode(blocked), mode=0o600)
    return len(blocked.keys)


def _clear(out: Path, head: TreeHead, referenced: set[str]) -> None:
    """Remove what nothing refers to any more, taken down or replaced."""
    for file in (out / "blobs").iterdir():
        if file.name not in referenced:
            file.unlink()
    expected = {pairs_path(bundle) for bundle in bundles_for(head.size)}
    for file in out.glob("pairs/**/*.p/*.jsonl"):
        if str(file.relative_to(out)) not in expected:
            file.unlink()


def pack(folder: Path, out: Path) -> None:
    """Put an exported folder into a tar file, the same bytes for the same ledger, and remove the folder.

    Raises SourceError SYNC_NOT_WRITTEN.
    """

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.isdir() else 0o600 if member.name == BLOCKED_FILE else 0o644
        return member

    try:
        with (
            replacing(out, mode=0o600 if (folder / BLOCKED_FILE).exists() else 0o666) as part,
            tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path in sorted(folder.rglob("*")):
                archive.add(path, str(path.relative_to(folder)), recursive=False, filter=plain)
        shutil.rmtree(folder)
    except OSError as error:
        raise not_written(out, error) from None


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


def _items_of(pairs: list[ExportedPair]) -> list[bytes]:
    """Return the items of the accepted ones, each once."""
    accepted = [pair.submission for pair in pairs if pair.decision.verdict.is_accepted]
    return list(dict.fromkeys(part.sha256 for submission in accepted for part in (submission.a, submission.b)))
