"""The segmented scores equal a plain loop over persons and minutes, written here from the method's text."""

from __future__ import annotations

from datetime import date, timedelta
from statistics import NormalDist

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.baseline import BIN_WIDTH, MINUTES_MIN, PublicBaselines
from analytics.coverage import covered_readings, covered_reports
from analytics.plan import Plan
from analytics.records import records_of
from analytics.scores import (
    CONSTANTS,
    MICRO,
    calm_of,
    minute_calm,
    score_readings,
    score_reports,
)
from analytics.sums import NOTHING, Partial, counted, day_key, heard_key, heard_of, merge, run_sums
from analytics.windows import day_window, instant, local_day, week_window
from contracts.consent import Purpose
from contracts.ports import ReadingColumns, StoredReading
from contracts.reading import Category, Reading
from tests.analytics_parts.city import (
    AREAS,
    MONDAY,
    NOORDWEST,
    WEST,
    MemoryStore,
    columns,
    cover,
    day_of,
    fill,
    pseudonym,
)

PLAN = Plan(MONDAY, AREAS)
SPAN = range(MONDAY.toordinal(), MONDAY.toordinal() + 7)


def same(a: Partial, b: Partial) -> bool:
    return a.who == b.who and a.codes == b.codes and all(map(np.array_equal, a[2:], b[2:]))


def scored(store: MemoryStore, days: range = SPAN, *, rows_max: int = 10**6) -> Partial:
    first, last = (instant(date.fromordinal(d)) for d in (days.start, days.stop))
    partial = score_reports(store.reports(first, last), days)
    for chunk in store.readings(first - 28 * 86_400, last, rows_max=rows_max):
        partial = merge(partial, score_readings(chunk, days))
    return partial


# The plain form.


def is_still(r: Reading) -> bool:
    return r.motion is not None and r.motion < 0.1 and (r.worn is None or r.worn >= 0.5)


def plain_rates(rows: list[Reading]) -> dict[int, float]:
    """Minute -> heart rate of the beats of that minute and the one before."""
    by_minute = {r.minute: r for r in rows}
    rates = {}
    for minute in by_minute:
        span = beats = 0.0
        for part in (by_minute.get(minute - 60), by_minute[minute]):
            if part is not None and part.hr is not None:
                own = 1.0 if part.rr_coverage is None else part.rr_coverage
                span, beats = span + own, beats + own * part.hr
        if beats >= 9.5:
            rates[minute] = beats / span
    return rates


def plain_features(rows: list[Reading]) -> list[tuple[float, float]]:
    """(skin's rise, heart's rise) of each reading of one person."""
    rates, base, last, out = plain_rates(rows), None, 0, []
    for r in rows:
        skin = heart = float("nan")
        if is_still(r) and r.eda is not None and r.eda >= 0.03:
            level = np.log(r.eda)
            kept = 0.0 if base is None else np.exp(-(r.minute - last) / 900)
            base, last = (level if base is None else base + (1 - kept) * (level - base)), r.minute
            skin = level - base
        if r.minute in rates:
            recent = [rate for m, rate in rates.items() if r.minute - 20 * 60 < m <= r.minute]
            heart = rates[r.minute] - np.quantile(recent, 0.05)
        out.append((skin, heart))
    return out


def in_bin(value: float, column: int) -> float:
    centre, scale = CONSTANTS.centre[column], CONSTANTS.scale[column]
    return centre + scale * BIN_WIDTH * round((value - centre) / scale / BIN_WIDTH)


def plain_calm(rows: list[Reading], day: date) -> list[float]:
    """The calm of each scorable minute of one person's day, by the letter of the method."""
    still = [
        (local_day(r.minute), r.minute, f) for r, f in zip(rows, plain_features(rows), strict=True) if is_still(r)
    ]  # fmt: skip

    def band(minute: int) -> int:
        d = local_day(minute)
        return sum(minute >= instant(d, hour) for hour in (6, 12, 18))

    history = {d for d, *_ in still if day - timedelta(days=28) <= d < day}
    out = []
    for d, minute, values in still:
        if d != day:
            continue
        zs = []
        for column, value in enumerate(values):
            centre, scale = CONSTANTS.centre[column], CONSTANTS.scale[column]
            taken = history if len(history) >= 3 else history | {day}
            known = [(m, in_bin(f[column], column)) for k, m, f in still if k in taken and np.isfinite(f[column])]
            here = [v for m, v in known if band(m) == band(minute)]
            usual = here if len(here) >= MINUTES_MIN else [v for _, v in known]
            if len(usual) >= MINUTES_MIN:
                centre = np.median(usual)
                scale = max(1.4826 * np.median(np.abs(np.array(usual) - centre)), scale / 2)
            if np.isfinite(value):
                zs.append(np.clip((value - centre) / scale, -3, 3))
        if zs:
            out.append(100 * NormalDist().cdf(-np.mean(zs)))
    return out


