"""Scoring on a real dask scheduler with two workers: equal to one process to the bit, also when a worker is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from analytics.cluster import cluster, score_here
from analytics.sums import Partial
from contracts.ports import Fault, ReadingColumns
from tests.analytics_parts.city import MONDAY, MemoryStore, day_of

ROOT = Path(__file__).resolve().parents[2]
DAYS = range(MONDAY.toordinal(), MONDAY.toordinal() + 3)


def started(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"DASK_DISTRIBUTED__WORKER__DAEMON": "False"},
    )


@pytest.fixture
def scheduler() -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    processes = [started("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")]
    try:
        address = _said(processes[0], r"Scheduler at:\s+(tcp://\S+)")
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        workers = [started("distributed.cli.dask_worker", address, *options) for _ in range(2)]
        processes += workers
        for worker in workers:
            _said(worker, r"(Registered to)")
        yield address, workers
    finally:
        for process in reversed(processes):
            process.kill()
            process.communicate()


def _said(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(pattern, line)
        if found:
            return found[1]
    raise AssertionError("the process ended")


def chunks() -> list[ReadingColumns]:
    """Some weeks of some people, one person a chunk."""
    store = MemoryStore()
    for number in range(8):
        for day in range(-2, 3):
            store.write(*day_of(number, MONDAY + timedelta(days=day), hr=60 + number, minutes=60))
    return list(store.readings(0, 2**40, rows_max=1))


def same(a: Partial, b: Partial) -> bool:
    return (a.who, a.codes) == (b.who, b.codes) and all(
        np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a[2:], b[2:], strict=True)
    )


def test_two_workers_equal_one_process_to_the_bit_also_when_one_is_killed(
    scheduler: tuple[str, list[subprocess.Popen[str]]],
):
    address, workers = scheduler
    parts = chunks()
    assert len(parts) == 8
    alone = score_here(parts, DAYS)
    assert len(alone.key)

    def with_a_death() -> Iterator[ReadingColumns]:
        for number, part in enumerate(parts):
            if number == 4:
                workers[0].send_signal(signal.SIGKILL)
            yield part

    with cluster(address) as score:
        assert same(score(parts, DAYS), alone)
        assert same(score(reversed(parts), DAYS), alone)
        assert same(score(with_a_death(), DAYS), alone)


def test_no_scheduler_says_what_to_do():
    with pytest.raises(Fault, match="--cluster"), cluster("tcp://127.0.0.1:9"):
        pass
