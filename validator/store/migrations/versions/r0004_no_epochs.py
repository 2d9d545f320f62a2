"""Closed epochs and their amounts follow from the leaves, so that no table keeps them: nothing ever wrote these two."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop them."""
    op.drop_table("rewards")
    op.drop_table("epochs")
