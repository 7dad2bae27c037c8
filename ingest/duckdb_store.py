"""The store of readings on one DuckDB file: the embedded default. One process has the file; threads share it.

A minute is one row, found by (person, minute). There is no primary key: an index on it costs more with every row
(figures in docs/reference/ingest.md), while a MERGE joins the batch with only those row groups whose minutes it
touches. Persons and districts are numbers, their names stand once.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

import duckdb
import numpy as np
from numpy.typing import NDArray

from contracts.ports import (
    EVERYTHING,
    Extent,
    Fault,
    Holdings,
    ReadingColumns,
    ReportColumns,
    StoredReading,
    StoredReport,
    StoreUnavailable,
)
from contracts.reading import FIELDS, RETENTION_DAYS, Reading, Reason, SelfReport
from ingest import duckdb_extent
from ingest.batch import Columns, Numbering, reading_columns, report_columns

#: Memory that DuckDB may use for itself; beyond it, it spills to a folder beside the file.
MEMORY_LIMIT: Final = "1GB"
_FIELD_LIST: Final = ", ".join(FIELDS)
_NAN_FOR_NULL: Final = ", ".join(f"coalesce(r.{name}, 'nan'::DOUBLE) AS {name}" for name in FIELDS)
_SCHEMA: Final = f"""
    CREATE SEQUENCE IF NOT EXISTS person_ids MINVALUE 0 START 0;
    CREATE SEQUENCE IF NOT EXISTS district_ids MINVALUE 0 START 0;
    CREATE TABLE IF NOT EXISTS persons (id INTEGER NOT NULL DEFAULT nextval('person_ids'), name VARCHAR NOT NULL);
    CREATE TABLE IF NOT EXISTS districts (id INTEGER NOT NULL DEFAULT nextval('district_ids'), name VARCHAR NOT NULL);
    CREATE TABLE IF NOT EXISTS readings (
        person INTEGER NOT NULL, minute BIGINT NOT NULL, district INTEGER NOT NULL,
        {", ".join(f"{name} DOUBLE" for name in FIELDS)});
    CREATE TABLE IF NOT EXISTS reports (
        person INTEGER NOT NULL, answered_at BIGINT NOT NULL, district INTEGER NOT NULL,
        safe TINYINT NOT NULL, happy TINYINT NOT NULL, reason VARCHAR);
"""

#: What DuckDB makes of a Ctrl-C in the middle of a query, a RuntimeError.
_CTRL_C: Final = "Query interrupted"


class _SharedFile:
    """What all stores of one process on one file share, since DuckDB lets a process open a file more than once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # held while the file is changed; guards the ids too
        self.ids: dict[str, dict[str, int]] = {"persons": {}, "districts": {}}  # table -> name -> id, as committed

    def forget_ids(self) -> None:
        """After a change that may not have come about, or that took names away."""
        for known in self.ids.values():
            known.clear()


_SHARED: Final[WeakValueDictionary[Path, _SharedFile]] = WeakValueDictionary()
_SHARED_GUARD: Final = threading.Lock()


