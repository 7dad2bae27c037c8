"""The band's memory: a loss of power at any byte costs the record being written, and nothing else."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim import record
from firmware_sim.physiology import Answer
from firmware_sim.record import Stamp
from firmware_sim.record_log import SLOT_BYTES, SLOTS, FileMedium, LogFault, MemoryMedium, RecordLog
from tests.fieldkit.torn import Torn

START = 1_762_502_880
SLOT_AT = 1024


def answer(stamp: Stamp) -> bytes:
    return record.self_report(Answer(START + 10 * stamp.seq, stamp.seq % 11, 7), stamp)


def opened(content: bytes | bytearray = b"", *, slots: int = 8) -> tuple[RecordLog, MemoryMedium]:
    medium = MemoryMedium(bytes(content))
    return RecordLog(medium=medium, now=START, slots=slots), medium


def held(log: RecordLog) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    first = 1
    while (one := log.next_from(first)) is not None:
        first = record.seq_of(one) + 1
        found[first - 1] = one
    assert log.count() == len(found)
    assert log.oldest == min(found, default=0)
    return found


def marks(records: dict[int, bytes]) -> dict[int, int]:
    assert all(record.seq_of(one) == seq for seq, one in records.items())
    return {seq: one[14] for seq, one in records.items()}


@pytest.mark.parametrize("before", [0, 3, 11], ids=["new", "filling", "overwriting"])
def test_power_lost_at_any_byte_of_a_record_costs_that_record_alone(before: int):
    for cut in range(40):
        medium = Torn()
        log = RecordLog(medium=medium, now=START, slots=8)
        for _ in range(before):
            log.append(answer)
        oldest = log.oldest
        whole = held(log)
        medium.left = cut
        log.append(answer)
        again, _ = opened(medium.content)
        kept = held(again)
        written = kept.pop(before + 1, None)
        complete = cut >= 2 + 17 + 4
        assert (written is not None) == complete
        if before < 8:
            assert kept == whole
        else:  # in a full ring the oldest gives way to what is being written, from the first byte that differs
            assert {**kept, oldest: whole[oldest]} == whole
            assert oldest in kept or cut > 0
        again.append(answer)
        untouched = cut == 0 or (before >= 8 and oldest in kept)
        assert again.newest == before + (1 if untouched else 2)  # a torn number is not used again


@pytest.mark.parametrize("what", ["delete", "set", "start"])
def test_power_lost_at_any_byte_of_the_state_leaves_the_one_before_or_the_new_one(what: str):
    for cut in range(0, 120, 1):
        medium = Torn()
        log = RecordLog(medium=medium, now=START, slots=8)
        for _ in range(5):
            log.append(answer)
        log.clock_set(shown=START + 60, to=START + 70)
        identity = log.id
        medium.left = cut
        match what:
            case "delete":
                log.delete(3)
            case "set":
                log.clock_set(shown=START + 90, to=START + 95)
            case _:
                RecordLog(medium=medium, now=START, slots=8)
        again, _ = opened(medium.content)
        assert again.id == identity
        assert again.boot in (2, 3)
        numbers = list(held(again))
        assert numbers in ([1, 2, 3, 4, 5], [4, 5]) if what == "delete" else numbers == [1, 2, 3, 4, 5]
        assert [one.number for one in again.ended] in ([1, 2], [1, 2, 3])
        assert again.ended[0].next == START + 70


def test_a_file_cut_off_anywhere_opens_with_what_is_whole(tmp_path: Path):
    log, medium = opened()
    for _ in range(6):
        log.append(answer)
    content = bytes(medium.content)
    everything = held(log)
    for end in range(len(content)):
        path = tmp_path / "memory"
        path.write_bytes(content[:end])
        again = RecordLog(medium=FileMedium(path), now=START, slots=8)
        kept = held(again)
        again.close()
        whole = {seq: one for seq, one in everything.items() if SLOT_AT + seq * SLOT_BYTES + 2 + 17 + 4 <= end}
        assert kept == (whole if again.id == log.id else {})
        assert again.id == log.id or end < 1024  # the newest state is in the second block


@given(st.data())
def test_a_garbled_byte_spoils_at_most_the_record_that_it_is_in(data: st.DataObject):
    log, medium = opened()
    for _ in range(11):
        log.append(answer)
    everything = held(log)
    content = bytearray(medium.content)
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    again, _ = opened(content)
    if again.id == log.id:
        kept = held(again)
        assert kept.items() <= everything.items()
        assert len(kept) >= len(everything) - 1
        again.append(answer)
        assert again.newest > max(everything) or at >= SLOT_AT
    else:
        assert at < SLOT_AT
        assert held(again) == {}


@given(st.binary(max_size=4096))
def test_any_bytes_open_as_some_log(content: bytes):
    log, _ = opened(content)
    assert log.append(answer) >= 1
    assert answer(Stamp(log.boot, log.clock.number, log.newest)) in held(log).values()


def test_the_oldest_give_way_and_are_counted():
    log, medium = opened()
    for _ in range(20):
        log.append(answer)
    assert list(held(log)) == list(range(13, 21))
    assert log.overwritten == 12
    assert log.delete(15) == 3
    for _ in range(5):
        log.append(answer)
    assert (log.oldest, log.overwritten) == (18, 14)
    again, _ = opened(medium.content)
    assert (again.oldest, again.newest, again.overwritten) == (18, 25, 14)
    assert medium.size() <= SLOT_AT + 8 * SLOT_BYTES


def test_what_was_deleted_stays_deleted_and_its_numbers_are_not_used_again():
    log, medium = opened()
    for _ in range(4):
        log.append(answer)
    assert log.delete(99) == 4
    assert log.delete(99) == 0
    again, _ = opened(medium.content)
    assert (held(again), again.newest) == ({}, 4)
    assert again.append(answer) == 5


def test_each_start_is_counted_and_begins_a_clock_at_the_newest_record():
    log, medium = opened()
    assert (log.boot, log.clock.number, log.clock.set_by_others, log.starts_at) == (1, 1, True, START)
    log.append(answer)
    log.clock_set(shown=START + 15, to=START + 5)
    log.append(answer)
    again, _ = opened(medium.content)
    assert (again.boot, again.clock.number, again.clock.set_by_others) == (2, 3, False)
    assert again.starts_at == again.clock.began == START + 20
    assert [(one.number, one.set_by_others, one.began, one.ended, one.next) for one in again.ended] == [
        (1, True, START, START + 15, START + 5),
        (2, True, START + 5, START + 20, None),
    ]
    stamps = [struct.unpack_from("<HH", one, 2) for one in held(again).values()]
    assert stamps == [(1, 1), (1, 2)]


def test_a_week_fits_and_the_state_fits_one_read():
    assert SLOTS >= 7 * 86_400 // 10
    log, _ = opened()
    for i in range(40):
        log.clock_set(shown=START + i, to=START + i)
    assert len(log.ended) == 14
    assert len(log.state()) == 230


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LogFault, match="--store"):
        FileMedium(tmp_path / "file" / "memory")


def test_random_histories_keep_every_record_that_was_whole():
    chance = random.Random(7)
    for _ in range(30):
        medium = Torn()
        log = RecordLog(medium=medium, now=START, slots=16)
        stored: set[int] = set()
        deleted = 0
        for _ in range(60):
            match chance.randrange(6):
                case 0:
                    log = RecordLog(medium=medium, now=START, slots=16)
                case 1:
                    deleted = max(deleted, chance.randrange(log.newest + 1))
                    log.delete(deleted)
                case 2:
                    medium.left = chance.randrange(1, 23)
                    log.append(answer)
                    medium.left = None
                    log = RecordLog(medium=medium, now=START, slots=16)
                case _:
                    stored.add(log.append(answer))
            lowest = max(deleted, log.newest - 16)
            assert set(held(log)) == {seq for seq in stored if seq > lowest}
