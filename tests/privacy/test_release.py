"""The release: one draw per key, the budget in the same transaction, nothing of a person outside."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sqlite3
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from analytics import budget, mechanism
from analytics.budget import Entry, InsufficientBudget
from analytics.plan import Plan
from analytics.records import records_of
from analytics.release import cells_of, release
from analytics.release_log import AlreadyReleased, ReleaseLog, open_engine
from analytics.runner import pending
from analytics.scores import NOTHING, merge, score_readings, score_reports
from analytics.windows import day_window, days_of, instant, week_window
from contracts.ports import Fault, UsageFault
from contracts.release import METHOD_VERSION, Cadence, Cell
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
    fill,
    planned_log,
    pseudonym,
    registry,
)

AREA = AREAS[0]
PEOPLE = np.full((100, 3), 7000, np.int64)
END = instant(MONDAY + timedelta(days=7))


def bytes_of(cells: list[Cell]) -> list[tuple]:
    return [tuple(getattr(cell, name) for name in cell.__struct_fields__) for cell in cells]


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


def test_every_complete_window_is_released_once_by_its_plan(tmp_path: Path):
    log = planned_log(tmp_path)
    store, consents = city(90, 8)
    summary = analytics_of(log, store, consents, now=END + 3600).run()
    windows = {(cell.area, cell.window) for cell in [*summary.published, *summary.withheld]}
    days = {(WEST, day_window(MONDAY + timedelta(days=i)).name) for i in range(7)}
    assert windows == days | {(NOORDWEST, week_window(MONDAY).name)}
    assert {cell.area for cell in summary.published} == {WEST}
    assert [cell.window for cell in summary.published] == sorted(cell.window for cell in summary.published)
    assert bytes_of(log.cells(metrics=["safe"], districts=[NOORDWEST]))[0][-1] == "too-few-participants"


def test_asking_a_thousand_times_gives_one_value(tmp_path: Path):
    log = planned_log(tmp_path)
    store, consents = city(90, 1)
    analytics = analytics_of(log, store, consents, now=END)
    analytics.run()
    first = bytes_of(log.cells())
    for _ in range(100):
        assert analytics.run() == ([], [], [])
        assert all(bytes_of(log.cells()) == first for _ in range(10))
    assert len(log.ledger()) == 8


def test_a_window_waits_for_late_readings(tmp_path: Path):
    log = planned_log(tmp_path)
    store, consents = city(3, 1)
    end = day_window(MONDAY).end
    assert analytics_of(log, store, consents, now=end + 99, grace_s=100).run() == ([], [], [])
    assert analytics_of(log, store, consents, now=end + 100, grace_s=100).run().withheld


def test_no_window_begins_before_the_plan_or_out_of_retention_or_ends_in_the_next_plan():
    plans = (Plan(MONDAY, AREAS), Plan(MONDAY + timedelta(days=28), AREAS[:1]))
    now = instant(MONDAY + timedelta(days=40)) + 3600
    due = pending(plans, set(), now=now, grace_s=0)
    assert min(window.start for window, _, _ in due) == instant(MONDAY + timedelta(days=6))
    for window, held, areas in due:
        late = window.start >= instant(plans[1].holds_from)
        assert held is plans[late]
        assert window.end <= instant(plans[1].holds_from) or late
        assert all(area in held.areas for area in areas)
    assert [window.name for window, _, _ in due if window.cadence is Cadence.WEEKLY] == [
        week_window(MONDAY + timedelta(days=7 * week)).name for week in (1, 2, 3)
    ]


def test_after_a_withdrawal_old_bytes_stay_and_the_next_window_leaves_the_person_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The records that reach the mechanism are counted here, in the test alone."""
    seen: list[int] = []
    real = mechanism.draw
    monkeypatch.setattr("analytics.release.draw", lambda s, cadence: (seen.append(len(s)), real(s, cadence))[1])
    log = planned_log(tmp_path, areas=AREAS[:1])
    store, consents = city(60, 3)
    analytics_of(log, store, consents, now=day_window(MONDAY).end).run()
    before = bytes_of(log.cells())
    del consents.covers[pseudonym(7)]
    analytics_of(log, store, consents, now=instant(MONDAY + timedelta(days=3))).run()
    assert seen == [60, 59, 59]
    assert bytes_of(log.cells())[: len(before)] == before


