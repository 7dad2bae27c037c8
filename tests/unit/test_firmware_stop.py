"""The wearer holds the button for ten seconds: the band forgets, measures nothing, and says so until it is answered."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from bumble import att

from firmware_sim import record
from firmware_sim.air import AirLink
from firmware_sim.record_log import LogFault, MemoryMedium, RecordLog
from firmware_sim.recorder import Recorder
from firmware_sim.stop import CLOCK_PPM, Stop
from firmware_sim.synthetic import Person, Wearing
from firmware_sim.wristband import Wristband
from tests.fieldkit.torn import Torn

START = 1_762_502_880
RING_AT = 1024


class Seconds:
    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def now() -> Seconds:
    return Seconds()


def said(value: bytes) -> tuple[int, int]:
    return struct.unpack("<BII", value)[:2]


def number(value: bytes) -> int:
    return struct.unpack("<BII", value)[2]


def test_a_band_that_was_not_stopped_says_so(now: Seconds):
    assert Stop(None, now).value() == bytes(9)


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
    assert said(again.read()) == (1, 0)
    assert number(again.value()) == number(stop.value()) > 0
    assert again.write(b"\0")
    assert not Stop(tmp_path / "stop", now).said


def test_each_press_has_its_own_number_and_one_whose_number_was_lost_is_a_press_all_the_same(
    now: Seconds, tmp_path: Path
):
    stop = Stop(tmp_path / "stop", now)
    numbers = set()
    for _ in range(3):
        stop.say()
        numbers.add(number(stop.value()))
    assert len(numbers) == 3
    (tmp_path / "stop").write_bytes(b"")  # power was lost between the two
    again = Stop(tmp_path / "stop", now)
    assert (said(again.value()), number(again.value())) == ((1, 0), 0)


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


def test_an_answer_to_the_stop_that_was_read_ends_no_later_one(now: Seconds):
    stop = Stop(None, now)
    stop.say()
    stop.read()
    stop.say()  # while the answer is on its way
    with pytest.raises(att.ATT_Error):
        stop.write(b"\0")
    assert said(stop.read()) == (1, 0)
    assert stop.write(b"\0")
    assert not stop.write(b"\0")  # there is nothing to end


def test_power_lost_at_any_byte_of_the_wipe_leaves_nothing_that_a_gateway_could_read(tmp_path: Path):
    """And once more in the wipe at the next start; before the press was written down nothing had happened."""
    samples = Wearing(Person(1, 1, "WK034403"), start=START, minutes=2).samples(START, START + 120)
    before = MemoryMedium()
    log = RecordLog(medium=before, now=START, slots=8)
    for i in range(2):
        log.append(lambda stamp, i=i: record.measurement(samples.cut(START + 10 * i, START + 10 * i + 10), stamp))
    log.clock_set(shown=START + 60, to=START + 70)
    secrets = [content[16:] for content in contents(log)]
    whole = Torn(bytes(before.content))
    whole.left = 1 << 20
    RecordLog(medium=whole, now=START, slots=8).wipe()
    written = (1 << 20) - whole.left

    async def run() -> None:
        for cut in range(written):
            file = tmp_path / "stop"
            file.unlink(missing_ok=True)
            medium = Torn(bytes(before.content))
            worn = band(RecordLog(medium=medium, now=START, slots=8), file)
            identity = worn._log.id
            medium.left = cut
            await worn.hold_button(10)
            medium = Torn(bytes(medium.content))
            again = RecordLog(medium=medium, now=START, slots=8)
            medium.left = written - cut
            with suppress(LogFault):
                band(again, file)
            medium = MemoryMedium(bytes(medium.content))
            once_more = RecordLog(medium=medium, now=START, slots=8)
            worn = band(once_more, file)
            assert worn.stopped
            assert (worn.records_held, contents(once_more), once_more.ended) == (0, [], [])
            assert not any(secret in medium.content for secret in secrets)
            assert once_more.id != identity

    asyncio.run(run())


def band(log: RecordLog, stop_file: Path) -> Wristband:
    source = Wearing(Person(1, 1, "WK034403"), start=START, minutes=2)
    return Wristband(link=AirLink(), serial="WP-000001", source=source, log=log, stop_file=stop_file)


def test_a_wiped_memory_holds_nothing_and_is_another_log():
    medium = MemoryMedium()
    log = RecordLog(medium=medium, now=START, slots=64)
    samples = Wearing(Person(1, 1, "WK034403"), start=START, minutes=2).samples(START, START + 120)
    for i in range(5):
        log.append(lambda stamp, i=i: record.measurement(samples.cut(START + 10 * i, START + 10 * i + 10), stamp))
    log.clock_set(shown=START + 60, to=START + 70)
    before = log.id
    assert any(medium.content[RING_AT:])
    log.wipe()
    assert (log.oldest, log.newest, log.count(), log.ended) == (0, 0, 0, [])
    assert not any(medium.content[RING_AT:])
    assert log.id != before
    assert before.to_bytes(4, "little") not in medium.content  # nor in the block of the state before this
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
