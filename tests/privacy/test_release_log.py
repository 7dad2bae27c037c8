"""The release log: one draw per key, claim, charge and cells in one transaction, a budget that refuses."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from datetime import date, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from analytics import budget, mechanism
from analytics.budget import Entry, InsufficientBudget
from analytics.derived import with_derived
from analytics.release import cells_of, release
from analytics.release_log import AlreadyReleased, ReleaseLog, open_engine
from analytics.windows import day_window, instant, week_window
from contracts.release import METHOD_VERSION, Area, Cadence, Cell
from tests.analytics_parts.city import (
    AREAS,
    MONDAY,
    NOORDWEST,
    WEST,
    Consents,
    MemoryStore,
    analytics_of,
    cover,
    fill,
    planned_log,
    registry,
)

pytestmark = pytest.mark.usefixtures("database")
AREA = AREAS[0]
PEOPLE = np.full((100, 3), 7000, np.int64)
END = instant(MONDAY + timedelta(days=7))


def drawn(day: date) -> tuple[Cell, ...]:
    constants = mechanism.noise(Cadence.DAILY)
    return cells_of(mechanism.draw(PEOPLE, Cadence.DAILY), constants, area=AREA, window=day_window(day))


def spend(log: ReleaseLog, offset: int, rho: float) -> None:
    day = MONDAY + timedelta(days=offset)
    log.publish(area=AREA, window=day_window(day), rho=rho, draw=lambda: drawn(day))


def city(people: int, days: int, *, district: str = WEST) -> tuple[MemoryStore, Consents]:
    store = MemoryStore()
    fill(store, range(people), days, district=district)
    return store, Consents(cover(n, district) for n in range(people))


def test_a_second_draw_of_a_key_is_refused_before_it_is_made(tmp_path: Path):
    log = planned_log(tmp_path)
    cells = release(log, area=AREA, window=day_window(MONDAY), scores=PEOPLE)
    with pytest.raises(AlreadyReleased):
        log.publish(area=AREA, window=day_window(MONDAY), rho=0.04, draw=lambda: pytest.fail("drawn twice"))
    assert tuple(log.cells(derived=False)) == cells


@pytest.mark.parametrize("merged_first", [True, False])
def test_a_merge_cannot_release_a_district_again(tmp_path: Path, merged_first: bool):
    log = ReleaseLog(open_engine(registry(tmp_path)))  # without a plan, which would refuse it as well
    merged = Area(code="WK034400+" + WEST, districts=("WK034400", WEST), cadence=Cadence.DAILY)
    first, second = (merged, AREA) if merged_first else (AREA, merged)
    release(log, area=first, window=day_window(MONDAY), scores=PEOPLE)
    with pytest.raises(AlreadyReleased):
        release(log, area=second, window=day_window(MONDAY), scores=PEOPLE)


def test_a_failing_draw_leaves_no_claim_no_charge_and_no_cell(tmp_path: Path):
    log = planned_log(tmp_path)

    def fails() -> list[Cell]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        log.publish(area=AREA, window=day_window(MONDAY), rho=0.04, draw=fails)
    assert (log.cells(), log.ledger(), log.released()) == ([], [], set())
    release(log, area=AREA, window=day_window(MONDAY), scores=PEOPLE)


def dies_in_the_transaction(url: str, moment: str) -> None:
    log = ReleaseLog(open_engine(url))

    def draw() -> list[Cell]:
        if moment == "draw":
            os._exit(9)
        return []

    if moment == "commit":
        # A release whose process is gone after the draw and the inserts, and before the commit.
        from analytics import release_log

        release_log._figure_row = lambda _: os._exit(9)
        release(log, area=AREA, window=day_window(MONDAY), scores=PEOPLE)
    log.publish(area=AREA, window=day_window(MONDAY), rho=0.04, draw=draw)


@pytest.mark.parametrize("moment", ["draw", "commit"])
def test_a_crash_before_the_commit_publishes_nothing_and_the_next_run_one_value(tmp_path: Path, moment: str):
    log = planned_log(tmp_path)
    process = multiprocessing.get_context("spawn").Process(
        target=dies_in_the_transaction, args=(registry(tmp_path), moment)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert (log.cells(), log.ledger(), log.released()) == ([], [], set())
    release(log, area=AREA, window=day_window(MONDAY), scores=PEOPLE)
    assert len(log.cells(derived=False)) == 3
    assert len(log.ledger()) == 1


def releases_days(url: str, days: int, results: multiprocessing.Queue) -> None:
    log = ReleaseLog(open_engine(url))
    won = 0
    for offset in range(days):
        try:
            release(log, area=AREA, window=day_window(MONDAY + timedelta(days=offset)), scores=PEOPLE)
            won += 1
        except AlreadyReleased:
            pass
    results.put(won)


def test_two_schedulers_at_once_make_one_draw_per_key(tmp_path: Path):
    days = 20
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue = context.Queue()
    # Both also race to make the tables.
    processes = [
        context.Process(target=releases_days, args=(registry(tmp_path), days, results)) for _ in range(2)
    ]  # fmt: skip
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    log = ReleaseLog(open_engine(registry(tmp_path)))
    assert results.get() + results.get() == days
    assert len(log.ledger()) == days
    assert len(log.cells(derived=False)) == 3 * days


def test_history_cannot_be_edited_or_removed(tmp_path: Path):
    log = planned_log(tmp_path)
    release(log, area=AREA, window=day_window(MONDAY), scores=PEOPLE)
    engine = open_engine(registry(tmp_path))
    columns = {"release_cell": "value", "release_claim": "district", "release_budget": "rho", "release_plan": "area"}
    for table, column in columns.items():
        for change in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = {column}"):
            with pytest.raises(DBAPIError, match="only added to"), engine.begin() as connection:
                connection.execute(text(change))


def test_a_reader_is_not_held_up_by_a_release(tmp_path: Path):
    log = planned_log(tmp_path)
    reader = ReleaseLog(open_engine(registry(tmp_path)))

    def draw() -> list[Cell]:
        assert reader.cells() == []
        return drawn(MONDAY)

    log.publish(area=AREA, window=day_window(MONDAY), rho=0.04, draw=draw)


# The budget.


def entry(day: int, rho: float, *, cadence: Cadence = Cadence.DAILY, area: str = WEST) -> Entry:
    window = (day_window if cadence is Cadence.DAILY else week_window)(MONDAY + timedelta(days=day))
    return Entry(area, window.name, cadence, window.end, METHOD_VERSION, rho)


def test_areas_compose_in_parallel_and_windows_one_after_another():
    assert budget.spent([entry(0, 0.04), entry(0, 0.04, area=NOORDWEST)]) == pytest.approx(0.04)
    assert budget.spent([entry(day, 0.04) for day in range(5)]) == pytest.approx(0.2)
    assert budget.spent([]) == 0


def test_a_plan_of_days_and_weeks_stays_below_the_cap_for_ever():
    daily = [entry(day, 0.036) for day in range(200)]
    weekly = [entry(7 * week, 0.2, cadence=Cadence.WEEKLY) for week in range(28)]
    assert budget.spent(daily) <= 31 * 0.036 + 1e-9
    assert budget.spent(weekly) <= 5 * 0.2 + 1e-9
    # Somebody may be in a week with its reasons, then for 30 days in a daily area, with its reasons and profiles.
    both = [entry(7 * week, 0.22, cadence=Cadence.WEEKLY) for week in range(28)]
    days = [*daily, *(entry(7 * week + 6, 0.05)._replace(window=f"week {week}") for week in range(28))]
    assert max(budget.spent(days), budget.spent(both)) <= 1.366 + 1e-9
    assert 1.4 < budget.spent([*days, *both]) <= budget.RHO_CAP + 1e-9
    for request in (entry(200, 0.036), entry(196, 0.2, cadence=Cadence.WEEKLY), entry(100, 0.036, area="WK034499")):
        budget.check([*daily, *weekly], request)


def test_who_moves_from_a_weekly_to_a_daily_area_pays_both_and_overlapping_windows_are_not_added():
    week = entry(6, 0.2, cadence=Cadence.WEEKLY)  # the week of Monday to Sunday
    assert budget.spent([week, *(entry(day, 0.04) for day in range(7))]) == pytest.approx(0.28)
    assert budget.spent([week, *(entry(day, 0.04) for day in range(7, 12))]) == pytest.approx(0.4)
    with pytest.raises(InsufficientBudget):
        budget.check([week, *(entry(day, 0.1) for day in range(7, 20))], entry(20, 0.1))


@settings(deadline=None)  # all subsets: slow on a busy machine
@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0.01, 0.1, 0.3])), max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.05, 0.4])), max_size=3),
)
def test_the_spent_budget_is_that_of_the_costliest_chain_of_windows(days: list, weeks: list):
    """Against all subsets, by brute force."""
    held = {f"d{day}": (day, day + 1, rho) for day, rho in days} | {
        f"w{week}": (7 * week, 7 * week + 7, rho) for week, rho in weeks
    }
    entries = [
        entry(stop - 1, rho, cadence=Cadence.WEEKLY if stop - start == 7 else Cadence.DAILY)
        for start, stop, rho in held.values()
    ]
    worst = 0.0
    spans = sorted(held.values())
    for chosen in itertools.product((False, True), repeat=len(spans)):
        chain = [span for span, taken in zip(spans, chosen, strict=True) if taken]
        apart = all(a[1] <= b[0] for a, b in itertools.pairwise(chain))
        if chain and apart and chain[-1][1] - chain[0][1] < 30:
            worst = max(worst, sum(rho for *_, rho in chain))
    assert budget.spent(entries) == pytest.approx(worst)


def test_an_old_and_a_new_version_of_the_method_make_one_draw_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log = planned_log(tmp_path)
    release(log, area=AREA, window=day_window(MONDAY), scores=PEOPLE)
    monkeypatch.setattr("analytics.release_log.METHOD_VERSION", "next")
    with pytest.raises(AlreadyReleased):
        release(log, area=AREA, window=day_window(MONDAY), scores=PEOPLE)
    assert len(log.ledger()) == 1


def test_a_release_that_would_pass_the_cap_is_refused_with_what_is_left(tmp_path: Path):
    log = planned_log(tmp_path)
    for offset in range(15):
        spend(log, offset, 0.1)
    with pytest.raises(InsufficientBudget) as caught:
        log.publish(
            area=AREA,
            window=day_window(MONDAY + timedelta(days=15)),
            rho=0.1,
            draw=lambda: pytest.fail("drawn without budget"),
        )
    assert (caught.value.remaining, caught.value.requested) == (pytest.approx(0), 0.1)
    assert log.budget(END * 2).rho_spent == pytest.approx(1.5)
    spend(log, 30, 0.1)


def test_a_late_window_is_counted_where_it_lies_in_time():
    later = [entry(day, 0.1) for day in range(1, 16)]
    with pytest.raises(InsufficientBudget):
        budget.check(later, entry(0, 0.1))


def test_a_run_goes_on_after_a_refusal_and_says_so(tmp_path: Path):
    log = planned_log(tmp_path, areas=AREAS[:1])
    for offset in range(2, 17):
        spend(log, offset, 0.1)
    store, consents = city(60, 2)
    summary = analytics_of(log, store, consents, now=instant(MONDAY + timedelta(days=2))).run()
    assert [refusal.window for refusal in summary.refused] == ["2026-11-02", "2026-11-03"]
    assert not summary.published
    assert not summary.withheld


def test_derived_figures_come_from_the_released_ones_and_cost_nothing(tmp_path: Path):
    log = planned_log(tmp_path)
    release(log, area=AREA, window=day_window(MONDAY), scores=np.tile([[8000, 4000, 7000]], (300, 1)))
    cells = {cell.metric: cell for cell in log.cells()}
    safe, calm, happy = (cells[metric] for metric in ("safe", "calm", "happy"))
    assert cells["safety"].value == pytest.approx(0.7 * safe.value + 0.3 * calm.value, abs=0.011)
    assert cells["safety"].margin == pytest.approx(0.7 * safe.margin + 0.3 * calm.margin, abs=0.011)
    assert (cells["happiness"].value, cells["happiness"].margin) == (happy.value, happy.margin)
    assert cells["wellbeing"].value == pytest.approx((cells["safety"].value * happy.value) ** 0.5, abs=0.02)
    assert cells["wellbeing"].margin >= min(cells["safety"].margin, happy.margin)
    assert len(log.ledger()) == 1


def test_a_derived_figure_is_withheld_with_its_parts(tmp_path: Path):
    log = planned_log(tmp_path)
    release(log, area=AREA, window=day_window(MONDAY), scores=PEOPLE[:0])
    assert {(c.status, c.value, c.margin, c.participants, c.reason) for c in log.cells()} == {
        ("withheld", None, None, None, "too-few-participants")
    }
    assert [cell.metric for cell in log.cells()] == ["safe", "calm", "happy", "safety", "happiness", "wellbeing"]


def test_one_withheld_part_withholds_what_needs_it_alone():
    safe, calm, happy = drawn(MONDAY)
    calm = msgspec.structs.replace(calm, status="withheld", value=None, margin=None, participants=None, reason="x")
    derived = {cell.metric: cell.status for cell in with_derived([safe, calm, happy])[3:]}
    assert derived == {"safety": "withheld", "happiness": "published", "wellbeing": "withheld"}


def test_cells_are_found_by_district_metric_and_time(tmp_path: Path):
    log = planned_log(tmp_path)
    for offset in range(3):
        release(log, area=AREA, window=day_window(MONDAY + timedelta(days=offset)), scores=PEOPLE)
    tuesday = day_window(MONDAY + timedelta(days=1))
    found = log.cells(districts=[WEST], metrics=["calm", "wellbeing"], start=tuesday.start, end=tuesday.end)
    assert [(cell.metric, cell.window) for cell in found] == [("calm", tuesday.name), ("wellbeing", tuesday.name)]
    assert log.cells(districts=[NOORDWEST]) == []


# Two plans.


def test_a_scheduler_that_still_holds_an_old_plan_releases_nothing_of_the_new_ones_days(tmp_path: Path):
    """Or somebody would be in a day by the old plan, and in the week around it by the new one, which nobody adds up."""
    log = planned_log(tmp_path)
    later = MONDAY + timedelta(days=7)
    log.set_plan([Area(code=WEST, districts=(WEST,), cadence=Cadence.WEEKLY)], holds_from=later)
    for window in (day_window(later), week_window(later)):
        with pytest.raises(AlreadyReleased):
            log.publish(area=AREA, window=window, rho=0.036, draw=lambda: pytest.fail("drawn by an old plan"))
    release(log, area=AREA, window=day_window(MONDAY), scores=PEOPLE)  # of the old plan's own days
    weekly = Area(code=WEST, districts=(WEST,), cadence=Cadence.WEEKLY)
    release(log, area=weekly, window=week_window(later), scores=PEOPLE)
