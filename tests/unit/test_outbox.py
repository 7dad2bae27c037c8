"""The outbox: nothing acknowledged is lost by a kill, nothing withdrawn stays, and it never grows without end."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts import wire
from contracts.ports import Fault
from contracts.reading import RETENTION_DAYS, Reading, SelfReport
from gateway.outbox import Drained, Outbox
from gateway.rotation import Past

ANNA, BRAM = "a" * 26, "b" * 26
BAND = "AA:BB:CC:DD:EE:FF"
START = 1_762_502_940


def minutes(pseudonym: str, count: int, start: int = START) -> list[Reading]:
    return [Reading(pseudonym=pseudonym, minute=start + 60 * i, hr=60.0, eda=2.0) for i in range(count)]


def voids(outbox: Outbox) -> list[tuple[int, int]]:
    """The runs of messages that were thrown away, as they will be told."""
    told = [wire.decode_readings(row.payload) for row in outbox.after(0, 1000) if not row.pseudonym]
    assert all(not message.readings and not message.reports for message in told)
    return [(message.void_from or 0, message.seq) for message in told]


def test_what_is_thrown_away_is_told_in_as_few_messages_as_there_are_runs(tmp_path: Path):
    with Outbox(folder=tmp_path) as outbox:
        for name in (ANNA, ANNA, BRAM, ANNA, BRAM, BRAM):
            outbox.add(name, minutes(name, 1), [], now=START)
        outbox.purge(ANNA)
        assert voids(outbox) == [(1, 2), (4, 4)]
        outbox.purge(BRAM)
        assert max(outbox.after(0, 10)).seq == 6
        assert {seq for first, last in voids(outbox) for seq in range(first, last + 1)} == set(range(1, 7))


def test_a_message_that_was_thrown_away_while_it_was_sent_stays_told(tmp_path: Path):
    with Outbox(folder=tmp_path) as outbox:
        outbox.add(ANNA, minutes(ANNA, 60), [], now=START)
        sent = outbox.after(0, 1)
        outbox.purge(ANNA)
        assert outbox.remove(sent) == 0
        assert voids(outbox) == [(1, 1)]
        assert outbox.remove(outbox.after(0, 1)) == 0
        assert len(outbox) == 0


def test_an_outbox_of_an_earlier_version_is_taken_over(tmp_path: Path):
    with Outbox(folder=tmp_path) as outbox:
        outbox.add(ANNA, minutes(ANNA, 1), [], now=START, drained=Drained("token", 7, 3, START))
        outbox.note_past({BAND: Past(60, 60, 540)}, START)
        for table, column in (
            ("outbox", "void_from"), ("drained", "overwritten"), ("turns", "read_at"), ("turns", "rest_until"),
        ):  # fmt: skip
            outbox._db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    with Outbox(folder=tmp_path) as outbox:
        assert outbox.id > 0
        assert [row.seq for row in outbox.after(0, 10)] == [1]
        assert outbox.drained("token", 7).overwritten == 0
        past = outbox.past(BAND, START)  # when it was read, and so for how long it rests, was not noted
        assert past is not None
        assert (past.turn_s, past.rest_s) == (60, 0)
        assert past.read_s > RETENTION_DAYS * 86_400


def test_an_outbox_of_the_first_version_is_taken_over(tmp_path: Path):
    with Outbox(folder=tmp_path) as outbox:
        for table in ("made", "turns", "stops"):
            outbox._db.execute(f"DROP TABLE {table}")
    with Outbox(folder=tmp_path) as outbox:
        assert outbox.id > 0
        assert outbox.past(BAND, START) is None


def test_what_is_known_of_a_bands_turns_outlasts_a_restart_and_names_nobody(tmp_path: Path):
    with Outbox(folder=tmp_path) as outbox:
        outbox.note_past({BAND: Past(60, 100, 500), "AA:BB:CC:DD:EE:01": Past(5)}, START)
    with Outbox(folder=tmp_path) as outbox:
        assert outbox.past(BAND, START + 40) == (100, 140, 460)
        assert outbox.past(BAND, START + 600) == (660, 700, 0)
        never = outbox.past("AA:BB:CC:DD:EE:01", START)
        assert never is not None
        assert never.read_s > RETENTION_DAYS * 86_400
        assert outbox.past("AA:BB:CC:DD:EE:00", START) is None
    assert all(b"AA:BB" not in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize(("later_s", "known", "kept"), [
    (-86_401, False, False), (-86_400, False, True), (-1, False, True), (86_400, True, True), (86_401, False, False),
])  # fmt: skip
def test_a_turn_of_a_day_ago_or_of_a_clock_that_was_wrong_is_not_known(
    tmp_path: Path, later_s: int, known: bool, kept: bool
):
    with Outbox(folder=tmp_path) as outbox:
        outbox.note_past({BAND: Past(0)}, START)
        assert (outbox.past(BAND, START + later_s) is not None) is known
        outbox.note_past({}, START + later_s)  # a clock that is behind for a moment, after a power cut, loses nothing
        assert (outbox.past(BAND, START) is not None) is kept


@pytest.mark.parametrize(
    "use",
    [
        lambda outbox: outbox.add(BRAM, minutes(BRAM, 6000), [], now=START),
        lambda outbox: outbox.expire(START + 1),
        lambda outbox: outbox.narrow(ANNA, lambda _message: None),
        lambda outbox: outbox.purge(ANNA),
    ],
    ids=["add", "expire", "narrow", "purge"],
)
def test_a_file_that_is_damaged_while_it_is_used_is_put_aside_and_a_new_one_takes_what_comes(
    tmp_path: Path, use: Callable[[Outbox], object]
):
    with Outbox(folder=tmp_path) as outbox:
        outbox.add(ANNA, minutes(ANNA, 6000), [], now=START)
        sent, before = outbox.after(0, 5), outbox.id
        outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        outbox._db.execute("PRAGMA cache_size = 0")
        file = tmp_path / "outbox.sqlite"
        with file.open("r+b") as damaged:
            damaged.seek(4096)
            damaged.write(os.urandom(file.stat().st_size - 4096))
        with pytest.raises(sqlite3.DatabaseError):
            use(outbox)
        outbox.add(BRAM, minutes(BRAM, 1), [], now=START)
        assert outbox.id != before
        assert [row.seq for row in outbox.after(0, 10)] == [1]
        assert outbox.remove(sent) == 0  # those numbers were the other one's
        assert len(outbox) == 1
    assert [file.name for file in tmp_path.glob("outbox.damaged-*")] == ["outbox.damaged-1"]


def test_what_is_as_old_as_the_bound_to_the_second_is_kept(tmp_path: Path):
    with Outbox(folder=tmp_path) as outbox:
        outbox.add(ANNA, minutes(ANNA, 1), [], now=START + 0.2)
        assert outbox.expire(START + 0.7) == 0
        assert outbox.expire(START + 1) == 1


def test_rows_hold_at_most_sixty_items_and_come_oldest_first(tmp_path: Path):
    with Outbox(folder=tmp_path) as outbox:
        report = SelfReport(pseudonym=ANNA, at=START, safe=8, happy=7)
        outbox.add(ANNA, minutes(ANNA, 125), [report], now=START)
        outbox.add(BRAM, minutes(BRAM, 1), [], now=START)
        rows = outbox.after(0, 100)
    messages = [wire.decode_readings(row.payload) for row in rows]
    assert [len(message.readings) for message in messages] == [60, 60, 5, 1]
    assert [len(message.reports) for message in messages] == [0, 0, 1, 0]
    assert [message.seq for message in messages] == [row.seq for row in rows] == [1, 2, 3, 4]


def test_sixty_of_the_longest_readings_fit_one_payload(tmp_path: Path):
    widest = [
        Reading(
            pseudonym=ANNA, minute=START + 60 * i, hr=123.45, rmssd=999.99, sdnn=999.99, rr_coverage=0.123, worn=0.123,
            eda=99.1234, scr=59.99, skin_temp=44.99, motion=7.1234,
        )
        for i in range(60)
    ]  # fmt: skip
    with Outbox(folder=tmp_path) as outbox:
        outbox.add(ANNA, widest, [], now=START)
        assert len(outbox.after(0, 1)[0].payload) < wire.PAYLOAD_BYTES_MAX


def test_a_sequence_number_is_never_used_twice_also_after_a_restart(tmp_path: Path):
    with Outbox(folder=tmp_path) as outbox:
        outbox.add(ANNA, minutes(ANNA, 180), [], now=START)
        assert outbox.remove(outbox.after(0, 3)) == 180
    with Outbox(folder=tmp_path) as outbox:
        outbox.add(ANNA, minutes(ANNA, 1), [], now=START)
        assert [row.seq for row in outbox.after(0, 10)] == [4]


def test_a_withdrawal_leaves_nothing_of_the_wearer_in_any_file(tmp_path: Path):
    with Outbox(folder=tmp_path) as outbox:
        outbox.add(ANNA, minutes(ANNA, 300), [], now=START)
        outbox.add(BRAM, minutes(BRAM, 1), [], now=START)
        assert outbox.purge(ANNA) == 300
        assert [row.pseudonym for row in outbox.after(0, 10)] == ["", BRAM]
        assert outbox.purge(ANNA) == 0
    assert all(ANNA.encode() not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_narrowed_consent_narrows_what_waits(tmp_path: Path):
    with Outbox(folder=tmp_path) as outbox:
        outbox.add(ANNA, minutes(ANNA, 3), [], now=START)

        def later(message: wire.ReadingsMessage) -> wire.ReadingsMessage:
            return wire.ReadingsMessage(seq=message.seq, readings=message.readings[1:])

        assert outbox.narrow(ANNA, later) == 1
        assert outbox.narrow(BRAM, later) == 0
        (row,) = outbox.after(0, 10)
        assert (row.seq, row.readings) == (1, 2)
        assert outbox.narrow(ANNA, lambda _message: None) == 2
        assert voids(outbox) == [(1, 1)]


def test_the_oldest_give_way_when_it_is_full(tmp_path: Path):
    with Outbox(folder=tmp_path, rows_max=3) as outbox:
        assert [outbox.add(ANNA, minutes(ANNA, 2), [], now=START) for _ in range(5)] == [0, 0, 0, 4, 2]
        assert [row.seq for row in outbox.after(0, 10)] == [3, 4, 5]
        assert voids(outbox) == [(1, 3)]
    with Outbox(folder=tmp_path, bytes_max=1000) as outbox:
        assert outbox.add(ANNA, minutes(ANNA, 125), [], now=START) == 124
        assert voids(outbox) == [(1, 7)]


def test_what_no_store_would_take_expires(tmp_path: Path):
    with Outbox(folder=tmp_path) as outbox:
        outbox.add(ANNA, minutes(ANNA, 5), [], now=START)
        outbox.add(ANNA, minutes(ANNA, 1), [], now=START + 100)
        assert outbox.expire(START + 50) == 5
        assert outbox.expire(START + 50) == 0
        assert [row.pseudonym for row in outbox.after(0, 10)] == ["", ANNA]


def test_a_folder_that_cannot_be_used_is_a_fault(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Fault, match="--outbox"):
        Outbox(folder=tmp_path / "file" / "below")
    (tmp_path / "outbox.sqlite").mkdir()
    with pytest.raises(Fault, match="--outbox"):
        Outbox(folder=tmp_path)


def test_two_gateways_cannot_share_an_outbox(tmp_path: Path):
    with Outbox(folder=tmp_path), pytest.raises(Fault, match="locked"):
        Outbox(folder=tmp_path)


def test_a_damaged_file_is_put_aside(tmp_path: Path):
    with Outbox(folder=tmp_path) as outbox:
        outbox.add(ANNA, minutes(ANNA, 6000), [], now=START)
    file = tmp_path / "outbox.sqlite"
    whole = bytearray(file.read_bytes())
    whole[5000 : len(whole) - 5000] = os.urandom(len(whole) - 10_000)
    file.write_bytes(whole)
    with Outbox(folder=tmp_path) as outbox:
        assert len(outbox) == 0
        outbox.add(ANNA, minutes(ANNA, 1), [], now=START)
    assert (tmp_path / "outbox.damaged-1").read_bytes() == whole


def test_a_damaged_file_is_kept_no_longer_than_readings_are(tmp_path: Path):
    (tmp_path / "outbox.sqlite").write_bytes(b"this is no database" * 100)
    with Outbox(folder=tmp_path) as outbox:
        aside = tmp_path / "outbox.damaged-1"
        os.utime(aside, (START, START))
        outbox.expire(START)
        assert aside.exists()
        outbox.expire(START + 1)
        assert [file.name for file in tmp_path.iterdir() if "damaged" in file.name] == []
        assert len(outbox.after(0, 10)) == 0  # the one in use stays


def test_a_full_disk_is_told_and_leaves_the_outbox_as_it_was(tmp_path: Path):
    with Outbox(folder=tmp_path) as outbox:
        outbox.add(ANNA, minutes(ANNA, 1), [], now=START)
        pages = outbox._db.execute("PRAGMA page_count").fetchone()[0]
        outbox._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            outbox.add(ANNA, minutes(ANNA, 6000), [], now=START)
        assert len(outbox) == len(outbox.after(0, 10)) == 1


WRITER = """
import sys
from pathlib import Path
from contracts.reading import Reading
from gateway.outbox import Drained, Outbox
outbox = Outbox(folder=Path(sys.argv[1]))
name, added = "a" * 26, 0
while True:
    outbox.add(name, [Reading(pseudonym=name, minute=60 * (added + i + 1), hr=60.0) for i in range(3)], [], now=1e9)
    added += 3
    print(added, flush=True)
    if added % 30 == 0:
        outbox.remove(outbox.after(added // 3 - 1, 1))
        print(-added // 3, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 7, 200])
def test_a_killed_gateway_loses_nothing_that_was_put_in(tmp_path: Path, lines: int):
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, cwd=root, text=True
    ) as writer:
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        told += [int(line) for line in writer.stdout.read().splitlines() if line]
    added, removed = max(told), {-number for number in told if number < 0}
    with Outbox(folder=tmp_path) as outbox:
        rows = outbox.after(0, 100_000)
    kept = {reading.minute // 60 for row in rows for reading in wire.decode_readings(row.payload).readings}
    expected = {i + 1 for i in range(added) if i // 3 + 1 not in removed}
    # One add, or one remove, may have been done and not told yet.
    assert expected - kept <= set(range(added - 2, added + 1))
    assert kept - expected <= {added + 1, added + 2, added + 3}


def test_how_far_a_memory_was_read_outlasts_a_restart_and_is_of_one_log(tmp_path: Path):
    with Outbox(folder=tmp_path) as outbox:
        outbox.add(ANNA, minutes(ANNA, 2), [], now=START, drained=Drained("token", 7, 40, START))
        outbox.add(ANNA, [], [], now=START, drained=Drained("token", 7, 60, START + 60))
    with Outbox(folder=tmp_path) as outbox:
        assert outbox.drained("token", 7) == Drained("token", 7, 60, START + 60)
        assert outbox.drained("token", 8) == Drained("token", 8, 0, 0)
        outbox.expire(START + 1)
        assert outbox.drained("token", 7).seq == 0


def test_rows_and_how_far_was_read_are_stored_together_or_not_at_all(tmp_path: Path):
    with Outbox(folder=tmp_path) as outbox:
        outbox.add(ANNA, minutes(ANNA, 1), [], now=START, drained=Drained("token", 7, 10, START))
        with pytest.raises(sqlite3.Error):  # the mark comes last and cannot be stored: the row must go with it
            outbox.add(ANNA, minutes(ANNA, 1), [], now=START, drained=Drained("token", 7, None, START))  # type: ignore[arg-type]
        assert len(outbox) == 1
        assert outbox.drained("token", 7).seq == 10
        outbox.add(ANNA, minutes(ANNA, 1), [], now=START)
        assert [row.seq for row in outbox.after(0, 10)] == [1, 2]


KILLED_READER = """
import sys
from pathlib import Path
from contracts.reading import Reading
from gateway.outbox import Drained, Outbox
outbox = Outbox(folder=Path(sys.argv[1]))
start = outbox.drained("token", 7).seq
for seq in range(start + 1, start + 100_000):
    reading = Reading(pseudonym="a" * 26, minute=60 * seq, hr=60.0)
    outbox.add("a" * 26, [reading], [], now=1_762_502_940, drained=Drained("token", 7, seq, 60 * seq))
    print(seq, flush=True)
"""


def test_each_minute_of_a_memory_is_there_once_after_kills_at_any_moment(tmp_path: Path):
    for lines in (1, 7, 40):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED_READER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
    with Outbox(folder=tmp_path) as outbox:
        seqs = [wire.decode_readings(row.payload).readings[0].minute // 60 for row in outbox.after(0, 1_000_000)]
        assert seqs == list(range(1, outbox.drained("token", 7).seq + 1))
        assert len(seqs) >= 48
