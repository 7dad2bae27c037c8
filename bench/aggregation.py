"""One day of a large town: our kernel beside a memory pass, pandas, polars and DuckDB on the same arrays.

    python bench/aggregation.py [VOLUNTEERS]        (10,000: 14.4 million readings; 100,000 needs about 12 GiB)

The same aggregation for all: of each volunteer's worn, still minutes how many there are and the sum of calm in whole
millionths, rows in order of person as the stores give them. "Kernel" is what `score_readings` ends with; the whole of
it (rises, baselines, z-scores) is timed by `bench/scores.py`; "runs in order" is what it could be. The best of three;
polars and DuckDB use both cores.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable

import duckdb
import numpy as np
import pandas
import polars

from analytics.scores import _counted, _key

MINUTES = 1440
DAY = 739_000


def main() -> int:
    volunteers = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    random = np.random.default_rng(1)
    n = volunteers * MINUTES
    person = np.repeat(np.arange(volunteers, dtype=np.int32), MINUTES)
    day = np.full(n, DAY, dtype=np.int32)
    motion = random.exponential(0.03, n)
    calm = random.integers(0, 100_000_000, n)
    held = sum(array.nbytes for array in (person, day, motion, calm))
    expected = np.bincount(person[motion < 0.1], minlength=volunteers)
    print(f"{n:,} readings of {volunteers:,} volunteers, {held / 2**20:.0f} MiB")

    def memory_pass() -> np.ndarray:
        for array in (person, day, motion, calm):
            array.sum()
        return expected

    def kernel() -> np.ndarray:
        rows = np.flatnonzero(motion < 0.1)
        values = np.ones((len(rows), 2), dtype=np.int64)
        values[:, 1] = calm[rows]
        return _counted(_key(person[rows], day[rows]), values)[1][:, 0]

    def chunked() -> np.ndarray:
        """As the runner does: whole persons, about two million rows at a time, merged by appending."""
        size = max(1, 2_000_000 // MINUTES) * MINUTES
        out = []
        for begin in range(0, n, size):
            part = slice(begin, begin + size)
            rows = np.flatnonzero(motion[part] < 0.1)
            values = np.ones((len(rows), 2), dtype=np.int64)
            values[:, 1] = calm[part][rows]
            out.append(_counted(_key(person[part][rows], day[part][rows]), values)[1][:, 0])
        return np.concatenate(out)

    def by_runs() -> np.ndarray:
        """What rows in order allow: no sort, no gathering; runs of one volunteer added up, 180 volunteers at a time."""
        size = 180 * MINUTES
        out = []
        for begin in range(0, n, size):
            part = slice(begin, begin + size)
            ids = person[part]
            starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
            still = motion[part] < 0.1
            np.add.reduceat(calm[part] * still, starts)
            out.append(np.add.reduceat(still, starts, dtype=np.int64))
        return np.concatenate(out)

    frame = pandas.DataFrame({"person": person, "day": day, "motion": motion, "calm": calm}, copy=False)
    table = polars.DataFrame({"person": person, "day": day, "motion": motion, "calm": calm})
    database = duckdb.connect()
    database.register("readings", {"person": person, "day": day, "motion": motion, "calm": calm})

    def by_pandas() -> np.ndarray:
        grouped = frame[frame["motion"] < 0.1].groupby(["person", "day"])["calm"].agg(["count", "sum"])
        return grouped["count"].to_numpy()

    def by_polars() -> np.ndarray:
        lazy = table.lazy().filter(polars.col("motion") < 0.1).group_by("person", "day")
        return lazy.agg(polars.len(), polars.col("calm").sum()).sort("person").collect()["len"].to_numpy()

    def by_duckdb() -> np.ndarray:
        query = (
            "SELECT person, count(*) AS n, sum(calm) FROM readings WHERE motion < 0.1 GROUP BY person, day ORDER BY 1"
        )
        return database.sql(query).fetchnumpy()["n"]

    base = measure("memory pass", memory_pass, expected, None)
    contenders: dict[str, Callable[[], np.ndarray]] = {
        "kernel, in chunks": chunked,
        "kernel, at once": kernel,
        "runs in order": by_runs,
        "polars": by_polars,
        "DuckDB": by_duckdb,
        "pandas": by_pandas,
    }
    for name, run in contenders.items():
        measure(name, run, expected, base)
    print(f"peak memory of all this: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")
    return 0


def measure(name: str, run: Callable[[], np.ndarray], expected: np.ndarray, base: float | None) -> float:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        found = run()
        times.append(time.perf_counter() - began)
    assert np.array_equal(found, expected)
    best = min(times)
    print(f"{name:<20} {best:7.3f} s" + (f"  {best / base:5.1f} x the memory pass" if base else ""))
    return best


if __name__ == "__main__":
    raise SystemExit(main())
