"""Synthetic people: the same whatever is asked for, plausible, and moved by what happens in their district."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.people import Event
from firmware_sim.physiology import Samples
from firmware_sim.profile import REASONS
from firmware_sim.synthetic import Person, Wearing
from firmware_sim.waveforms import beat_ticks

DAY = 1_762_473_600  # 2025-11-07 00:00 UTC
DAY_S = 86_400
ARRAYS = ("hr", "beat_t", "rr", "eda", "temp", "acc_mean", "acc_sd", "worn")
AMSTERDAM = ZoneInfo("Europe/Amsterdam")


def same(a: Samples, b: Samples) -> bool:
    return a.reports == b.reports and all(
        np.array_equal(getattr(a, name), getattr(b, name), equal_nan=name != "worn") for name in ARRAYS
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3 * 3600), st.integers(1, 9000), st.integers(0, 4000), st.integers(0, 4000))
def test_any_span_gives_the_same_samples(offset: int, seconds: int, more_before: int, more_after: int):
    """Also over the end of a day and of summer time (2025-10-26 01:00 UTC)."""
    start = int(datetime(2025, 10, 25, 22, 30, tzinfo=UTC).timestamp()) + offset
    whole = Person(5, 1, "WK034403").samples(start - more_before, start + seconds + more_after)
    part = Person(5, 1, "WK034403").samples(start, start + seconds)
    assert same(part, whole.cut(start, start + seconds))


def test_what_was_asked_before_does_not_matter():
    asked, fresh = Person(5, 1, "WK034403"), Person(5, 1, "WK034403")
    for day in (3, 0, 2):
        asked.samples(DAY + day * DAY_S, DAY + day * DAY_S + 4000)
        asked.worn_spans(DAY + day * DAY_S)
    assert same(asked.samples(DAY, DAY + 4000), fresh.samples(DAY, DAY + 4000))


def test_people_and_seeds_differ():
    span = (DAY + 10 * 3600, DAY + 11 * 3600)
    first = Person(5, 1, "WK034403").samples(*span)
    assert not same(first, Person(5, 2, "WK034403").samples(*span))
    assert not same(first, Person(6, 1, "WK034403").samples(*span))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 500), st.dates(date(2024, 1, 1), date(2027, 12, 31)))
def test_a_day_has_at_most_two_blocks_at_waking_hours(number: int, day: date):
    noon = int(datetime(day.year, day.month, day.day, 12, tzinfo=AMSTERDAM).timestamp())
    spans = Person(5, number, "WK034403").worn_spans(noon)
    assert len(spans) <= 2
    previous = 0
    for start, end in spans:
        assert start % 60 == end % 60 == 0
        assert previous <= start
        previous = end
        local = datetime.fromtimestamp(start, AMSTERDAM)
        assert local.date() == day
        hour = local.hour + local.minute / 60
        assert (9 <= hour <= 15 and end - start == 7200) or (19.2 <= hour <= 19.8 and end - start == 9000)


def test_bands_are_worn_about_four_and_a_half_hours_a_day():
    worn = [
        sum(end - start for start, end in Person(5, number, "WK034403").worn_spans(DAY + day * DAY_S))
        for number in range(30)
        for day in range(10)
    ]
    assert 4.0 < np.mean(worn) / 3600 < 4.4  # less the blocks that are skipped
    assert min(worn) < 2 * 3600


def test_answers_are_given_while_worn_and_mostly_from_seven_to_nine():
    answers, days = [], 0
    for number in range(150):
        person = Person(5, number, "WK034403")
        for day in range(4):
            spans = person.worn_spans(DAY + day * DAY_S)
            got = [answer for span in spans for answer in person.samples(*span).reports]
            assert len(got) <= 3
            assert bool(got) == bool(spans)
            assert got == list(person.samples(DAY + day * DAY_S - 3600, DAY + (day + 1) * DAY_S - 3600).reports)
            answers += got
            days += 1
    safe = np.array([answer.safe for answer in answers])
    assert 1.7 < len(answers) / days < 2.1
    assert ((safe >= 7) & (safe <= 9)).mean() > 0.6
    assert {answer.reason for answer in answers} == set(range(len(REASONS) + 1)) - {1 + REASONS.index("other")}


def test_rr_intervals_agree_with_the_heart_rate_and_with_each_other():
    for number in range(5):
        samples = Person(5, number, "WK034403").samples(DAY + 36_000, DAY + 43_200)
        assert (np.diff(samples.beat_t) > 0.15).all()
        begins = samples.beat_t - samples.rr
        gaps = np.abs(begins[1:] - samples.beat_t[:-1]) > 1e-9
        assert gaps.sum() < 60
        minute = (samples.beat_t - samples.start) // 60
        of_beats = np.array([60 / samples.rr[minute == m].mean() for m in range(120)])
        of_band = np.array([np.nanmean(samples.hr[60 * m : 60 * m + 60]) for m in range(120)])
        assert np.median(np.abs(of_beats - of_band)) < 1.5
        assert np.array_equal(np.rint(samples.beat_t * 1024), samples.beat_t * 1024)


def test_a_beat_train_has_no_gap_between_blocks():
    rate = np.concatenate([np.full(3600, 1.1, np.float32), np.full(3600, 0.9, np.float32)])
    ticks = beat_ticks(rate, blocks=2, rate_hz=2)
    assert ticks[-1] == 2 * 1800 * 1024 - 1
    assert 1800 * 1024 - 1 in ticks
    assert 1024 / 1.2 < np.diff(ticks).min() <= np.diff(ticks).max() < 1024 / 0.8
    alone = beat_ticks(rate[3600:], blocks=1, rate_hz=2)
    assert np.array_equal(alone + 1800 * 1024, ticks[-alone.size :])


def test_motion_raises_the_heart_rate():
    samples = [Person(5, number, "WK034403").samples(DAY + 36_000, DAY + 43_200) for number in range(10)]
    sd = np.concatenate([s.acc_sd.reshape(-1, 60).mean(axis=1) for s in samples])
    hr = np.concatenate([(s.hr - np.nanmedian(s.hr)).reshape(-1, 60).mean(axis=1) for s in samples])
    moving = sd > 0.05
    assert 0.02 < moving.mean() < 0.3
    assert np.nanmean(hr[moving]) > np.nanmean(hr[~moving]) + 10


def test_a_band_taken_off_knows_nothing_of_the_heart_and_the_skin():
    found = 0
    for number in range(20):
        samples = Person(5, number, "WK034403").samples(DAY + 36_000, DAY + 43_200)
        off = ~samples.worn
        found += int(off.sum())
        assert np.isnan(samples.hr[off]).all()
        assert np.isnan(samples.eda.reshape(-1, 4)[off]).all()
        assert samples.worn[(samples.beat_t - samples.start).astype(int)].all()
        assert samples.worn[np.maximum(samples.beat_t - samples.rr - samples.start, 0).astype(int)].all()
    assert found > 60


def rises(signal: np.ndarray) -> int:
    """Skin conductance responses, counted plainly: rises of more than 0.02 µS within a second."""
    fast = signal[4:] - signal[:-4] > 0.02
    return int((fast[1:] & ~fast[:-1]).sum())


def test_fireworks_raise_arousal_and_lower_safety_in_their_district_only():
    fireworks = Event(district="WK034403", start=DAY + 18 * 3600 + 1800, end=DAY + 22 * 3600)
    change = {"hr": [], "eda": [], "scr": [], "safe": []}
    for number in range(40):
        before = Person(5, number, "WK034403")
        struck = Person(5, number, "WK034403", [fireworks])
        elsewhere = Person(5, number, "WK034404", [fireworks])
        span = (DAY + 19 * 3600, DAY + 21 * 3600)
        assert same(elsewhere.samples(*span), Person(5, number, "WK034404").samples(*span))
        a, b = before.samples(*span), struck.samples(*span)
        change["hr"].append(np.nanmean(b.hr) - np.nanmean(a.hr))
        change["eda"].append(np.nanmedian(b.eda) / np.nanmedian(a.eda))
        change["scr"].append(rises(b.eda) - rises(a.eda))
        change["safe"] += [y.safe - x.safe for x, y in zip(a.reports, b.reports, strict=True)]
        assert all(answer.reason == fireworks.reason for answer in b.reports)
    assert np.mean(change["hr"]) > 8
    assert np.mean(change["eda"]) > 1.3
    assert np.mean(change["scr"]) > 120
    assert np.mean(change["safe"]) < -2
    assert len(change["safe"]) > 15


def test_an_event_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="event"):
        Event(district="WK034403", start=5, end=5)


def test_somebody_who_wears_the_band_throughout_answers_each_hour():
    source = Wearing(Person(5, 1, "WK034403"), start=DAY, minutes=150)
    (span,) = source.spans()
    assert span == (DAY, DAY + 9000)
    assert source.minutes == 150
    reports = source.samples(*span).reports
    assert [(answer.at - DAY) // 3600 for answer in reports] == [0, 1, 2]
    assert source.samples(DAY + 3600, DAY + 7200).reports == reports[1:2]
