"""What a submission would send, without a wallet or a validator: read, stripped, decoded and counted."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from curiosity.client.conversions import Conversions
from curiosity.client.taken import check_taken, stated_license
from curiosity.protocol.errors import SourceError
from curiosity.protocol.messages import Network
from curiosity.sources.own.item import check_item
from curiosity.sources.pairset import SourceItem, SourcePair

_MAX_LISTED = 10_000


@dataclass
class Preview:
    """What would be sent. ``rows`` lists at most the first 10,000 pairs."""

    pairs: Counter[str] = field(default_factory=Counter)  # by modality pair
    licenses: Counter[str] = field(default_factory=Counter)
    items: int = 0
    item_bytes: int = 0  # of different items; one may be in many pairs
    rows: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[SourceError] = field(default_factory=list)
    converted: Conversions = field(default_factory=Conversions)
    generated: int = 0  # pairs that would be sent as generated
    not_taken: int = 0  # of ``unreadable``: what this network does not take

    @property
    def looked_at(self) -> int:
        """How many rows were read, or could not be."""
        return self.pairs.total() + len(self.unreadable)

    def to_json(self) -> dict[str, Any]:
        """Return the preview as plain JSON values."""
        return {
            "would_send": self.pairs.total(),
            "pairs": dict(sorted(self.pairs.items())),
            "licenses": dict(sorted(self.licenses.items())),
            "items": self.items,
            "bytes": self.item_bytes,
            "rows": self.rows,
            "converted": self.converted.listed,
            "generated": self.generated,
            "unreadable": [error.to_json() for error in self.unreadable],
        }


def preview(
    rows: Iterable[SourcePair | SourceError],
    *,
    license: str,
    generated: bool = False,
    network: Network | None = None,
    watch: Callable[[Preview], None] = lambda _: None,
) -> Preview:
    """Read every row as `submit_pairs` would; ``license`` is for rows that state none, ``generated`` declares of all.

    With the ``network``'s own message its licences and modality pairs count too.
    """
    made = Preview()
    seen: set[tuple[str, bytes]] = set()
    for row in rows:
        watch(made)
        if isinstance(row, SourceError):
            made.unreadable.append(row)
            continue
        try:  # in the order in which a run refuses
            if network is not None:
                check_taken(row, network)
        except SourceError as error:
            made.unreadable.append(error)
            made.not_taken += 1
            continue
        try:
            stated = stated_license(row, license, network.licenses if network else None)
            read = list(_read(row, seen, made))
            is_generated = generated or row.is_generated
        except SourceError as error:
            made.unreadable.append(error)
            continue
        made.pairs[row.modalities] += 1
        made.licenses[stated] += 1
        made.generated += is_generated
        if len(made.rows) < _MAX_LISTED:
            made.rows.append({"id": row.id, "license": stated} | dict(zip("ab", read, strict=False)))
    return made


def _read(row: SourcePair, seen: set[tuple[str, bytes]], made: Preview) -> Iterator[dict[str, Any]]:
    for item in row.items:
        data = item.read()
        digest = sha256(data).digest()
        if (item.modality, digest) not in seen:
            check_item(item, data, where=row.id)
            seen.add((item.modality, digest))
            made.items += 1
            made.item_bytes += len(data)
        made.converted.note(item, digest)
        yield _describe(item, data, digest)


def _describe(item: SourceItem, data: bytes, digest: bytes) -> dict[str, Any]:
    described: dict[str, Any] = {
        "modality": item.modality, "media_type": item.media_type, "bytes": len(data), "sha256": digest.hex(),
        "from": str(item.path),
    }  # fmt: skip
    if item.stream is not None:
        described["stream"] = item.stream
    if item.modality == "text":
        described["text"] = data.decode(errors="replace")[:200]
    return described
