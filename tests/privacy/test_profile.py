"""A week by hours of the day: one record per volunteer, complete in every block, through the one exit."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.figures import blocks_of
from analytics.mechanism import (
    REACH_PROFILE,
    RHO_PROFILE,
    ProfileDraw,
    clamped_sum,
    draw_profile,
    profile_measurement,
    profile_noise,
)
from analytics.plan import Plan
from analytics.profile import BLOCK_MIN, Deviations, profile_of
from analytics.scores import score_readings, score_reports
from analytics.sums import PROFILE_BLOCKS, merge
from analytics.windows import BLOCK_HOURS, instant, week_window
from contracts.ports import StoredReading
from contracts.reading import Reading
from contracts.release import Area, Cadence
from tests.analytics_parts.city import (
    AREAS,
    MONDAY,
    NOORDWEST,
    OVERVECHT,
    WEST,
    Consents,
    MemoryStore,
    analytics_of,
    cover,
    day_of,
    planned_log,
    pseudonym,
)

WEEK = week_window(MONDAY)
SPAN = range(MONDAY.toordinal(), MONDAY.toordinal() + 7)
BLOCKS = len(PROFILE_BLOCKS)
ALL_DAILY = tuple(Area(code=c, districts=(c,), cadence=Cadence.DAILY) for c in (WEST, NOORDWEST))


def wear(
    store: MemoryStore, number: int, *, hours: tuple[int, ...] = (9, 12, 15, 18, 21), minutes: int = 40,
    tense: int | None = None, district: str = WEST, days: int = 3,
) -> None:  # fmt: skip
    """Still minutes at these hours; at the `tense` one the heart rises."""
    random = np.random.default_rng(number)
    for offset in range(days):
        for hour in hours:
            begin = instant(MONDAY + timedelta(days=offset), hour)
            rises = np.cumsum(random.normal(0, 1, minutes)) + (12 * (np.arange(minutes) > 5) if hour == tense else 0)
            store.write(
                [
                    StoredReading(
                        district,
                        Reading(pseudonym=pseudonym(number), minute=begin + 60 * i, hr=70 + float(rise), motion=0.01),
                    )
                    for i, rise in enumerate(rises)
                ],
                [],
            )


def profiles(store: MemoryStore, covers: dict, *, areas: tuple[Area, ...] = AREAS) -> dict[str, Deviations]:
    partial = score_reports(store.reports(WEEK.start, WEEK.end), SPAN)
    for chunk in store.readings(0, WEEK.end):
        partial = merge(partial, score_readings(chunk, SPAN))
    return profile_of(partial, WEEK, plan=Plan(MONDAY, areas), covers=covers)


def covered(*numbers: int, **given: object) -> dict:
    return {pseudonym(n): cover(n, **given) for n in numbers}  # type: ignore[arg-type]


def test_a_tense_evening_stands_out_below_the_persons_own_mean_and_deviations_sum_to_nothing():
    store = MemoryStore()
    for number in range(6):
        wear(store, number, tense=18)
    found = profiles(store, covered(*range(6)))
    assert set(found) == {WEST}  # weekly areas have none
    assert found[WEST].shape == (6, BLOCKS)
    assert np.abs(found[WEST].sum(axis=1)).max() < BLOCKS
    mean = found[WEST].mean(axis=0)
    assert mean.argmin() == 3
    assert mean[3] < -1000


def test_who_lacks_minutes_in_one_block_does_not_count():
    store = MemoryStore()
    wear(store, 1)
    wear(store, 2, hours=(9, 12, 15, 18))
    wear(store, 3, hours=(9, 12, 15, 18))
    wear(store, 3, hours=(21,), minutes=BLOCK_MIN - 1, days=1)
    wear(store, 4, hours=(9, 12, 15, 18))
    wear(store, 4, hours=(21,), minutes=BLOCK_MIN + 1, days=1)  # the first minute alone has no heart rate yet
    assert len(profiles(store, covered(1, 2, 3, 4))[WEST]) == 2


def test_one_volunteer_changes_one_row_of_one_area():
    store = MemoryStore()
    for number in range(5):
        wear(store, number)
    wear(store, 6, district=NOORDWEST)
    covers = covered(*range(5)) | covered(6, district=NOORDWEST)
    before = profiles(store, covers, areas=ALL_DAILY)
    # A wild one, heard in three districts.
    for where, hours in ((WEST, (9, 15, 18)), (NOORDWEST, (12,)), (OVERVECHT, (21,))):
        wear(store, 9, district=where, hours=hours, tense=12, days=7)
    after = profiles(store, covers | covered(9), areas=ALL_DAILY)
    changed = [code for code in before if not np.array_equal(before[code], after[code])]
    assert changed == [WEST]
    for code in before:
        rest = after[code].tolist()
        for row in before[code].tolist():
            rest.remove(row)
        assert len(rest) == (code in changed)


def test_who_left_who_came_late_and_who_is_of_the_other_cadence_is_not_counted():
    store = MemoryStore()
    for number in range(4):
        wear(store, number)
    covers = covered(0) | covered(2, valid_from=WEEK.start + 86_400) | covered(3, district=NOORDWEST)
    assert len(profiles(store, covers)[WEST]) == 1


def test_the_profile_spends_its_budget_and_two_records_would_cost_four_times():
    assert RHO_PROFILE * (1 - 1e-9) <= profile_measurement().map(1) <= RHO_PROFILE
    assert profile_measurement().map(2) > 3.9 * RHO_PROFILE


@given(st.lists(st.integers(-(10**7), 10**7), min_size=BLOCKS, max_size=BLOCKS))
def test_one_person_moves_each_sum_by_the_reach_at_most(row: list[int]):
    for column in range(BLOCKS):
        assert abs(clamped_sum(column, reach=REACH_PROFILE)(np.array([row], np.int64))) <= REACH_PROFILE


def test_the_noise_has_its_scale_and_not_one_30_percent_off():
    draws = 800
    drawn = [draw_profile(np.full((60, BLOCKS), 300, np.int64)) for _ in range(draws)]
    counts = np.array([d.participants for d in drawn], float) - 60
    sums = np.array([d.sums for d in drawn], float) - 60 * 300
    for sample, sigma in ((counts, profile_noise().sigma_count), (sums.ravel(), profile_noise().sigma_sum)):
        error = 6 * math.sqrt(2 / sample.size)
        assert abs(sample.mean()) < 6 * sigma / math.sqrt(sample.size)
        assert abs(sample.var() / sigma**2 - 1) < error
        assert not abs(sample.var() / (1.3 * sigma) ** 2 - 1) < error


@given(st.integers(-100, 300), st.lists(st.integers(-(10**6), 10**6), min_size=BLOCKS, max_size=BLOCKS))
def test_all_blocks_are_shown_or_none_and_a_figure_stays_within_its_bounds(count: int, sums: list[int]):
    blocks = blocks_of(ProfileDraw(count, tuple(sums)), area=AREAS[0], window=WEEK)
    assert [(b.from_hour, b.to_hour) for b in blocks] == [(h, h + BLOCK_HOURS) for h in (9, 12, 15, 18, 21)]
    assert {b.status for b in blocks} == {"published" if count >= profile_noise().threshold else "withheld"}
    for block in blocks:
        if block.status == "withheld":
            assert (block.value, block.margin, block.participants) == (None, None, None)
        else:
            assert block.value is not None
            assert abs(block.value) <= REACH_PROFILE / 100


def test_the_margin_covers_the_truth_at_its_rate():
    random = np.random.default_rng(5)
    truth, inside, runs = 400, 0, 300
    for _ in range(runs):
        people = np.rint(random.normal(truth, 500, (100, BLOCKS))).astype(np.int64)
        for block in blocks_of(draw_profile(people), area=AREAS[0], window=WEEK):
            assert block.value is not None
            assert block.margin is not None
            inside += abs(block.value - truth / 100) <= block.margin
    assert inside / runs / BLOCKS > 0.94


@pytest.mark.parametrize("wrong", [np.zeros((3, BLOCKS)), np.zeros(3, np.int64), np.zeros((3, 3), np.int64)])
def test_anything_but_whole_centipoints_per_block_is_refused(wrong: np.ndarray):
    with pytest.raises(TypeError):
        draw_profile(wrong)


@pytest.mark.usefixtures("database")
def test_a_daily_area_releases_its_weeks_profile_once(tmp_path: Path):
    log, store = planned_log(tmp_path), MemoryStore()
    for number in range(100):
        for hour in (9, 12, 15, 18, 21):
            readings, reports = day_of(number, MONDAY, minutes=14)
            moved = [
                StoredReading(r.district, Reading(pseudonym=r.reading.pseudonym, minute=r.reading.minute
                              + (hour - 9) * 3600, hr=r.reading.hr, motion=0.01))
                for r in readings
            ]  # fmt: skip
            store.write(moved, reports)
    analytics = analytics_of(log, store, Consents(map(cover, range(100))), now=WEEK.end)
    analytics.run()
    held = log.profiles()
    assert [(b.area, b.from_hour, b.status) for b in held] == [(WEST, h, "published") for h in (9, 12, 15, 18, 21)]
    analytics.run()
    assert log.profiles() == log.profiles(districts=[WEST], start=WEEK.start, end=WEEK.end) == held
    assert log.profiles(districts=[NOORDWEST]) == []
    assert log.profiles(start=WEEK.end) == []
