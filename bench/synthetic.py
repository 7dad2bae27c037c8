"""How long one synthetic person-day (about 4.5 worn hours) takes to make: `python bench/synthetic.py`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from firmware_sim.synthetic import Person  # the path is set above, so that the file can be run as it stands

DAY_S = 86_400
START = 1_762_473_600  # 2025-11-07 00:00 UTC


def main() -> None:
    people, days = 20, 15
    seconds, beats, made = 0, 0, 0
    begun = time.perf_counter()
    for number in range(people):
        person = Person(1, number, "WK034403")
        for day in range(days):
            for span in person.worn_spans(START + day * DAY_S):
                samples = person.samples(*span)
                seconds += samples.seconds
                beats += samples.beat_t.size
            made += 1
    took = time.perf_counter() - begun
    print(
        f"{made} person-days, {seconds / made:.0f} s and {beats / made:.0f} beats each: "
        f"{1000 * took / made:.2f} ms per person-day on one core"
    )


if __name__ == "__main__":
    main()
