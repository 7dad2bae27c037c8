"""The wearer holds the button for ten seconds: the band forgets, measures nothing, and says so until it is answered."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from bumble import att

from firmware_sim import record
from firmware_sim.record_log import MemoryMedium, RecordLog
from firmware_sim.recorder import Recorder
from firmware_sim.stop import CLOCK_PPM, Stop
from firmware_sim.synthetic import Person, Wearing

START = 1_762_502_880


class Seconds:
    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def now() -> Seconds:
    return Seconds()


def said(value: bytes) -> tuple[int, int]:
    return struct.unpack("<BI", value)


def test_a_band_that_was_not_stopped_says_so(now: Seconds):
    assert said(Stop(None, now).value()) == (0, 0)


def test_the_age_rises_and_is_never_told_too_long_by_a_clock_that_is_fast(now: Seconds):
    stop = Stop(None, now)
    stop.say()
    true = 7 * 86_400
    now.at += true * (1 + CLOCK_PPM / 1e6)  # the band's seconds are short
    stopped, age = said(stop.value())
    assert stopped == 1
    assert true * (1 - CLOCK_PPM / 1e6) - 1 <= age <= true


def test_it_outlasts_a_loss_of_power_and_its_age_begins_anew(now: Seconds, tmp_path: Path):
    stop = Stop(tmp_path / "stop", now)
    stop.say()
    now.at += 500
    again = Stop(tmp_path / "stop", now)
    assert (again.said, again.told) == (True, False)
    assert said(again.value()) == (1, 0)
    assert again.write(b"\0")
    assert not Stop(tmp_path / "stop", now).said


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (b"", att.ErrorCode.INVALID_ATTRIBUTE_LENGTH),
        (b"\0\0", att.ErrorCode.INVALID_ATTRIBUTE_LENGTH),
        (b"\1", att.ErrorCode.VALUE_NOT_ALLOWED),
    ],
)
def test_nothing_but_a_zero_ends_it(now: Seconds, value: bytes, error: int):
    stop = Stop(None, now)
    stop.say()
    with pytest.raises(att.ATT_Error) as fault:
        stop.write(value)
    assert fault.value.error_code == error
    assert stop.said


def test_a_wiped_memory_holds_nothing_and_is_another_log():
    medium = MemoryMedium()
    log = RecordLog(medium=medium, now=START, slots=64)
    samples = Wearing(Person(1, 1, "WK034403"), start=START, minutes=2).samples(START, START + 120)
    for i in range(5):
        log.append(lambda stamp, i=i: record.measurement(samples.cut(START + 10 * i, START + 10 * i + 10), stamp))
    before, ring = log.id, 1024
    assert any(medium.content[ring:])
    log.wipe()
    assert (log.oldest, log.newest, log.count(), log.ended) == (0, 0, 0, [])
    assert not any(medium.content[ring:])
    assert log.id != before
    again = RecordLog(medium=medium, now=START, slots=64)
    assert (again.id, again.newest) == (log.id, 0)


def test_a_recorder_stores_nothing_of_before_the_second_that_it_is_told():
    log = RecordLog(medium=MemoryMedium(), now=START)
    recorder = Recorder(log)
    samples = Wearing(Person(1, 1, "WK034403"), start=START, minutes=2).samples(START, START + 120)
    recorder.begin(samples)
    recorder.until(START + 7)
    recorder.only_from(START + 30)
    for tick in range(START + 10, START + 61, 10):
        recorder.until(tick)
    times = [record_time(content) for content in contents(log) if content[0] == 1]
    assert times == [START + 30, START + 40, START + 50]
    held = log.count()
    recorder.only_from(START + 1_000)
    recorder.begin(samples)
    recorder.until(START + 120)
    assert log.count() == held


def contents(log: RecordLog) -> list[bytes]:
    found, seq = [], 1
    while (content := log.next_from(seq)) is not None:
        found.append(content)
        seq = record.seq_of(content) + 1
    return found


def record_time(content: bytes) -> int:
    return int.from_bytes(content[10:14], "little")
