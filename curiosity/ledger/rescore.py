"""Repeating a verdict: anybody who holds both items and the checkpoint comes to the same numbers.

In order: the submission and its opening are those of the entry; the checkpoint is the one that the entry names; both
items decode; each number is what this machine measures, within the margin that the checkpoint publishes; and the
recorded numbers give the recorded outcome exactly. What depends on the history (whether a pair is novel) is not
repeated here: `curiosity payouts` takes it from the entry.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from curiosity.client.items import fetch_item
from curiosity.embedding.checkpoint import FILES, MANIFEST, Checkpoint, Manifest, load
from curiosity.host.files import write_folder
from curiosity.host.paths import inside
from curiosity.ledger.rescored import (
    DIFFERS,
    UNKNOWN,
    Rescored,
    belief_contradiction,
    compare,
    compare_item,
    contradiction,
    item_contradiction,
    items_contradiction,
    why_unmeasured,
)
from curiosity.protocol.counts import number_of
from curiosity.protocol.decision import check_submission
from curiosity.protocol.entry import PairEntry, RuleEntry, TakedownEntry, parse_entry
from curiosity.protocol.errors import CheckpointError, ProofError, Rejected, SourceError
from curiosity.protocol.judgement import Embedded, Opinion, opine
from curiosity.protocol.merkle import root
from curiosity.protocol.messages import IndexedSubmission, Network
from curiosity.protocol.pair import Part
from curiosity.serving.decode import Decoder
from curiosity.serving.embedder import Embedder

if TYPE_CHECKING:
    from curiosity.client.client import ValidatorClient

SAMPLE_TAG = b"curiosity/rescore-sample/1\x00"


class Rescorer:
    """Repeats verdicts of one ledger; use it as an asynchronous context manager. Checkpoints are kept below ``home``.

    ``own`` is a folder with the checkpoint, where somebody has it already; ``private_key`` signs for items of refused
    pairs, as their contributor or an auditor.
    """

    def __init__(
        self,
        client: "ValidatorClient",
        network: Network,
        home: Path,
        *,
        own: Path | None = None,
        private_key: bytes | None = None,
        device: str | None = None,
    ) -> None:
        self._client = client
        self._network = network
        self._home = home
        self._own = own
        self._private_key = private_key
        self._device = device
        self._decoder = Decoder(1)
        self._embedders: dict[bytes, Embedder] = {}

    async def __aenter__(self) -> Self:
        """Start the process that decodes.

        Raises:
            StoreError: DECODER_NOT_STARTING.
        """
        await self._decoder.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process and the encoders' threads."""
        await self._decoder.close()
        for embedder in self._embedders.values():
            embedder.close()

    async def rescore(
        self, row: IndexedSubmission | None, leaf: bytes, index: int, *, is_belief_told: bool = True
    ) -> Rescored:
        """Repeat the verdict of the entry at ``index``.

        Args:
            row: What is given out of its pair, None for nothing.
            leaf: The entry.
            index: Its index.
            is_belief_told: Whether a novel pair must tell its belief; programs of before tell none.

        Raises:
            ServiceError: If the validator cannot be reached.
            CheckpointError: If the checkpoint's files are not those that its digest names.
        """
        entry = parse_entry(leaf)
        if not isinstance(entry, PairEntry):
            return Rescored(
                index, b"", "", UNKNOWN, why=f"entry {index} is a {entry.kind}, not a decision about a pair"
            )
        known = (index, entry.pair, entry.verdict.outcome.value)
        if row is None:
            return Rescored(*known, UNKNOWN, why="nothing is given out of this pair: it was taken down")
        try:
            check_submission(row, leaf, self._network.domain)
        except ProofError as error:
            return Rescored(*known, DIFFERS, "12", f"{error.code}: {error.what}")
        recorded = row.opening.measurement
        if entry.is_single:
            return await self._rescore_single(entry, row, known)
        if recorded is None:
            return Rescored(*known, UNKNOWN, "9", why_unmeasured(entry, row.opening.detail))
        embedder = await self._embedder(entry.verdict.checkpoint)
        if entry.modalities not in embedder.calibration.pairs:
            return Rescored(*known, DIFFERS, "9", f"the checkpoint does not judge {entry.modalities}")
        wrong = contradiction(entry, recorded, embedder)
        if wrong := wrong or belief_contradiction(entry, recorded, is_told=is_belief_told):
            return Rescored(*known, DIFFERS, "9", wrong)
        try:
            embedded = [await self._embed(embedder, entry, part) for part in row.submission.parts]
        except Rejected as refusal:
            return Rescored(*known, UNKNOWN, "5", self._say(refusal, entry))
        except ProofError as error:
            return Rescored(*known, UNKNOWN, "5", f"{error.code}: {error.what}")
        if wrong := items_contradiction(entry, embedded, embedder.in_force.judge.items):
            return Rescored(*known, DIFFERS, "9", wrong)
        opinion = self._opine(embedder, entry, embedded)
        return compare(known, recorded, opinion, embedder.calibration.pairs[entry.modalities].margin_micro)

    async def _rescore_single(
        self, entry: PairEntry, row: IndexedSubmission, known: tuple[int, bytes, str]
    ) -> Rescored:
        if row.opening.item is None:
            return Rescored(*known, UNKNOWN, "9", why_unmeasured(entry, row.opening.detail))
        embedder = await self._embedder(entry.verdict.checkpoint)
        rule = embedder.in_force.judge.items
        if entry.modalities not in rule.modalities:
            return Rescored(*known, DIFFERS, "9", f"the checkpoint does not judge {entry.modalities}")
        if wrong := item_contradiction(entry, row.opening.item, rule):
            return Rescored(*known, DIFFERS, "9", wrong)
        try:
            item = await self._embed(embedder, entry, row.submission.a)
        except Rejected as refusal:
            return Rescored(*known, UNKNOWN, "5", self._say(refusal, entry))
        except ProofError as error:
            return Rescored(*known, UNKNOWN, "5", f"{error.code}: {error.what}")
        found, margin_micro = rule.measure(entry.modalities, item), rule.limits(entry.modalities).margin_micro
        return compare_item(known, row.opening.item, found, margin_micro)

    def _say(self, refusal: Rejected, entry: PairEntry) -> str:
        said = f"{refusal.code}: {refusal.what}"
        if refusal.code == "ITEM_GONE" and self._private_key is None and not entry.verdict.is_accepted:
            said += "; of a pair that was not accepted they are for its sender: name that wallet (--wallet)"
        return said

    async def _embed(self, embedder: Embedder, entry: PairEntry, part: Part) -> Embedded:
        data = await self._item(entry.pair, part)
        array = await self._decoder.decode(part.modality, part.media_type, data)
        return await embedder.embed(part.modality, part.sha256, array)

    def _opine(self, embedder: Embedder, entry: PairEntry, embedded: Sequence[Embedded]) -> Opinion:
        return opine(
            *embedded,
            modalities=entry.modalities,
            checkpoint=entry.verdict.checkpoint,
            calibration=embedder.calibration,
            anchors=embedder.in_force.judge.anchors,
        )

    async def _item(self, pair: bytes, part: Part) -> bytes:
        return await fetch_item(self._client, self._network, pair, part.sha256, private_key=self._private_key)

    async def _embedder(self, digest: bytes) -> Embedder:
        if digest not in self._embedders:
            import asyncio

            from curiosity.serving.in_force import put_on_device

            checkpoint = await self._checkpoint(digest)
            state = await asyncio.to_thread(put_on_device, checkpoint, self._device, "loo")
            self._embedders[digest] = Embedder(state)
        return self._embedders[digest]

    async def _checkpoint(self, digest: bytes) -> Checkpoint:
        if self._own is not None:
            return load(self._own, expected=digest.hex())
        return await fetch_checkpoint(self._client, digest, self._home)


