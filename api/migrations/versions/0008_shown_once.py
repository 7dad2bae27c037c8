"""Recovery codes that are shown until they are written down."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table, whose rows go with their sessions."""
    op.create_table(
        "web_shown_once",
        sa.Column("session", sa.String(64), sa.ForeignKey("web_sessions.hash", ondelete="CASCADE"), primary_key=True),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
