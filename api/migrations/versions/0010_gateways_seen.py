"""When each gateway last was at work."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table."""
    op.create_table(
        "gateways_seen",
        sa.Column("gateway", sa.String(64), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
