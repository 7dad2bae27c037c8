"""The outbox's file: its tables, and what is done with one that is damaged or of an earlier version."""

from __future__ import annotations

import logging
import secrets
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

NAME: Final = "outbox.sqlite"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused, also not after a restart
    pseudonym TEXT NOT NULL,                -- '' for a message that only tells that some were thrown away
    readings INTEGER NOT NULL,              -- how many of them are in the payload
    added_at INTEGER NOT NULL,              -- unix seconds
    payload BLOB NOT NULL,                  -- a ReadingsMessage as it goes on the wire
    void_from INTEGER                       -- the messages from this number to `seq` were thrown away
) STRICT;
CREATE INDEX IF NOT EXISTS outbox_pseudonym ON outbox (pseudonym);
CREATE TABLE IF NOT EXISTS drained (        -- how far each band's memory was read
    token TEXT NOT NULL,
    log INTEGER NOT NULL,                   -- which memory: a wiped one counts its records anew
    seq INTEGER NOT NULL,                   -- records up to this one are in the outbox, or were of no use
    minute INTEGER NOT NULL,                -- unix seconds: minutes before this one are made
    at INTEGER NOT NULL,                    -- unix seconds
    overwritten INTEGER NOT NULL DEFAULT 0, -- records that the band had overwritten by then
    PRIMARY KEY (token, log)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS turns (          -- when each band had its last turn: that outlasts a restart
    band BLOB PRIMARY KEY,                  -- keyed hash of its identity or address
    at INTEGER NOT NULL,                    -- unix seconds
    read_at INTEGER NOT NULL DEFAULT 0,     -- unix seconds; 0: never
    rest_until INTEGER NOT NULL DEFAULT 0   -- unix seconds: until then it is left alone, for its memory is read
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stops (          -- bands whose wearers stopped, until their consent says so too
    token TEXT PRIMARY KEY,
    pressed_at INTEGER NOT NULL,            -- unix seconds
    press INTEGER NOT NULL DEFAULT 0        -- its number; 0: it has none
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS made (           -- one row
    id INTEGER NOT NULL,                    -- of this outbox: another one counts its messages anew
    salt BLOB NOT NULL
) STRICT;
"""
#: Columns that an earlier version did not have.
_ADDED: Final = (
    ("outbox", "void_from", "INTEGER"),
    ("drained", "overwritten", "INTEGER NOT NULL DEFAULT 0"),
    ("turns", "read_at", "INTEGER NOT NULL DEFAULT 0"),
    ("turns", "rest_until", "INTEGER NOT NULL DEFAULT 0"),
    ("stops", "press", "INTEGER NOT NULL DEFAULT 0"),
)
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_log = logging.getLogger(__name__)


def open_file(folder: Path) -> sqlite3.Connection:
    """The file in `folder`, made or put aside where it must be. Raises OSError and sqlite3.Error."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / NAME
    try:
        return _open(file)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        put_aside(folder)
        return _open(file)


def is_damaged(fault: sqlite3.Error) -> bool:
    """Whether it is the file itself, and not a full disk or another gateway."""
    return getattr(fault, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def put_aside(folder: Path) -> None:
    """Keep a damaged file under another name. Whoever had it open must have let go of it. Raises OSError."""
    file = folder / NAME
    number = 1
    while (aside := file.with_suffix(f".damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    try:
        file.rename(aside)
    except FileNotFoundError:  # somebody took it away
        return
    _log.error("the outbox was damaged; it is kept as %s and a new one begun", aside.name)


def forget_damaged(folder: Path, before: float) -> None:
    """Delete what was put aside and is from before `before` (unix seconds), all of it: no store would take it."""
    for aside in folder.glob(f"{Path(NAME).stem}.damaged-*"):
        with suppress(OSError):  # another time, then
            if aside.stat().st_mtime < before:
                aside.unlink()


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
        _make_tables(db)
    except BaseException:
        db.close()
        raise
    return db


def _make_tables(db: sqlite3.Connection) -> None:
    db.executescript(_SCHEMA)
    for table, column, kind in _ADDED:
        if column not in {row[1] for row in db.execute(f"PRAGMA table_info({table})")}:
            db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    if db.execute("SELECT count(*) FROM made").fetchone() == (0,):
        db.execute("INSERT INTO made VALUES (?, ?)", (1 + secrets.randbits(31), secrets.token_bytes(16)))
