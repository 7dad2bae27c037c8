"""What was not yet acknowledged by the broker, on disk: SQLite, oldest first, bounded.

Durability: write-ahead log with `synchronous=NORMAL`. A row is in the kernel when `add` returns, so `kill -9` at any
instruction loses nothing and tears nothing. Only a power cut or a kernel crash can lose rows, those since the last
`sync` (the publisher calls it every ten seconds); it cannot damage the file. `FULL` would save these seconds for an
fsync per minute of each band, which wears an SD card out.

What is deleted is overwritten (`secure_delete`), and after a purge the log is emptied too.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from contracts import wire
from contracts.ports import Fault
from contracts.reading import Reading, SelfReport

#: A week of 200 bands is 2 million rows; what is older gives way first.
ROWS_MAX: Final = 2_000_000
BYTES_MAX: Final = 1 << 30

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused, also not after a restart
    pseudonym TEXT NOT NULL,
    readings INTEGER NOT NULL,              -- how many of them are in the payload
    added_at INTEGER NOT NULL,              -- unix seconds
    payload BLOB NOT NULL                   -- a ReadingsMessage as it goes on the wire
) STRICT;
CREATE INDEX IF NOT EXISTS outbox_pseudonym ON outbox (pseudonym);
CREATE TABLE IF NOT EXISTS drained (        -- how far each band's memory was read
    token TEXT NOT NULL,
    log INTEGER NOT NULL,                   -- which memory: a wiped one counts its records anew
    seq INTEGER NOT NULL,                   -- records up to this one are in the outbox, or were of no use
    minute INTEGER NOT NULL,                -- unix seconds: minutes before this one are made
    at INTEGER NOT NULL,                    -- unix seconds
    PRIMARY KEY (token, log)
) STRICT, WITHOUT ROWID;
"""
_log = logging.getLogger(__name__)


class Row(NamedTuple):
    """One message that waits for its acknowledgement."""

    seq: int
    pseudonym: str
    readings: int
    payload: bytes


class Drained(NamedTuple):
    """How far a band's memory was read: see the table of this name."""

    token: str
    log: int
    seq: int = 0
    minute: int = 0


