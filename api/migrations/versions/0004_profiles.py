"""The release log's profiles: an area's week by hours of the day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make what is absent (analytics makes its own tables, too), and refuse edits on either database."""
    there = set(sa.inspect(op.get_bind()).get_table_names())
    if "release_profile" not in there:
        op.create_table(
            "release_profile",
            sa.Column("id", _ID, primary_key=True),
            sa.Column("area", sa.Text, nullable=False),
            sa.Column("districts", sa.Text, nullable=False),
            sa.Column("from_hour", sa.Integer, nullable=False),
            sa.Column("to_hour", sa.Integer, nullable=False),
            sa.Column("window", sa.String(16), nullable=False),
            sa.Column("start_s", sa.BigInteger, nullable=False),
            sa.Column("end_s", sa.BigInteger, nullable=False),
            sa.Column("method", sa.String(16), nullable=False),
            sa.Column("status", sa.String(16), nullable=False),
            *(sa.Column(name, sa.Float) for name in ("value", "margin", "participants")),
            sa.Column("reason", sa.String(64)),
            sa.UniqueConstraint("area", "from_hour", "window", "method"),
        )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER release_profile_no_edit BEFORE UPDATE OR DELETE OR TRUNCATE ON release_profile "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit()"
        )
        return
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER IF NOT EXISTS release_profile_no_{change.lower()} BEFORE {change} ON release_profile "
            "BEGIN SELECT RAISE(ABORT, 'history is only added to'); END"
        )
