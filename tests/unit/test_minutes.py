"""The builder of the radio path: each minute is made or dropped with one reason, whatever the band sends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.beats import BandBeats, PlacedHeart, StrapBeats
from gateway.epochs import Signals, minute_table
from gateway.gatt_codec import BeatTiming, Eda, HeartRate, Motion
from gateway.minutes import MinuteBuilder

START = 1_762_502_940  # a whole minute
NAME = "a" * 26


class SetClock:
    """A clock that the test sets."""

    def __init__(self, now: float = START + 60) -> None:
        self.at = now

    def now(self) -> float:
        return self.at


def builder() -> MinuteBuilder:
    return MinuteBuilder(clock=SetClock())


def second(at: int, bpm: int = 75, contact: bool | None = True) -> PlacedHeart:
    return PlacedHeart(at, bpm, contact, ())


def hear(minutes: MinuteBuilder, start: int, seconds: int) -> None:
    for at in range(start, start + seconds):
        assert minutes.heart(second(at)) is None


def made(minutes: MinuteBuilder) -> tuple[list[int], dict[str, int]]:
    """The minutes made, from START, and the reasons of the rest."""
    tables, dropped = minutes.take()
    readings = [reading for table in tables for reading in table.readings(NAME)]
    for table in tables:
        for reason, count in table.drops().items():
            dropped[reason] = dropped.get(reason, 0) + count
    return [(reading.minute - START) // 60 for reading in readings], dropped


def test_a_minute_closes_ten_seconds_after_its_end():
    minutes = builder()
    hear(minutes, START, 70)
    assert made(minutes) == ([], {})
    hear(minutes, START + 70, 1)
    assert made(minutes) == ([0], {})


def test_the_first_and_the_last_minute_are_made_when_the_rules_are_met():
    minutes = builder()
    hear(minutes, START + 40, 35)
    minutes.flush()
    assert made(minutes) == ([0, 1], {})
    minutes = builder()
    hear(minutes, START + 50, 20)
    minutes.flush()
    assert made(minutes) == ([], {"too-little-signal": 2})


def test_minutes_in_the_middle_that_were_not_heard_are_dropped_as_such():
    minutes = builder()
    hear(minutes, START, 60)
    hear(minutes, START + 300, 60)
    minutes.flush()
    assert made(minutes) == ([0, 5], {"not-heard": 4})


def test_a_clock_outside_of_the_last_35_days_drops_its_minutes():
    minutes = builder()
    for at in (0, 30, 65, START - 36 * 86_400, START + 700):
        assert minutes.heart(second(at)) == "clock"
    minutes.flush()
    assert made(minutes) == ([], {"clock": 4})


def test_a_minute_that_runs_out_of_the_clocks_bounds_is_counted_once():
    minutes = builder()
    hear(minutes, START + 600, 61)  # the test's clock stands at START + 60
    assert minutes.heart(second(START + 661)) == "clock"
    assert minutes.heart(second(START + 725)) == "clock"
    minutes._clock.at += 120
    assert minutes.heart(second(START + 726)) == "clock"  # dropped already
    hear(minutes, START + 780, 1)
    minutes.flush()
    assert made(minutes) == ([10], {"too-little-signal": 2, "clock": 1})


def test_a_clock_that_jumps_back_makes_no_minute_twice():
    minutes = builder()
    hear(minutes, START, 200)
    assert minutes.heart(second(START)) == "late"
    assert minutes.heart(second(START - 60)) == "clock"
    hear(minutes, START + 200, 40)
    minutes.flush()
    assert made(minutes) == ([0, 1, 2, 3], {"clock": 1})


def test_a_clock_that_jumps_back_within_an_open_minute_goes_on():
    minutes = builder()
    hear(minutes, START, 30)
    hear(minutes, START + 25, 40)
    minutes.flush()
    assert made(minutes) == ([0], {"too-little-signal": 1})


def test_after_a_withdrawal_the_open_minutes_are_forgotten():
    minutes = builder()
    hear(minutes, START, 65)
    minutes.forget()
    minutes.flush()
    assert made(minutes) == ([], {"withdrawn": 2})


def test_a_flushed_minute_is_not_opened_again():
    minutes = builder()
    hear(minutes, START, 30)
    minutes.flush()
    assert minutes.heart(second(START + 31)) == "late"
    assert made(minutes) == ([0], {})


def test_a_batch_over_the_end_of_a_minute_is_divided():
    minutes = builder()
    assert minutes.eda(Eda(time=START + 45, rate=2, nano_siemens=(1000,) * 30 + (5000,) * 30)) is None
    minutes.flush()
    tables, _ = minutes.take()
    assert [table.fields["eda"][0] for table in tables] == [1.0, 5.0]


def test_a_batch_over_three_minutes_is_divided():
    minutes = builder()
    assert minutes.eda(Eda(time=START + 50, rate=1, nano_siemens=(2000,) * 100)) is None
    minutes.flush()
    tables, _ = minutes.take()
    np.testing.assert_equal([table.fields["eda"][0] for table in tables], [np.nan, 2.0, 2.0])


def test_a_batch_that_closes_its_own_first_minute_keeps_mean_and_deviation_together():
    minutes = builder()
    batch = Motion(time=START + 30, rate=1, mean_mg=(1000,) * 50, sd_mg=(12,) * 50)
    assert minutes.motion(batch) is None
    minutes.flush()
    tables, _ = minutes.take()
    assert [table.fields["motion"][0] for table in tables] == [0.012, 0.012]


def test_a_change_of_rate_within_a_minute_is_rejected():
    minutes = builder()
    assert minutes.eda(Eda(time=START, rate=4, nano_siemens=(1000,) * 4)) is None
    assert minutes.eda(Eda(time=START + 1, rate=8, nano_siemens=(1000,) * 8)) == "rate"


def test_a_temperature_belongs_to_the_second_that_the_next_time_ends():
    minutes = builder()
    told = ((31.5, START + 50), (31.5, START + 60), (32.5, START + 70), (32.5, START + 80))  # two make a mean
    for celsius, at in told:
        minutes.temperature(celsius)
        assert minutes.time(at) is None
    minutes.flush()
    tables, _ = minutes.take()
    assert [table.fields["skin_temp"][0] for table in tables] == [31.5, 32.5]


def test_a_time_at_the_end_of_the_last_minute_is_no_minute_of_its_own():
    minutes = builder()
    hear(minutes, START, 60)
    minutes.time(START + 60)
    minutes.flush()
    assert made(minutes) == ([0], {})


def test_a_time_alone_begins_no_account():
    minutes = builder()
    for at in range(START, START + 200, 10):
        assert minutes.time(at) is None
    minutes.flush()
    assert made(minutes) == ([], {})
    assert minutes.time(5.0) == "clock"


def test_a_time_told_at_the_start_of_the_first_second_is_of_that_second():
    minutes = builder()
    hear(minutes, START, 1)
    assert minutes.time(START) is None
    hear(minutes, START + 1, 59)
    minutes.flush()
    assert made(minutes) == ([0], {})


@pytest.mark.parametrize(("tells", "coverage"), [(True, 0.0), (False, None)])
def test_a_minute_without_beats_is_told_apart_from_a_strap_that_never_tells_any(tells: bool, coverage: float | None):
    minutes = builder()
    beats = ((START + 1.0, 0.8), (START + 1.8, 0.8)) if tells else ()
    assert minutes.heart(PlacedHeart(START + 2, 75, True, beats)) is None
    hear(minutes, START + 3, 117)
    minutes.flush()
    first, second = (r for table in minutes.take()[0] for r in table.readings(NAME))
    assert second.hr == 75.0
    assert second.rr_coverage == coverage
    assert (first.rr_coverage is None) is not tells


def test_frames_give_the_same_reading_as_the_arrays_behind_them():
    rng = np.random.default_rng(2)
    ticks = np.cumsum(np.round((0.8 + 0.03 * rng.standard_normal(70)) * 1024)).astype(int)
    ticks = ticks[ticks < 60 * 1024]
    rr = np.diff(ticks, prepend=0)
    nano = rng.integers(1000, 2000, 240)
    minutes, beats = builder(), BandBeats()
    for at in range(60):
        inside = ticks // 1024 == at
        beats.timing(BeatTiming(time=START + at, offsets_1024=tuple((ticks[inside] % 1024).tolist())))
        placed, fault = beats.measurement(HeartRate(bpm=75, rr_1024=tuple(rr[inside].tolist()), contact=True))
        assert fault is None
        assert placed is not None
        assert minutes.heart(placed) is None
        if at % 5 == 4:
            batch = slice(4 * (at - 4), 4 * (at + 1))
            assert minutes.eda(Eda(time=START + at - 4, rate=4, nano_siemens=tuple(nano[batch].tolist()))) is None
            motion = Motion(time=START + at - 4, rate=4, mean_mg=(1000,) * 20, sd_mg=(12,) * 20)
            assert minutes.motion(motion) is None
    minutes.flush()
    (table,), dropped = minutes.take()
    expected, _ = minute_table(
        Signals(
            start=START,
            minutes=1,
            beat_t=START + ticks / 1024,
            rr=rr / 1024,
            hr=np.full((1, 60), 75.0),
            contact=np.ones((1, 60)),
            eda=nano[None, :] / 1000,
            acc_mean=np.ones((1, 240)),
            acc_sd=np.full((1, 240), 0.012),
        )
    )
    assert dropped == {}
    assert table.readings(NAME) == expected.readings(NAME)
    assert table.readings(NAME)[0].rmssd is not None


def test_intervals_are_read_in_1024ths_of_a_second():
    beats = BandBeats()
    beats.timing(BeatTiming(time=START, offsets_1024=(512,)))
    placed, _ = beats.measurement(HeartRate(bpm=60, rr_1024=(1024,)))
    assert placed is not None
    assert placed.beats == ((START + 0.5, 1.0),)


def test_a_measurement_without_its_beat_timing_is_not_placed():
    assert BandBeats().measurement(HeartRate(bpm=60, rr_1024=(1024,))) == (None, "no-beat-timing")


def test_a_measurement_whose_beats_differ_keeps_its_rate_alone():
    beats = BandBeats()
    beats.timing(BeatTiming(time=START, offsets_1024=(1, 2)))
    placed, fault = beats.measurement(HeartRate(bpm=60, rr_1024=(1024,)))
    assert placed == PlacedHeart(START, 60, None, ())
    assert fault == "beats-differ"


def test_a_straps_beats_follow_each_other_whatever_the_jitter_of_their_arrival():
    strap, rng = StrapBeats(), np.random.default_rng(4)
    placed = [
        beat
        for i in range(60)
        for beat in strap.measurement(HeartRate(bpm=60, rr_1024=(1024,)), START + i + rng.random() * 0.9).beats
    ]
    assert np.allclose(np.diff([end for end, _ in placed]), 1.0)


def test_a_straps_lost_notifications_leave_a_gap():
    strap = StrapBeats()
    before = strap.measurement(HeartRate(bpm=60, rr_1024=(1024,)), START).beats[-1][0]
    after = strap.measurement(HeartRate(bpm=60, rr_1024=(1024,)), START + 4).beats[-1][0]
    assert after - before == 4.0


times = st.integers(START - 400, START + 900)
frames = st.one_of(
    st.builds(
        lambda at, bpm, contact: ("heart", PlacedHeart(at, bpm, contact, ((at + 0.3, 0.8), (at + 0.9, 0.6)))),
        times,
        st.integers(0, 300),
        st.sampled_from([None, True, False]),
    ),
    st.builds(
        lambda at, rate, n: ("eda", Eda(time=at, rate=rate, nano_siemens=(1500,) * n)),
        times,
        st.integers(1, 32),
        st.integers(1, 100),
    ),
    st.builds(
        lambda at, rate, n: ("motion", Motion(time=at, rate=rate, mean_mg=(1000,) * n, sd_mg=(5,) * n)),
        times,
        st.integers(1, 32),
        st.integers(1, 50),
    ),
    st.builds(lambda at: ("time", float(at)), times),
    st.builds(lambda celsius: ("temperature", celsius), st.floats(20, 40)),
    st.just(("flush", None)),
)


@settings(deadline=None)
@given(st.lists(frames, max_size=60))
def test_every_minute_between_the_first_and_the_last_heard_is_made_or_dropped_once(sent):
    minutes = builder()
    heard: set[int] = set()
    for kind, frame in sent:
        if kind == "flush":
            minutes.flush()
            continue
        fault = getattr(minutes, kind)(frame)
        if fault is None and kind not in ("temperature", "time"):
            at = frame.time
            length = len(getattr(frame, "nano_siemens", getattr(frame, "mean_mg", ())))
            last = at + (length - 1) // frame.rate if length else at
            heard.update(range(int(at) // 60 * 60, int(last) // 60 * 60 + 60, 60))
        assert len(minutes._open) <= 16
    minutes.flush()
    tables, dropped = minutes.take()
    starts = {table.start for table in tables}
    assert len(starts) == len(tables)
    assert heard <= starts
    assert dropped.get("clock", 0) == len(minutes._misdated)
    assert not starts & minutes._misdated
    if starts:
        between = sum(min(starts) <= minute <= max(starts) for minute in minutes._misdated)
        assert len(tables) + dropped.get("not-heard", 0) + between == (max(starts) - min(starts)) // 60 + 1
