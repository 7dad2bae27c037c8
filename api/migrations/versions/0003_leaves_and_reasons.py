"""The release log's leaves (for a city's totals) and its reasons of a week."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make what is absent (analytics makes its own tables, too), and refuse edits on either database."""
    there = set(sa.inspect(op.get_bind()).get_table_names())
    if "release_leaf" not in there:
        op.create_table(
            "release_leaf",
            sa.Column("id", _ID, primary_key=True),
            sa.Column("area", sa.Text, nullable=False),
            sa.Column("districts", sa.Text, nullable=False),
            sa.Column("cadence", sa.String(16), nullable=False),
            sa.Column("window", sa.String(16), nullable=False),
            sa.Column("start_s", sa.BigInteger, nullable=False),
            sa.Column("end_s", sa.BigInteger, nullable=False),
            sa.Column("method", sa.String(16), nullable=False),
            sa.Column("status", sa.String(16), nullable=False),
            *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("participants", "safe", "calm", "happy")),
            sa.UniqueConstraint("area", "window", "method"),
        )
    if "release_reason" not in there:
        op.create_table(
            "release_reason",
            sa.Column("id", _ID, primary_key=True),
            sa.Column("area", sa.Text, nullable=False),
            sa.Column("districts", sa.Text, nullable=False),
            sa.Column("reason", sa.String(32), nullable=False),
            sa.Column("window", sa.String(16), nullable=False),
            sa.Column("start_s", sa.BigInteger, nullable=False),
            sa.Column("end_s", sa.BigInteger, nullable=False),
            sa.Column("method", sa.String(16), nullable=False),
            sa.Column("status", sa.String(16), nullable=False),
            sa.Column("people", sa.Float),
            sa.Column("margin", sa.Float),
            sa.UniqueConstraint("area", "reason", "window", "method"),
        )
    for name in ("release_leaf", "release_reason"):
        if op.get_bind().dialect.name == "postgresql":
            op.execute(
                f"CREATE TRIGGER {name}_no_edit BEFORE UPDATE OR DELETE OR TRUNCATE ON {name} "
                "FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit()"
            )
            continue
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER IF NOT EXISTS {name}_no_{change.lower()} BEFORE {change} ON {name} "
                "BEGIN SELECT RAISE(ABORT, 'history is only added to'); END"
            )
