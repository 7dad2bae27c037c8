"""A person-day (270 minutes) of beats and samples into readings: milliseconds, at once and minute by minute."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from gateway.epochs import MINUTE_S, Signals, minute_table

MINUTES = 270
START = 1_800_000_000


def person_day(seed: int = 1) -> Signals:
    rng = np.random.default_rng(seed)
    rr = np.round((0.83 + 0.04 * rng.standard_normal(MINUTES * 72)) * 1024) / 1024
    beat_t = START + np.cumsum(rr)
    drift = np.cumsum(0.01 * rng.standard_normal(MINUTES * 240))
    eda = 3 + np.convolve(drift, np.ones(8) / 8, mode="same")  # skin changes over seconds
    return Signals(
        start=START,
        minutes=MINUTES,
        beat_t=beat_t,
        rr=rr,
        hr=np.round(72 + 4 * rng.standard_normal((MINUTES, 60))),
        contact=np.ones((MINUTES, 60)),
        eda=np.abs(eda).reshape(MINUTES, 240),
        skin_temp=33 + 0.1 * rng.standard_normal((MINUTES, 6)),
        acc_mean=1 + 0.01 * rng.standard_normal((MINUTES, 240)),
        acc_sd=np.full((MINUTES, 240), 0.01),
    )


def one_by_one(day: Signals) -> None:
    state = None
    assert day.beat_t is not None
    assert day.rr is not None
    cuts = np.searchsorted(day.beat_t, START + MINUTE_S * np.arange(MINUTES + 1))
    for i in range(MINUTES):
        grids = {
            name: getattr(day, name)[i : i + 1] for name in ("hr", "contact", "eda", "skin_temp", "acc_mean", "acc_sd")
        }
        beats = slice(cuts[i], cuts[i + 1])
        minute = Signals(start=START + MINUTE_S * i, minutes=1, beat_t=day.beat_t[beats], rr=day.rr[beats], **grids)
        _, state = minute_table(minute, state)


def best_ms(work: Callable[[], object], rounds: int) -> float:
    spent = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begun)
    return 1e3 * min(spent)


def main() -> None:
    day = person_day()
    assert day.beat_t is not None
    assert day.eda is not None
    table, _ = minute_table(day)
    print(f"a person-day: {MINUTES} minutes, {len(day.beat_t):,} beats, {day.eda.size:,} EDA samples")
    print(f"  signals to table     {best_ms(lambda: minute_table(day), 50):8.2f} ms")
    print(f"  table to readings    {best_ms(lambda: table.readings('a' * 26), 50):8.2f} ms")
    print(f"  minute by minute     {best_ms(lambda: one_by_one(day), 5):8.2f} ms")


if __name__ == "__main__":
    main()
