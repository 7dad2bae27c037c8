"""The week's histogram of reasons: one per volunteer, noise and budget of its own, through the one exit."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.mechanism import RHO, RHO_PROFILE, RHO_REASONS, draw_reasons, reason_measurement, reason_noise
from analytics.plan import Plan
from analytics.reasons import REASONS, reasons_of
from analytics.release import counts_of
from analytics.scores import score_readings, score_reports
from analytics.sums import merge
from analytics.windows import instant, week_window
from contracts.reading import Reason
from contracts.release import Cadence
from tests.analytics_parts.city import (
    AREAS,
    MONDAY,
    NOORDWEST,
    WEST,
    Consents,
    MemoryStore,
    analytics_of,
    cover,
    day_of,
    planned_log,
)

WEEK = week_window(MONDAY)
SPAN = range(MONDAY.toordinal(), MONDAY.toordinal() + 7)
LIGHT, GREEN = REASONS.index(Reason.LIGHT), REASONS.index(Reason.GREEN)


def given_by(store: MemoryStore, covers: dict) -> dict[str, list[int]]:
    reports = store.reports(WEEK.start, WEEK.end)
    partial = score_reports(reports, SPAN)
    for chunk in store.readings(0, WEEK.end):
        partial = merge(partial, score_readings(chunk, SPAN))
    found = reasons_of(partial, reports, WEEK, plan=Plan(MONDAY, AREAS), covers=covers)
    return {area: sorted(reasons.tolist()) for area, reasons in found.items()}


def write(store: MemoryStore, number: int, reasons: list[Reason | None], **given: object) -> None:
    for offset, reason in enumerate(reasons):
        store.write(*day_of(number, MONDAY + timedelta(days=offset), reason=reason, **given))


def test_a_volunteer_gives_one_reason_a_week_the_one_given_most_often():
    store = MemoryStore()
    write(store, 1, [Reason.GREEN, Reason.LIGHT, Reason.GREEN])
    write(store, 2, [Reason.GREEN, Reason.LIGHT])  # of two the first of the list
    write(store, 3, [None, None])
    covers = {c.pseudonym: c for c in map(cover, (1, 2, 3))}
    assert given_by(store, covers) == {WEST: [LIGHT, GREEN], NOORDWEST: []}


def test_one_volunteer_changes_one_reason_of_one_area():
    store = MemoryStore()
    for number in range(5):
        write(store, number, [Reason.LIGHT])
    covers = {c.pseudonym: c for c in map(cover, range(5))}
    before = given_by(store, covers)
    # A wild one: heard in both areas, with all reasons.
    for offset, reason in enumerate([*REASONS][:7]):
        where = (WEST, NOORDWEST)[offset % 2]
        store.write(*day_of(9, MONDAY + timedelta(days=offset), district=where, answers=40, reason=reason))
    covers[cover(9).pseudonym] = cover(9)
    after = given_by(store, covers)
    assert after[NOORDWEST] == before[NOORDWEST]
    assert len(after[WEST]) == len(before[WEST]) + 1


def test_who_left_who_came_late_and_who_is_of_the_other_cadence_is_not_counted():
    store = MemoryStore()
    for number in range(4):
        write(store, number, [Reason.LIGHT])
    covers = {c.pseudonym: c for c in (cover(0), cover(2, valid_from=WEEK.start + 86_400), cover(3, NOORDWEST))}
    assert given_by(store, covers) == {WEST: [LIGHT], NOORDWEST: []}


def test_the_histogram_spends_its_budget_and_one_volunteer_moves_one_bin():
    assert RHO_REASONS * (1 - 1e-9) <= reason_measurement().map(1) <= RHO_REASONS
    assert reason_noise().sigma == pytest.approx(5)


def test_the_noise_of_a_bin_has_its_scale_and_not_one_30_percent_off():
    drawn = np.array([draw_reasons(np.full(40, GREEN)) for _ in range(400)], float)
    drawn[:, GREEN] -= 40
    deviation = drawn.std()
    assert abs(drawn.mean()) < 6 * 5 / math.sqrt(drawn.size)
    assert abs(deviation / 5 - 1) < 6 / math.sqrt(2 * drawn.size)
    assert not abs(deviation / (1.3 * 5) - 1) < 6 / math.sqrt(2 * drawn.size)


@settings(deadline=None)
@given(st.lists(st.integers(-100, 200), min_size=len(REASONS), max_size=len(REASONS)))
def test_a_small_bin_is_withheld_in_one_shape_by_its_noisy_count(drawn: list[int]):
    for count, figure in zip(drawn, counts_of(tuple(drawn), area=AREAS[0], window=WEEK), strict=True):
        assert (figure.status == "published") == (count >= reason_noise().threshold)
        if figure.status == "withheld":
            assert (figure.people, figure.margin) == (None, None)


def test_anything_but_one_whole_number_per_volunteer_is_refused():
    for wrong in (np.zeros(3), np.zeros((3, 2), np.int64)):
        with pytest.raises(TypeError):
            draw_reasons(wrong)


def test_a_week_releases_its_reasons_once_for_daily_and_weekly_areas(tmp_path: Path):
    log = planned_log(tmp_path)
    store = MemoryStore()
    for number in range(90):
        write(store, number, [Reason.GREEN] * 7)
    for number in range(100, 110):
        write(store, number, [Reason.LIGHT] * 7, district=NOORDWEST)
    consents = Consents([*(cover(n) for n in range(90)), *(cover(n, NOORDWEST) for n in range(100, 110))])
    analytics = analytics_of(log, store, consents, now=instant(MONDAY + timedelta(days=7)) + 7 * 3600)
    analytics.run()
    held = log.reasons()
    assert {(c.area, c.reason) for c in held if c.status == "published"} == {(WEST, Reason.GREEN)}
    assert len(held) == 2 * len(REASONS)
    assert (
        log.reasons(districts=[NOORDWEST], start=WEEK.start, end=WEEK.end) == held[len(REASONS) :]
        or log.reasons(districts=[NOORDWEST]) == held[: len(REASONS)]
    )
    charges = {(e.area, e.window): (e.cadence, e.rho) for e in log.ledger() if e.window == WEEK.name}
    assert charges == {
        (WEST, WEEK.name): (Cadence.DAILY, RHO_REASONS + RHO_PROFILE),
        (NOORDWEST, WEEK.name): (Cadence.WEEKLY, RHO[Cadence.WEEKLY] + RHO_REASONS),
    }
    analytics.run()
    assert log.reasons() == held
