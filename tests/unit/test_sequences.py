"""Gaps in a gateway's numbers: told from silence, from what was thrown away, and from what comes late or twice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ingest import sequences
from ingest.sequences import Gaps, SequenceLog, Span


@pytest.fixture
def log(tmp_path: Path):
    log = SequenceLog(tmp_path / "rejects.sqlite")
    yield log
    log.close()


def came(log: SequenceLog, *numbers: int | tuple[int, int], outbox: int = 5) -> None:
    log.heard(Span("gw-1", outbox, *(one if isinstance(one, tuple) else (one, one))) for one in numbers)


def test_all_that_came_in_any_order_and_twice_is_no_gap(log: SequenceLog):
    numbers = [*range(1, 200), *range(50, 90)]
    random.Random(3).shuffle(numbers)
    for start in range(0, len(numbers), 7):
        came(log, *numbers[start : start + 7])
    assert log.gaps() == [Gaps("gw-1", 5, last=199, missing=0, gaps=0)]


def test_what_never_came_is_a_gap_until_it_comes(log: SequenceLog):
    came(log, 1, 2, 5, 9)
    assert log.gaps() == [Gaps("gw-1", 5, last=9, missing=5, gaps=2)]
    came(log, 3, 4)
    assert log.gaps() == [Gaps("gw-1", 5, last=9, missing=3, gaps=1)]


def test_what_was_thrown_away_and_told_is_no_gap(log: SequenceLog):
    came(log, 1, (2, 40), 41)
    assert log.gaps() == [Gaps("gw-1", 5, last=41, missing=0, gaps=0)]


def test_another_outbox_counts_anew_and_one_without_a_number_is_not_counted(log: SequenceLog):
    came(log, 7, 8)
    came(log, 1, 2, outbox=6)
    came(log, 1, 50, outbox=0)
    assert [(one.outbox, one.missing) for one in log.gaps()] == [(5, 0), (6, 0)]


def test_the_runs_are_bounded_and_what_is_missing_stays_counted(log: SequenceLog, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sequences, "RUNS_MAX", 10)
    came(log, *range(1, 101, 2))
    assert [(one.last, one.missing) for one in log.gaps()] == [(99, 49)]
    assert log._db.execute("SELECT count(*) FROM runs").fetchone() == (10,)


def test_two_workers_share_what_came(tmp_path: Path):
    path = tmp_path / "rejects.sqlite"
    one, other = SequenceLog(path), SequenceLog(path)
    came(one, 1, 3, 5)
    came(other, 2, 4)
    assert one.gaps() == other.gaps() == [Gaps("gw-1", 5, last=5, missing=0, gaps=0)]
    one.close()
    other.close()
