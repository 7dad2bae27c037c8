"""How fast a town's readings become records: 330 volunteers, 14 days, 270 minutes a day (1.25 million readings).

    python bench/scores.py [VOLUNTEERS [DAYS [MINUTES]]]

All daily windows and the two weeks, on one core, out of columns in memory; synthetic values, made with a seed.
"""

from __future__ import annotations

import argparse
import resource
import time
from datetime import date

import numpy as np

from analytics.plan import Plan, plan
from analytics.records import records_of
from analytics.scores import score_readings, score_reports
from analytics.sums import merge
from analytics.windows import complete_windows, instant
from contracts.consent import Cover, Purpose
from contracts.district import UTRECHT
from contracts.ports import ReadingColumns, ReportColumns
from contracts.reading import FIELDS, Category
from contracts.release import Cadence

FIRST = date(2026, 11, 2)


def town(volunteers: int, days: int, minutes: int) -> tuple[ReadingColumns, ReportColumns]:
    random = np.random.default_rng(1)
    names = tuple(f"{i:026d}" for i in range(volunteers))
    codes = tuple(district.code for district in UTRECHT)
    one_day = 8 * 3600 + np.sort(random.choice(14 * 60, minutes, replace=False)) * 60
    starts = instant(FIRST) + 86_400 * np.arange(days)
    minute = np.tile((starts[:, None] + one_day).ravel(), volunteers)
    person = np.repeat(np.arange(volunteers, dtype=np.int32), days * minutes)
    n = len(minute)
    fields = {name: np.full(n, np.nan) for name in FIELDS}
    fields["hr"] = random.normal(70, 8, n)
    fields["eda"] = np.exp(random.normal(0, 0.4, n))
    fields["scr"] = random.poisson(2, n).astype(float)
    fields["motion"] = random.exponential(0.03, n)
    fields["worn"] = np.ones(n)
    readings = ReadingColumns(
        pseudonyms=names, districts=codes, person=person, district=person % 4, minute=minute, fields=fields
    )
    at = np.tile(starts + 12 * 3600, volunteers)
    who = np.repeat(np.arange(volunteers, dtype=np.int32), days)
    marks = random.integers(4, 11, (2, len(at))).astype(np.int16)
    reports = ReportColumns(
        pseudonyms=names, districts=codes, person=who, district=who % 4, at=at, safe=marks[0], happy=marks[1],
        reason=np.full(len(at), None),
    )  # fmt: skip
    return readings, reports


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volunteers", type=int, nargs="?", default=330)
    parser.add_argument("days", type=int, nargs="?", default=14)
    parser.add_argument("minutes", type=int, nargs="?", default=270)
    args = parser.parse_args()
    volunteers, days, minutes = args.volunteers, args.days, args.minutes
    readings, reports = town(volunteers, days, minutes)
    held = Plan(FIRST, plan({d.code: 80 if i % 2 else 60 for i, d in enumerate(UTRECHT)},
                            {d.code: d.centre() for d in UTRECHT}))  # fmt: skip
    chosen = {Purpose.DISTRICT_INDEX: tuple(Category)}
    covers = {
        name: Cover(
            pseudonym=name, district=UTRECHT[i % 4].code, categories=frozenset(Category), purposes=chosen, valid_from=0
        )
        for i, name in enumerate(readings.pseudonyms)
    }
    span = range(FIRST.toordinal(), FIRST.toordinal() + days)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    partial = merge(score_readings(readings, span), score_reports(reports, span))
    scored = time.perf_counter()
    windows = [
        window
        for cadence in Cadence
        for window in complete_windows(cadence, instant(FIRST), instant(date.fromordinal(span.stop)))
    ]
    for window in windows:
        records_of(partial, window, plan=held, covers=covers)
    ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{len(readings.minute):,} readings: scored in {scored - began:.2f} s, {len(windows)} windows in "
        f"{ended - scored:.2f} s; memory +{(peak - before) / 1024:.0f} MiB"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
