"""A day's accesses of one kind are one row with a count; each row from before counts for one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column."""
    op.add_column("access_log", sa.Column("times", sa.Integer, nullable=False, server_default="1"))
