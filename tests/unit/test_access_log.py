"""Each access counts, and a day's of one kind are one row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select

from api.access_log import AccessLog, OwnEntry, PublicEntry
from api.tables import ACCESS_LOG
from contracts.consent import Purpose
from tests.api_support import ManualClock, registry_for

ME, OTHER = "a" * 26, "b" * 26

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def log(tmp_path: Path, clock: ManualClock) -> AccessLog:
    return registry_for(tmp_path, clock=clock).access_log


def look(log: AccessLog, whose: str, purpose: str = "own page") -> None:
    log.record(role="volunteer", purpose=purpose, dataset="readings", pseudonym=whose)


def rows(log: AccessLog) -> int:
    with log._engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(ACCESS_LOG)) or 0


def test_a_page_that_is_loaded_again_and_again_is_one_row_with_a_count(log: AccessLog, clock: ManualClock) -> None:
    for _ in range(5):
        look(log, ME)
    look(log, ME, "own data")
    look(log, OTHER)
    log.record_analytics(Purpose.DISTRICT_INDEX)
    log.record_analytics(Purpose.DISTRICT_INDEX)
    assert rows(log) == 4
    day = "2026-11-23"
    assert log.own(ME) == [
        OwnEntry(day, "volunteer", "own page", "readings", 5),
        OwnEntry(day, "volunteer", "own data", "readings", 1),
        OwnEntry(day, "analytics", "district-index", "readings", 1),
    ]
    assert PublicEntry(day, "volunteer", "own page", "readings", 6) in log.public(limit=10)
    clock.time += 86_400
    look(log, ME)
    assert [entry.times for entry in log.own(ME) if entry.purpose == "own page"] == [5, 1]


def test_accesses_at_one_time_are_all_counted(log: AccessLog) -> None:
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(look, log, ME) for _ in range(40)]:
            done.result()
    assert [entry.times for entry in log.own(ME)] == [40]
    assert rows(log) <= 8
