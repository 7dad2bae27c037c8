"""What an extent of an erasure takes of somebody, in the tables of a DuckDB store: counted, and erased."""

from __future__ import annotations

from typing import Final

import duckdb

from contracts.ports import EVERYTHING, Extent, Holdings
from contracts.reading import FIELDS

_WHOSE: Final = "person = (SELECT id FROM persons WHERE name = ?)"


def held(cursor: duckdb.DuckDBPyConnection, pseudonym: str | None, extent: Extent) -> Holdings:
    """How many rows hold something of it, of one pseudonym or of everybody."""
    whose, names = ("true", []) if pseudonym is None else (_WHOSE, [pseudonym])
    if extent == EVERYTHING:
        something = "true"
    else:
        something = f"coalesce({', '.join(extent.lost)}) IS NOT NULL" if extent.lost else "false"
    found = cursor.execute(
        f"SELECT (SELECT count(*) FROM readings WHERE {whose}{_before(extent, 'minute')} AND {something}),"
        f" (SELECT count(*) FROM reports WHERE {whose}{_before(extent, 'answered_at')} AND {extent.reports})",
        [*names, *names],
    ).fetchall()
    return Holdings(*found[0])


def erase(cursor: duckdb.DuckDBPyConnection, pseudonym: str, extent: Extent) -> None:
    """Fields that go become NULL, and a reading of which nothing is left goes."""
    which = f"WHERE {_WHOSE}{_before(extent, 'minute')}"
    if len(extent.lost) < len(FIELDS):
        if extent.lost:
            cursor.execute(
                f"UPDATE readings SET {', '.join(f'{name} = NULL' for name in extent.lost)} {which}", [pseudonym]
            )
        which += f" AND coalesce({', '.join(FIELDS)}) IS NULL"
    cursor.execute(f"DELETE FROM readings {which}", [pseudonym])
    if extent.reports:
        cursor.execute(f"DELETE FROM reports WHERE {_WHOSE}{_before(extent, 'answered_at')}", [pseudonym])


def _before(extent: Extent, column: str) -> str:
    return "" if extent.before is None else f" AND {column} < {int(extent.before)}"
