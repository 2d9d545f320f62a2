"""What was embedded again under a later checkpoint is kept, so that a start need not do it again."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, empty: the next start or switch fills it."""
    op.create_table(
        "finals",
        sa.Column("leaf_index", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False),
        sa.Column("checkpoint", sa.LargeBinary(32)),
        sa.Column("vectors", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("leaf_index", "checkpoint"),
    )
