"""What an entry's commitment hides lies beside its pair; takedowns and what they keep out."""

import sqlalchemy as sa
from alembic import op

from protocol.errors import StoreError

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of pairs anew and add two. Raises StoreError LEDGER_OLD_FORMAT if there are pairs already."""
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM pairs")):
        raise StoreError(
            "LEDGER_OLD_FORMAT",
            "this ledger's entries hold plain digests of embeddings, which a log can't forget",
            "Begin a new ledger in an empty data folder and database; its pairs may be submitted again.",
        )
    index = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.drop_table("pairs")
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
        sa.Column("opening", sa.LargeBinary(), nullable=False),
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
        "takedowns",
        sa.Column("pair", sa.LargeBinary(32), primary_key=True),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("is_erased", sa.Boolean(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blocked",
        sa.Column("key", sa.LargeBinary(32), primary_key=True),
        sqlite_with_rowid=False,
    )
