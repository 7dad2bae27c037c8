"""Beats and samples -> minutes: the rules of the method, its traps, and that the way of feeding changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from contracts.reading import FIELDS, reading_fault
from gateway.epochs import Signals, minute_table
from gateway.skin import skin_responses

START = 1_762_502_940  # a whole minute of 2025
NAME = "a" * 26


def beats_from(rr: np.ndarray, start: float = START) -> dict[str, np.ndarray]:
    return {"beat_t": start + np.cumsum(rr), "rr": rr}


def heart_of(rr: np.ndarray, beat_t: np.ndarray, minutes: int = 1) -> dict[str, np.ndarray]:
    return minute_table(Signals(start=START, minutes=minutes, beat_t=beat_t, rr=rr))[0].fields


def steady(seed: int = 1, n: int = 70) -> np.ndarray:
    return 0.8 + 0.016 * np.random.default_rng(seed).standard_normal(n)


def test_heart_rate_variability_is_that_of_the_task_force():
    rr = steady(n=74)
    fields = heart_of(**beats_from(rr))
    assert fields["rmssd"][0] == pytest.approx(1e3 * np.sqrt(np.mean(np.diff(rr) ** 2)), abs=0.01)
    assert fields["sdnn"][0] == pytest.approx(1e3 * np.std(rr, ddof=1), abs=0.01)
    assert fields["hr"][0] == pytest.approx(60 / np.mean(rr), abs=0.01)
    assert fields["rr_coverage"][0] == pytest.approx(np.sum(rr) / 60, abs=1e-3)


def test_no_difference_is_taken_across_a_gap():
    rr = np.concatenate([np.full(30, 0.80), np.full(30, 0.90)])
    beat_t = START + np.cumsum(rr)
    beat_t[30:] += 3.0
    assert heart_of(rr, beat_t)["rmssd"][0] == 0.0


def test_one_missed_beat_in_three_hundred_does_not_lift_rmssd():
    rr = np.round(steady(seed=5, n=300) * 1024) / 1024
    whole = heart_of(**beats_from(rr), minutes=5)["rmssd"]
    merged = np.concatenate([rr[:150], [rr[150] + rr[151]], rr[152:]])  # the band missed the beat between two
    missed = heart_of(**beats_from(merged), minutes=5)["rmssd"]
    naive = 1e3 * np.sqrt(np.mean(np.diff(merged) ** 2))
    assert naive > 2.5 * np.nanmean(whole)
    assert np.nanmax(np.abs(missed - whole)) < 2.5


def test_float32_time_is_refused():
    rr = steady()
    with pytest.raises(ValueError, match="float64"):
        Signals(start=START, minutes=1, beat_t=(START + np.cumsum(rr)).astype(np.float32), rr=rr)


def test_half_of_the_minute_must_be_covered_for_variability_but_not_for_the_rate():
    beats = beats_from(steady(n=30))  # 24 s
    fields = heart_of(**beats)
    assert np.isnan(fields["rmssd"][0])
    assert np.isnan(fields["sdnn"][0])
    assert fields["rr_coverage"][0] == pytest.approx(0.4, abs=0.01)
    assert fields["hr"][0] == pytest.approx(75, abs=1)


@pytest.mark.parametrize(("interval", "valid"), [(0.29, False), (0.31, True), (1.99, True), (2.01, False)])
def test_an_interval_outside_300_to_2000_ms_is_no_beat(interval: float, valid: bool):
    fields = heart_of(**beats_from(np.full(int(60 / interval), interval)))
    assert bool(fields["rr_coverage"][0] > 0.9) is valid


@pytest.mark.parametrize(("values", "there"), [(14, False), (15, True)])
def test_a_heart_rate_needs_fifteen_one_second_values(values: int, there: bool):
    hr = np.full((1, 60), np.nan)
    hr[0, :values] = 61.0
    hr[0, values : values + 5] = 0.0  # a strap's "unknown"
    assert bool(minute_table(Signals(start=START, minutes=1, hr=hr))[0].fields["hr"][0] == 61.0) is there


@pytest.mark.parametrize(("beats", "there"), [(4, False), (5, True)])
def test_a_heart_rate_needs_five_beats(beats: int, there: bool):
    assert bool(heart_of(**beats_from(np.full(beats, 1.0)))["hr"][0] == 60.0) is there


def rate_and_beats(beats: int) -> dict[str, np.ndarray]:
    """A minute of a band that tells 90 beats/min, and so many beats of 1 s besides."""
    hr = np.full((1, 60), 90.0)
    return minute_table(Signals(start=START, minutes=1, hr=hr, **beats_from(np.full(beats, 1.0))))[0].fields


def test_beats_come_before_the_rate_that_a_band_tells():
    assert rate_and_beats(5)["hr"][0] == 60.0
    assert rate_and_beats(4)["hr"][0] == 90.0


def test_a_rate_without_beats_is_marked_as_such_where_the_band_tells_beats():
    assert rate_and_beats(0)["rr_coverage"][0] == 0.0
    without = minute_table(Signals(start=START, minutes=1, hr=np.full((1, 60), 90.0)))[0].fields
    assert np.isnan(without["rr_coverage"][0])


def test_a_beat_without_a_neighbour_counts_for_the_rate_and_not_for_variability():
    rr = np.full(20, 1.0)
    fields = heart_of(rr, START + 2.5 * np.arange(1, 21))
    assert fields["hr"][0] == 60.0
    assert fields["rr_coverage"][0] == 0.0


def test_eda_is_the_median_and_temperature_the_mean():
    eda = np.full((1, 240), 2.0)
    eda[0, :100] = 50.0
    eda[0, 200:] = np.nan
    temp = np.array([[30.0, 31.0, np.nan, 35.0, np.nan, np.nan]])
    fields = minute_table(Signals(start=START, minutes=1, eda=eda, skin_temp=temp))[0].fields
    assert fields["eda"][0] == 26.0  # the middle two of 200 are 2 and 50
    assert fields["skin_temp"][0] == 32.0


def test_motion_is_the_deviation_within_and_between_the_samples():
    rng = np.random.default_rng(3)
    raw = 1 + 0.2 * rng.standard_normal((1, 240, 8))  # 32 Hz in samples of a quarter of a second
    fields = minute_table(
        Signals(start=START, minutes=1, acc_mean=raw.mean(axis=2), acc_sd=raw.std(axis=2))
    )[0].fields  # fmt: skip
    assert fields["motion"][0] == pytest.approx(raw.std(), abs=1e-4)


def responses(at_s: list[float], amplitude: float, minutes: int = 3, noise: float = 0.0) -> np.ndarray:
    """EDA at 4 Hz with responses (a rise in 1.5 s, a decay in 4 s) at the given times, on a slow drift."""
    t = np.arange(minutes * 240) / 4
    eda = 4 + 0.3 * np.sin(2 * np.pi * t / 600) + noise * np.random.default_rng(1).standard_normal(t.size)
    for start in at_s:
        since = np.maximum(t - start, 0)
        eda += amplitude * np.where(since < 1.5, since / 1.5, np.exp(-(since - 1.5) / 4))
    return eda.reshape(minutes, 240)


def test_skin_conductance_responses_are_counted_in_their_minute():
    counts, _ = skin_responses(responses([10, 30, 50, 130], 0.3, noise=0.001))
    assert counts.tolist() == [3.0, 0.0, 1.0]


def test_a_small_rise_is_no_response():
    assert skin_responses(responses([10, 30, 50], 0.04))[0].sum() == 0


def test_a_rise_over_many_seconds_is_drift_and_no_response():
    eda = 4 + np.interp(np.arange(720) / 4, [0, 60, 75, 180], [0, 0, 0.5, 0.5])
    assert skin_responses(eda.reshape(3, 240))[0].sum() == 0


def test_a_step_over_a_long_gap_is_no_response():
    eda = responses([], 0)
    eda[1, 100:200] = np.nan
    eda[1, 200:] += 5
    eda[2] += 5
    assert skin_responses(eda)[0].sum() == 0


@settings(deadline=None)
@given(
    eda=npst.arrays(
        np.float64,
        st.tuples(st.integers(1, 4), st.just(120)),
        elements=st.one_of(st.floats(0, 2, width=16), st.just(np.nan)),
    )
)
def test_responses_counted_minute_by_minute_are_those_counted_at_once(eda: np.ndarray):
    at_once, _ = skin_responses(eda)
    state, one_by_one = None, []
    for minute in eda:
        counts, state = skin_responses(minute[None, :], state)
        one_by_one.append(counts[0])
    np.testing.assert_array_equal(at_once, one_by_one)


def a_day(minutes: int = 12) -> Signals:
    rng = np.random.default_rng(7)
    rr = np.round((0.8 + 0.03 * rng.standard_normal(minutes * 74)) * 1024) / 1024
    beat_t = START + np.cumsum(rr)
    kept = rng.random(len(rr)) > 0.02
    eda = 3 + np.convolve(np.cumsum(0.05 * rng.standard_normal(minutes * 240)), np.ones(8) / 8, mode="same")
    eda[rng.random(eda.size) > 0.98] = np.nan
    contact = np.ones((minutes, 60))
    contact[5] = 0
    contact[6, :30] = 0
    return Signals(
        start=START,
        minutes=minutes,
        beat_t=beat_t[kept],
        rr=rr[kept],
        hr=np.round(75 + 3 * rng.standard_normal((minutes, 60))),
        contact=contact,
        eda=np.abs(eda).reshape(minutes, 240),
        skin_temp=33 + rng.standard_normal((minutes, 6)),
        acc_mean=np.full((minutes, 240), 1.0),
        acc_sd=np.full((minutes, 240), 0.02),
    )


def test_a_day_at_once_and_minute_by_minute_give_the_same_readings():
    day = a_day()
    table, _ = minute_table(day)
    at_once = table.readings(NAME)
    state, one_by_one = None, []
    for i in range(day.minutes):
        inside = (day.beat_t >= START + 60 * i) & (day.beat_t < START + 60 * (i + 1))
        minute, state = minute_table(
            Signals(
                start=START + 60 * i,
                minutes=1,
                beat_t=day.beat_t[inside],
                rr=day.rr[inside],
                **{
                    name: getattr(day, name)[i : i + 1]
                    for name in ("hr", "contact", "eda", "skin_temp", "acc_mean", "acc_sd")
                },
            ),
            state,
        )
        one_by_one += minute.readings(NAME)
    assert at_once == one_by_one
    assert len(at_once) == day.minutes - 1
    assert table.drops() == {"not-worn": 1}


def test_seconds_off_the_skin_count_for_nothing():
    table, _ = minute_table(a_day())
    assert table.fields["worn"][5] == 0
    assert table.fields["worn"][6] == 0.5
    assert all(np.isnan(table.fields[name][5]) for name in FIELDS if name not in ("worn", "rr_coverage"))
    assert table.fields["rr_coverage"][6] == pytest.approx(0.5, abs=0.03)


def nothing(**signals: np.ndarray) -> str:
    table, _ = minute_table(Signals(start=START, minutes=1, **signals))
    assert table.readings(NAME) == []
    return str(table.dropped[0])


def test_a_minute_that_holds_nothing_is_dropped_with_one_reason():
    few = np.full((1, 60), np.nan)
    few[0, :5] = 60.0
    off = np.zeros((1, 60))
    assert nothing() == "no-data"
    assert nothing(hr=np.full((1, 60), np.nan)) == "no-data"
    assert nothing(hr=few) == "too-little-signal"
    assert nothing(hr=np.full((1, 60), 0.0)) == "too-little-signal"
    assert nothing(contact=np.ones((1, 60))) == "too-little-signal"
    assert nothing(hr=np.full((1, 60), 60.0), contact=off, skin_temp=np.full((1, 6), 30.0)) == "not-worn"
    assert nothing(skin_temp=np.full((1, 6), 2.0)) == "out-of-range"


def test_a_value_outside_its_range_is_absent_and_the_rest_is_kept():
    table, _ = minute_table(
        Signals(start=START, minutes=1, skin_temp=np.full((1, 6), 60.0), eda=np.full((1, 240), 2.0))
    )
    (reading,) = table.readings(NAME)
    assert reading.skin_temp is None
    assert reading.eda == 2.0


@settings(deadline=None, max_examples=50)
@given(data=st.data(), minutes=st.integers(1, 3))
def test_whatever_the_signals_every_reading_can_be_a_persons_minute(data: st.DataObject, minutes: int):
    wild = st.one_of(st.floats(-1e4, 1e4, width=32), st.just(np.nan))

    def grid(k: int) -> np.ndarray:
        return data.draw(npst.arrays(np.float64, (minutes, k), elements=wild))

    rr = data.draw(npst.arrays(np.float64, st.integers(0, 100), elements=st.floats(0.001, 64)))
    table, _ = minute_table(
        Signals(
            start=START,
            minutes=minutes,
            **beats_from(rr),
            hr=grid(60),
            contact=data.draw(npst.arrays(np.float64, (minutes, 60), elements=st.sampled_from([0.0, 1.0, np.nan]))),
            eda=grid(60),
            skin_temp=grid(6),
            acc_mean=grid(60),
            acc_sd=grid(60),
        )
    )
    readings = table.readings(NAME)
    assert [reading_fault(reading) for reading in readings] == [None] * len(readings)
    assert len(readings) + sum(table.drops().values()) == minutes


@pytest.mark.parametrize(
    "changes",
    [
        {"start": START + 1},
        {"minutes": 0},
        {"hr": np.zeros((2, 60))},
        {"rr": np.zeros(3)},
        {"acc_sd": np.zeros((1, 4))},
    ],
)
def test_signals_that_do_not_fit_are_refused(changes: dict[str, object]):
    with pytest.raises(ValueError, match=r"minute|pairs"):
        Signals(**{"start": START, "minutes": 1, **changes})
