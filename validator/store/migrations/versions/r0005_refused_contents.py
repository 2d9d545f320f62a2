"""Refused pairs are found by their contents too, so that a takedown need not look at every pair."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add an index on them like that on the accepted ones, which are unique besides."""
    op.create_index(
        "pairs_refused_contents",
        "pairs",
        ["a_sha256", "b_sha256"],
        sqlite_where=sa.text("NOT is_accepted"),
        postgresql_where=sa.text("NOT is_accepted"),
    )
