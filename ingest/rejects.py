"""What was not kept, in a small SQLite file: malformed messages one by one, refused readings counted by day and reason.

A payload is never kept, since it may be a person's: its SHA-256 tells whether two are the same.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from contracts.ports import Fault

log = logging.getLogger(__name__)

#: The newest malformed messages that are kept.
MALFORMED_MAX: Final = 10_000
#: Days of counts that are kept.
DAYS_MAX: Final = 400
TOPIC_CHARACTERS_MAX: Final = 200
_SCHEMA: Final = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS malformed (
        id INTEGER PRIMARY KEY, at REAL NOT NULL, reason TEXT NOT NULL, topic TEXT NOT NULL,
        sha256 TEXT NOT NULL, bytes INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS refused (
        day TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (day, kind, reason)) WITHOUT ROWID;
"""


class Malformed(NamedTuple):
    """A message that could not be read."""

    at: float  # unix seconds
    reason: str
    topic: str
    sha256: str  # of the payload
    bytes: int


class RefusedCount(NamedTuple):
    """How many readings or reports were refused on a day (UTC) for one reason."""

    day: str
    kind: str  # 'reading' or 'report'
    reason: str
    times: int


class RejectLog:
    """The file. Thread-safe. A file that can no longer be written is logged, and holds nothing up."""

    def __init__(self, path: Path, *, malformed_max: int = MALFORMED_MAX) -> None:
        """Open the file, or make it. Raises Fault."""
        self._malformed_max = malformed_max
        self._lock = threading.Lock()
        self._connection = open_sqlite(path, _SCHEMA)

    def malformed(self, found: Iterable[tuple[str, bytes, str]], at: float) -> None:
        """Keep (topic, payload, reason) of messages, without the payload; forget the oldest beyond the bound."""
        rows = [
            (at, reason, _shown(topic), hashlib.sha256(payload).hexdigest(), len(payload))
            for topic, payload, reason in found
        ]
        if rows:
            self._change(
                ("INSERT INTO malformed (at, reason, topic, sha256, bytes) VALUES (?, ?, ?, ?, ?)", rows),
                (
                    "DELETE FROM malformed WHERE id <= (SELECT max(id) FROM malformed) - ?",
                    [(self._malformed_max,)],
                ),
            )

    def refused(self, readings: Mapping[str, int], reports: Mapping[str, int], at: float) -> None:
        """Add to the day's counts, reason -> how many."""
        day = datetime.fromtimestamp(at, UTC).date()
        rows = [
            (day.isoformat(), kind, reason, count)
            for kind, counts in (("reading", readings), ("report", reports))
            for reason, count in counts.items()
        ]
        if rows:
            self._change(
                (
                    "INSERT INTO refused (day, kind, reason, count) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (day, kind, reason) DO UPDATE SET count = count + excluded.count",
                    rows,
                ),
                ("DELETE FROM refused WHERE day < date(?, ?)", [(day.isoformat(), f"-{DAYS_MAX} days")]),
            )

    def newest_malformed(self, count: int) -> list[Malformed]:
        """The newest first."""
        return [
            Malformed(*row)
            for row in self._read(
                "SELECT at, reason, topic, sha256, bytes FROM malformed ORDER BY id DESC LIMIT ?", (count,)
            )
        ]

    def refused_by_day(self) -> list[RefusedCount]:
        """All counts, the newest day first."""
        return [
            RefusedCount(*row)
            for row in self._read("SELECT day, kind, reason, count FROM refused ORDER BY day DESC, kind, reason", ())
        ]

    def close(self) -> None:
        """Let go of the file. Repeatable."""
        with self._lock:
            self._connection.close()

    def _change(self, *statements: tuple[str, Sequence[tuple[object, ...]]]) -> None:
        try:
            with self._lock, self._connection:
                for text, rows in statements:
                    self._connection.executemany(text, rows)
        except sqlite3.Error as fault:
            log.warning(
                "the file of rejects cannot be written (%s): counts of this run are whole, the file is not", fault
            )

    def _read(self, text: str, values: tuple[object, ...]) -> list[Any]:
        with self._lock:
            return self._connection.execute(text, values).fetchall()


def open_sqlite(path: Path, schema: str) -> sqlite3.Connection:
    """A connection that several threads may use in turn. Raises Fault, which says what to do."""
    try:
        connection = sqlite3.connect(path, check_same_thread=False)
        connection.executescript(schema)
    except sqlite3.Error as fault:
        raise Fault(
            f"{path} cannot be used for rejects ({fault}): see to its folder, or name a file in WIJKPOLS_INGEST_REJECTS"
        ) from None
    return connection


def _shown(topic: str) -> str:
    """The topic as a terminal may see it: cut, and without control characters."""
    return "".join(c if c.isprintable() else "?" for c in topic[:TOPIC_CHARACTERS_MAX])
