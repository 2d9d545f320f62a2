"""The tables. Leaf indices come from the ledger, never from an identity column.

| table | a row holds |
|---|---|
| entries | one leaf of the ledger and the note of its receipt |
| tiles | 256 hashes of one level of the tree, as c2sp.org/tlog-tiles cuts it, and the one above them; full ones only |
| pairs | what is known of the pair behind an entry, with the signed envelope and its embeddings |
| held | a held pair that is judged again: the checkpoint that holds it, and how often it was judged again |
| earlier | what an earlier entry about a held pair commits to: its opening and the embeddings that were measured |
| finals | final embeddings of an accepted pair under a checkpoint that did not judge it, as int16, both items |
| sketches | sketches of the two items of an accepted pair (`curiosity.embedding.sketch`), by which copies are found |
| items | one content by SHA-256: ``data`` holds it, or ``pack`` and ``start`` say where it lies |
| scrubs | an extent of a pack whose bytes are to be overwritten: its contents were erased |
| blocked | a keyed hash of contents that must not come back |
| meta | small values by name |

Closed epochs and what they pay are not here: they follow from the leaves (`curiosity.protocol.payouts`).

A pair has no foreign key to its entry and its items: one transaction of the one writer makes all three, and the keys
would cost more than the inserts. The order of the columns is the order in which `validator.store.bulk` writes them.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypedColumns,
    UniqueConstraint,
    text,
)

metadata = MetaData()

# SQLite stores a table in the order of its key only if that key is of the type INTEGER.
_Index = BigInteger().with_variant(Integer(), "sqlite")


class EntryColumns(TypedColumns):
    """One leaf of the ledger."""

    leaf_index = Column(_Index, primary_key=True, autoincrement=False)
    leaf = Column(LargeBinary, nullable=False)
    note = Column(Text, nullable=False)  # of the receipt; with leaf and index it is the whole receipt


class TileColumns(TypedColumns):
    """One full tile: hashes ``position * 256`` up to ``position * 256 + 255`` of tile level ``level``."""

    level = Column(SmallInteger, primary_key=True, autoincrement=False)
    position = Column(_Index, primary_key=True, autoincrement=False)
    root = Column(LargeBinary(32), nullable=False)
    middle = Column(LargeBinary(16 * 32), nullable=False)
    hashes = Column(LargeBinary(256 * 32), nullable=False)


class PairColumns(TypedColumns):
    """The pair behind its newest entry.

    Erasing it leaves the row, without nonce, contents, envelope, embeddings, opening.
    Its contents' hashes stay when its items are let go, or if they were never kept.
    """

    leaf_index = Column(_Index, primary_key=True, autoincrement=False)
    pair = Column(LargeBinary(32), nullable=False, unique=True)
    contributor = Column(LargeBinary(20), nullable=False)
    nonce: Column[bytes | None] = Column(LargeBinary(32), nullable=True)
    a_sha256: Column[bytes | None] = Column(LargeBinary(32), nullable=True)
    b_sha256: Column[bytes | None] = Column(LargeBinary(32), nullable=True)
    is_accepted = Column(Boolean, nullable=False)
    is_erased = Column(Boolean, nullable=False)
    envelope: Column[bytes | None] = Column(LargeBinary, nullable=True)
    embeddings: Column[bytes | None] = Column(LargeBinary, nullable=True)
    opening: Column[bytes | None] = Column(LargeBinary, nullable=True)
    items_since: Column[int | None] = Column(BigInteger, nullable=True)  # Unix seconds; None: it holds no items


class HeldColumns(TypedColumns):
    """A held pair, by its newest entry, whose items are kept until it is judged again for the last time."""

    leaf_index = Column(_Index, primary_key=True, autoincrement=False)
    checkpoint = Column(LargeBinary(32), nullable=False)
    tries = Column(SmallInteger, nullable=False)


class EarlierColumns(TypedColumns):
    """An entry about a pair that a newer one follows. The pair's row is of the newest."""

    leaf_index = Column(_Index, primary_key=True, autoincrement=False)
    pair = Column(LargeBinary(32), nullable=False, index=True)
    embeddings: Column[bytes | None] = Column(LargeBinary, nullable=True)
    opening = Column(LargeBinary, nullable=False)


