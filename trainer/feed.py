"""Pairs to learn from, and the trusted pair sets on disk. Every item is checked by its digest when it is read.

What validators accepted comes from ``trainer.mirror``.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from curiosity.host.paths import inside
from curiosity.protocol.errors import SourceError
from curiosity.protocol.json_reader import read_json
from curiosity.protocol.license import NO_FILTER, LicenseFilter

PAIR_TAG = b"curiosity/trusted-pair/1\x00"


@dataclass(frozen=True)
class FedItem:
    """One half: ``digest`` is the hex SHA-256 of its bytes, ``read`` gives them."""

    modality: str
    media_type: str
    digest: str
    read: Callable[[], bytes]

    def load(self) -> bytes:
        """Return the bytes, which have the digest.

        Raises:
            SourceError: ITEM_DIFFERS, when they have another; ITEM_MISSING, when they cannot be read.
        """
        try:
            data = self.read()
        except OSError as error:
            raise SourceError(
                "ITEM_MISSING", f"item {self.digest}: {error.strerror or error}", "Make the pair set again."
            ) from error
        got = hashlib.sha256(data).hexdigest()
        if got != self.digest:
            raise SourceError("ITEM_DIFFERS", f"an item has SHA-256 {got}, expected {self.digest}", "Fetch it again.")
        return data


@dataclass(frozen=True)
class LedgerSlice:
    """Entries ``first`` to ``first + size - 1`` of the ledger ``origin``; ``ledger_root`` in hex, at their end.

    ``takedowns`` are the indices of the entries among them that take a pair down: none of those pairs is fed.
    ``licenses`` says which accepted pairs are fed by their licence, ``left_out`` how many others there are.
    """

    origin: str
    first: int
    size: int
    ledger_root: str
    takedowns: tuple[int, ...] = ()
    licenses: LicenseFilter = NO_FILTER
    left_out: int = 0


@dataclass(frozen=True)
class FedPair:
    """Two items that belong together, a before b by modality name. ``digest`` goes into the manifest's pairs root.

    ``license`` is an SPDX expression, empty for a trusted pair that states none. ``concept``, ``voice``, ``set`` and
    ``split`` are known of trusted pairs only; training never looks at them. ``generated``: the contributor declared
    that a program generated an item.
    """

    digest: bytes
    a: FedItem
    b: FedItem
    concept: str = ""
    voice: str = ""
    set: str = ""
    split: str = ""
    license: str = ""
    generated: bool = False

    @property
    def name(self) -> str:
        """``audio-text``."""
        return f"{self.a.modality}-{self.b.modality}"

    def item(self, modality: str) -> FedItem:
        """Return the half of that modality.

        Raises:
            KeyError: when neither half has it.
        """
        for item in (self.a, self.b):
            if item.modality == modality:
                return item
        raise KeyError(modality)


def read_trusted(folders: Sequence[Path], splits: Sequence[str]) -> list[FedPair]:
    """Return pairs of the given splits of pair sets on disk (``pairs.jsonl`` and ``media/``), in file order.

    Raises:
        SourceError: PAIR_SET_MISSING or PAIR_ROW, with the file and line.
    """
    pairs = []
    for folder in folders:
        try:
            lines = (folder / "pairs.jsonl").read_text().splitlines()
        except OSError as error:
            raise SourceError(
                "PAIR_SET_MISSING", f"{folder / 'pairs.jsonl'}: {error.strerror}", "Give the folder of a pair set."
            ) from error
        for number, line in enumerate(lines, start=1):
            try:
                pair = _read_row(folder, line)
            except (ValueError, KeyError, TypeError) as error:
                raise SourceError(
                    "PAIR_ROW",
                    f"{folder / 'pairs.jsonl'} line {number}: {type(error).__name__} {error}",
                    "Make the pair set again.",
                ) from error
            if pair.split in splits:
                pairs.append(pair)
    return pairs


def _read_row(folder: Path, line: str) -> FedPair:
    row = read_json(line)
    halves = []
    for half in (row["a"], row["b"]):
        path = inside(folder, half["path"])
        halves.append(FedItem(half["modality"], half["media_type"], path.stem, path.read_bytes))
    a, b = sorted(halves, key=lambda item: item.modality)
    digest = hashlib.sha256(
        PAIR_TAG + b"\x00".join(f"{i.modality}:{i.media_type}:{i.digest}".encode() for i in (a, b))
    ).digest()
    license = row.get("license") or ""
    return FedPair(digest, a, b, row["concept"], row.get("voice") or "", row["set"], row["split"], license)
