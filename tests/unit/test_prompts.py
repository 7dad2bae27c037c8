"""Questions at random moments of one's own choosing: spread, the same again for a seed and a day, asked for an hour."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.app import Registry
from api.prompts import OPEN_S, Prompts, Schedule, moments
from contracts.ports import TIMEZONE
from tests.api_support import CHOICES, NOW, ManualClock, registry_for

pytestmark = pytest.mark.usefixtures("database")
TODAY = date(2026, 11, 23)
ALL_DAY = Schedule(6, 0, 24)


def local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, ZoneInfo(TIMEZONE))


@given(
    st.integers(1, 6).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, 24 - n))),
    st.dates(date(2020, 1, 1), date(2040, 1, 1)),
    st.text("0123456789abcdef", min_size=32, max_size=32),
)
def test_each_moment_lies_in_its_own_part_of_the_chosen_hours(chosen: tuple[int, int], day: date, seed: str) -> None:
    per_day, first = chosen
    schedule = Schedule(per_day, first, 24)
    assert schedule.fits
    found = moments(schedule, seed, day)
    assert found == moments(schedule, seed, day) == sorted(found)
    assert len(found) == per_day
    assert all(local(moment).date() == day for moment in found)
    assert all(local(moment).hour >= first for moment in found)


def test_on_the_days_when_the_clock_changes_the_hours_are_those_of_the_clock() -> None:
    for day in (date(2026, 3, 29), date(2026, 10, 25)):
        for number in range(50):
            hours = [local(moment).hour for moment in moments(Schedule(2, 20, 24), f"{number:032}", day)]
            assert [20 <= hour <= 23 for hour in hours] == [True, True]


def test_moments_cannot_be_foreseen_from_another_day_or_person() -> None:
    found = {tuple(m % 86_400 for m in moments(ALL_DAY, seed, TODAY)) for seed in ("a" * 32, "b" * 32)}
    days = {tuple(m % 86_400 for m in moments(ALL_DAY, "a" * 32, date(2026, 11, day))) for day in range(1, 21)}
    assert (len(found), len(days)) == (2, 20)


@pytest.mark.parametrize(
    ("schedule", "fits"),
    [
        ((1, 9, 10), True), ((6, 18, 24), True), ((6, 19, 24), False), ((0, 9, 21), False), ((7, 0, 24), False),
        ((1, 10, 10), False), ((1, 21, 9), False), ((1, -1, 9), False), ((1, 9, 25), False),
    ],
)  # fmt: skip
def test_only_a_schedule_with_room_for_each_question_fits(schedule: tuple[int, int, int], fits: bool) -> None:
    assert Schedule(*schedule).fits is fits


def person_of(registry: Registry, serial: str = "WP-000001") -> str:
    code = registry.ledger.add_band(serial)
    done = registry.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=CHOICES)
    return done.record.principal_id


def test_a_question_is_open_for_an_hour_or_until_it_is_answered(tmp_path: Path) -> None:
    clock = ManualClock()
    registry = registry_for(tmp_path, clock=clock)
    prompts, person, other = (
        Prompts(registry.engine, clock=clock),
        person_of(registry),
        person_of(registry, "WP-000002"),
    )
    assert prompts.due(person) is None
    prompts.choose(person, Schedule(1, 12, 13))
    prompts.choose(other, Schedule(1, 22, 23))
    begin = int(local(NOW).replace(hour=12, minute=0).timestamp())
    asked = [second for second in range(begin - 3600, begin + 3 * 3600, 10) if _due(prompts, clock, person, second)]
    assert asked
    assert asked[-1] - asked[0] == pytest.approx(OPEN_S, abs=20)
    assert begin <= asked[0] < begin + 3600
    clock.time = asked[0] + 30
    moment = prompts.due(person)
    assert moment is not None
    prompts.answered(person)
    assert prompts.due(person) is None
    clock.time += 86_400
    asked = [second for second in range(begin + 86_400, begin + 90_000, 10) if _due(prompts, clock, person, second)]
    assert asked  # tomorrow again
    prompts.choose(person, None)
    assert prompts.of(person) is None
    assert prompts.due(person) is None
    assert prompts.of(other) == (1, 22, 23)


def _due(prompts: Prompts, clock: ManualClock, person: str, second: int) -> bool:
    clock.time = second
    return prompts.due(person) is not None
