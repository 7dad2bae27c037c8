"""The release plan: every district in one area, by public numbers, always the same."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.plan import plan
from analytics.windows import instant
from contracts.district import UTRECHT
from contracts.ports import UsageFault
from contracts.release import Area, Cadence
from tests.analytics_parts.city import (
    AREAS,
    MONDAY,
    WEST,
    Consents,
    MemoryStore,
    analytics_of,
    cover,
    fill,
    planned_log,
)

CENTRES = {district.code: district.centre() for district in UTRECHT}
CODES = tuple(CENTRES)


@given(st.dictionaries(st.sampled_from(CODES), st.integers(0, 200)))
def test_every_district_is_in_one_area_and_the_cadence_follows_the_numbers(enrolled: dict[str, int]):
    areas = plan(enrolled, CENTRES)
    assert sorted(d for area in areas for d in area.districts) == sorted(CODES)
    assert areas == plan(dict(reversed(enrolled.items())), dict(reversed(CENTRES.items())))
    for area in areas:
        number = sum(enrolled.get(d, 0) for d in area.districts)
        assert area.code == "+".join(area.districts)
        assert number >= 30 or not number or len(areas) == 1
        if len(area.districts) == 1:
            assert (area.cadence is Cadence.DAILY) == (number >= 80)


def test_a_small_district_joins_its_nearest_neighbour_that_is_not_daily():
    # On the tile map Overvecht (3, 0) lies between Noordwest (2, 0) and Noordoost (4, 0).
    enrolled = dict.fromkeys(CODES, 50) | {"WK034403": 10, "WK034402": 200, "WK034406": 200}
    areas = {area.code: area.cadence for area in plan(enrolled, CENTRES)}
    assert areas["WK034403+WK034404"] is Cadence.WEEKLY
    assert areas["WK034402"] is Cadence.DAILY


def test_a_small_district_joins_a_daily_one_only_when_nothing_else_is_there():
    points = {"WK034401": (0.0, 0.0), "WK034402": (1.0, 0.0)}
    (area,) = plan({"WK034401": 90, "WK034402": 5}, points)
    assert area == Area(code="WK034401+WK034402", districts=("WK034401", "WK034402"), cadence=Cadence.DAILY)


def test_an_unknown_district_of_enrolment_is_named():
    with pytest.raises(UsageFault, match="WK999999"):
        plan({"WK999999": 1}, CENTRES)


def test_a_plan_is_kept_with_its_first_day_and_setting_it_again_changes_nothing(tmp_path: Path):
    log = planned_log(tmp_path)
    log.set_plan(tuple(reversed(AREAS)), holds_from=MONDAY)
    assert [(p.holds_from, p.areas) for p in log.plans()] == [(MONDAY, AREAS)]
    assert log.plan() == AREAS


def test_a_later_plan_begins_on_a_monday_and_after_what_was_released(tmp_path: Path):
    log = planned_log(tmp_path)
    other = (AREAS[0],)
    with pytest.raises(UsageFault, match="no Monday"):
        log.set_plan(other, holds_from=date(2026, 11, 11))
    with pytest.raises(UsageFault, match="begin later"):
        log.set_plan(other, holds_from=date(2026, 10, 26))
    store = MemoryStore()
    fill(store, range(3), 8)
    analytics_of(log, store, Consents(map(cover, range(3))), now=instant(date(2026, 11, 10))).run()
    with pytest.raises(UsageFault, match="begin later"):
        log.set_plan(other, holds_from=date(2026, 11, 9))
    log.set_plan(other, holds_from=date(2026, 11, 16))
    assert len(log.plans()) == 2


def test_the_plan_counts_those_whose_consent_allows_a_complete_record(tmp_path: Path):
    log = planned_log(tmp_path)
    covers = [cover(i) for i in range(80)] + [cover(100 + i, "WK034402", categories=()) for i in range(90)]
    analytics = analytics_of(log, MemoryStore(), Consents(covers), now=instant(date(2026, 11, 16)))
    made = analytics.make_plan(UTRECHT)
    rest = tuple(code for code in CODES if code != WEST)
    assert made.areas == (
        Area(code=WEST, districts=(WEST,), cadence=Cadence.DAILY),
        Area(code="+".join(rest), districts=rest, cadence=Cadence.WEEKLY),
    )
