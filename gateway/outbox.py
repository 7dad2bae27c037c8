"""What was not yet acknowledged by the broker, on disk: SQLite, oldest first, bounded.

Durability: write-ahead log with `synchronous=NORMAL`. A row is in the kernel when `add` returns, so `kill -9` at any
instruction loses nothing and tears nothing. Only a power cut or a kernel crash can lose rows, those since the last
`sync` (the publisher calls it every ten seconds); it cannot damage the file. `FULL` would save these seconds for an
fsync per minute of each band, which wears an SD card out.

What is deleted is overwritten (`secure_delete`), and after a purge the log is emptied too.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from contracts import wire
from contracts.ports import Fault
from contracts.reading import Reading, SelfReport
from gateway.outbox_file import forget_damaged, is_damaged, open_file, put_aside
from gateway.rotation import PAST_S_MAX, Past

#: A week of 200 bands is 2 million rows; what is older gives way first.
ROWS_MAX: Final = 2_000_000
BYTES_MAX: Final = 1 << 30
#: How many messages expire with the lock held; and how long it is then left to who waits for it, s: a thread that takes
#: it again at once would have it before any that is to be woken.
_PORTION: Final = 1000
_GIVE_WAY_S: Final = 0.001
_OLDEST: Final = "SELECT seq FROM outbox WHERE void_from IS NULL ORDER BY seq"


class Row(NamedTuple):
    """One message that waits for its acknowledgement."""

    seq: int
    pseudonym: str  # '' for one that only tells that some were thrown away
    readings: int
    payload: bytes
    added_at: int = 0  # unix seconds
    void_from: int | None = None
    outbox: int = 0


class Drained(NamedTuple):
    """How far a band's memory was read: see the table of this name."""

    token: str
    log: int
    seq: int = 0
    minute: int = 0
    overwritten: int = 0


