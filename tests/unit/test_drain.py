"""Stored records -> minutes: those of the fast path, once each, wherever reading stops; times that are corrected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.consent import Cover
from contracts.reading import Category, Reading, SelfReport
from firmware_sim import record
from firmware_sim.physiology import Answer, Samples
from firmware_sim.record import Stamp
from firmware_sim.synthetic import Person, Wearing
from gateway.band_time import BandTime
from gateway.memory import Memory
from gateway.minutes import Carried
from gateway.outbox import Drained
from gateway.record_codec import EndedClock, LogState
from tests.fieldkit.expected import fast_path

START = 1_762_502_880
MINUTES = 30
ANNA = "a" * 26
COVER = Cover(pseudonym=ANNA, district="WK034403", categories=frozenset(Category), purposes={}, valid_from=0)


class SetClock:
    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        return self.at


class Kept:
    """What an uplink keeps, in memory; `full` is a full disk."""

    def __init__(self) -> None:
        self.mark = Drained("token", 1)
        self.readings: list[Reading] = []
        self.reports: list[SelfReport] = []
        self.counts: Counter[str] = Counter()
        self.full = False

    def drained(self, token: str, log: int) -> Drained:
        return self.mark if (token, log) == self.mark[:2] else Drained(token, log)

    def store(self, drained: Drained, readings: Sequence[Reading], reports: Sequence[SelfReport] = ()) -> bool:
        if self.full:
            return False
        self.mark = drained
        self.readings += readings
        self.reports += reports
        return True

    def note_minutes(self, dropped: Mapping[str, int]) -> None:
        self.counts.update({f"minute:{reason}": n for reason, n in dropped.items()})

    def note_frames(self, rejected: Mapping[str, int]) -> None:
        self.counts.update(rejected)

    def note_records(self, **more: int) -> None:
        self.counts.update(more)


@cache
def samples(minutes: int = MINUTES) -> Samples:
    person = Person(5, 3, "WK034403")
    return Wearing(person, start=START, minutes=minutes).samples(START, START + 60 * minutes)


def records(whole: Samples, *, clock: int = 1, first: int = 1, ahead: int = 0) -> list[bytes]:
    made: list[bytes] = []
    whole = whole.shifted(ahead)
    at = whole.start
    while at < whole.end:
        upto = min((at // 10 + 1) * 10, whole.end)
        part = whole.cut(at, upto)
        for answer in part.reports:
            made.append(record.self_report(answer, Stamp(1, clock, first + len(made))))
        made.append(record.measurement(part, Stamp(1, clock, first + len(made))))
        at = upto
    return made


def memory(kept: Kept, *, now: float, newest: int = 10_000, carried: Carried | None = None, **more: Any) -> Memory:
    state = LogState(
        **{"log": 1, "boot": 1, "clock": 1, "oldest": 1, "newest": newest, "overwritten": 0, "ended": ()} | more
    )
    return Memory(
        token="token",
        cover=COVER,
        uplink=kept,  # type: ignore[arg-type]
        clock=SetClock(now),
        state=state,
        carried=carried,
    )


def test_a_memory_gives_the_minutes_that_the_signals_themselves_give():
    whole, kept = samples(), Kept()
    reading = memory(kept, now=whole.end + 15)
    for one in records(whole):
        reading.take(one)
    reading.finish(whole.end + 15)
    assert kept.mark.seq == len(records(whole))
    assert {key: n for key, n in kept.counts.items() if key != "read"} == {"corrected": 0}
    expected = fast_path(whole, ANNA)
    assert [one.minute for one in kept.readings] == [one.minute for one in expected]
    within = {"hr": 0.1, "rmssd": 1.0, "sdnn": 0.5, "rr_coverage": 0.01, "worn": 0, "eda": 0.001, "scr": 0}
    within |= {"skin_temp": 0.02, "motion": 0.002}
    for got, wanted in zip(kept.readings, expected, strict=True):
        for name, tolerance in within.items():
            assert getattr(got, name) == pytest.approx(getattr(wanted, name), abs=tolerance + 1e-9), (name, got.minute)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 70), st.booleans()), min_size=1, max_size=8), st.booleans())
def test_wherever_reading_stops_each_minute_and_answer_comes_once(sessions: list[tuple[int, bool]], answers: bool):
    whole, kept = samples(10), Kept()
    if answers:
        given_answers = tuple(Answer(START + at, 8, 7) for at in (5, 61, 119, 300, 301))
        whole = Samples(**{**{f: getattr(whole, f) for f in whole.__dataclass_fields__}, "reports": given_answers})
    all_records = records(whole)
    for some, complete in [*sessions, (1000, True)]:
        wanted = [one for one in all_records if record.seq_of(one) > kept.mark.seq][:some]
        end = record.end_of(wanted[-1]) if wanted else START
        reading = memory(kept, now=end if some < 1000 else whole.end + 15)
        assert reading.first == kept.mark.seq + 1
        for one in wanted:
            reading.take(one)
        if complete:
            reading.finish(end if some < 1000 else whole.end + 15)
    assert [one.minute for one in kept.readings] == [START + 60 * i for i in range(10)]
    assert all(one.worn is not None and one.eda is not None and one.motion is not None for one in kept.readings)
    assert [one.at for one in kept.reports] == [answer.at for answer in whole.reports]


def test_the_skin_responses_of_several_readings_are_those_of_one():
    whole, kept = samples(), Kept()
    all_records, carried = records(whole), None
    for upto in range(7, len(all_records), 6):
        wanted = [one for one in all_records[:upto] if record.seq_of(one) > kept.mark.seq]
        end = record.end_of(wanted[-1])
        reading = memory(kept, now=end + 15, carried=carried)
        for one in wanted:
            reading.take(one)
        reading.finish(end)
        carried = reading.carried
    last = memory(kept, now=whole.end + 15, carried=carried)
    for one in all_records:
        if record.seq_of(one) >= last.first:
            last.take(one)
    last.finish(whole.end + 15)
    expected = fast_path(whole, ANNA)
    assert [one.scr for one in kept.readings] == [one.scr for one in expected]
    assert sum(one.scr or 0 for one in expected) > 20


def test_what_a_full_memory_overwrote_is_counted_once():
    kept = Kept()
    for overwritten in (7, 7, 9):
        memory(kept, now=START, overwritten=overwritten).finish(None)
    assert kept.counts["overwritten"] == 9


def test_a_full_outbox_stops_the_reading_and_nothing_counts_as_read():
    kept = Kept()
    kept.full = True
    reading = memory(kept, now=START + 1900)
    for one in records(samples()):
        reading.take(one)
    reading.finish(START + 1900)
    assert reading.failed
    assert (reading.stored, kept.readings) == (0, [])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=250), st.integers(0, 60)), max_size=30), st.randoms(use_true_random=False))
def test_whatever_comes_is_counted_and_nothing_escapes(frames: list[bytes | int], chance: Any):
    kept = Kept()
    genuine = records(samples(10))
    reading = memory(kept, now=START + 700)
    for one in frames:
        frame = one if isinstance(one, bytes) else bytearray(genuine[one % len(genuine)])
        if isinstance(frame, bytearray) and chance.random() < 0.5:
            frame[chance.randrange(len(frame))] = chance.randrange(256)
        reading.take(bytes(frame))
    reading.finish(START + 700)
    assert reading.frames == len(frames)
    made = [one.minute for one in kept.readings]
    assert len(made) == len(set(made))


def test_repeated_and_far_numbers_are_refused():
    kept = Kept()
    genuine = records(samples(2))
    reading = memory(kept, now=START + 200, newest=len(genuine))
    far = genuine[3][:6] + (5000).to_bytes(4, "little") + genuine[3][10:]
    for one in (genuine[0], genuine[0], far, genuine[1]):
        reading.take(one)
    reading.finish(START + 200)
    assert kept.counts["record:order"] == 1
    assert kept.counts["record:range"] == 1


def ended(clock: int, *, was_set: bool, began: int, at: int, to: int | None) -> EndedClock:
    return EndedClock(clock=clock, was_set=was_set, began=began, ended=at, next=to)


def times(*clocks: EndedClock) -> BandTime:
    return BandTime(LogState(log=1, boot=2, clock=9, oldest=1, newest=5, overwritten=0, ended=clocks))


def test_a_clock_that_drifted_is_corrected_evenly_over_its_life():
    drifted = times(ended(3, was_set=True, began=START, at=START + 100_000, to=START + 99_990))
    assert drifted.correction(3, START) == 0
    assert drifted.correction(3, START + 50_000) == -5
    assert drifted.correction(3, START + 100_000) == -10
    assert drifted.correction(3, START - 60) == 0


def test_a_clock_that_was_wrong_is_corrected_by_the_same_all_the_while():
    for was_set in (True, False):
        wrong = times(ended(3, was_set=was_set, began=START, at=START + 600, to=START + 86_400))
        assert wrong.correction(3, START + 5) == wrong.correction(3, START + 600) == 85_800


def test_a_clock_that_lost_its_power_stands_if_it_had_been_set():
    assert times(ended(3, was_set=True, began=START, at=START + 600, to=None)).correction(3, START) == 0
    assert times(ended(3, was_set=False, began=START, at=START + 600, to=None)).correction(3, START) is None


def test_the_present_clock_is_right_and_an_unknown_one_is_not_guessed():
    assert times().correction(9, START) == 0
    assert times().correction(4, START) is None


def test_corrected_records_make_the_minutes_of_the_true_time_and_are_counted():
    whole, kept = samples(10), Kept()
    wrong = ended(1, was_set=False, began=START - 7_193, at=START - 7_193 + 600, to=START + 600)
    reading = memory(kept, now=START + 615, clock=2, ended=(wrong,))
    made = records(whole, ahead=-7_193)
    for one in made:
        reading.take(one)
    reading.finish(START + 615)
    assert [one.minute for one in kept.readings] == [START + 60 * i for i in range(10)]
    assert kept.counts["corrected"] == len(made)
    assert [one.at for one in kept.reports] == [answer.at for answer in whole.reports]


@pytest.mark.parametrize("share", [3, 7, 20, 64])
def test_a_record_over_two_minutes_gives_each_its_seconds_once_also_in_another_session(share: int):
    whole, kept = samples(10), Kept()
    wrong = ended(1, was_set=False, began=START + 5, at=START + 605, to=START + 600)
    shifted = records(whole, ahead=5)  # by their own clock each ends on a ten; in truth at ...5
    for end in [*range(share, len(shifted), share), len(shifted)]:
        reading = memory(kept, now=START + 615, clock=2, ended=(wrong,))
        for one in shifted[:end]:
            if record.seq_of(one) >= reading.first:
                reading.take(one)
        reading.finish(START + 615 if end == len(shifted) else record.end_of(shifted[end - 1]) - 5)
    expected = fast_path(whole, ANNA)
    assert [one.minute for one in kept.readings] == [one.minute for one in expected]
    for got, wanted in zip(kept.readings, expected, strict=True):
        assert got.eda == pytest.approx(wanted.eda, abs=0.001)
        assert got.rmssd == pytest.approx(wanted.rmssd, abs=1.0)


@pytest.mark.parametrize("read", [3, 9, 10, 31, 52])
def test_what_one_gateway_made_another_does_not_make_of_the_rest(read: int):
    """The band keeps the record that lasts into the next minute: of the one before it holds some seconds yet."""
    whole, one, other = samples(10), Kept(), Kept()
    wrong = ended(1, was_set=False, began=START + 5, at=START + 605, to=START + 600)
    shifted = records(whole, ahead=5)
    first = memory(one, now=START + 615, clock=2, ended=(wrong,))
    for frame in shifted[:read]:
        first.take(frame)
    first.finish(record.end_of(shifted[read - 1]) - 5)
    second = memory(other, now=START + 615, clock=2, ended=(wrong,), oldest=one.mark.seq + 1)
    for frame in shifted[one.mark.seq :]:
        second.take(frame)
    second.finish(START + 615)
    made = [*one.readings, *other.readings]
    expected = fast_path(whole, ANNA)
    assert [reading.minute for reading in made] == [reading.minute for reading in expected]
    assert [reading.worn for reading in made] == [reading.worn for reading in expected]


def test_what_a_full_disk_refused_is_counted_once_when_it_comes_again():
    kept = Kept()
    torn = [frame for frame in records(samples(10)) if not START + 300 < record.end_of(frame) <= START + 360]
    for kept.full in (True, False):
        reading = memory(kept, now=START + 615)
        for frame in torn:
            reading.take(frame)
        reading.finish(START + 615)
    assert len(kept.readings) == 9
    assert kept.counts["minute:not-heard"] == 1