def test_a_withdrawal_during_a_run_leaves_the_person_out_of_the_next_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[int] = []
    real = mechanism.draw
    store, consents = city(60, 2)

    def spy(scores: np.ndarray, cadence: Cadence) -> mechanism.Draw:
        seen.append(len(scores))
        consents.covers.pop(pseudonym(7), None)
        return real(scores, cadence)

    monkeypatch.setattr("analytics.release.draw", spy)
    log = planned_log(tmp_path, areas=AREAS[:1])
    analytics_of(log, store, consents, now=instant(MONDAY + timedelta(days=2))).run()
    assert seen == [60, 59]


def test_an_unreachable_consent_directory_releases_nothing(tmp_path: Path):
    class Unreachable(Consents):
        def covered(self, *_):
            raise Fault("the ledger cannot be reached")

    log = planned_log(tmp_path)
    store, _ = city(60, 1)
    with pytest.raises(Fault):
        analytics_of(log, store, Unreachable(), now=END).run()
    assert log.cells() == []
    assert log.ledger() == []


def test_a_neighbouring_town_differs_in_one_record_of_one_cadence():
    """One person's readings and answers, all of them, change one row of one area; the others' rows stay."""
    store, consents = city(12, 7)
    fill(store, range(20, 30), 7, district=NOORDWEST)
    covers = {**consents.covers, **{pseudonym(n): cover(n, NOORDWEST) for n in range(20, 30)}}
    span = range(MONDAY.toordinal(), MONDAY.toordinal() + 7)

    def rows() -> dict[tuple[str, str], list[tuple]]:
        partial = score_reports(store.reports(instant(MONDAY), END), span)
        for chunk in store.readings(0, END):
            partial = merge(partial, score_readings(chunk, span))
        return {
            (window.name, area): sorted(map(tuple, scores.tolist()))
            for window in [*(day_window(MONDAY + timedelta(days=i)) for i in range(7)), week_window(MONDAY)]
            for area, scores in records_of(partial, window, plan=Plan(MONDAY, AREAS), covers=covers).items()
        }

    before = rows()
    for offset in range(7):  # a wild person, heard in both districts at once
        where = (WEST, NOORDWEST)[offset % 2]
        store.write(*day_of(99, MONDAY + timedelta(days=offset), district=where, hr=200, safe=0, answers=50))
    covers[pseudonym(99)] = cover(99)
    after = rows()
    changed = [key for key in before if before[key] != after[key]]
    assert changed
    assert all(area == WEST for _, area in changed)
    for key in changed:
        rest = list(after[key])
        for row in before[key]:
            rest.remove(row)
        assert len(rest) == 1


# The log.


def test_a_second_draw_of_a_key_is_refused_before_it_is_made(tmp_path: Path):
    log = planned_log(tmp_path)
    cells = release(log, area=AREA, window=day_window(MONDAY), scores=PEOPLE)
    with pytest.raises(AlreadyReleased):
        log.publish(area=AREA, window=day_window(MONDAY), rho=0.04, draw=lambda: pytest.fail("drawn twice"))
    assert tuple(log.cells(derived=False)) == cells