class FinalColumns(TypedColumns):
    """Final embeddings of one accepted pair under one checkpoint that did not judge it."""

    leaf_index = Column(_Index, primary_key=True, autoincrement=False)
    checkpoint = Column(LargeBinary(32), primary_key=True)
    vectors = Column(LargeBinary, nullable=False)


class SketchColumns(TypedColumns):
    """`curiosity.embedding.sketch.Sketch.pack` of both items of one accepted pair."""

    leaf_index = Column(_Index, primary_key=True, autoincrement=False)
    a = Column(LargeBinary, nullable=False)
    b = Column(LargeBinary, nullable=False)


class ItemColumns(TypedColumns):
    """One content."""

    sha256 = Column(LargeBinary(32), primary_key=True)
    modality = Column(String(128), nullable=False)
    media_type = Column(String(128), nullable=False)
    size = Column(BigInteger, nullable=False)
    is_accepted = Column(Boolean, nullable=False)  # modality and media type are those of an accepted pair
    uses = Column(BigInteger, nullable=False)  # how many halves of pairs that hold their items it is
    data: Column[bytes | None] = Column(LargeBinary, nullable=True)
    pack: Column[int | None] = Column(Integer, nullable=True)
    start: Column[int | None] = Column(BigInteger, nullable=True)
    accepted_uses = Column(BigInteger, nullable=False)  # how many of the uses are of accepted pairs: who may have it


class ScrubColumns(TypedColumns):
    """One extent that no item has any more."""

    pack = Column(Integer, primary_key=True, autoincrement=False)
    start = Column(BigInteger, primary_key=True, autoincrement=False)
    size = Column(BigInteger, nullable=False)


class BlockedColumns(TypedColumns):
    """One HMAC of contents under the validator's pepper."""

    key = Column(LargeBinary(32), primary_key=True)


class MetaColumns(TypedColumns):
    """One small value."""

    name = Column(String(128), primary_key=True)
    value = Column(Text, nullable=False)


entries = Table("entries", metadata, EntryColumns)
tiles = Table("tiles", metadata, TileColumns)
items = Table("items", metadata, ItemColumns)
pairs = Table("pairs", metadata, PairColumns, UniqueConstraint("contributor", "nonce", name="pairs_nonce"))
held = Table("held", metadata, HeldColumns)
earlier = Table("earlier", metadata, EarlierColumns)
finals = Table("finals", metadata, FinalColumns)
sketches = Table("sketches", metadata, SketchColumns)
scrubs = Table("scrubs", metadata, ScrubColumns)
blocked = Table("blocked", metadata, BlockedColumns, sqlite_with_rowid=False)
meta = Table("meta", metadata, MetaColumns, sqlite_with_rowid=False)

# Two contents are paid once, whatever the judge believed.
Index(
    "pairs_accepted_contents",
    pairs.c.a_sha256,
    pairs.c.b_sha256,
    unique=True,
    sqlite_where=pairs.c.is_accepted,
    postgresql_where=pairs.c.is_accepted,
)
# With the index above: every pair by its contents. What a pair holds is read from the two alone (`Store.pairs_with`).
Index(
    "pairs_refused_contents",
    pairs.c.a_sha256,
    pairs.c.b_sha256,
    sqlite_where=text("NOT is_accepted"),
    postgresql_where=text("NOT is_accepted"),
)
# Whose items are let go next (`Store.expire`).
Index(
    "pairs_items_due",
    pairs.c.items_since,
    pairs.c.leaf_index,
    sqlite_where=text("NOT is_accepted AND items_since IS NOT NULL"),
    postgresql_where=text("NOT is_accepted AND items_since IS NOT NULL"),
)
# Where a pack ends, and what lies in it.
Index(
    "items_packed",
    items.c.pack,
    items.c.start,
    sqlite_where=items.c.pack.is_not(None),
    postgresql_where=items.c.pack.is_not(None),
)
