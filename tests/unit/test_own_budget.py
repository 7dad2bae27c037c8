"""What a volunteer's own page says of a week by hours: it costs who was in every block, also without an answer."""

from __future__ import annotations

from datetime import timedelta

import pytest

from analytics.profile import BLOCK_MIN
from analytics.sums import PROFILE_BLOCKS
from analytics.windows import BLOCK_HOURS, instant, week_window
from api.volunteer import own_budget
from api.volunteer.own_budget import spent
from contracts.ports import StoredReading
from contracts.reading import Reading
from contracts.release import Budget, Cadence, ProfileBlock
from tests.analytics_parts.city import MONDAY, WEST, pseudonym

WEEK = week_window(MONDAY)
HOURS = tuple(block * BLOCK_HOURS for block in PROFILE_BLOCKS)


class Charged:
    """A line of the ledger."""

    area, window, rho, cadence = WEST, WEEK.name, 0.05, Cadence.DAILY


def profile() -> list[ProfileBlock]:
    return [
        ProfileBlock(
            area=WEST, districts=(WEST,), from_hour=hour, to_hour=hour + BLOCK_HOURS, window=WEEK.name,
            start=WEEK.start, end=WEEK.end, method="3", status="withheld",
        )
        for hour in HOURS
    ]  # fmt: skip


def worn(*hours: int, minutes: int = BLOCK_MIN, day: int = 0) -> list[StoredReading]:
    return [
        StoredReading(
            WEST, Reading(pseudonym=pseudonym(1), minute=instant(MONDAY + timedelta(days=day), hour) + 60 * i)
        )
        for hour in hours
        for i in range(minutes)
    ]


@pytest.mark.parametrize(
    ("readings", "cost"),
    [
        (worn(*HOURS), 0.05),
        (worn(*HOURS[1:]) + worn(HOURS[0], day=6), 0.05),
        (worn(*HOURS[1:], minutes=60), 0),
        (worn(*HOURS[1:]) + worn(HOURS[0], minutes=BLOCK_MIN - 1), 0),
        ([], 0),
    ],
)
def test_a_week_by_hours_costs_who_was_in_every_block(readings: list[StoredReading], cost: float):
    found = spent(profile(), [Charged()], Budget(rho_spent=0, rho_cap=1.5), readings, [], now=WEEK.end + 1)
    assert found.rho == pytest.approx(cost)
    assert len(found.costs) == (cost > 0)


def test_the_page_asks_for_as_many_minutes_as_the_release():
    assert own_budget.BLOCK_MIN == BLOCK_MIN
