"""A drop is told from chance, by the windows alone, and not before it is known what is usual."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import numpy as np
import pytest

from analytics.after import watch
from analytics.signals import USUAL_WINDOWS, WATCHED_WINDOWS
from analytics.windows import day_window
from contracts.release import METHOD_VERSION, Cadence, Cell
from tests.analytics_parts.city import MONDAY, WEST

DAYS, WATCHED = USUAL_WINDOWS[Cadence.DAILY], WATCHED_WINDOWS[Cadence.DAILY]


def days(values: list[float | None]) -> list[Cell]:
    windows = [day_window(MONDAY + timedelta(days=i)) for i in range(len(values))]
    return [
        Cell(
            area=WEST, districts=(WEST,), metric="safe", window=window.name, start=window.start, end=window.end,
            method=METHOD_VERSION, status="withheld" if value is None else "published", value=value,
            margin=None if value is None else 5.88,
        )
        for window, value in zip(windows, values, strict=True)
    ]  # fmt: skip


def noisy(n: int, mean: float, seed: int) -> list[float | None]:
    return np.random.default_rng(seed).normal(mean, 3.0, n).tolist()  # 5.88 = 1.96 · 3


def test_before_enough_windows_nothing_is_said():
    found = watch(days([70.0] * DAYS), Cadence.DAILY, together=20)
    assert (found.learnt, found.needed, found.usual, found.fell) == (DAYS, DAYS, None, False)
    half: list[float | None] = [70.0, None] * 20
    assert watch(days(half), Cadence.DAILY, together=20).learnt == 20  # withheld ones teach nothing


def test_a_drop_is_seen_and_a_rise_or_chance_is_not():
    steady = noisy(DAYS, 70, 1)
    usual = watch(days(steady + noisy(40, 70, 2)), Cadence.DAILY, together=20)
    assert usual.usual == pytest.approx(70, abs=1.5)
    assert not usual.fell
    assert watch(days(steady + noisy(40, 64, 2)), Cadence.DAILY, together=20).fell
    assert not watch(days(steady + noisy(40, 76, 2)), Cadence.DAILY, together=20).fell


def test_what_is_usual_is_learnt_anew_from_the_last_windows_and_stays_for_their_span():
    values = noisy(DAYS, 70, 1) + noisy(WATCHED, 60, 2) + noisy(30, 60, 3)
    cells = days(values)
    before, after = watch(cells[: DAYS + WATCHED], Cadence.DAILY, together=20), watch(cells, Cadence.DAILY, together=20)
    assert before.fell
    assert before.since is not None
    assert before.since.window == cells[DAYS].window
    assert after.usual == pytest.approx(60, abs=1.5)
    assert not after.fell
    assert after.since is not None
    assert after.since.window == cells[DAYS + WATCHED].window


def test_false_alarms_come_about_as_often_as_stated():
    """One a year in an area that is watched alone, and less, for each span begins at nought."""
    random, alarms, spans = np.random.default_rng(11), 0, 400
    plain = days([70.0] * (DAYS + WATCHED))
    for _ in range(spans):
        values = random.normal(70, 3, len(plain))
        cells = [msgspec.structs.replace(cell, value=float(v)) for cell, v in zip(plain, values, strict=True)]
        alarms += watch(cells, Cadence.DAILY, together=1).fell
    stated = spans * WATCHED / 365.25
    assert 0.4 * stated < alarms < 1.15 * stated