def test_a_merge_cannot_release_a_district_again(tmp_path: Path):
    log = planned_log(tmp_path)
    release(log, area=AREA, window=day_window(MONDAY), scores=PEOPLE)
    merged = type(AREA)(code="WK034400+" + WEST, districts=("WK034400", WEST), cadence=Cadence.DAILY)
    with pytest.raises(AlreadyReleased):
        release(log, area=merged, window=day_window(MONDAY), scores=PEOPLE)


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

        release_log._cell_row = lambda _: os._exit(9)
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
    for table in ("release_cell", "release_claim", "release_budget", "release_plan"):
        for change in (f"DELETE FROM {table}", f"UPDATE {table} SET rowid = rowid"):
            with engine.begin() as connection, pytest.raises(DBAPIError, match="only added to"):
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
    daily = [entry(day, 0.04) for day in range(200)]
    weekly = [entry(7 * week, 0.2, cadence=Cadence.WEEKLY) for week in range(28)]
    assert budget.spent(daily) <= 31 * 0.04 + 1e-9
    assert budget.spent(weekly) <= 5 * 0.2 + 1e-9
    for request in (entry(200, 0.04), entry(196, 0.2, cadence=Cadence.WEEKLY), entry(100, 0.04, area="WK034499")):
        budget.check([*daily, *weekly], request)


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


# What is derived, and what is said.


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


def test_cells_are_found_by_district_metric_and_time(tmp_path: Path):
    log = planned_log(tmp_path)
    for offset in range(3):
        release(log, area=AREA, window=day_window(MONDAY + timedelta(days=offset)), scores=PEOPLE)
    tuesday = day_window(MONDAY + timedelta(days=1))
    found = log.cells(districts=[WEST], metrics=["calm", "wellbeing"], start=tuesday.start, end=tuesday.end)
    assert [(cell.metric, cell.window) for cell in found] == [("calm", tuesday.name), ("wellbeing", tuesday.name)]
    assert log.cells(districts=[NOORDWEST]) == []


def test_nothing_of_a_person_is_in_the_database_or_in_the_log_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    log = planned_log(tmp_path)
    store, consents = city(61, 2)
    analytics_of(log, store, consents, now=END).run()
    with sqlite3.connect(tmp_path / "registry.sqlite") as connection:
        dump = "\n".join(connection.iterdump())
    for said in (dump, caplog.text):
        assert not any(pseudonym(n) in said for n in range(61))
        assert "61" not in {word.strip("(),'") for word in said.split()}


# What a person is told.


@pytest.mark.parametrize("url", ["nonsense", "influx://x", "sqlite+nothing:///x"])
def test_a_registry_url_that_cannot_be_used_is_a_usage_fault(url: str):
    with pytest.raises(UsageFault, match="WIJKPOLS_REGISTRY_URL"):
        open_engine(url)


def test_a_registry_that_cannot_be_written_says_what_to_do(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Fault, match="cannot be opened or written"):
        ReleaseLog(open_engine(f"sqlite:///{tmp_path}/file/registry.sqlite"))
    (tmp_path / "text.sqlite").write_text("this is no database, and long enough to be seen as none" * 40)
    with pytest.raises(Fault, match="cannot be opened or written"):
        ReleaseLog(open_engine(f"sqlite:///{tmp_path}/text.sqlite"))


def test_a_run_without_a_plan_says_what_to_do(tmp_path: Path):
    log = ReleaseLog(open_engine(registry(tmp_path)))
    with pytest.raises(UsageFault, match="analytics plan --set"):
        analytics_of(log, MemoryStore(), Consents(), now=END).run()


def test_a_window_computed_when_the_clock_was_put_back_has_its_25_hours(tmp_path: Path):
    day = date(2026, 10, 25)
    log = planned_log(tmp_path, first=day, areas=AREAS[:1])
    store = MemoryStore()
    fill(store, range(60), 1, first=day)
    window = day_window(day)
    assert not analytics_of(log, store, Consents(map(cover, range(60))), now=window.end - 1).run().withheld
    summary = analytics_of(log, store, Consents(map(cover, range(60))), now=window.end).run()
    assert {(c.start, c.end) for c in [*summary.published, *summary.withheld]} == {(window.start, window.end)}
    assert len(days_of(window)) == 1
    assert merge(NOTHING, NOTHING).who == ()
