"""A whole ledger copied to a folder (`curiosity.ledger.layout`).

It serves a trainer, whoever derives payouts, and a validator that is built again. Everything is hashed as it comes in,
and what is there already is hashed again: what a power cut tore, what somebody changed and what is missing is fetched,
and nothing else is.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from curiosity.client.client import ValidatorClient
from curiosity.host.files import is_left_over, make_folder, write_whole
from curiosity.host.paths import inside
from curiosity.ledger.layout import (
    BLOBS,
    BLOCKED,
    HEAD,
    NETWORK,
    OLD_FILES,
    OLD_HEAD,
    OLD_LEAVES,
    PAIRS,
    SELECTION,
    Selection,
    blob_path,
    pairs_path,
)
from curiosity.ledger.leaves import read_network
from curiosity.ledger.sync import check_not_shrunk, copy_tiles, finish_tiles, not_written
from curiosity.ledger.tiles import LogFiles
from curiosity.protocol.counts import number_of
from curiosity.protocol.decision import ExportedPair, check_exported
from curiosity.protocol.entry import PairEntry, is_accepted, parse_entry
from curiosity.protocol.errors import ProofError, Rejected, SourceError
from curiosity.protocol.license import NO_FILTER, LicenseFilter
from curiosity.protocol.messages import Network
from curiosity.protocol.pair import Envelope
from curiosity.protocol.tiles import WIDTH, bundles_for, parse_bundle
from curiosity.protocol.tlog import Bundle, TreeHead, verify_checkpoint
from curiosity.protocol.tombstones import check_takedowns
from curiosity.protocol.wire import encode, parse

T = TypeVar("T")
Progress = Callable[[str, int, int], None]
_ATTEMPTS = 4  # a takedown in the middle of a copy makes what was about to be fetched disappear
_PARALLEL = 32


@dataclass(frozen=True)
class CopiedLedger:
    """A whole ledger in a folder."""

    size: int
    root: bytes
    pairs: int
    accepted: int
    items: int
    fetched: int  # items that were not there yet, or were torn or changed
    taken_down: int  # pairs whose content is not kept any more
    blocked: int | None = None  # keyed hashes of contents that must not come back; None: whoever copied was not told
    licenses: tuple[str, ...] = ()  # the only ones under which there are pairs; none: all
    left_out: int = 0  # accepted pairs under others


async def copy_ledger(
    client: ValidatorClient,
    out: Path,
    *,
    log_vkey: str = "",
    receipt_vkey: str = "",
    token: str = "",
    licenses: Collection[str] = (),
    progress: Progress | None = None,
) -> CopiedLedger:
    """Copy a whole ledger to ``out``, going on from what is there, and verify all of it.

    Args:
        client: Of the validator whose ledger it is.
        out: The folder. One that `curiosity ledger mirror` wrote in the old layout is brought to the new one.
        log_vkey: Key that must have signed the tree head; empty trusts the one that the validator shows.
        receipt_vkey: Key that must have signed the receipts, likewise.
        token: The operator's; with it the list of what must not come back is copied too.
        licenses: Pairs are copied that these let one use; none: all. Entries and proofs are copied of all.
        progress: Told what is copied, how much of it is done and how much there is.

    Raises:
        ProofError: SYNC_OF_ANOTHER if ``out`` holds another ledger, SYNC_SHRANK if it holds more than is signed now,
            EXPORT_MISSING for an accepted pair or an item of one that is neither given out nor taken down, EXPORT_ITEM
            for an item that came with another hash, EXPORT_BLOCKED for a list that is older than the log, TAKEDOWN_
            codes, what `verify_checkpoint`, `curiosity.protocol.decision.check_exported` and `copy_tiles` raise.
        SourceError: SYNC_NOT_WRITTEN, LICENSE_UNKNOWN.
        Rejected: ADMIN_TOKEN.
    """
    tell = progress or (lambda *_: None)
    network = await client.network()
    log_vkey = log_vkey or network.log_vkey
    size = -1
    async with LogFiles(client.url, patience_s=client.patience_s) as files:
        for attempt in range(1, _ATTEMPTS + 1):
            note = await client.tree_head()
            head = verify_checkpoint(note, network.origin, [log_vkey])
            try:
                await asyncio.to_thread(_check_kept, out, network, head, log_vkey)
                known = await asyncio.to_thread(_old_leaves, out)
                await copy_tiles(files, out, note, head, progress=tell, last=False, known=known)
                copy = _ContentCopy(client, out, network, head, receipt_vkey or network.receipt_vkey, tell)
                return await copy.run(note, token, licenses)
            except OSError as error:
                raise not_written(out, error) from None
            except _Gone as gone:
                # It may have been taken down since: then the ledger has grown by the entry that says so.
                if head.size == size or attempt == _ATTEMPTS:
                    raise gone.error from None
                size = head.size
    raise AssertionError("the last attempt returns or raises")


class _Gone(Exception):
    """Something is not there that the ledger names."""

    def __init__(self, error: ProofError) -> None:
        super().__init__(str(error))
        self.error = error


def _check_kept(out: Path, network: Network, head: TreeHead, log_vkey: str) -> None:
    """Check that the folder holds no other ledger and no newer head; a torn file says nothing.

    Raises:
        ProofError: If it does.
    """
    try:
        kept = read_network(out) if (out / NETWORK).exists() else None
    except SourceError:
        kept = None
    if kept is not None and kept.network_id != network.network_id:
        raise ProofError(
            "SYNC_OF_ANOTHER",
            f"{out} holds the ledger {kept.origin!r}, the validator keeps {network.origin!r} of another network",
            "Choose another folder, or another validator.",
        )
    for note in (None, out / OLD_HEAD):
        try:
            check_not_shrunk(out, head, log_vkey, note)
        except ProofError as error:
            if error.code == "SYNC_SHRANK":
                raise
            if kept is None:
                file = note or out / HEAD
                raise ProofError(
                    error.code,
                    f"{file}, kept from an earlier run: {error.what}; {out / NETWORK} cannot be read either",
                    "Choose another folder. If the copy is yours and damaged, remove that file and run it again.",
                ) from None


def _old_leaves(out: Path) -> list[bytes]:
    """Return the leaves of a folder in the old layout, without a last one that was cut off; unchecked."""
    try:
        return (out / OLD_LEAVES).read_bytes().split(b"\n")[:-1]
    except OSError:
        return []


class _ContentCopy:
    """What is copied beside the static files, under one head."""

    def __init__(
        self, client: ValidatorClient, out: Path, network: Network, head: TreeHead, receipt_vkey: str, tell: Progress
    ) -> None:
        self._client, self._out, self._network, self._head, self._tell = client, out, network, head, tell
        self._receipt_vkey = receipt_vkey
        self._gate = asyncio.Semaphore(_PARALLEL)
        self._filter = NO_FILTER
        self._left_out = 0

    async def run(self, note: str, token: str, licenses: Collection[str]) -> CopiedLedger:
        """Copy it, and write the head at the end.

        Raises:
            _Gone: If the source does not give something any more.
            OSError: If the folder cannot be written.
            ProofError: If something does not hold.
            SourceError: LICENSE_UNKNOWN.
        """
        leaves = await asyncio.to_thread(self._leaves)
        if licenses:
            self._filter = LicenseFilter.named(licenses, [*map(_license_of, leaves), *self._network.licenses])
        takedowns = check_takedowns(leaves, self._network.network_id, self._network.domain)
        erased = {entry.pair for entry in takedowns.values()}  # with all entries about them
        pairs, accepted = 0, Counter[str]()
        wanted: dict[bytes, None] = {}
        for bundle in bundles_for(self._head.size):
            kept = await self._take_pairs(bundle, leaves, erased)
            pairs += len(kept)
            mine = [pair.submission for pair in kept.values() if pair.decision.verdict.is_accepted]
            accepted.update(one.license for one in mine)
            wanted |= dict.fromkeys(part.sha256 for one in mine for part in one.parts)
            self._tell("pairs", bundle.index * WIDTH + bundle.width, self._head.size)
        await asyncio.to_thread(self._forget, wanted)
        fetched = await self._take_items(list(wanted))
        blocked = await self._take_blocked(token) if token else None
        await asyncio.to_thread(self._finish, note, accepted)
        return CopiedLedger(
            size=self._head.size,
            root=self._head.root,
            pairs=pairs,
            accepted=accepted.total(),
            items=len(wanted),
            fetched=fetched,
            taken_down=len(erased),
            blocked=blocked,
            licenses=self._filter.ids,
            left_out=self._left_out,
        )

    def _path(self, name: str) -> Path:
        return inside(self._out, name, links=True)

    def _leaves(self) -> list[bytes]:
        bundles = bundles_for(self._head.size)
        return [leaf for one in bundles for leaf in parse_bundle(self._path(one.path).read_bytes(), one.width)]

    # -- pairs

    async def _take_pairs(self, bundle: Bundle, leaves: Sequence[bytes], erased: set[bytes]) -> dict[int, ExportedPair]:
        """Return what is given out of a bundle's pairs, by index; what is here and holds is not fetched."""
        first = bundle.index * WIDTH
        wanted: dict[int, bytes] = {}
        for index in range(first, first + bundle.width):
            entry = parse_entry(leaves[index])
            if isinstance(entry, PairEntry) and entry.pair not in erased:
                if self._filter.permits(entry.license):
                    wanted[index] = leaves[index]
                else:
                    self._left_out += entry.verdict.is_accepted
        pairs = await asyncio.to_thread(self._kept_pairs, bundle, wanted)
        missing = {index: leaf for index, leaf in wanted.items() if index not in pairs}
        if missing:
            pairs |= await self._fetch_pairs(first, missing)
        for index in missing:
            if index not in pairs and is_accepted(leaves[index]):
                what = f"entry {index} is an accepted pair, and nothing of it is given out"
                raise _Gone(ProofError("EXPORT_MISSING", what))
        await asyncio.to_thread(self._write_pairs, bundle, [pairs[index] for index in sorted(pairs)])
        return pairs

    def _kept_pairs(self, bundle: Bundle, wanted: Mapping[int, bytes]) -> dict[int, ExportedPair]:
        """Return what is here of a bundle, now or when it was shorter, and holds."""
        path = self._path(pairs_path(bundle))
        shorter = self._path(pairs_path(Bundle(bundle.index, 1))).parent.glob("*.jsonl")
        pairs: dict[int, ExportedPair] = {}
        for file in (path, *shorter):
            for line in file.read_bytes().splitlines() if file.is_file() else ():
                try:
                    pair = parse(ExportedPair, line)
                    if pair.index in wanted and encode(pair) == line:
                        self._check(pair, wanted[pair.index])
                        pairs.setdefault(pair.index, pair)
                except (Rejected, ProofError):  # torn or changed: fetched again
                    continue
        return pairs

    async def _fetch_pairs(self, first: int, missing: Mapping[int, bytes]) -> dict[int, ExportedPair]:
        page = await self._client.submissions(first, WIDTH)

        async def complete(index: int, envelope: Envelope) -> ExportedPair:
            digest = envelope.submission.digest(self._network.domain)
            is_meant = f'"pair":"0x{digest.hex()}"'.encode() in missing[index]
            async with self._gate:
                try:
                    decision = await self._client.receipt(digest, index if is_meant else None)
                except Rejected as error:
                    raise _Gone(ProofError("EXPORT_MISSING", f"entry {index}: {error.what}")) from None
            pair = ExportedPair(index, envelope.submission, envelope.signature, decision)
            self._check(pair, missing[index])
            return pair

        rows = [row for row in page.submissions if row.index in missing]
        found = await _all(complete(row.index, Envelope(row.submission, row.signature)) for row in rows)
        return {pair.index: pair for pair in found}

    def _check(self, pair: ExportedPair, leaf: bytes) -> None:
        check_exported(pair, leaf, self._network.domain, self._network.origin, self._receipt_vkey)

    def _write_pairs(self, bundle: Bundle, pairs: Iterable[ExportedPair]) -> None:
        path = self._path(pairs_path(bundle))
        make_folder(path.parent)
        _write_changed(path, b"".join(encode(pair) + b"\n" for pair in pairs))

    # -- items

    async def _take_items(self, wanted: Sequence[bytes]) -> int:
        """Fetch the items that are not here as they should be, and return how many."""
        make_folder(self._out / BLOBS)
        done = 0

        async def settle(digest: bytes) -> bool:
            nonlocal done
            path = self._path(blob_path(digest))
            async with self._gate:
                is_here = await asyncio.to_thread(_has, path, digest)
                if not is_here:
                    await self._fetch_item(path, digest)
            done += 1
            if done % 100 == 0 or done == len(wanted):
                self._tell("items", done, len(wanted))
            return not is_here

        return sum(await _all(map(settle, wanted)))

    async def _fetch_item(self, path: Path, digest: bytes) -> None:
        try:
            data = await self._client.item(digest)
        except Rejected as error:
            raise _Gone(ProofError("EXPORT_MISSING", error.what)) from None
        if sha256(data).digest() != digest:
            raise ProofError("EXPORT_ITEM", f"item 0x{digest.hex()} came with SHA-256 {sha256(data).hexdigest()}")
        await asyncio.to_thread(write_whole, path, data)

    def _forget(self, wanted: Collection[bytes]) -> None:
        """Remove the items that no pair here has any more."""
        names = {digest.hex() for digest in wanted}
        for path in (self._out / BLOBS).glob("*"):
            if path.name not in names:
                path.unlink()

    # -- the rest

    async def _take_blocked(self, token: str) -> int:
        """Write the operator's list, for his own eyes; asked for after the head, so that it lacks none of it."""
        blocked = await self._client.blocked(token)
        if blocked.size < self._head.size:
            raise ProofError(
                "EXPORT_BLOCKED",
                f"the list of what must not come back covers {blocked.size} of {number_of(self._head.size, 'entry')}",
                "Ask the validator that keeps the log, not a copy of it.",
            )
        await asyncio.to_thread(write_whole, self._out / BLOCKED, encode(blocked), mode=0o600)
        return len(blocked.keys)

    def _finish(self, note: str, accepted: Mapping[str, int]) -> None:
        """Write whose ledger it is and the head, and remove what is of earlier heads, of killed runs and of old."""
        _write_changed(self._out / NETWORK, encode(self._network))
        if self._filter.ids:
            selection = Selection(self._filter.ids, dict(sorted(accepted.items())), self._left_out)
            _write_changed(self._out / SELECTION, encode(selection))
        else:
            (self._out / SELECTION).unlink(missing_ok=True)
        finish_tiles(self._out, note, self._head)
        expected = {pairs_path(bundle) for bundle in bundles_for(self._head.size)}
        old = [inside(self._out, name, one=True, links=True) for name in OLD_FILES]
        for path in (*self._out.rglob("*"), *old):
            name = str(path.relative_to(self._out))
            is_stale = name.startswith(f"{PAIRS}/") and path.is_file() and name not in expected
            if path in old or is_stale or is_left_over(path):
                path.unlink(missing_ok=True)


async def _all(tasks: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """Return what all of them return. The first failure ends the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            started = [group.create_task(task) for task in tasks]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None  # the others are of the same moment
    return [task.result() for task in started]


def _license_of(leaf: bytes) -> str:
    return entry.license if isinstance(entry := parse_entry(leaf), PairEntry) else ""


def _has(path: Path, digest: bytes) -> bool:
    """Return True if the file is there with that SHA-256."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest() == digest
    except FileNotFoundError:
        return False


def _write_changed(path: Path, data: bytes) -> None:
    if not path.is_file() or path.read_bytes() != data:
        write_whole(path, data)
