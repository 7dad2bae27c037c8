"""The own line: it grows by the minute for who has just begun, and is by the hour later."""

from __future__ import annotations

from api.pages.own import Step, draw_own
from contracts.ports import StoredReading
from contracts.reading import Reading

BEGIN = 1_800_000_000  # a whole hour


def worn(*minutes: int, hr: float | None = 70.0) -> list[StoredReading]:
    pseudonym = "a" * 26
    return [
        StoredReading("WK034403", Reading(pseudonym=pseudonym, minute=BEGIN + 60 * m, hr=hr, eda=1.0)) for m in minutes
    ]


def test_the_first_minute_is_a_line_and_each_next_one_makes_it_longer() -> None:
    one = draw_own(worn(3), [])
    assert one.by_minute
    assert one.steps == (Step(BEGIN + 180, 70.0, 1),)
    assert len(one.lines) == 1
    two = draw_own(worn(3, 4), [])
    assert len(two.steps) == 2
    assert two.lines[0].count("L") == 3
    assert len(draw_own(worn(3, 4, 6), []).lines) == 2  # a minute is missing: the line is broken


def test_after_three_hours_each_step_is_an_hour() -> None:
    assert draw_own(worn(*range(180)), []).by_minute
    whole = draw_own(worn(*range(181)), [])
    assert not whole.by_minute
    assert [step.minutes for step in whole.steps] == [60, 60, 60, 1]


def test_minutes_without_a_heart_rate_draw_nothing() -> None:
    drawn = draw_own(worn(1, 2, hr=None), [])
    assert (drawn.steps, drawn.lines) == ((), ())
    assert drawn.days[0].minutes == (("WK034403", 2),)