class Outbox:
    """A queue of messages in `folder`/outbox.sqlite. Thread-safe. One gateway at a time may have it open."""

    def __init__(self, *, folder: Path, rows_max: int = ROWS_MAX, bytes_max: int = BYTES_MAX) -> None:
        """Open it, or raise Fault. A damaged file is put aside, with a line in the log: a lamp post has no keyboard."""
        self._rows_max = rows_max
        self._bytes_max = bytes_max
        self._lock = threading.RLock()
        self._closed = False
        #: The file was damaged, and there is no other one yet; and it is still to be put aside.
        self._missing = self._in_place = False
        self._folder = folder
        try:
            self._begin()
        except (OSError, sqlite3.Error) as fault:
            raise Fault(
                f"the outbox in {folder} cannot be used ({fault}): choose a folder of its own with --outbox"
            ) from None

    def _begin(self) -> None:
        self._db = open_file(self._folder)
        self._rows: int
        self._bytes: int
        self._seq: int
        #: Which outbox this is: another one counts its messages anew.
        self.id: int
        held = "SELECT count(*), coalesce(sum(length(payload)), 0) FROM outbox"
        given = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox'"
        try:
            made = self._db.execute("SELECT id, salt FROM made").fetchone()
            counted = self._db.execute(held).fetchone()
            (seq,) = self._db.execute(given).fetchone()
        except BaseException:
            self._db.close()
            raise
        (self.id, self._salt), (self._rows, self._bytes), self._seq = made, counted, seq

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        with self._lock:
            return self._rows

    def oldest(self) -> int:
        """Unix seconds at which the oldest message was put in; 0 when nothing waits, or when it is closed."""
        with self._guarded():
            if self._closed:
                return 0
            found = self._db.execute("SELECT added_at FROM outbox ORDER BY seq LIMIT 1").fetchone()
        return int(found[0]) if found is not None else 0

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
        with self._transaction():
            seq = self._seq
            for some_readings, some_reports in _messages(readings, reports):
                seq += 1
                message = wire.ReadingsMessage(seq=seq, outbox=self.id, readings=some_readings, reports=some_reports)
                self._insert(Row(seq, pseudonym, len(some_readings), wire.encode(message), now))
            if drained is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO drained (token, log, seq, minute, overwritten, at)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (*drained, now),
                )
            crowded_out = self._make_room()
        self._seq = seq  # only now: a failed transaction has used no number
        return crowded_out

    def drained(self, token: str, log: int) -> Drained:
        """How far this memory of a band was read; from nothing on, when it was not."""
        with self._guarded():
            found = self._db.execute(
                "SELECT seq, minute, overwritten FROM drained WHERE token = ? AND log = ?", (token, log)
            )
            row = found.fetchone()
        return Drained(token, log, *row) if row is not None else Drained(token, log)

    def past(self, band: str, now: float) -> Past | None:
        """What was noted of a band in the last day. `band` is an identity or an address, `now` unix seconds.

        A turn that is yet to come tells of a clock that is wrong, now or when it was noted: nothing is known then.
        """
        known = "SELECT at, read_at, rest_until FROM turns WHERE band = ? AND at BETWEEN ? AND ?"
        with self._guarded():
            row = self._db.execute(known, (self._hashed(band), now - PAST_S_MAX, now)).fetchone()
        return Past(now - row[0], max(now - row[1], 0.0), max(row[2] - now, 0.0)) if row is not None else None

    def note_past(self, past: Mapping[str, Past], now: float) -> None:
        """Keep what a restart should know of these bands; what is a day old, or as far ahead, is forgotten."""
        rows = [
            (int(now - turn_s), int(max(now - read_s, 0.0)), int(now + rest_s), self._hashed(band))
            for band, (turn_s, read_s, rest_s) in past.items()
        ]
        noted = "INSERT OR REPLACE INTO turns (at, read_at, rest_until, band) VALUES (?, ?, ?, ?)"
        with self._transaction():
            self._db.executemany(noted, rows)
            self._db.execute("DELETE FROM turns WHERE abs(at - ?) > ?", (now, PAST_S_MAX))

    def _hashed(self, band: str) -> bytes:
        return blake2b(band.encode(), digest_size=16, key=self._salt).digest()

    def after(self, seq: int, limit: int) -> list[Row]:
        """The oldest rows with a number above `seq`."""
        with self._guarded():
            found = self._db.execute(
                "SELECT seq, pseudonym, readings, payload, added_at, void_from FROM outbox"
                " WHERE seq > ? ORDER BY seq LIMIT ?",
                (seq, limit),
            )
            return [Row(*row)._replace(outbox=self.id) for row in found]

    def remove(self, rows: Iterable[Row]) -> int:
        """The broker has them. Returns how many readings those still here held."""
        with self._lock, self._transaction():
            return sum(
                self._delete("seq = ? AND void_from IS ?", (row.seq, row.void_from))
                for row in rows
                if row.outbox == self.id
            )

    def purge(self, pseudonym: str) -> int:
        """A withdrawal: nothing of this wearer stays, on disk neither. Returns how many readings went."""
        with self._lock:
            with self._transaction():
                gone = self._throw("pseudonym = ?", (pseudonym,))
            if gone:
                self._checkpoint("TRUNCATE")
            return gone

    def stop(self, token: str, pressed_at: int, press: int, pseudonym: str) -> int:
        """The wearer of a band stopped: that is kept, and nothing of them. Returns how many readings went."""
        with self._lock:
            with self._transaction():
                self._db.execute("INSERT OR REPLACE INTO stops VALUES (?, ?, ?)", (token, pressed_at, press))
                gone = self._throw("pseudonym = ?", (pseudonym,))
            self._checkpoint("TRUNCATE")  # it outlasts a power cut, what went does not
            return gone

    def stops(self) -> dict[str, tuple[int, int]]:
        """When each band was stopped (unix seconds) and by which press, by token."""
        with self._guarded():
            return {row[0]: row[1:] for row in self._db.execute("SELECT token, pressed_at, press FROM stops")}

    def forget_stop(self, token: str) -> None:
        """The consent says it too."""
        with self._transaction():
            self._db.execute("DELETE FROM stops WHERE token = ?", (token,))

    def expire(self, before: float) -> int:
        """Remove what was added before `before` (unix seconds); no store would take it. Returns how many readings."""
        oldest = "SELECT added_at FROM outbox WHERE void_from IS NULL ORDER BY seq LIMIT 1"
        gone, more = 0, True
        while more:  # in portions, each with the lock taken anew: what is added goes in between them
            with self._transaction():
                gone += self._throw(f"seq IN ({_OLDEST} LIMIT {_PORTION}) AND added_at < ?", (int(before),))
                row = self._db.execute(oldest).fetchone()
                more = row is not None and row[0] < int(before)
            time.sleep(_GIVE_WAY_S)
        with self._transaction():
            self._db.execute("DELETE FROM drained WHERE at < ?", (int(before),))
        forget_damaged(self._folder, before)
        return gone

    def narrow(self, pseudonym: str, keep: Callable[[wire.ReadingsMessage], wire.ReadingsMessage | None]) -> int:
        """Consent was narrowed: this wearer's messages become what `keep` leaves. Returns how many readings went."""
        held = "SELECT seq, readings, added_at, payload FROM outbox WHERE pseudonym = ?"
        gone = 0
        with self._lock:
            with self._transaction():
                for seq, readings, added_at, payload in self._db.execute(held, (pseudonym,)).fetchall():
                    try:
                        message = wire.decode_readings(payload)
                        kept = keep(message)
                        if kept == message:
                            continue
                    except wire.Malformed:  # damaged: nobody knows what it holds
                        kept = None
                    gone += readings - (len(kept.readings) if kept else 0)
                    if kept is None:
                        self._throw("seq = ?", (seq,))
                    else:
                        self._delete("seq = ?", (seq,))
                        self._insert(Row(seq, pseudonym, len(kept.readings), wire.encode(kept), added_at))
            if gone:
                self._checkpoint("TRUNCATE")
        return gone

    def sync(self) -> None:
        """Make what was added safe from a power cut too."""
        self._checkpoint("PASSIVE")

    def close(self) -> None:
        """Let go of the file. Repeatable."""
        with self._lock:
            self._closed = True
            self._db.close()

    def _insert(self, row: Row) -> None:
        self._db.execute(
            "INSERT INTO outbox (seq, pseudonym, readings, payload, added_at, void_from) VALUES (?, ?, ?, ?, ?, ?)",
            row[:6],
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

    def _throw(self, where: str, values: tuple[object, ...]) -> int:
        """Delete messages that were not sent, and leave one for each run of them that says so: no silent gap.

        Such a message is joined to the one before it, so that they do not fill the outbox in their turn.
        """
        found = self._db.execute(f"SELECT seq, added_at FROM outbox WHERE {where} ORDER BY seq", values).fetchall()
        gone = self._delete(where, values)
        runs: list[list[int]] = []  # first, last, added_at of the last
        for seq, added_at in found:
            if runs and runs[-1][1] == seq - 1:
                runs[-1][1:] = [seq, added_at]
            else:
                runs.append([seq, seq, added_at])
        for first, last, added_at in runs:
            before = self._db.execute(
                "SELECT void_from FROM outbox WHERE seq = ? AND void_from IS NOT NULL", (first - 1,)
            ).fetchone()
            if before is not None:
                self._delete("seq = ?", (first - 1,))
                first = before[0]
            message = wire.ReadingsMessage(seq=last, outbox=self.id, void_from=first)
            self._insert(Row(last, "", 0, wire.encode(message), added_at, first))
        return gone

    def _make_room(self) -> int:
        gone = 0
        while self._rows > self._rows_max or (self._bytes > self._bytes_max and self._rows > 2):
            surplus = max(1, self._rows - self._rows_max)
            gone += self._throw(f"seq IN ({_OLDEST} LIMIT ?)", (surplus,))
        return gone

    def _checkpoint(self, how: str) -> None:
        with self._guarded():
            self._db.execute(f"PRAGMA wal_checkpoint({how})")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """With the lock. A damaged file gives way to a new one; the caller still hears of the fault.

        A disk that is full or read-only does not let it: then each use tries that again first. Raises sqlite3.Error.
        """
        with self._lock:
            if self._missing and not self._closed:
                self._replace()
            try:
                yield
            except sqlite3.Error as fault:
                if is_damaged(fault):
                    self._db.close()
                    self._missing = self._in_place = True
                    self._rows = self._bytes = self._seq = 0
                    with suppress(sqlite3.Error):  # the next use tells of it
                        self._replace()
                raise

    def _replace(self) -> None:
        try:
            if self._in_place:
                put_aside(self._folder)
                self._in_place = False
            self._begin()
        except OSError as fault:
            raise sqlite3.OperationalError(f"the outbox is damaged and cannot be put aside: {fault}") from fault
        self._missing = False

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, the counters in memory included."""
        with self._guarded():
            counters = self._rows, self._bytes
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._rows, self._bytes = counters
                with suppress(sqlite3.Error):  # what made it fail is told; a damaged file cannot be rolled back either
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                raise


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
