"""One day of a large town, from files to released figures, on two processes, with the memory that it takes.

Each process reads a part, scores it and forgets it; what stays is sums per person and day (176 bytes) in the first
process, with everybody's consent. Noise is drawn by the real mechanism, for ten daily areas.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from datetime import timedelta
from pathlib import Path
from typing import Any

import town

from analytics.coverage import covered_readings, covered_reports
from analytics.figures import cells_of
from analytics.mechanism import draw, noise
from analytics.plan import Plan, plan
from analytics.records import records_of
from analytics.scores import score_readings, score_reports
from analytics.sums import Partial, merge
from analytics.windows import day_window, instant
from contracts.consent import Cover, Purpose
from contracts.district import UTRECHT
from contracts.reading import Category
from contracts.release import Cadence

_PROCESSES = 2
#: Volunteers in a part: 720,000 readings.
_PART = 500
_MINUTES = 1440
_DAYS = range(town.DAY.toordinal(), town.DAY.toordinal() + 1)
_CATEGORIES = frozenset(Category)
_CHOICES = {Purpose.DISTRICT_INDEX: tuple(Category)}


def day(volunteers: int) -> None:
    """Make the day, then score, aggregate and draw it; prints a line of figures."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="wijkpols-bench-") as name:
        folder = Path(name)
        rows = _made(folder, volunteers)
        made, size = time.perf_counter(), sum(path.stat().st_size for path in folder.iterdir())
        partial = merge(*_scored(sorted(folder.iterdir())))
    scored = time.perf_counter()
    published = _aggregated(partial, volunteers)
    ended = time.perf_counter()
    own, workers = (
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(
        f"{rows:,} readings of {volunteers:,} volunteers: made in {made - began:.0f} s ({size / 2**20:,.0f} MiB), "
        f"scored in {scored - made:.1f} s, aggregated in {ended - scored:.1f} s ({published} figures published); "
        f"peak memory of a worker {workers:.0f} MiB, of the first process {own:.0f} MiB"
    )


def _made(folder: Path, volunteers: int) -> int:
    with _pool() as pool:
        firsts = range(0, volunteers, _PART)
        return sum(
            _streamed(pool, town.write_part, ((folder, n, min(_PART, volunteers - n), _MINUTES) for n in firsts))
        )


def _scored(paths: list[Path]) -> Iterator[Partial]:
    with _pool() as pool:
        yield from _streamed(pool, score_part, ((path,) for path in paths))


def score_part(path: Path) -> Partial:
    """A file's volunteers, as far as their consent goes."""
    chunk = town.read_part(path)
    return score_readings(covered_readings(chunk, {name: _cover(name, 0) for name in chunk.pseudonyms}), _DAYS)


def _aggregated(partial: Partial, volunteers: int) -> int:
    covers = {town.pseudonym(n): _cover(town.pseudonym(n), n) for n in range(volunteers)}
    partial = merge(partial, score_reports(covered_reports(town.reports_of(volunteers), covers), _DAYS))
    held = Plan(town.DAY, plan(dict.fromkeys(town.CODES, volunteers // 10), {d.code: d.centre() for d in UTRECHT}))
    window = day_window(town.DAY)
    records = records_of(partial, window, plan=held, covers=covers)
    assert sum(map(len, records.values())) == volunteers
    cells = [
        cell
        for area in held.areas
        for cell in cells_of(draw(records[area.code], Cadence.DAILY), noise(Cadence.DAILY), area=area, window=window)
    ]
    return sum(cell.status == "published" for cell in cells)


def _cover(name: str, number: int) -> Cover:
    return Cover(
        pseudonym=name,
        district=town.CODES[number % len(town.CODES)],
        categories=_CATEGORIES,
        purposes=_CHOICES,
        valid_from=instant(town.DAY - timedelta(days=30)),
    )


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(_PROCESSES, mp_context=multiprocessing.get_context("spawn"))


def _streamed(pool: ProcessPoolExecutor, work: Callable[..., Any], tasks: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    """Results as they come; never more tasks under way than keep the processes busy."""
    under_way: set[Future[Any]] = set()
    for task in tasks:
        while len(under_way) >= 2 * _PROCESSES:
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
        under_way.add(pool.submit(work, *task))
    yield from (future.result() for future in under_way)
