"""The outbox on a real disk that is full or read-only when it is damaged; and what comes during a long expiry."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from contracts.reading import Reading
from gateway.outbox import Outbox
from tests.ingestkit.small_disk import SmallDisk

ROOT = Path(__file__).resolve().parents[2]
#: Does what is said, line by line: the value, or the name of the database's error. Any other error ends it.
USER = """
import os, sqlite3, sys
from pathlib import Path
from contracts.reading import Reading
from gateway.outbox import Outbox
from gateway.rotation import Past
outbox = Outbox(folder=Path(sys.argv[1]) / "outbox")
file = Path(sys.argv[1]) / "outbox" / "outbox.sqlite"
def add(count):
    return outbox.add("a" * 26, [Reading(pseudonym="a" * 26, minute=60 * i, hr=60.0) for i in range(count)], [], now=9)
def damage():
    outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    outbox._db.execute("PRAGMA cache_size = 0")
    with file.open("r+b") as damaged:
        damaged.write(b"\\xff" * file.stat().st_size)
def swap_indexes():
    for line in (
        "CREATE INDEX spare ON stops (press)", "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET rootpage = (SELECT sum(rootpage) FROM sqlite_schema"
        " WHERE name IN ('spare', 'outbox_pseudonym')) - rootpage WHERE name IN ('spare', 'outbox_pseudonym')",
        "PRAGMA writable_schema = RESET", "PRAGMA wal_checkpoint(TRUNCATE)",
    ):
        outbox._db.execute(line)
    return outbox._db.execute("PRAGMA quick_check").fetchall()
def counters():
    return len(outbox), outbox._bytes, outbox._seq
for line in sys.stdin:
    try:
        print(eval(line), flush=True)
    except sqlite3.Error as fault:
        print(type(fault).__name__, flush=True)
"""
Say = Callable[[str], str]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path / "disk", mebibytes=4) as disk:
        yield disk


@pytest.fixture
def say(disk: SmallDisk) -> Iterator[Say]:
    """An outbox with two messages, in use on that disk."""
    words = [*disk.within, sys.executable, "-c", USER, str(disk.path)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}  # the words before it do not keep the folder
    with subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:

        def tell(line: str) -> str:
            assert user.stdin is not None
            assert user.stdout is not None
            user.stdin.write(line + "\n")
            user.stdin.flush()
            return user.stdout.readline().strip()

        assert tell("add(120)") == "0"
        assert tell("outbox._seq") == "2"
        yield tell


def aside(disk: SmallDisk) -> list[str]:
    return sorted(file.name for file in (disk.seen / "outbox").glob("outbox.damaged-*"))


def test_an_outbox_that_is_damaged_on_a_full_disk_works_again_as_soon_as_there_is_room(disk: SmallDisk, say: Say):
    before = say("outbox.id")
    say("damage()")
    disk.fill()
    assert say("outbox.after(0, 10)") == "DatabaseError"
    for _ in range(2):
        assert say("add(1)") == "OperationalError"
        assert say("counters()") == "(0, 0, 0)"
    disk.make_room()
    assert say("add(61)") == "0"
    assert say("[row.seq for row in outbox.after(0, 10)]") == "[1, 2]"
    assert say("counters()") == say("(2, sum(len(row.payload) for row in outbox.after(0, 10)), 2)")
    assert say("outbox.id") != before
    assert aside(disk) == ["outbox.damaged-1"]


def test_an_outbox_that_is_damaged_on_a_read_only_disk_is_put_aside_as_soon_as_it_can_be(disk: SmallDisk, say: Say):
    say("damage()")
    disk.make_read_only()
    assert say("outbox.after(0, 10)") == "DatabaseError"
    for use in (
        "add(1)", "outbox.oldest()", "outbox.drained('token', 1)", "outbox.past('a band', 9)", "outbox.after(0, 10)",
        "outbox.note_past({'a band': Past(5)}, 9)", "outbox.remove([])", "outbox.purge('a' * 26)", "outbox.stops()",
        "outbox.stop('token', 9, 1, 'a' * 26)", "outbox.forget_stop('token')", "outbox.expire(9)", "outbox.sync()",
        "outbox.narrow('a' * 26, lambda message: None)",
    ):  # fmt: skip
        assert (use, say(use)) == (use, "OperationalError")
        assert say("counters()") == "(0, 0, 0)"
    assert aside(disk) == []
    disk.make_writable()
    assert say("add(1)") == "0"
    assert say("[row.seq for row in outbox.after(0, 10)]") == "[1]"
    assert aside(disk) == ["outbox.damaged-1"]


def test_damage_that_is_not_seen_when_the_file_is_opened_is_put_aside_too(disk: SmallDisk, say: Say):
    assert say("swap_indexes()") == "[('ok',)]"
    disk.make_read_only()
    assert say("outbox.remove(outbox.after(0, 10))") == "DatabaseError"
    assert say("outbox.after(0, 10)") == "OperationalError"
    disk.make_writable()
    assert say("add(1)") == "0"
    assert say("len(outbox)") == "1"
    assert aside(disk) == ["outbox.damaged-1"]


def test_a_damaged_file_that_somebody_took_away_is_not_waited_for(disk: SmallDisk, say: Say):
    say("damage()")
    disk.make_read_only()
    assert say("outbox.after(0, 10)") == "DatabaseError"
    disk.make_writable()
    (disk.seen / "outbox" / "outbox.sqlite").unlink()
    assert say("add(1)") == "0"
    assert aside(disk) == []


def test_an_outbox_that_was_closed_begins_no_new_file(disk: SmallDisk, say: Say):
    say("damage()")
    disk.make_read_only()
    assert say("outbox.after(0, 10)") == "DatabaseError"
    say("outbox.close()")
    disk.make_writable()
    assert say("add(1)") == "ProgrammingError"
    assert say("outbox.oldest()") == "0"
    assert aside(disk) == []


def test_what_is_added_goes_in_between_the_portions_of_a_long_expiry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name = "a" * 26
    with Outbox(folder=tmp_path) as outbox:
        outbox.add(name, [Reading(pseudonym=name, minute=60 * i, hr=60.0) for i in range(60 * 2500)], [], now=1)
        transaction = outbox._transaction
        waiting: list[int] = []  # after each portion

        def add() -> None:
            with transaction():
                waiting.append(len(outbox))
            outbox.add(name, [Reading(pseudonym=name, minute=60, hr=60.0)], [], now=100)

        def and_others() -> AbstractContextManager[None]:
            if threading.current_thread() is threading.main_thread():
                other = threading.Thread(target=add, daemon=True)
                other.start()
                other.join(5)
                assert not other.is_alive(), "the lock is held from one portion to the next"
            return transaction()

        monkeypatch.setattr(outbox, "_transaction", and_others)
        assert outbox.expire(10) == 60 * 2500
        # One is added each time, and what was thrown away is told in one message.
        assert waiting == [2500, 1502, 503, 4]
        assert len(outbox) == 5
