"""The release: what is due is released once, by consent of now, and nothing of a person gets outside."""

from __future__ import annotations

import logging
import sqlite3
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from analytics import mechanism
from analytics.plan import Plan
from analytics.records import records_of
from analytics.release_log import ReleaseLog, open_engine
from analytics.runner import pending
from analytics.scores import score_readings, score_reports
from analytics.sums import NOTHING, merge
from analytics.windows import day_window, days_of, instant, week_window
from contracts.ports import Fault, UsageFault
from contracts.release import Cadence, Cell
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
    assert len(log.ledger()) == 9  # seven days, a week, and the reasons of the daily area


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
    weekly = [(window.name, areas) for window, _, areas in due if window.cadence is Cadence.WEEKLY]
    # In the first plan the reasons of the daily area come with the week of the other; in the second they are alone.
    assert weekly == [
        (week_window(MONDAY + timedelta(days=7 * week)).name, list(AREAS if week < 4 else AREAS[:1]))
        for week in (1, 2, 3, 4)
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
