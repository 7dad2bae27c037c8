"""A DuckDB file written anew, so that what was erased is no longer in it, byte for byte.

DuckDB marks a deleted row and uses its place again some day; until then its bytes stay in the file. What is held is
copied into a new file beside it, which then takes its name in one step: killed at any moment, one whole file is there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

import duckdb

from contracts.ports import Fault
from ingest.duckdb_store import DuckDBStore

_TABLES: Final = ("persons", "districts", "readings", "reports")


class Compacted(NamedTuple):
    """Sizes of the file, in bytes."""

    before: int
    after: int


def compact(path: Path) -> Compacted:
    """Write the file anew. No other process may have it open. Raises Fault, and leaves the old file as it was."""
    path = path.resolve()
    if not path.exists():
        raise Fault(f"{path} is not there: name the store's file in WIJKPOLS_STORE_URL")
    before = path.stat().st_size
    new = path.with_name(f"{path.name}.compact")
    _remove(new)
    DuckDBStore(path).close()  # says what is wrong with a file that is in use, or none of ours; takes its log in
    try:
        _copy(path, new)
        _sync(new)
        new.replace(path)
        _sync(path.parent)
    except (duckdb.Error, OSError) as fault:
        raise Fault(
            f"{path} could not be written anew ({type(fault).__name__}): make room beside it for a second file of"
            f" {before} bytes, and see to the rights on its folder; it is as it was"
        ) from None
    finally:
        _remove(new)
    return Compacted(before, path.stat().st_size)


def _copy(path: Path, new: Path) -> None:
    """Names keep their ids: `persons` is numbered by a sequence, whose value is set beyond the highest."""
    DuckDBStore(new).close()
    with duckdb.connect(str(new)) as connection:
        connection.execute(f"ATTACH {_quoted(path)} AS old (READ_ONLY)")
        for table in _TABLES:
            connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM old.{table}")
            (here,), (there,) = (
                connection.execute(f"SELECT count(*) FROM {name}").fetchall()[0] for name in (table, f"old.{table}")
            )
            if here != there:
                raise duckdb.Error("the copy is not whole")
        for table in ("persons", "districts"):
            sequence = f"{table.removesuffix('s')}_ids"
            (following,) = connection.execute(f"SELECT coalesce(max(id) + 1, 0) FROM {table}").fetchall()[0]
            if following:
                connection.execute(f"SELECT nextval('{sequence}') FROM range({following})").fetchall()
        connection.execute("DETACH old")
        connection.execute("CHECKPOINT")


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(new: Path) -> None:
    for file in (new, new.with_name(f"{new.name}.wal")):
        file.unlink(missing_ok=True)
