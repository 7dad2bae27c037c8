"""The tables as they stood before there were migrations: the API's and the release log's.

A table that is there already is left as it is, so that a registry from before this step is taken over.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make what is absent."""
    there = set(sa.inspect(op.get_bind()).get_table_names())

    def create(name: str, *parts: sa.schema.SchemaItem) -> bool:
        if name not in there:
            op.create_table(name, *parts)
        return name not in there

    def history(name: str, *parts: sa.schema.SchemaItem) -> None:
        if create(name, *parts) and op.get_bind().dialect.name == "sqlite":
            for change in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {name}_no_{change.lower()} BEFORE {change} ON {name} "
                    "BEGIN SELECT RAISE(ABORT, 'history is only added to'); END"
                )

    _consent(create)
    _releases(history)


def _consent(create) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    create(
        "registry_meta", sa.Column("name", sa.String(32), primary_key=True), sa.Column("value", sa.Text, nullable=False)
    )
    create("districts", sa.Column("code", sa.String(10), primary_key=True), sa.Column("body", sa.Text, nullable=False))
    if create(
        "consent_events",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("pseudonym", sa.String(26), nullable=False),
    ):
        op.create_index("ix_consent_events_pseudonym", "consent_events", ["pseudonym"])
    create(
        "consent_chain",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    create(
        "volunteers",
        sa.Column("pseudonym", sa.String(26), primary_key=True),
        sa.Column("language", sa.String(2), nullable=False),
        sa.Column("last_event", sa.BigInteger, sa.ForeignKey("consent_events.seq"), nullable=False),
    )
    if create(
        "bands",
        sa.Column("token", sa.String(26), primary_key=True),
        sa.Column("claim_hmac", sa.String(64), nullable=False, unique=True),
        sa.Column("pseudonym", sa.String(26), sa.ForeignKey("volunteers.pseudonym"), nullable=True),
    ):
        op.create_index("ix_bands_pseudonym", "bands", ["pseudonym"])
    if create(
        "bearer_tokens",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("pseudonym", sa.String(26), sa.ForeignKey("volunteers.pseudonym"), nullable=False),
    ):
        op.create_index("ix_bearer_tokens_pseudonym", "bearer_tokens", ["pseudonym"])
    create(
        "consent_outbox",
        sa.Column("token", sa.String(26), sa.ForeignKey("bands.token"), primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    if create(
        "erasures",
        sa.Column(
            "revision", sa.BigInteger, sa.ForeignKey("consent_events.seq"), primary_key=True, autoincrement=False
        ),
        sa.Column("pseudonym", sa.String(26), nullable=False),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        sa.Column("erased_at", sa.Float, nullable=True),
        sa.Column("readings", sa.BigInteger, nullable=True),
        sa.Column("reports", sa.BigInteger, nullable=True),
    ):
        op.create_index("ix_erasures_pseudonym", "erasures", ["pseudonym"])
    if create(
        "access_log",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("purpose", sa.String(200), nullable=False),
        sa.Column("dataset", sa.String(64), nullable=False),
        sa.Column("pseudonym", sa.String(26), nullable=True),
    ):
        op.create_index("ix_access_log_day", "access_log", ["day"])
        op.create_index("access_log_pseudonym", "access_log", ["pseudonym"])


def _releases(history) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    history(
        "release_claim",
        sa.Column("district", sa.String(32), nullable=False),
        sa.Column("window", sa.String(16), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("district", "window", "method"),
    )
    history(
        "release_cell",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("area", sa.Text, nullable=False),
        sa.Column("districts", sa.Text, nullable=False),
        sa.Column("metric", sa.String(16), nullable=False),
        sa.Column("window", sa.String(16), nullable=False),
        sa.Column("start_s", sa.BigInteger, nullable=False),
        sa.Column("end_s", sa.BigInteger, nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("margin", sa.Float),
        sa.Column("participants", sa.Float),
        sa.Column("reason", sa.String(64)),
        sa.UniqueConstraint("area", "metric", "window", "method"),
    )
    history(
        "release_budget",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("area", sa.Text, nullable=False),
        sa.Column("window", sa.String(16), nullable=False),
        sa.Column("cadence", sa.String(16), nullable=False),
        sa.Column("end_s", sa.BigInteger, nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("rho", sa.Float, nullable=False),
        sa.UniqueConstraint("area", "window", "method"),
    )
    history(
        "release_plan",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("holds_from", sa.String(10), nullable=False),
        sa.Column("district", sa.String(32), nullable=False),
        sa.Column("area", sa.Text, nullable=False),
        sa.Column("cadence", sa.String(16), nullable=False),
        sa.UniqueConstraint("holds_from", "district"),
    )
