"""The command `wijkpols simulate`: the detection-delay curve, as a table, CSV and PNG."""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from contracts.ports import Fault, UsageFault
from contracts.release import METHOD_VERSION, Cadence
from evaluation.detection import Delay, Scenario, delays, stocks, threshold
from evaluation.replay import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wijkpols simulate`."""
    usual = Scenario()
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="recordings (.npz) with segments labelled stress or rest"
    )
    parser.add_argument("--volunteers", type=int, default=usual.volunteers, metavar="N", help="of one district (100)")
    parser.add_argument("--affected", default=None, metavar="K,K,…", help="how many of them (0 to all, in six steps)")
    parser.add_argument("--weekly", action="store_true", help="weekly figures in place of daily ones")
    parser.add_argument("--minutes", type=int, default=usual.minutes, help="scorable minutes a day (240)")
    parser.add_argument("--stress-minutes", type=int, default=usual.stress_minutes, help="of an affected one (60)")
    parser.add_argument("--districts", type=int, default=usual.districts, help="one false alarm a year in so many (20)")
    parser.add_argument("--horizon", type=int, default=usual.horizon, help="windows to wait for a signal (90)")
    parser.add_argument("--runs", type=int, default=usual.runs, help="repetitions per point (20)")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of the volunteers; the noise has none")
    parser.add_argument("--out", type=Path, default=Path("detection-delay"), metavar="NAME", help="of .csv and .png")


def run(args: argparse.Namespace) -> int:
    """Simulate, print and write; returns the exit code. Raises Fault with what to do."""
    scenario = _scenario(args)
    people = stocks(load(args.folder))
    windows = "weeks" if args.weekly else "days"
    _say(f"{scenario.volunteers} volunteers, {len(people)} recordings, {scenario.stress_minutes} of {scenario.minutes}"
         f" minutes a day of recorded stress, method {METHOD_VERSION}")  # fmt: skip
    _say(f"CUSUM k = .5, h = {threshold(scenario):.2f}: one false alarm a year in {scenario.districts} districts")
    _say(f"{'affected':>8} {'drop':>6} {'signals':>8}   {windows} to the signal: median [quartiles]")
    found: list[Delay] = []
    for delay in delays(scenario, people):
        found.append(delay)
        _say(f"{delay.affected:>8} {delay.drop:>6.1f} {delay.detected:>4}/{delay.runs:<3}   "
             f"{_days(delay.median)} [{_days(delay.q1)} {_days(delay.q3)}]")  # fmt: skip
    try:
        _write_csv(args.out.with_suffix(".csv"), found)
        _draw(args.out.with_suffix(".png"), found, scenario, windows)
    except OSError as fault:
        raise Fault(f"{args.out}: cannot be written ({fault.strerror}); choose another --out") from None
    _say(f"written: {args.out.with_suffix('.csv')}, {args.out.with_suffix('.png')}")
    return 0


def _scenario(args: argparse.Namespace) -> Scenario:
    n = args.volunteers
    try:
        affected = (
            tuple(dict.fromkeys(n * share // 100 for share in (0, 10, 25, 50, 75, 100)))
            if args.affected is None
            else tuple(int(part) for part in args.affected.split(","))
        )
    except ValueError:
        raise UsageFault("--affected needs whole numbers with commas, like 0,10,50") from None
    return Scenario(
        volunteers=n,
        affected=affected,
        cadence=Cadence.WEEKLY if args.weekly else Cadence.DAILY,
        minutes=args.minutes,
        stress_minutes=args.stress_minutes,
        districts=args.districts,
        horizon=args.horizon,
        runs=args.runs,
        seed=args.seed,
    )


def _write_csv(path: Path, found: Sequence[Delay]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("affected", "drop_points", "runs", "detected", "delay_q1", "delay_median", "delay_q3"))
        for d in found:
            spread = ("" if math.isinf(value) else f"{value:g}" for value in (d.q1, d.median, d.q3))
            writer.writerow((d.affected, f"{d.drop:.2f}", d.runs, d.detected, *spread))


def _draw(path: Path, found: Sequence[Delay], scenario: Scenario, windows: str) -> None:
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    shown = [d for d in found if math.isfinite(d.median)]
    axes.fill_between(
        [d.affected for d in shown], [d.q1 for d in shown], [min(d.q3, scenario.horizon) for d in shown], alpha=0.2,
        label="quartiles of the runs",
    )  # fmt: skip
    axes.plot([d.affected for d in shown], [d.median for d in shown], marker="o", label="median")
    missed = [d for d in found if math.isinf(d.median)]
    axes.plot([d.affected for d in missed], [scenario.horizon] * len(missed), "x", color="0.4",
              label=f"no signal within {scenario.horizon} {windows} in half of the runs")  # fmt: skip
    stress = f"{scenario.stress_minutes} of {scenario.minutes} minutes a day"
    axes.set(
        xlabel=f"of {scenario.volunteers} volunteers under stress, {stress}",
        ylabel=f"{windows} until the signal", ylim=(0, scenario.horizon * 1.05),
        title=f"Detection delay; one false alarm a year in {scenario.districts} districts",
    )  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _days(value: float) -> str:
    return "–" if math.isinf(value) else f"{value:.0f}"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
