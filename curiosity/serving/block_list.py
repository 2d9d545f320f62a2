"""Items that an operator refuses: by hashes of their bytes, of what they decode to, and of what a picture looks like.

A list is a text file with one item a line, a kind, a value in hex digits and a note: ``sha256 9f86d0... case 12``.
``sha256``, ``sha1`` and ``md5`` are of the bytes of a file, as most lists of others have them; ``content`` is SHA-256
over what was decoded (`curiosity.embedding.sketch.Sketch.canonical`), the same for the same pixels in another file;
``picture`` has the 256 bits of a picture's figure, which are like PDQ's and are not PDQ's. The item that is checked is
compared in eight turns and mirror images.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from PIL import Image

from curiosity.embedding.modality import Array
from curiosity.embedding.sketch import NO_BITS, Bits, Sketch, sketch_item
from curiosity.protocol.errors import ConfigError, Rejected

KINDS: Final = {"sha256": 32, "sha1": 20, "md5": 16, "content": 32, "picture": 32}
"""Kinds of lines, with the bytes of their values."""

NEAR_BITS: Final = 40
"""Of 256: two pictures that differ in no more are taken for one (`python -m benchmarks.blocked`)."""

_FOUND_BITS: Final = 12  # a form that is found so well needs no row of its own
_QUALITIES: Final = (85, 50, 30)  # of JPEGs
_PARTS: Final = (2, 3)  # by which sides are divided
_ROWS: Final = 4_096  # compared at a time: 3 MB


@dataclass(frozen=True)
class BlockedItem:
    """One line of a list: ``value`` in bytes, and what the operator notes of it."""

    kind: str
    value: bytes
    note: str = ""

    def line(self) -> str:
        """Return the line, without its end."""
        return f"{self.kind} {self.value.hex()} {self.note}".rstrip()


def read_blocked(text: str, where: str) -> Iterator[BlockedItem]:
    """Yield the items of a list; empty lines and those that begin with # are none.

    Raises:
        ConfigError: BLOCK_LIST_INVALID naming the line.
    """
    for number, line in enumerate(text.splitlines(), 1):
        kind, _, rest = line.strip().partition(" ")
        if not kind or kind.startswith("#"):
            continue
        digits, _, note = rest.strip().partition(" ")
        try:
            value = bytes.fromhex(digits)
        except ValueError:
            value = b""
        if len(value) != KINDS.get(kind, -1):
            raise ConfigError(
                "BLOCK_LIST_INVALID",
                f"{where} line {number} is not a kind and its hash in hex digits",
                f"Write one of {', '.join(f'{name} ({2 * size} digits)' for name, size in KINDS.items())}.",
            )
        yield BlockedItem(kind, value, note.strip())


def describe_item(data: bytes, modality: str, array: Array | None, note: str = "") -> list[BlockedItem]:
    """Return all lines by which an item is known; of one that cannot be decoded (None) its bytes only."""
    items = [BlockedItem("sha256", hashlib.sha256(data).digest(), note)]
    if array is not None:
        sketch = sketch_item(modality, array)
        items.append(BlockedItem("content", sketch.canonical, note))
        if modality == "image":
            items += [BlockedItem("picture", row.astype("<u8").tobytes(), note) for row in _rows_of(array)]
    return items


def _rows_of(array: Array) -> Bits:
    """Return rows uint64[n, 4] by which all forms of a picture uint8[h, w, 3] are found; none of a plain one.

    The eight turns and mirror images, of the picture itself, recoded and smaller: each adds a row unless those before
    find it well within the limit. Most pictures need one or two.
    """
    rows = NO_BITS
    for one in _recoded(Image.fromarray(array)):
        for turn in (None, *Image.Transpose):
            form = sketch_item("image", np.asarray(one if turn is None else one.transpose(turn)))
            if len(form.bank) and BlockList(pictures=rows).nearest(form.probes) > _FOUND_BITS:
                rows = np.concatenate([rows, form.bank[:1]])
    return rows


def _recoded(picture: Image.Image) -> Iterator[Image.Image]:
    yield picture
    for quality in _QUALITIES:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        yield Image.open(file)
    for part in _PARTS:
        yield picture.resize((max(1, picture.width // part), max(1, picture.height // part)))


@dataclass(frozen=True, eq=False)
class BlockList:
    """A list to compare items with. ``pictures`` are rows of 256 bits, uint64[n, 4]."""

    values: frozenset[tuple[str, bytes]] = frozenset()
    pictures: Bits = field(default_factory=lambda: NO_BITS)

    @classmethod
    def of(cls, items: Iterable[BlockedItem]) -> Self:
        """Return the list of these items."""
        values = {(one.kind, one.value) for one in items}
        rows = b"".join(sorted(value for kind, value in values if kind == "picture"))
        return cls(frozenset(values), np.frombuffer(rows, "<u8").astype(np.uint64).reshape(-1, 4))

    def __bool__(self) -> bool:
        """Return whether anything is listed."""
        return bool(self.values)

    def check_digests(self, digests: Iterable[bytes]) -> None:
        """Refuse items of these SHA-256.

        Raises:
            Rejected: ITEM_BLOCKED (422).
        """
        if self.values and any(("sha256", digest) in self.values for digest in digests):
            raise _refusal()

    def check_bytes(self, contents: Iterable[bytes]) -> None:
        """Refuse items of these bytes.

        Raises:
            Rejected: ITEM_BLOCKED (422).
        """
        kinds = {kind for kind, _ in self.values} & {"sha256", "sha1", "md5"}
        for data in contents if kinds else ():
            if any((kind, hashlib.new(kind, data, usedforsecurity=False).digest()) in self.values for kind in kinds):
                raise _refusal()

    def check_sketches(self, sketches: Sequence[Sketch]) -> None:
        """Refuse items that decode to what is listed, and pictures that look like a listed one.

        Raises:
            Rejected: ITEM_BLOCKED (422).
        """
        for sketch in sketches:
            is_like = sketch.modality == "image" and self.nearest(sketch.probes) <= NEAR_BITS
            if is_like or ("content", sketch.canonical) in self.values:
                raise _refusal()

    def nearest(self, probes: Bits) -> int:
        """Return the fewest bits in which a probe uint64[m, 4] differs from a listed picture; 256 if there is none."""
        fewest = 256
        for start in range(0, len(self.pictures) if len(probes) else 0, _ROWS):
            rows = self.pictures[None, start : start + _ROWS]
            fewest = min(fewest, int(np.bitwise_count(probes[:, None] ^ rows).sum(axis=2).min()))
        return fewest


def _refusal() -> Rejected:
    """Return a refusal that says neither which item it is about nor what it is like."""
    return Rejected(
        "ITEM_BLOCKED",
        "this validator does not take an item of these",
        "Send something else; its operator decides on objections.",
        status=422,
    )