@st.composite
def weeks(draw: st.DrawFn) -> list[Reading]:
    """Two people's minutes over five days, with gaps, missing fields, movement and bands taken off."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([20, 60, 150]))
    missing = draw(st.sampled_from([0.0, 0.1, 0.6]))
    rows = []
    for number in range(2):
        for offset in draw(st.sets(st.integers(0, 4), min_size=1)):
            begin = instant(date(2026, 3, 27) + timedelta(days=offset), 0)  # the clock is put on within these days
            chosen = np.sort(random.choice(20 * 60, density, replace=False))
            for minute in begin + 60 * chosen:
                values = {
                    "hr": random.normal(70, 6), "eda": random.choice([0.0, 1.0]) * np.exp(random.normal()),
                    "rr_coverage": max(0.0, random.normal(0.2, 0.3)), "motion": random.exponential(0.06),
                    "worn": random.uniform(0.3, 1),
                }  # fmt: skip
                kept = {name: float(v) for name, v in values.items() if random.random() >= missing}
                rows.append(Reading(pseudonym=pseudonym(number), minute=int(minute), **kept))
    return rows


@settings(max_examples=25, deadline=None)
@given(weeks(), st.integers(1, 400))
def test_the_segmented_scores_equal_a_plain_loop(rows: list[Reading], rows_max: int):
    store = MemoryStore()
    store.write([StoredReading(WEST, row) for row in rows], [])
    days = range(date(2026, 3, 27).toordinal(), date(2026, 4, 1).toordinal())
    partial = scored(store, days, rows_max=rows_max)
    got = {(partial.who[k >> 32], k & 0xFFFFFFFF): tuple(s[:2]) for k, s in zip(partial.key.tolist(), partial.sums,
                                                                               strict=True)}  # fmt: skip
    expected = {}
    for name in sorted({row.pseudonym for row in rows}):
        own = sorted((row for row in rows if row.pseudonym == name), key=lambda row: row.minute)
        for day in days:
            calm = plain_calm(own, date.fromordinal(day))
            if calm:
                expected[name, day] = (len(calm), sum(calm))
    assert got.keys() == expected.keys()
    for key, (minutes, calm) in expected.items():
        assert got[key][0] == minutes
        assert got[key][1] / MICRO == pytest.approx(calm, abs=1e-5 * minutes)


def test_merging_is_exact_in_any_order_and_nothing_is_neutral():
    store = MemoryStore()
    fill(store, range(4), 3)
    fill(store, range(4, 6), 2, district=NOORDWEST)
    whole = scored(store)
    first, last = instant(MONDAY), instant(MONDAY + timedelta(days=7))
    parts = [score_readings(chunk, SPAN) for chunk in store.readings(first, last, rows_max=1)]
    parts.append(score_reports(store.reports(first, last), SPAN))
    assert len(parts) == 7
    together = NOTHING
    for part in reversed(parts):
        together = merge(part, together)
    assert same(together, whole)
    assert same(merge(merge(parts[0], parts[1]), parts[2]), merge(parts[0], merge(parts[1], parts[2])))
    assert same(merge(whole, NOTHING), whole)


@pytest.mark.parametrize("chunk", [slice(0, 0), slice(0, 40)])
def test_a_chunk_without_a_scored_day_gives_nothing(chunk: slice):
    readings, _ = day_of(1, MONDAY)
    partial = score_readings(columns(readings[chunk]), range(SPAN.stop, SPAN.stop + 1))
    assert not partial.key.size
    assert not partial.heard_key.size


def test_a_first_day_leans_to_fifty():
    store = MemoryStore()
    store.write(*day_of(1, MONDAY, minutes=60))
    scores = records_of(scored(store), day_window(MONDAY), plan=PLAN, covers={pseudonym(1): cover(1)})[WEST]
    assert abs(int(scores[0, 1]) - 5000) < 500


def test_the_fourth_day_brings_no_jump():
    store = MemoryStore()
    fill(store, [1], 6)
    partial, covers = scored(store), {pseudonym(1): cover(1)}
    calm = [
        int(records_of(partial, day_window(MONDAY + timedelta(days=d)), plan=PLAN, covers=covers)[WEST][0, 1])
        for d in range(6)
    ]
    assert max(calm) - min(calm) < 100


def test_against_the_constants_a_minute_knows_nothing_of_later_ones():
    readings, _ = day_of(1, MONDAY, minutes=60)
    public = PublicBaselines(persons=1, constants=CONSTANTS)
    whole = minute_calm(columns(readings), SPAN, baselines=public)
    assert np.isfinite(whole).all()
    assert np.array_equal(minute_calm(columns(readings[:40]), SPAN, baselines=public), whole[:40])


def test_a_few_minutes_are_compared_with_the_constants():
    readings, _ = day_of(1, MONDAY, minutes=MINUTES_MIN - 1)
    public = PublicBaselines(persons=1, constants=CONSTANTS)
    assert np.array_equal(
        minute_calm(columns(readings), SPAN), minute_calm(columns(readings), SPAN, baselines=public)
    )  # fmt: skip


def test_after_erasure_a_person_is_scored_as_on_a_first_day():
    store, fresh = MemoryStore(), MemoryStore()
    fill(store, [1], 6)
    last = day_of(1, MONDAY + timedelta(days=6))
    before = scored(store)
    store.erase(pseudonym(1))
    for each in (store, fresh):
        each.write(*last)
    assert same(scored(store), scored(fresh))
    assert not same(scored(store), before)


def racing(readings: list[StoredReading], last: int, by: float) -> list[StoredReading]:
    """The same minutes, with a faster heart in the last so many."""
    return readings[:-last] + [
        StoredReading(row.district, msgspec.structs.replace(row.reading, hr=row.reading.hr + by))
        for row in readings[-last:]
    ]


def test_a_heart_that_speeds_up_after_quiet_days_is_less_calm():
    store = MemoryStore()
    for offset in range(5):
        readings, reports = day_of(1, MONDAY + timedelta(days=offset))
        store.write(racing(readings, 15, 20.0) if offset == 4 else readings, reports)
    days = [day_window(MONDAY + timedelta(days=offset)) for offset in (3, 4)]
    partial, covers = scored(store), {pseudonym(1): cover(1)}
    quiet, fast = (int(records_of(partial, day, plan=PLAN, covers=covers)[WEST][0, 1]) for day in days)
    assert fast < quiet - 1000


def test_a_record_holds_the_means_of_the_answers():
    store = MemoryStore()
    store.write(*day_of(1, MONDAY, safe=7, happy=9))
    _, reports = day_of(1, MONDAY, safe=8, happy=9, answers=3)
    store.write([], reports[1:])
    scores = records_of(scored(store), day_window(MONDAY), plan=PLAN, covers={pseudonym(1): cover(1)})[WEST]
    assert scores[:, [0, 2]].tolist() == [[7667, 9000]]


@pytest.mark.parametrize(("minutes", "answers", "records"), [(30, 1, 1), (29, 1, 0), (40, 0, 0)])
def test_a_window_counts_with_thirty_minutes_and_an_answer(minutes: int, answers: int, records: int):
    store = MemoryStore()
    fill(store, [1], 1, first=MONDAY - timedelta(days=1))  # so that the baseline is there
    store.write(*day_of(1, MONDAY, minutes=minutes, answers=answers))
    covers = {pseudonym(1): cover(1)}
    assert len(records_of(scored(store), day_window(MONDAY), plan=PLAN, covers=covers)[WEST]) == records


def test_a_record_goes_where_the_band_was_heard_longest():
    store = MemoryStore()
    readings, reports = day_of(1, MONDAY, minutes=70)
    store.write([StoredReading(NOORDWEST, row.reading) for row in readings[:40]] + readings[40:], reports)
    both = Plan(MONDAY, tuple(type(a)(code=a.code, districts=a.districts, cadence=AREAS[0].cadence) for a in AREAS))
    records = records_of(scored(store), day_window(MONDAY), plan=both, covers={pseudonym(1): cover(1)})
    assert {area: len(scores) for area, scores in records.items()} == {WEST: 0, NOORDWEST: 1}


def test_who_is_heard_mostly_in_the_other_cadence_is_in_no_window():
    store = MemoryStore()
    fill(store, [1], 7, district=WEST)  # enrolled in Noordwest, which is weekly; West is daily
    partial, covers = scored(store), {pseudonym(1): cover(1, NOORDWEST)}
    for window in (day_window(MONDAY), week_window(MONDAY)):
        records = records_of(partial, window, plan=PLAN, covers=covers)
        assert not any(len(scores) for scores in records.values())


def test_a_week_is_one_record_out_of_its_days():
    store = MemoryStore()
    fill(store, [1, 2], 7, district=NOORDWEST)
    covers = {pseudonym(n): cover(n, NOORDWEST) for n in (1, 2)}
    assert records_of(scored(store), week_window(MONDAY), plan=PLAN, covers=covers)[NOORDWEST].shape == (2, 3)


@pytest.mark.parametrize(
    ("categories", "records"),
    [
        ((Category.HEART, Category.MOTION, Category.SELF_REPORT), 1),
        ((Category.SKIN, Category.MOTION, Category.SELF_REPORT), 1),
        ((Category.HEART, Category.SELF_REPORT), 0),
        ((Category.MOTION, Category.SELF_REPORT), 0),
        ((Category.HEART, Category.SKIN, Category.MOTION), 0),
    ],
)
def test_a_record_needs_self_report_motion_and_heart_or_skin(categories: tuple[Category, ...], records: int):
    store = MemoryStore()
    fill(store, [1], 1)
    covers = {pseudonym(1): cover(1, categories=categories)}
    assert len(records_of(scored(store), day_window(MONDAY), plan=PLAN, covers=covers)[WEST]) == records


def test_fields_of_another_purpose_and_rows_from_before_the_choice_are_not_used():
    readings, reports = day_of(1, MONDAY)
    later = readings[10].reading.minute
    store = MemoryStore()
    store.write(readings, reports)
    index = {Purpose.DISTRICT_INDEX: (Category.HEART, Category.MOTION)}
    own = msgspec.structs.replace(
        cover(1, valid_from=later), purposes=index | {Purpose.RESEARCH_PROFILE: tuple(Category)}
    )
    assert own.categories == frozenset(Category)
    covers = {pseudonym(1): own}
    kept: ReadingColumns = covered_readings(columns(readings), covers)
    assert kept.minute.min() == later
    assert np.isnan(kept.fields["eda"]).all()
    assert np.isfinite(kept.fields["hr"]).all()
    assert not covered_reports(store.reports(0, 2**40), covers).at.size
    assert not covered_readings(columns(readings), {}).minute.size


def test_a_choice_late_in_a_window_counts_from_the_next_one():
    store = MemoryStore()
    fill(store, [1], 2)
    noon = instant(MONDAY, 12)
    for moment, records in ((noon, 1), (noon + 1, 0)):
        covers = {pseudonym(1): cover(1, valid_from=moment)}
        assert len(records_of(scored(store), day_window(MONDAY), plan=PLAN, covers=covers)[WEST]) == records


def test_calm_is_fifty_at_the_usual_and_bounded_by_three_scales():
    one = np.ones((3, 1))
    calm = calm_of(np.array([[60.0], [1000.0], [np.nan]]), 60 * one, 5 * one)
    assert calm[0] == pytest.approx(50)
    assert calm[1] == pytest.approx(100 * NormalDist().cdf(-3), abs=1e-5)
    assert np.isnan(calm[2])


# Adding up.


def plainly(keys: list[tuple[int, ...]], values: list[tuple[int, ...]]) -> dict[tuple[int, ...], tuple[int, ...]]:
    found: dict[tuple[int, ...], tuple[int, ...]] = {}
    for key, row in zip(keys, values, strict=True):
        found[key] = tuple(a + b for a, b in zip(found.get(key, (0,) * len(row)), row, strict=True))
    return found


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(-9, 9), st.booleans()), min_size=1),
       st.booleans())  # fmt: skip
def test_rows_in_order_or_in_none_add_up_to_the_same(rows: list[tuple[int, int, int, bool]], in_order: bool):
    rows = sorted(rows) if in_order else rows
    person, day, value, flag = (np.array(column) for column in zip(*rows, strict=True))
    starts, sums = run_sums((person, day), (flag, value))
    key, total = counted(day_key(person[starts], day[starts]), sums)
    expected = plainly([row[:2] for row in rows], [(int(row[3]), row[2]) for row in rows])
    got = {(k >> 32, k & 0xFFFFFFFF): tuple(line) for k, line in zip(key.tolist(), total.tolist(), strict=True)}
    assert got == expected
    assert key.tolist() == sorted(got and [p << 32 | d for p, d in got])
    assert len(starts) == len(expected) or not in_order


def test_parts_that_cut_through_a_persons_day_change_nothing(monkeypatch: pytest.MonkeyPatch):
    store = MemoryStore()
    fill(store, range(7), 5)
    whole = scored(store)
    for rows in (1, 7, 64):
        monkeypatch.setattr("analytics.sums.ROWS", rows)
        assert same(scored(store), whole)


@given(st.integers(0, 2**27 - 1), st.integers(0, 2**16 - 1), st.integers(0, 2**20 - 1))
def test_a_heard_key_keeps_any_town_apart_and_stays_in_order(person: int, district: int, day: int):
    key = heard_key(np.array([person, 2**27 - 1]), np.array([district, 2**16 - 1]), np.array([day, 2**20 - 1]))
    assert [tuple(column) for column in np.array(heard_of(key)).T.tolist()] == [
        (person, district, day), (2**27 - 1, 2**16 - 1, 2**20 - 1)
    ]  # fmt: skip
    assert key[0] <= key[1]
