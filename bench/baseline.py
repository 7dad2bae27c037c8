"""What a day costs the personal baselines after 30 and after 300 days of history: milliseconds and memory.

python bench/baseline.py [PEOPLE]        (300 people, 270 still minutes a day)
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from analytics.baseline import RollingBaselines, StillMinutes
from analytics.scores import CONSTANTS, FEATURES
from analytics.windows import BANDS

MINUTES = 270
DAYS = 300
AROUND = 10  # days before and after over which a cost is averaged


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=int, nargs="?", default=300)
    people = parser.parse_args().people
    random = np.random.default_rng(1)
    n = people * MINUTES
    person = np.repeat(np.arange(people, dtype=np.int32), MINUTES)
    band = np.tile(np.sort(random.integers(1, BANDS, MINUTES)).astype(np.int8), people)
    baselines = RollingBaselines(persons=people, constants=CONSTANTS)
    spent = np.zeros(DAYS + AROUND)
    for day in range(DAYS + AROUND):
        rises = random.normal(CONSTANTS.centre, CONSTANTS.scale, (n, len(FEATURES)))
        today = StillMinutes(person, np.full(n, day, np.int32), band, rises)
        began = time.perf_counter()
        baselines.usual(day, today)
        spent[day] = time.perf_counter() - began
    print(f"{people} people, {MINUTES} still minutes a day: a day costs")
    for day in (30, 100, DAYS):
        cost = np.median(spent[day - AROUND // 2 : day + AROUND])
        print(f"  after {day:>3} days  {1000 * cost:6.1f} ms")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