async def fetch_checkpoint(client: "ValidatorClient", digest: bytes, home: Path) -> Checkpoint:
    """Return the checkpoint with a digest: the copy below ``home``, fetched first if there is none.

    Raises:
        CheckpointError: CHECKPOINT_DIFFERS if a file is not the one that the digest names, CHECKPOINT_NOT_WRITTEN.
        Rejected: NOT_FOUND if the validator does not have it.
    """
    folder = inside(home, f"checkpoints/{digest.hex()}", links=True)
    if (folder / MANIFEST).is_file():
        return load(folder, expected=digest.hex())
    contents = {MANIFEST: _checked(MANIFEST, await client.checkpoint_file(digest, MANIFEST), digest.hex())}
    wanted = Manifest.decode(contents[MANIFEST]).files
    for name, expected in sorted(wanted.items()):
        if name not in FILES:
            raise CheckpointError(
                "CHECKPOINT_FORMAT", f"the manifest names {name[:80]!r}", "Update the program or the checkpoint."
            )
        contents[name] = _checked(name, await client.checkpoint_file(digest, name), expected)
    try:
        write_folder(folder, contents)
    except OSError as error:
        raise CheckpointError(
            "CHECKPOINT_NOT_WRITTEN", f"{folder}: {error.strerror or error}", "Free space or choose another home."
        ) from None
    return load(folder, expected=digest.hex())


def _checked(name: str, data: bytes, expected: str) -> bytes:
    got = sha256(data).hexdigest()
    if got != expected:
        raise CheckpointError(
            "CHECKPOINT_DIFFERS",
            f"{name} came with SHA-256 {got}, expected {expected}",
            "The validator gives out another checkpoint than the one it judged under; keep the answer.",
        )
    return data


