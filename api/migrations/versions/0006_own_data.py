"""Bands that were left, and what volunteers object to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two tables."""
    op.create_table(
        "retired_bands",
        sa.Column("token", sa.String(26), sa.ForeignKey("bands.token"), primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "objections",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("pseudonym", sa.String(26), sa.ForeignKey("volunteers.pseudonym"), nullable=False),
        sa.Column("subject", sa.String(16), nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("answered_at", sa.BigInteger, nullable=True),
        sa.Column("answer", sa.String(500), nullable=True),
    )
    op.create_index("ix_objections_pseudonym", "objections", ["pseudonym"])
