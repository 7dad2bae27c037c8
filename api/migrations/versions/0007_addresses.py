"""Addresses for reminders, moments for questions, sheets for the way back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Three tables, each with one row for a volunteer at most."""

    def volunteer() -> sa.Column[str]:
        return sa.Column("pseudonym", sa.String(26), sa.ForeignKey("volunteers.pseudonym"), primary_key=True)

    op.create_table(
        "addresses",
        volunteer(),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("reminded_for", sa.BigInteger, nullable=True),
    )
    op.create_table(
        "prompts",
        volunteer(),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("per_day", "first_hour", "last_hour")),
        sa.Column("seed", sa.String(32), nullable=False),
        sa.Column("answered_at", sa.BigInteger, nullable=True),
    )
    op.create_table(
        "recoveries",
        volunteer(),
        sa.Column("claim_hmac", sa.String(64), nullable=False, unique=True),
        sa.Column("words", sa.String(160), nullable=False),
        sa.Column("usable_from", sa.BigInteger, nullable=False),
        sa.Column("usable_until", sa.BigInteger, nullable=False),
    )