async def repeat(
    client: "ValidatorClient",
    home: Path,
    chosen: "Chosen",
    *,
    own: Path | None = None,
    private_key: bytes | None = None,
    device: str | None = None,
    told: Callable[[Rescored, int, int], None] = lambda *_: None,
) -> list[Rescored]:
    """Repeat the verdicts of chosen entries at their validator; see `Rescorer` for the arguments.

    Raises:
        StoreError: DECODER_NOT_STARTING.
        ServiceError, CheckpointError: As `Rescorer.rescore`.
    """
    network = await client.network()
    async with Rescorer(client, network, home, own=own, private_key=private_key, device=device) as rescorer:
        return await rescore_all(rescorer, client, chosen.indices, chosen.leaves.__getitem__, told)


async def rescore_all(
    rescorer: Rescorer,
    client: "ValidatorClient",
    chosen: Sequence[int],
    leaf_at: Callable[[int], bytes],
    told: Callable[[Rescored, int, int], None] = lambda *_: None,
) -> list[Rescored]:
    """Repeat the verdicts of the entries with these indices, in order.

    Raises:
        CuriosityError: As `Rescorer.rescore`.
    """
    done = []
    told_from = next((i for i in range(max(chosen, default=0)) if _pays_by_belief(leaf_at(i))), None)
    for number, index in enumerate(chosen, start=1):
        page = await client.submissions(index, 1)
        row = next((one for one in page.submissions if one.index == index), None)
        must_tell = told_from is not None and told_from < index
        try:
            one = await rescorer.rescore(row, leaf_at(index), index, is_belief_told=must_tell)
        except Rejected as refusal:
            one = Rescored(index, b"", "", UNKNOWN, "6", f"{refusal.code}: {refusal.what}")
        done.append(one)
        told(one, number, len(chosen))
    return done


def _pays_by_belief(leaf: bytes) -> bool:
    """Return whether a leaf names a rule of pay that follows beliefs; whoever writes one tells them."""
    entry = parse_entry(leaf) if b'"full_belief"' in leaf else None
    return isinstance(entry, RuleEntry) and entry.parameters.get("full_belief", "0") != "0"


def check_rescored(rescored: Sequence[Rescored], leaves: Sequence[bytes]) -> None:
    """Refuse verdicts that differ, and those that nobody can repeat although no entry takes the pair down.

    ``leaves`` are all of the ledger.

    Raises:
        ProofError: RESCORE_DIFFERS or RESCORE_WITHHELD, naming the first.
    """
    gone = {entry.index for entry in map(parse_entry, leaves) if isinstance(entry, TakedownEntry)}
    for one in rescored:
        if one.result == UNKNOWN and one.index not in gone:
            raise ProofError(
                "RESCORE_WITHHELD",
                f"entry {one.index} cannot be judged again: {one.why}",
                "Sign nothing that rests on it until the validator gives out the pair and its items.",
            )
        if one.result == DIFFERS:
            raise ProofError(
                "RESCORE_DIFFERS",
                f"entry {one.index}, step {one.step}: {one.why}",
                "Sign nothing that rests on it; keep the receipt and the items, and tell the other validators.",
            )


@dataclass(frozen=True)
class Chosen:
    """Which entries of a ledger to look at, and their leaves, which lie under its signed head."""

    indices: tuple[int, ...]
    leaves: Sequence[bytes]


def choose(leaves: Sequence[bytes], *, pair: bytes | None = None, index: int | None = None, sample: int = 0) -> Chosen:
    """Return the entries of one pair, the entry with an index, or a sample of the accepted pairs.

    Everybody may have the items of accepted pairs.
    The sample is drawn by SHA-256 over the root of the ledger and the index: nobody who decides knows it beforehand,
    and everybody who looks at the same ledger looks at the same entries.

    Raises:
        SourceError: ENTRY_UNKNOWN if there is no such entry.
    """
    if index is not None:
        if not 0 <= index < len(leaves):
            raise SourceError(
                "ENTRY_UNKNOWN",
                f"there is no entry {index}, the ledger has {number_of(len(leaves), 'entry')}",
                "Give an index from 0 on; a receipt tells its own.",
            )
        return Chosen((index,), leaves)
    entries = ((i, parse_entry(leaf)) for i, leaf in enumerate(leaves))
    decisions = [(i, entry) for i, entry in entries if isinstance(entry, PairEntry)]
    if pair is not None:
        found = tuple(i for i, entry in decisions if entry.pair == pair)
        if not found:
            raise SourceError(
                "ENTRY_UNKNOWN",
                f"no entry decides about pair 0x{pair.hex()}",
                "Compare the network with the one in the receipt; --url names the validator.",
            )
        return Chosen(found, leaves)
    open_to_all = [i for i, entry in decisions if entry.verdict.is_accepted]
    seed = root(leaves)
    drawn = sorted(open_to_all, key=lambda i: sha256(SAMPLE_TAG + seed + i.to_bytes(8, "big")).digest())[:sample]
    return Chosen(tuple(sorted(drawn)), leaves)
