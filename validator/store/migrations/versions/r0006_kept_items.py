"""A pair says since when its items are kept, so that those of refused pairs can be let go; an item, who may have it."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_DUE = "NOT is_accepted AND items_since IS NOT NULL"


def upgrade() -> None:
    """Count what is there as kept since now, and by how many accepted pairs."""
    op.add_column("pairs", sa.Column("items_since", sa.BigInteger(), nullable=True))
    op.execute(sa.text(f"UPDATE pairs SET items_since = {int(time.time())} WHERE NOT is_erased"))  # noqa: S608
    op.create_index(
        "pairs_items_due",
        "pairs",
        ["items_since", "leaf_index"],
        sqlite_where=sa.text(_DUE),
        postgresql_where=sa.text(_DUE),
    )
    op.add_column("items", sa.Column("accepted_uses", sa.BigInteger(), nullable=False, server_default="0"))
    halves = " UNION ALL ".join(
        f"SELECT {side} AS sha256 FROM pairs WHERE is_accepted AND NOT is_erased"  # noqa: S608
        for side in ("a_sha256", "b_sha256")
    )
    op.execute(
        sa.text(
            "UPDATE items SET accepted_uses = held.uses"  # noqa: S608
            f" FROM (SELECT sha256, count(*) AS uses FROM ({halves}) AS halves GROUP BY sha256) AS held"
            " WHERE held.sha256 = items.sha256"
        )
    )
