"""Pairs to learn from: the trusted pair sets on disk, and what validators accepted. Every item is checked by digest."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from protocol.errors import SourceError

PAIR_TAG = b"curiosity/trusted-pair/1\x00"


@dataclass(frozen=True)
class FedItem:
    """One half: ``digest`` is the hex SHA-256 of its bytes, ``read`` gives them."""

    modality: str
    media_type: str
    digest: str
    read: Callable[[], bytes]

    def load(self) -> bytes:
        """The bytes, which have the digest.

        Raises:
            SourceError: ITEM_DIFFERS, when they have another; ITEM_MISSING, when they cannot be read.
        """
        try:
            data = self.read()
        except OSError as error:
            raise SourceError(
                "ITEM_MISSING", f"item {self.digest}: {error.strerror or error}", "Make the pair set again"
            ) from error
        got = hashlib.sha256(data).hexdigest()
        if got != self.digest:
            raise SourceError("ITEM_DIFFERS", f"an item has SHA-256 {got}, expected {self.digest}", "Fetch it again")
        return data


@dataclass(frozen=True)
class LedgerSlice:
    """Entries ``first`` to ``first + size - 1`` of the ledger ``origin``; ``ledger_root`` in hex, at their end."""

    origin: str
    first: int
    size: int
    ledger_root: str


@dataclass(frozen=True)
class FedPair:
    """Two items that belong together, a before b by modality name. ``digest`` goes into the manifest's pairs root.

    ``concept``, ``voice``, ``set`` and ``split`` are known of trusted pairs only; training never looks at them.
    """

    digest: bytes
    a: FedItem
    b: FedItem
    concept: str = ""
    voice: str = ""
    set: str = ""
    split: str = ""

    @property
    def name(self) -> str:
        """``audio-text``."""
        return f"{self.a.modality}-{self.b.modality}"

    def item(self, modality: str) -> FedItem:
        """The half of that modality.

        Raises:
            KeyError: when neither half has it.
        """
        for item in (self.a, self.b):
            if item.modality == modality:
                return item
        raise KeyError(modality)


class AcceptedPart(Protocol):
    """What the ledger says of one item (``protocol.pair.Part``)."""

    @property
    def modality(self) -> str:
        """Modality name."""

    @property
    def media_type(self) -> str:
        """Media type."""

    @property
    def sha256(self) -> bytes:
        """Digest of the content."""


class AcceptedEntry(Protocol):
    """What training needs of one accepted ledger entry."""

    @property
    def digest(self) -> bytes:
        """Digest of the pair, 32 bytes."""

    @property
    def a(self) -> AcceptedPart:
        """The half whose modality sorts first."""

    @property
    def b(self) -> AcceptedPart:
        """The other half."""


def read_accepted(entries: Iterable[AcceptedEntry], read_blob: Callable[[bytes], bytes]) -> Iterator[FedPair]:
    """Pairs that validators accepted, in ledger order; ``read_blob`` gives the content of a SHA-256."""
    for entry in entries:
        a, b = (
            FedItem(part.modality, part.media_type, part.sha256.hex(), lambda part=part: read_blob(part.sha256))  # type: ignore[misc]
            for part in (entry.a, entry.b)
        )
        yield FedPair(entry.digest, a, b)


def read_trusted(folders: Sequence[Path], splits: Sequence[str]) -> list[FedPair]:
    """Pairs of the given splits of pair sets on disk (``pairs.jsonl`` and ``media/``), in file order.

    Raises:
        SourceError: PAIR_SET_MISSING or PAIR_ROW, with the file and line.
    """
    pairs = []
    for folder in folders:
        try:
            lines = (folder / "pairs.jsonl").read_text().splitlines()
        except OSError as error:
            raise SourceError(
                "PAIR_SET_MISSING", f"{folder / 'pairs.jsonl'}: {error.strerror}", "Give the folder of a pair set"
            ) from error
        for number, line in enumerate(lines, start=1):
            try:
                pair = _read_row(folder, line)
            except (ValueError, KeyError, TypeError) as error:
                raise SourceError(
                    "PAIR_ROW",
                    f"{folder / 'pairs.jsonl'} line {number}: {type(error).__name__} {error}",
                    "Make the pair set again",
                ) from error
            if pair.split in splits:
                pairs.append(pair)
    return pairs


def _read_row(folder: Path, line: str) -> FedPair:
    row = json.loads(line)
    halves = []
    for half in (row["a"], row["b"]):
        path = folder / half["path"]
        halves.append(FedItem(half["modality"], half["media_type"], path.stem, path.read_bytes))
    a, b = sorted(halves, key=lambda item: item.modality)
    digest = hashlib.sha256(
        PAIR_TAG + b"\x00".join(f"{i.modality}:{i.media_type}:{i.digest}".encode() for i in (a, b))
    ).digest()
    return FedPair(digest, a, b, row["concept"], row.get("voice") or "", row["set"], row["split"])


@dataclass(frozen=True)
class _Part:
    modality: str
    media_type: str
    sha256: bytes


@dataclass(frozen=True)
class _Entry:
    digest: bytes
    a: _Part
    b: _Part


def read_accepted_folder(folder: Path) -> tuple[LedgerSlice, list[FedPair]]:
    """What a validator exported for training: ``ledger.json``, ``accepted.jsonl`` and ``blobs/<sha256 in hex>``.

    ``ledger.json`` holds the fields of ``LedgerSlice``; a row of ``accepted.jsonl`` is ``{"digest", "a": {"modality",
    "media_type", "sha256"}, "b": {...}}`` with digests in hex, in ledger order.

    Raises:
        SourceError: ACCEPTED_MISSING or ACCEPTED_ROW, with the file and line.
    """
    try:
        slice_text = (folder / "ledger.json").read_text()
        lines = (folder / "accepted.jsonl").read_text().splitlines()
    except OSError as error:
        raise SourceError(
            "ACCEPTED_MISSING", f"{folder}: {error.strerror} ({error.filename})", "Export the accepted pairs again"
        ) from error
    entries: list[AcceptedEntry] = []
    where = "ledger.json"
    try:
        ledger = LedgerSlice(**json.loads(slice_text))
        for number, line in enumerate(lines, start=1):
            where = f"accepted.jsonl line {number}"
            row = json.loads(line)
            a, b = (
                _Part(half["modality"], half["media_type"], bytes.fromhex(half["sha256"]))
                for half in (row["a"], row["b"])
            )
            entries.append(_Entry(bytes.fromhex(row["digest"]), a, b))
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            "ACCEPTED_ROW", f"{folder / where}: {type(error).__name__} {error}", "Export the accepted pairs again"
        ) from error
    return ledger, list(read_accepted(entries, lambda sha256: (folder / "blobs" / sha256.hex()).read_bytes()))