class Outbox:
    """A queue of messages in `folder`/outbox.sqlite. Thread-safe. One gateway at a time may have it open."""

    def __init__(self, *, folder: Path, rows_max: int = ROWS_MAX, bytes_max: int = BYTES_MAX) -> None:
        """Open it, or raise Fault. A damaged file is put aside, with a line in the log: a lamp post has no keyboard."""
        self._rows_max = rows_max
        self._bytes_max = bytes_max
        self._lock = threading.RLock()
        file = folder / "outbox.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self._db = _open(file)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                aside = _put_aside(file)
                _log.error("the outbox was damaged; it is kept as %s and a new one begun", aside.name)
                self._db = _open(file)
        except (OSError, sqlite3.Error) as fault:
            raise Fault(
                f"the outbox in {folder} cannot be used ({fault}): choose a folder of its own with --outbox"
            ) from None
        self._rows: int
        self._bytes: int
        self._seq: int
        held = "SELECT count(*), coalesce(sum(length(payload)), 0) FROM outbox"
        self._rows, self._bytes = self._db.execute(held).fetchone()
        given = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox'"
        (self._seq,) = self._db.execute(given).fetchone()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        with self._lock:
            return self._rows

    def add(
        self,
        pseudonym: str,
        readings: Sequence[Reading],
        reports: Sequence[SelfReport],
        *,
        now: float,
        drained: Drained | None = None,
    ) -> int:
        """Put one wearer's items in, in messages of at most `wire.ITEMS_MAX`, in one transaction.

        `drained`, which goes into the same transaction, is how far the memory that they come from was read.
        Returns how many old readings gave way because the outbox is full. Raises sqlite3.Error (a full disk).
        """
        with self._lock:
            return self._add(pseudonym, readings, reports, int(now), drained)

    def _add(
        self,
        pseudonym: str,
        readings: Sequence[Reading],
        reports: Sequence[SelfReport],
        now: int,
        drained: Drained | None,
    ) -> int:
        seq = self._seq
        with self._transaction():
            for some_readings, some_reports in _messages(readings, reports):
                seq += 1
                message = wire.ReadingsMessage(seq=seq, readings=some_readings, reports=some_reports)
                self._insert(Row(seq, pseudonym, len(some_readings), wire.encode(message)), now)
            if drained is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO drained (token, log, seq, minute, at) VALUES (?, ?, ?, ?, ?)",
                    (*drained, now),
                )
            crowded_out = self._make_room()
        self._seq = seq  # only now: a failed transaction has used no number
        return crowded_out

    def drained(self, token: str, log: int) -> Drained:
        """How far this memory of a band was read; from nothing on, when it was not."""
        with self._lock:
            found = self._db.execute("SELECT seq, minute FROM drained WHERE token = ? AND log = ?", (token, log))
            row = found.fetchone()
        return Drained(token, log, *row) if row is not None else Drained(token, log)

    def after(self, seq: int, limit: int) -> list[Row]:
        """The oldest rows with a number above `seq`."""
        with self._lock:
            found = self._db.execute(
                "SELECT seq, pseudonym, readings, payload FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)
            )
            return [Row(*row) for row in found]

    def remove(self, seqs: Iterable[int]) -> int:
        """The broker has them. Returns how many readings those still here held."""
        with self._lock, self._transaction():
            return sum(self._delete("seq = ?", (seq,)) for seq in seqs)

    def purge(self, pseudonym: str) -> int:
        """A withdrawal: nothing of this wearer stays, on disk neither. Returns how many readings went."""
        with self._lock:
            with self._transaction():
                gone = self._delete("pseudonym = ?", (pseudonym,))
            if gone:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return gone

    def expire(self, before: float) -> int:
        """Remove what was added before `before` (unix seconds); no store would take it. Returns how many readings."""
        oldest = "SELECT added_at FROM outbox ORDER BY seq LIMIT 1"
        gone = 0
        with self._lock:
            while (row := self._db.execute(oldest).fetchone()) is not None and row[0] < before:
                with self._transaction():
                    gone += self._delete(
                        "seq IN (SELECT seq FROM outbox ORDER BY seq LIMIT 1000) AND added_at < ?", (int(before),)
                    )
            self._db.execute("DELETE FROM drained WHERE at < ?", (int(before),))
        return gone

    def narrow(self, pseudonym: str, keep: Callable[[wire.ReadingsMessage], wire.ReadingsMessage | None]) -> int:
        """Consent was narrowed: this wearer's messages become what `keep` leaves. Returns how many readings went."""
        gone = 0
        with self._lock:
            held = self._db.execute(
                "SELECT seq, readings, added_at, payload FROM outbox WHERE pseudonym = ?", (pseudonym,)
            ).fetchall()
            with self._transaction():
                for seq, readings, added_at, payload in held:
                    message = wire.decode_readings(payload)
                    kept = keep(message)
                    if kept == message:
                        continue
                    gone += readings - (len(kept.readings) if kept else 0)
                    self._delete("seq = ?", (seq,))
                    if kept is not None:
                        self._insert(Row(seq, pseudonym, len(kept.readings), wire.encode(kept)), added_at)
            if gone:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

    def sync(self) -> None:
        """Make what was added safe from a power cut too."""
        with self._lock:
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Let go of the file. Repeatable."""
        with self._lock:
            self._db.close()

    def _insert(self, row: Row, added_at: int) -> None:
        self._db.execute(
            "INSERT INTO outbox (seq, pseudonym, readings, added_at, payload) VALUES (?, ?, ?, ?, ?)",
            (row.seq, row.pseudonym, row.readings, added_at, row.payload),
        )
        self._rows += 1
        self._bytes += len(row.payload)

    def _delete(self, where: str, values: tuple[object, ...]) -> int:
        gone = self._db.execute(
            f"DELETE FROM outbox WHERE {where} RETURNING readings, length(payload)", values
        ).fetchall()
        self._rows -= len(gone)
        self._bytes -= sum(size for _, size in gone)
        return sum(readings for readings, _ in gone)

    def _make_room(self) -> int:
        gone = 0
        while self._rows > self._rows_max or (self._bytes > self._bytes_max and self._rows > 1):
            surplus = max(1, self._rows - self._rows_max)
            gone += self._delete("seq IN (SELECT seq FROM outbox ORDER BY seq LIMIT ?)", (surplus,))
        return gone

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, the counters in memory included."""
        counters = self._rows, self._bytes
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._rows, self._bytes = counters
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def _open(file: Path) -> sqlite3.Connection:
    db = sqlite3.connect(file, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA secure_delete = ON")
        (state,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise sqlite3.DatabaseError("damaged")
        db.executescript(_SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


def _put_aside(file: Path) -> Path:
    number = 1
    while (aside := file.with_suffix(f".damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    return file.rename(aside)


def _messages(
    readings: Sequence[Reading], reports: Sequence[SelfReport]
) -> Iterator[tuple[tuple[Reading, ...], tuple[SelfReport, ...]]]:
    """Readings and reports in portions of ITEMS_MAX together."""
    left_readings, left_reports = iter(readings), iter(reports)
    while True:
        some = tuple(islice(left_readings, wire.ITEMS_MAX))
        others = tuple(islice(left_reports, wire.ITEMS_MAX - len(some)))
        if not some and not others:
            return
        yield some, others
