"""The scheduler: at the start, each day when the grace is over, again after a failure, and whatever the clock does."""

from __future__ import annotations

import threading
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from analytics.release_log import ReleaseLog, open_engine
from analytics.schedule import RETRY_S, keep_releasing, next_due
from analytics.windows import instant
from contracts.ports import Fault, StoreUnavailable, UsageFault
from tests.analytics_parts.city import (
    MONDAY,
    Consents,
    MemoryStore,
    SetClock,
    analytics_of,
    cover,
    fill,
    planned_log,
    registry,
)

GRACE_S = 6 * 3600.0
SUNDAY_BACK = date(2026, 10, 25)  # the clock is put back


class Waits:
    """Waiting moves the clock, and ends after some hours of it."""

    def __init__(self, clock: SetClock, hours: float) -> None:
        self.clock = clock
        self.end = clock.now() + hours * 3600

    def __call__(self, seconds: float) -> bool:
        assert 0 < seconds <= 60
        self.clock.time += seconds
        return self.clock.time > self.end


@pytest.mark.parametrize("day", [MONDAY, SUNDAY_BACK, date(2027, 3, 28)])
def test_a_run_is_due_each_local_day_when_the_grace_is_over(day: date):
    due = instant(day + timedelta(days=1)) + GRACE_S
    assert next_due(instant(day) + GRACE_S, grace_s=GRACE_S) == due
    assert next_due(due - 1, grace_s=GRACE_S) == due
    assert next_due(due, grace_s=GRACE_S) == instant(day + timedelta(days=2)) + GRACE_S


def test_it_runs_at_the_start_and_then_each_day():
    clock = SetClock(instant(MONDAY) + 9 * 3600)
    ran: list[float] = []
    keep_releasing(lambda: ran.append(clock.now()), clock=clock, wait=Waits(clock, 72), grace_s=GRACE_S)
    days = [instant(MONDAY + timedelta(days=n)) + GRACE_S for n in (1, 2, 3)]
    assert ran == [instant(MONDAY) + 9 * 3600, *days]


@pytest.mark.parametrize("fault", [StoreUnavailable("gone"), Fault("the ledger cannot be reached")])
def test_a_run_that_could_not_reach_something_is_tried_again(fault: Exception, caplog: pytest.LogCaptureFixture):
    clock = SetClock(instant(MONDAY) + 9 * 3600)
    ran: list[float] = []

    def run() -> None:
        ran.append(clock.now())
        if len(ran) < 3:
            raise fault

    keep_releasing(run, clock=clock, wait=Waits(clock, 2), grace_s=GRACE_S)
    assert [b - a for a, b in pairwise(ran)] == [RETRY_S, RETRY_S]
    assert "tried again" in caplog.text


@pytest.mark.parametrize("fault", [ZeroDivisionError, UsageFault])
def test_a_mistake_in_the_code_or_the_settings_ends_it(fault: type[Exception]):
    def run() -> None:
        raise fault

    with pytest.raises(fault):
        keep_releasing(run, clock=SetClock(0), wait=lambda _: True, grace_s=0)


def test_a_clock_that_jumps_runs_again_and_never_draws_twice(tmp_path: Path):
    clock = SetClock(instant(MONDAY + timedelta(days=1)) + 7 * 3600)
    log = planned_log(tmp_path)
    store = MemoryStore()
    fill(store, range(60), 2)
    consents = Consents(cover(n) for n in range(60))
    waits = Waits(clock, 60)
    jumps = iter([+86_400.0, -2 * 86_400.0, +3 * 86_400.0])

    def wait(seconds: float) -> bool:
        clock.time += next(jumps, 0.0)
        return waits(seconds)

    def run() -> None:
        analytics_of(log, store, consents, now=clock.now()).run()

    keep_releasing(run, clock=clock, wait=wait, grace_s=GRACE_S)
    cells = log.cells(derived=False)
    assert len(cells) == len({(cell.area, cell.metric, cell.window) for cell in cells})
    assert len({cell.window for cell in cells if cell.area.endswith("01")}) >= 2


def test_two_schedulers_at_once_share_the_windows(tmp_path: Path):
    planned_log(tmp_path)
    store = MemoryStore()
    fill(store, range(60), 5)
    consents = Consents(cover(n) for n in range(60))
    now = instant(MONDAY + timedelta(days=5)) + 7 * 3600.0

    def schedule() -> None:
        log = ReleaseLog(open_engine(registry(tmp_path)))

        def run() -> None:
            analytics_of(log, store, consents, now=now).run()

        keep_releasing(run, clock=SetClock(now), wait=lambda _: True, grace_s=GRACE_S)

    threads = [threading.Thread(target=schedule) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    log = ReleaseLog(open_engine(registry(tmp_path)))
    assert len(log.ledger()) == 5
    assert len(log.cells(derived=False)) == 15
