"""Secrets and sessions of the volunteer's pages; PostgreSQL refuses an edit of history, as SQLite does."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_RELEASES = ("release_claim", "release_cell", "release_budget", "release_plan")


def upgrade() -> None:
    """Two tables, and on PostgreSQL one trigger for each table that is history."""
    op.create_table(
        "web_secrets",
        sa.Column("pseudonym", sa.String(26), sa.ForeignKey("volunteers.pseudonym"), primary_key=True),
        sa.Column("secret", sa.String(160), nullable=False),
        sa.Column("recovery", sa.String(160), nullable=False),
    )
    op.create_table(
        "web_sessions",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("pseudonym", sa.String(26), sa.ForeignKey("volunteers.pseudonym"), nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_web_sessions_pseudonym", "web_sessions", ["pseudonym"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_edit() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'history is only added to'; END $$"
        )
        for name in _RELEASES:
            op.execute(
                f"CREATE TRIGGER {name}_no_edit BEFORE UPDATE OR DELETE OR TRUNCATE ON {name} "
                "FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit()"
            )
