"""The city's week: only released areas and a rest that passes by itself; the same whenever it is computed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from analytics.leaf import Leaf
from analytics.plan import Plan
from analytics.totals import CITY, totals
from analytics.windows import day_window, week_window
from contracts.release import METHOD_VERSION, Area, Cadence
from tests.analytics_parts.city import (
    MONDAY,
    NOORDWEST,
    OVERVECHT,
    WEST,
    Consents,
    MemoryStore,
    analytics_of,
    cover,
    fill,
    planned_log,
)

WEEK = week_window(MONDAY)
WEEKLY = tuple(Area(code=c, districts=(c,), cadence=Cadence.WEEKLY) for c in (WEST, NOORDWEST, OVERVECHT))


def leaf(
    area: Area, count: int, points: int, *, shown: bool, day: int | None = None, method: str = METHOD_VERSION
) -> Leaf:
    """A draw of `count` people who lie `points` above each centre."""
    window = WEEK if day is None else day_window(MONDAY + timedelta(days=day))
    total = count * points * 100
    return Leaf(
        area=area.code,
        districts=area.districts,
        cadence=area.cadence,
        window=window.name,
        start=window.start,
        end=window.end,
        method=method,
        status="published" if shown else "withheld",
        participants=count,
        safe=total,
        calm=total,
        happy=total,
    )


def test_a_total_weighs_the_released_areas_by_their_noisy_counts_and_leaves_a_small_rest_out():
    leaves = [
        leaf(WEEKLY[0], 100, 10, shown=True),
        leaf(WEEKLY[1], 50, 4, shown=True),
        leaf(WEEKLY[2], 9, 0, shown=False),
    ]
    cells = totals(leaves, [Plan(MONDAY, WEEKLY)])
    assert [(c.metric, c.value, c.participants) for c in cells] == [
        ("safe", 73.0, 150), ("calm", 63.0, 150), ("happy", 73.0, 150)
    ]  # fmt: skip
    assert {(c.area, c.districts, c.window, c.status) for c in cells} == {
        (CITY, (WEST, NOORDWEST), WEEK.name, "published")
    }


@pytest.mark.parametrize(("each", "included"), [(15, 1), (16, 3), (20, 3)])
def test_a_rest_is_included_when_it_passes_the_threshold_of_its_joint_noise(each: int, included: int):
    # 10 + 5·sqrt(2)·2.89 = 30.4 for the two together.
    leaves = [leaf(WEEKLY[0], 100, 10, shown=True), *(leaf(area, each, 0, shown=False) for area in WEEKLY[1:])]
    (safe, *_) = totals(leaves, [Plan(MONDAY, WEEKLY)])
    assert len(safe.districts) == included
    assert safe.participants == 100 + (2 * each if included == 3 else 0)


def test_a_total_of_nothing_released_is_withheld_in_the_one_shape():
    cells = totals([leaf(area, 5, 0, shown=False) for area in WEEKLY], [Plan(MONDAY, WEEKLY)])
    assert {(c.status, c.value, c.margin, c.participants, c.reason) for c in cells} == {
        ("withheld", None, None, None, "too-few-participants")
    }


def test_a_week_that_is_not_complete_or_began_before_the_plan_has_no_total():
    leaves = [leaf(area, 100, 0, shown=True) for area in WEEKLY]
    assert totals(leaves[:2], [Plan(MONDAY, WEEKLY)]) == []
    assert totals(leaves, [Plan(MONDAY + timedelta(days=1), WEEKLY)]) == []


def test_a_daily_area_counts_with_the_mean_of_its_published_days():
    daily = Area(code=WEST, districts=(WEST,), cadence=Cadence.DAILY)
    days = [leaf(daily, 80 if day < 4 else 20, 10, shown=day < 4, day=day) for day in range(7)]
    (safe, *_) = totals([*days, leaf(WEEKLY[1], 80, 0, shown=True)], [Plan(MONDAY, (daily, WEEKLY[1]))])
    assert (safe.value, safe.participants) == (70.0, 160)
    assert totals([*days[:6], leaf(WEEKLY[1], 80, 0, shown=True)], [Plan(MONDAY, (daily, WEEKLY[1]))]) == []


def test_more_areas_give_a_narrower_margin():
    leaves = [leaf(area, 100, 0, shown=True) for area in WEEKLY]
    narrow = totals(leaves, [Plan(MONDAY, WEEKLY)])[0].margin
    wide = totals(leaves[:1], [Plan(MONDAY, WEEKLY[:1])])[0].margin
    assert narrow is not None
    assert wide is not None
    assert narrow < 0.7 * wide


def test_the_log_tells_the_same_total_each_time_and_no_district_has_it_among_its_figures(tmp_path: Path):
    log = planned_log(tmp_path, areas=WEEKLY[:2])
    store = MemoryStore()
    fill(store, range(60), 7)
    fill(store, range(100, 150), 7, district=NOORDWEST)
    consents = Consents([*(cover(n) for n in range(60)), *(cover(n, NOORDWEST) for n in range(100, 150))])
    analytics = analytics_of(log, store, consents, now=WEEK.end + 7 * 3600)
    analytics.run()
    first = log.totals()
    assert [cell.metric for cell in first] == ["safe", "calm", "happy", "safety", "happiness", "wellbeing"]
    analytics.run()
    assert log.totals() == log.totals(start=WEEK.start, end=WEEK.end) == first
    assert log.totals(start=WEEK.end) == []
    assert CITY not in {cell.area for cell in log.cells()}


def test_a_new_version_of_the_method_changes_no_old_total():
    daily = Area(code=WEST, districts=(WEST,), cadence=Cadence.DAILY)

    def week(*methods: str) -> tuple[float | None, float | None, str]:
        days = [leaf(daily, 90, 10, shown=True, day=day, method=method) for day, method in enumerate(methods)]
        safe, *_ = totals(days, [Plan(MONDAY, (daily,))]) or [None]
        return (None, None, "") if safe is None else (safe.value, safe.margin, safe.method)

    old, new, both = week(*"2222222"), week(*"3333333"), week(*"2223333")
    assert old[::2] == (75.0, "2")
    assert new[::2] == both[::2] == (75.0, "3")
    assert old[1] is not None
    assert new[1] is not None
    assert both[1] is not None
    assert old[1] <= both[1] <= new[1]
    assert old[1] < new[1]  # a day of version 2 had a little less noise
    assert week(*"1111111") == (None, None, "")  # other bounds
