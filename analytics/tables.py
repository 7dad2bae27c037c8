"""The tables of the release log in the registry database: history only, so nothing in them is edited or removed.

SQLite refuses an edit by trigger; a unique key refuses a second draw on any database.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Float,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
)

METADATA: Final = MetaData()
#: An id that counts up in both SQLite and PostgreSQL.
_ID: Final = BigInteger().with_variant(Integer, "sqlite")

#: One row per district, window and method: taken before the noise is drawn, so that there is one draw at most.
CLAIMS: Final = Table(
    "release_claim",
    METADATA,
    Column("district", String(32), nullable=False),
    Column("window", String(16), nullable=False),
    Column("method", String(16), nullable=False),
    PrimaryKeyConstraint("district", "window", "method"),
)

CELLS: Final = Table(
    "release_cell",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("area", Text, nullable=False),
    Column("districts", Text, nullable=False),  # codes joined by '+'
    Column("metric", String(16), nullable=False),
    Column("window", String(16), nullable=False),
    Column("start_s", BigInteger, nullable=False),
    Column("end_s", BigInteger, nullable=False),
    Column("method", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("value", Float),
    Column("margin", Float),
    Column("participants", Float),
    Column("reason", String(64)),
    UniqueConstraint("area", "metric", "window", "method"),
)

#: What was drawn for each release, with its noise: what totals are made of.
LEAVES: Final = Table(
    "release_leaf",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("area", Text, nullable=False),
    Column("districts", Text, nullable=False),  # codes joined by '+'
    Column("cadence", String(16), nullable=False),
    Column("window", String(16), nullable=False),
    Column("start_s", BigInteger, nullable=False),
    Column("end_s", BigInteger, nullable=False),
    Column("method", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("participants", BigInteger, nullable=False),
    Column("safe", BigInteger, nullable=False),
    Column("calm", BigInteger, nullable=False),
    Column("happy", BigInteger, nullable=False),
    UniqueConstraint("area", "window", "method"),
)

#: A reason of a week: one row per area, window and reason.
REASONS: Final = Table(
    "release_reason",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("area", Text, nullable=False),
    Column("districts", Text, nullable=False),  # codes joined by '+'
    Column("reason", String(32), nullable=False),
    Column("window", String(16), nullable=False),
    Column("start_s", BigInteger, nullable=False),
    Column("end_s", BigInteger, nullable=False),
    Column("method", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("people", Float),
    Column("margin", Float),
    UniqueConstraint("area", "reason", "window", "method"),
)

#: An area's week by hours of the day: one row per area, week and block.
PROFILES: Final = Table(
    "release_profile",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("area", Text, nullable=False),
    Column("districts", Text, nullable=False),  # codes joined by '+'
    Column("from_hour", Integer, nullable=False),
    Column("to_hour", Integer, nullable=False),
    Column("window", String(16), nullable=False),
    Column("start_s", BigInteger, nullable=False),
    Column("end_s", BigInteger, nullable=False),
    Column("method", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("value", Float),
    Column("margin", Float),
    Column("participants", Float),
    Column("reason", String(64)),
    UniqueConstraint("area", "from_hour", "window", "method"),
)

LEDGER: Final = Table(
    "release_budget",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("area", Text, nullable=False),
    Column("window", String(16), nullable=False),
    Column("cadence", String(16), nullable=False),  # the area's, also for its reasons of a week
    Column("end_s", BigInteger, nullable=False),
    Column("method", String(16), nullable=False),
    Column("rho", Float, nullable=False),
    UniqueConstraint("area", "window", "method"),
)

PLANS: Final = Table(
    "release_plan",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("holds_from", String(10), nullable=False),  # local day, ISO 8601
    Column("district", String(32), nullable=False),
    Column("area", Text, nullable=False),
    Column("cadence", String(16), nullable=False),
    UniqueConstraint("holds_from", "district"),
)

for _table in METADATA.tables.values():
    for _change in ("UPDATE", "DELETE"):
        event.listen(
            _table,
            "after_create",
            DDL(  # type: ignore[no-untyped-call]
                f"CREATE TRIGGER {_table.name}_no_{_change.lower()} BEFORE {_change} ON {_table.name} "
                "BEGIN SELECT RAISE(ABORT, 'history is only added to'); END"
            ).execute_if(dialect="sqlite"),
        )
