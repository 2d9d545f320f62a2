"""What goes into the store and what comes out of it."""

from dataclasses import dataclass, field

from curiosity.protocol.pair import Item
from curiosity.protocol.receipt import Receipt


@dataclass(frozen=True)
class NewSubmission:
    """The pair behind a new entry. ``envelope`` is JSON of `curiosity.protocol.pair.Envelope`, as it came.

    ``items_since`` is when its items came, Unix seconds, 0 if nobody knows; None: they are not to be kept. ``again``:
    the entry is a later one about a pair that was held. ``held_under`` is the checkpoint that holds the pair, None if
    it is not held.
    """

    pair: bytes  # digest, 32 bytes
    contributor: bytes  # address, 20 bytes
    nonce: bytes  # 32 bytes
    envelope: bytes = field(repr=False)
    a: Item
    b: Item
    accepted: bool
    embeddings: bytes | None = field(repr=False)
    opening: bytes = field(repr=False)  # canonical JSON of `curiosity.protocol.verdict.Opening`
    items_since: int | None = 0
    again: bool = False
    held_under: bytes | None = None
    sketches: tuple[bytes, bytes] | None = field(default=None, repr=False)  # of an accepted pair, both items packed


@dataclass(frozen=True)
class NewEntry:
    """A leaf (`curiosity.protocol.entry.encode_entry`) to append.

    With it comes the submission behind it if it decides about a pair. ``erases`` names earlier entries: what their
    pairs hold is removed with the same commit.
    """

    leaf: bytes
    submission: NewSubmission | None = None
    erases: tuple[int, ...] = ()


@dataclass(frozen=True)
class ErasedPair:
    """What is left of an erased pair. Neither its nonce nor its contents' hashes stay: they would confirm a guess."""

    pair: bytes
    contributor: bytes
    accepted: bool
    again: bool = False


@dataclass(frozen=True)
class NewRow:
    """An entry on its way into the database: leaf, index, the receipt's note, and the pair that it decides about.

    ``erases`` are the indices of earlier entries whose pairs are erased in the same transaction.
    """

    index: int
    leaf: bytes
    note: str
    submission: NewSubmission | ErasedPair | None
    erases: tuple[int, ...] = ()


@dataclass(frozen=True)
class StoredDecision:
    """What was answered to a pair, so that a replay gets the same answer."""

    pair: bytes
    index: int
    leaf: bytes
    note: str
    embeddings: bytes | None = field(repr=False)
    opening: bytes | None = field(repr=False)  # None once the pair is erased
    erased: bool

    def to_receipt(self) -> Receipt:
        """Return the receipt as it was issued, bit for bit."""
        return Receipt(self.leaf.decode(), self.index, self.note)


@dataclass(frozen=True)
class StoredSubmission:
    """The pair behind the entry at ``index``: its envelope (JSON), its leaf, its embeddings."""

    index: int
    pair: bytes
    accepted: bool
    envelope: bytes = field(repr=False)
    leaf: bytes = field(repr=False)
    embeddings: bytes | None = field(repr=False)
    opening: bytes = field(repr=False)
    items_since: int | None = None  # Unix seconds; None: its items are not kept


@dataclass(frozen=True)
class StoredItem:
    """What is known of a content: as the first accepted pair described it, before that the first pair at all."""

    sha256: bytes
    modality: str
    media_type: str
    size: int  # bytes
    accepted_uses: int  # halves of accepted pairs that it is; 0: only refused ones hold it


@dataclass(frozen=True)
class LetGo:
    """What an expiry let go: pairs, contents that no other pair holds, and the bytes of these."""

    pairs: int = 0
    items: int = 0
    size: int = 0  # bytes
