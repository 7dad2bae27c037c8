"""The same aggregation by our kernel, a bare memory pass, pandas, polars and DuckDB, on the same arrays."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import duckdb
import numpy as np
import pandas
import polars
from numpy.typing import NDArray

from analytics.sums import counted, day_key, parts, run_sums

MINUTES = 1440
_DAY = 739_000
_STILL = 0.1
_TIMES = 5

Whole = NDArray[np.int64]


class Arrays(NamedTuple):
    """A day's readings, as far as this asks: [n] each, in order of person, then minute."""

    person: NDArray[np.int32]
    day: NDArray[np.int32]
    motion: NDArray[np.float64]
    calm: Whole  # millionths


def compare(volunteers: int) -> None:
    """Print the best of five of each; all must give the same rows. polars and DuckDB use every core, the rest one."""
    random = np.random.default_rng(1)
    n = volunteers * MINUTES
    arrays = Arrays(
        np.repeat(np.arange(volunteers, dtype=np.int32), MINUTES),
        np.full(n, _DAY, dtype=np.int32),
        random.exponential(0.03, n),
        random.integers(0, 100_000_000, n),
    )
    held = sum(array.nbytes for array in arrays)
    print(f"{n:,} readings of {volunteers:,} volunteers, {held / 2**20:.0f} MiB: still minutes and their calm, per day")
    base = _best(lambda: [array.sum() for array in arrays])
    print(f"{'memory pass':<28} {base:7.3f} s")
    expected = kernel(arrays)
    shuffled = np.random.default_rng(2).permutation(n)
    anyhow = Arrays(*(array[shuffled] for array in arrays))
    contenders: dict[str, Callable[[], tuple[Whole, Whole]]] = {
        "kernel": lambda: kernel(arrays),
        "polars": _by_polars(arrays),
        "DuckDB": _by_duckdb(arrays),
        "pandas": _by_pandas(arrays),
        "kernel, rows in no order": lambda: kernel(anyhow),
    }
    for name, run in contenders.items():
        assert all(map(np.array_equal, run(), expected)), name
        best = _best(run)
        print(f"{name:<28} {best:7.3f} s  {best / base:5.1f} x the memory pass")


def kernel(arrays: Arrays) -> tuple[Whole, Whole]:
    """What `score_readings` does once calm is known: (minutes, calm) per volunteer's day, in order."""
    keys, sums = [], []
    for part in parts(len(arrays.person)):
        person, day, motion, calm = (array[part] for array in arrays)
        still = motion < _STILL
        starts, found = run_sums((person, day), (still, calm * still))
        keys.append(day_key(person[starts], day[starts]))
        sums.append(found)
    total = counted(np.concatenate(keys), np.concatenate(sums))[1]
    return total[:, 0], total[:, 1]


def _by_pandas(arrays: Arrays) -> Callable[[], tuple[Whole, Whole]]:
    frame = pandas.DataFrame(arrays._asdict(), copy=False)

    def run() -> tuple[Whole, Whole]:
        grouped = frame[frame["motion"] < _STILL].groupby(["person", "day"])["calm"].agg(["count", "sum"])
        return grouped["count"].to_numpy(), grouped["sum"].to_numpy()

    return run


def _by_polars(arrays: Arrays) -> Callable[[], tuple[Whole, Whole]]:
    """The faster one of its two ways: rows known to be in order, or not."""
    table = polars.DataFrame(arrays._asdict()).with_columns(polars.col("person").set_sorted())

    def run() -> tuple[Whole, Whole]:
        lazy = table.lazy().filter(polars.col("motion") < _STILL).group_by("person", "day")
        found = lazy.agg(polars.len(), polars.col("calm").sum()).sort("person").collect()
        return found["len"].to_numpy(), found["calm"].to_numpy()

    return run


def _by_duckdb(arrays: Arrays) -> Callable[[], tuple[Whole, Whole]]:
    database = duckdb.connect()
    database.register("readings", arrays._asdict())
    query = (
        "SELECT person, count(*) AS n, sum(calm)::BIGINT AS calm FROM readings"
        f" WHERE motion < {_STILL} GROUP BY person, day ORDER BY person"
    )

    def run() -> tuple[Whole, Whole]:
        found = database.sql(query).fetchnumpy()
        return found["n"], found["calm"]

    return run


def _best(run: Callable[[], object]) -> float:
    times = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)