class DuckDBStore:
    """`contracts.ports.ReadingStore` on a DuckDB file. Thread-safe: each call works on a cursor of its own."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it. Raises Fault, which says what to do."""
        self._path = path.resolve()
        with _SHARED_GUARD:
            self._shared = _SHARED.setdefault(self._path, _SharedFile())
        self._closed = False
        self._connection = self._open()

    def write(self, readings: Sequence[StoredReading], reports: Sequence[StoredReport]) -> None:
        """One transaction, on disk when it returns. Of a key that comes twice, the last stays.

        Raises StoreUnavailable (disk full, closed), and StoreRefused with the index of the bad row, counted over
        the readings and then the reports.
        """
        if not readings and not reports:
            return
        people, places = Numbering(), Numbering()
        reading_batch = reading_columns(readings, people, places)
        report_batch = report_columns(reports, people, places, offset=len(readings))
        with self._change() as cursor:
            persons, districts = (self._ids(cursor, "persons", people), self._ids(cursor, "districts", places))
            for table, key, batch in (("readings", "minute", reading_batch), ("reports", "answered_at", report_batch)):
                if len(batch[key]):
                    _merge(cursor, table, key, batch, persons, districts)

    def readings(self, start: int, end: int, *, rows_max: int = 2_000_000) -> Iterator[ReadingColumns]:
        """Chunks in the order of pseudonyms, read within one snapshot; memory holds one chunk (92 bytes a row)."""
        with self._read() as cursor:
            districts = _names(cursor, "districts")
            counts = cursor.execute(
                "SELECT p.id, p.name, c.n FROM persons p JOIN (SELECT person, count(*) AS n FROM readings"
                " WHERE minute >= ? AND minute < ? GROUP BY person) c ON c.person = p.id ORDER BY p.name",
                [start, end],
            ).fetchall()
            for chunk in _chunks(counts, rows_max):
                wanted = {
                    "id": np.array([number for number, _ in chunk], np.int32),
                    "place": np.arange(len(chunk), dtype=np.int32),
                }
                cursor.register("wanted", wanted)
                columns = cursor.execute(
                    f"SELECT w.place, r.district, r.minute, {_NAN_FOR_NULL} FROM readings r"
                    " JOIN wanted w ON r.person = w.id WHERE r.minute >= ? AND r.minute < ?"
                    " ORDER BY w.place, r.minute",
                    [start, end],
                ).fetchnumpy()
                cursor.unregister("wanted")
                yield ReadingColumns(
                    pseudonyms=tuple(name for _, name in chunk),
                    districts=districts,
                    person=columns["place"],
                    district=columns["district"],
                    minute=columns["minute"],
                    fields={name: columns[name] for name in FIELDS},
                )

    def reports(self, start: int, end: int) -> ReportColumns:
        """All self-reports of a span."""
        with self._read() as cursor:
            columns = cursor.execute(
                "SELECT p.name, r.district, r.answered_at, safe::SMALLINT AS safe, happy::SMALLINT AS happy, reason"
                " FROM reports r JOIN persons p ON r.person = p.id"
                " WHERE r.answered_at >= ? AND r.answered_at < ? ORDER BY p.name, r.answered_at",
                [start, end],
            ).fetchnumpy()
            districts = _names(cursor, "districts")
        pseudonyms, person = np.unique(columns["name"], return_inverse=True)
        reason = np.ma.getdata(columns["reason"]).astype(object)
        reason[np.ma.getmaskarray(columns["reason"])] = None
        return ReportColumns(
            pseudonyms=tuple(pseudonyms.tolist()),
            districts=districts,
            person=person.astype(np.int32),
            district=columns["district"],
            at=columns["answered_at"],
            safe=columns["safe"],
            happy=columns["happy"],
            reason=reason,
        )

    def person(self, pseudonym: str) -> tuple[list[StoredReading], list[StoredReport]]:
        """All that is held about one pseudonym, in order of time."""
        with self._read() as cursor:
            readings = cursor.execute(
                f"SELECT d.name, r.minute, {_FIELD_LIST} FROM readings r JOIN districts d ON r.district = d.id"
                " WHERE r.person = (SELECT id FROM persons WHERE name = ?) ORDER BY r.minute",
                [pseudonym],
            ).fetchall()
            reports = cursor.execute(
                "SELECT d.name, r.answered_at, safe, happy, reason FROM reports r JOIN districts d ON r.district = d.id"
                " WHERE r.person = (SELECT id FROM persons WHERE name = ?) ORDER BY r.answered_at",
                [pseudonym],
            ).fetchall()
        return (
            [
                StoredReading(
                    district, Reading(pseudonym=pseudonym, minute=minute, **dict(zip(FIELDS, values, strict=True)))
                )
                for district, minute, *values in readings
            ],
            [
                StoredReport(
                    district,
                    SelfReport(
                        pseudonym=pseudonym,
                        at=at,
                        safe=safe,
                        happy=happy,
                        reason=None if reason is None else Reason(reason),
                    ),
                )
                for district, at, safe, happy, reason in reports
            ],
        )

    def holdings(self, pseudonym: str | None = None, extent: Extent = EVERYTHING) -> Holdings:
        """How much is held, of one pseudonym or in all; with an extent, how many rows hold something of it."""
        with self._read() as cursor:
            return duckdb_extent.held(cursor, pseudonym, extent)

    def erase(self, pseudonym: str, extent: Extent = EVERYTHING) -> Holdings:
        """Erase what an extent takes of one pseudonym, with all of it the name too; returns what went. Repeatable."""
        with self._change() as cursor:
            held = duckdb_extent.held(cursor, pseudonym, extent)
            duckdb_extent.erase(cursor, pseudonym, extent)
            if extent == EVERYTHING:
                cursor.execute("DELETE FROM persons WHERE name = ?", [pseudonym])
                self._shared.ids["persons"].pop(pseudonym, None)
        return held

    def expire(self, now: float) -> Holdings:
        """Delete what is older than the retention (`RETENTION_DAYS` before `now`); returns what was deleted."""
        oldest = int(now) - RETENTION_DAYS * 86_400
        with self._change() as cursor:
            readings = cursor.execute("DELETE FROM readings WHERE minute < ?", [oldest]).fetchall()[0][0]
            reports = cursor.execute("DELETE FROM reports WHERE answered_at < ?", [oldest]).fetchall()[0][0]
            if readings or reports:
                cursor.execute(
                    "DELETE FROM persons WHERE id NOT IN (SELECT person FROM readings UNION SELECT person FROM reports)"
                )
                self._shared.forget_ids()
        return Holdings(readings, reports)

    def close(self) -> None:
        """Let go of the file. Repeatable."""
        with self._shared.lock:
            self._closed = True
            self._connection.close()

    def _ids(self, cursor: duckdb.DuckDBPyConnection, table: str, numbering: Numbering) -> NDArray[np.int32]:
        """[n] the ids of these names in `persons` or `districts`; new names are given one."""
        known = self._shared.ids[table]
        names = numbering.names()
        missing = [name for name in names if name not in known]
        if missing:
            wanted = "SELECT unnest($names) AS name"
            cursor.execute(
                f"INSERT INTO {table} (name) SELECT name FROM ({wanted}) WHERE name NOT IN (SELECT name FROM {table})",
                {"names": missing},
            )
            found = cursor.execute(
                f"SELECT name, id FROM {table} WHERE name IN (SELECT name FROM ({wanted}))", {"names": missing}
            )
            known.update(found.fetchall())
        return np.array([known[name] for name in names], np.int32)

    def _open(self) -> duckdb.DuckDBPyConnection:
        config = {
            "memory_limit": MEMORY_LIMIT,
            # Nothing is ever fetched from the network behind the owner's back.
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
        try:
            connection = duckdb.connect(str(self._path), config=config)  # type: ignore[arg-type]
        except duckdb.Error as fault:
            raise Fault(_why_not_opened(self._path, str(fault))) from None
        try:
            connection.execute(_SCHEMA)
            connection.execute(f"SELECT person, minute, district, {_FIELD_LIST} FROM readings LIMIT 0")
        except duckdb.Error:
            connection.close()
            raise Fault(f"{self._path} is a DuckDB file, but not a store of readings: name another file") from None
        return connection

    @contextmanager
    def _read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor on one snapshot: what is written meanwhile is not seen."""
        with self._transaction() as cursor:
            yield cursor

    @contextmanager
    def _change(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor in a transaction of its own, the only one that changes the file."""
        with self._shared.lock:
            try:
                with self._transaction() as cursor:
                    yield cursor
            except BaseException:
                self._shared.forget_ids()
                raise

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        try:
            with self._connection.cursor() as cursor:
                cursor.begin()
                try:
                    yield cursor
                except BaseException:
                    cursor.rollback()
                    raise
                cursor.commit()
        except duckdb.FatalException:
            # The instance is invalid after this (a disk that filled up during a commit); the file is not.
            self._reopen()
            raise StoreUnavailable("DuckDB gave up on its file, and was opened anew") from None
        except RuntimeError as fault:
            if str(fault) != _CTRL_C:
                raise
            raise KeyboardInterrupt from None
        except duckdb.Error as fault:
            raise StoreUnavailable(f"DuckDB: {type(fault).__name__}") from None  # its text can hold values

    def _reopen(self) -> None:
        with _SHARED_GUARD:
            if not self._closed:
                self._connection.close()
                try:
                    self._connection = self._open()
                except Fault as fault:
                    raise StoreUnavailable(str(fault)) from None


def _why_not_opened(path: Path, text: str) -> str:
    holder = re.search(r"\(PID (\d+)\)", text)
    if "lock" in text:
        by = f" (process {holder[1]})" if holder else ""
        return f"{path} is in use by another process{by}: stop that one, or name another file in WIJKPOLS_STORE_URL"
    if "not a valid DuckDB" in text or "Is a directory" in text:
        return f"{path} is no DuckDB file: name another in WIJKPOLS_STORE_URL"
    if "different configuration" in text:
        return f"{path} is already open in this process with other settings: use that store"
    if "No such file or directory" in text:
        return f"the folder {path.parent} is not there: make it, or name another file in WIJKPOLS_STORE_URL"
    return f"{path} cannot be opened for writing: see to the rights on {path.parent}, or name another file"


def _merge(
    cursor: duckdb.DuckDBPyConnection,
    table: str,
    key: str,
    batch: Columns,
    persons: NDArray[np.int32],
    districts: NDArray[np.int32],
) -> None:
    """Put a batch into a table; a row with the same (person, `key`) is replaced.

    One statement: each call hands Python's lock to the network thread, and waits milliseconds to have it back.
    """
    batch = {**batch, "person": persons[batch["person"]], "district": districts[batch["district"]]}
    cursor.register("batch", batch)
    cursor.execute(
        f"MERGE INTO {table} t USING batch b ON t.person = b.person AND t.{key} = b.{key}"
        " WHEN MATCHED THEN UPDATE BY NAME WHEN NOT MATCHED THEN INSERT BY NAME"
    )


def _names(cursor: duckdb.DuckDBPyConnection, table: str) -> tuple[str, ...]:
    """The names by id; ids of districts are dense, since none is ever deleted."""
    return tuple(name for (name,) in cursor.execute(f"SELECT name FROM {table} ORDER BY id").fetchall())


def _chunks(counts: Iterable[tuple[int, str, int]], rows_max: int) -> Iterator[list[tuple[int, str]]]:
    """(id, name) of persons in groups of at most `rows_max` rows; a person with more stands alone."""
    chunk: list[tuple[int, str]] = []
    rows = 0
    for number, name, count in counts:
        if chunk and rows + count > rows_max:
            yield chunk
            chunk, rows = [], 0
        chunk.append((number, name))
        rows += count
    if chunk:
        yield chunk
