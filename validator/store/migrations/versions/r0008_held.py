"""Held pairs are judged again: which ones wait for it, and what their earlier entries commit to."""

import sqlalchemy as sa
from alembic import op

from curiosity.protocol.json_reader import read_json

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_PAGE = 1024


def upgrade() -> None:
    """Make the tables; what is held by now, and still has its items, waits."""
    index = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "held",
        sa.Column("leaf_index", index, primary_key=True, autoincrement=False),
        sa.Column("checkpoint", sa.LargeBinary(32), nullable=False),
        sa.Column("tries", sa.SmallInteger(), nullable=False),
    )
    op.create_table(
        "earlier",
        sa.Column("leaf_index", index, primary_key=True, autoincrement=False),
        sa.Column("pair", sa.LargeBinary(32), nullable=False),
        sa.Column("embeddings", sa.LargeBinary(), nullable=True),
        sa.Column("opening", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_earlier_pair", "earlier", ["pair"])
    _fill_held()


def _fill_held() -> None:
    connection, last = op.get_bind(), -1
    refused = sa.text(
        "SELECT entries.leaf_index, entries.leaf FROM pairs JOIN entries ON entries.leaf_index = pairs.leaf_index"
        " WHERE NOT pairs.is_accepted AND pairs.items_since IS NOT NULL AND pairs.leaf_index > :last"
        " ORDER BY pairs.leaf_index LIMIT :page"
    )
    add = sa.text("INSERT INTO held (leaf_index, checkpoint, tries) VALUES (:leaf_index, :checkpoint, 0)")
    while page := connection.execute(refused, {"last": last, "page": _PAGE}).all():
        last = page[-1][0]
        for leaf_index, leaf in page:
            verdict = read_json(bytes(leaf))["verdict"]
            if verdict["outcome"] == "held":
                digest = bytes.fromhex(verdict["checkpoint"].removeprefix("0x"))
                connection.execute(add, {"leaf_index": leaf_index, "checkpoint": digest})
