"""A process that dies at any line of a release leaves nothing of it, or all of it; never a second draw."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from analytics import mechanism
from analytics.release import release
from analytics.release_log import AlreadyReleased, ReleaseLog, open_engine
from analytics.windows import day_window
from contracts.release import Cadence
from tests.analytics_parts.city import AREAS, MONDAY, planned_log, registry

AREA = AREAS[0]
PEOPLE = np.full((100, 3), 7000, np.int64)


def release_that_stops_at_line(url: str, number: int) -> None:
    """Kills its own process at the so-manieth line of the release and its log."""
    log, left = ReleaseLog(open_engine(url)), number

    def trace(frame: FrameType, event: str, _: object) -> object:
        nonlocal left
        if not frame.f_code.co_filename.endswith(("/analytics/release.py", "/analytics/release_log.py")):
            return None
        if event == "line":
            left -= 1
            if left < 0:
                os._exit(9)
        return trace

    sys.settrace(trace)  # type: ignore[arg-type]
    release(log, area=AREA, window=day_window(MONDAY), scores=PEOPLE)
    sys.settrace(None)
    os._exit(0)


def test_a_crash_at_any_line_leaves_nothing_or_the_whole_release(tmp_path: Path):
    mechanism.draw(PEOPLE, Cadence.DAILY)  # what is built once is built before
    log = planned_log(tmp_path)
    lines, code, done = 0, 9, False
    while code == 9:
        child = os.fork()
        if child == 0:
            try:
                release_that_stops_at_line(registry(tmp_path), lines)
            finally:  # refused: a child must not go on with the tests
                os._exit(1)
        if done:  # the commit was through, so the next one is refused
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
            break
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 9)
        held = len(log.cells(derived=False)), len(log.leaves()), len(log.ledger()), len(log.released())
        assert held in ((0, 0, 0, 0), (3, 1, 1, 1))
        done = held[0] == 3
        lines += 1
    assert lines > 40
    assert len(log.ledger()) == 1
    with pytest.raises(AlreadyReleased):
        release(log, area=AREA, window=day_window(MONDAY), scores=PEOPLE)
