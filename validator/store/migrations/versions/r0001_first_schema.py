"""The first schema. A migration is frozen: it repeats the tables as they were, whatever schema.py says later."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
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
        "nodes",
        sa.Column("level", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("position", index, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "items",
        sa.Column("sha256", sa.LargeBinary(32), primary_key=True),
        sa.Column("modality", sa.String(128), nullable=False),
        sa.Column("media_type", sa.String(128), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("is_accepted", sa.Boolean(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=True),
    )
    pairs = op.create_table(
        "pairs",
        sa.Column("leaf_index", index, sa.ForeignKey("entries.leaf_index"), primary_key=True, autoincrement=False),
        sa.Column("pair", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("contributor", sa.LargeBinary(20), nullable=False),
        sa.Column("nonce", sa.LargeBinary(32), nullable=False),
        sa.Column("a_sha256", sa.LargeBinary(32), sa.ForeignKey("items.sha256"), nullable=False),
        sa.Column("b_sha256", sa.LargeBinary(32), sa.ForeignKey("items.sha256"), nullable=False),
        sa.Column("is_accepted", sa.Boolean(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("embeddings", sa.LargeBinary(), nullable=True),
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
        "meta",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
