"""The first schema that a ledger may be kept in. A migration is frozen: it repeats the tables as they were made."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    index = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "entries",
        sa.Column("leaf_index", index, primary_key=True, autoincrement=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
    )
    op.create_table(
        "tiles",
        sa.Column("level", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("position", index, primary_key=True, autoincrement=False),
        sa.Column("root", sa.LargeBinary(32), nullable=False),
        sa.Column("middle", sa.LargeBinary(16 * 32), nullable=False),
        sa.Column("hashes", sa.LargeBinary(256 * 32), nullable=False),
    )
    items = op.create_table(
        "items",
        sa.Column("sha256", sa.LargeBinary(32), primary_key=True),
        sa.Column("modality", sa.String(128), nullable=False),
        sa.Column("media_type", sa.String(128), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("is_accepted", sa.Boolean(), nullable=False),
        sa.Column("uses", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.Column("pack", sa.Integer(), nullable=True),
        sa.Column("start", sa.BigInteger(), nullable=True),
    )
    op.create_index(
        "items_packed",
        "items",
        ["pack", "start"],
        sqlite_where=items.c.pack.is_not(None),
        postgresql_where=items.c.pack.is_not(None),
    )
    pairs = op.create_table(
        "pairs",
        sa.Column("leaf_index", index, primary_key=True, autoincrement=False),
        sa.Column("pair", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("contributor", sa.LargeBinary(20), nullable=False),
        sa.Column("nonce", sa.LargeBinary(32), nullable=True),
        sa.Column("a_sha256", sa.LargeBinary(32), nullable=True),
        sa.Column("b_sha256", sa.LargeBinary(32), nullable=True),
        sa.Column("is_accepted", sa.Boolean(), nullable=False),
        sa.Column("is_erased", sa.Boolean(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=True),
        sa.Column("embeddings", sa.LargeBinary(), nullable=True),
        sa.Column("opening", sa.LargeBinary(), nullable=True),
        sa.UniqueConstraint("contributor", "nonce", name="pairs_nonce"),
    )
    op.create_index(
        "pairs_accepted_contents",
        "pairs",
        ["a_sha256", "b_sha256"],
        unique=True,
        sqlite_where=pairs.c.is_accepted,
        postgresql_where=pairs.c.is_accepted,
    )
    op.create_table(
        "scrubs",
        sa.Column("pack", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("start", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "epochs",
        sa.Column("epoch", index, primary_key=True, autoincrement=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("paid_pairs", sa.BigInteger(), nullable=False),
        sa.Column("emission_wei", sa.String(78), nullable=False),
        sa.Column("cumulative_wei", sa.String(78), nullable=False),
        sa.Column("reward_root", sa.LargeBinary(32), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("transaction", sa.String(66), nullable=True),
        sa.Column("activates_at", sa.BigInteger(), nullable=True),
    )
    op.create_table(
        "rewards",
        sa.Column("epoch", index, sa.ForeignKey("epochs.epoch"), primary_key=True, autoincrement=False),
        sa.Column("account", sa.LargeBinary(20), primary_key=True),
        sa.Column("cumulative_wei", sa.String(78), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blocked",
        sa.Column("key", sa.LargeBinary(32), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "meta",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
