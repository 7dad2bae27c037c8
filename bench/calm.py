"""What calm is made of and how steady it is: variants, controls, sensitivity and cross-validation over people.

    python bench/calm.py [FOLDER]        (default: ../shared/data/stress_predict beside the project)

Every variant runs through the real code (`evaluation.replay`, `analytics`); only what its name says is changed.
Medians over people of three areas: stress against rest, stress against later rest, placebo.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from analytics import rises, scores
from analytics.baseline import Constants
from analytics.evaluate import Person, Windows, label, measure
from contracts.ports import ReadingColumns
from evaluation import replay
from evaluation.replay import Labelled, load
from gateway import epochs

AREAS = ("stress_vs_rest", "stress_vs_later_rest", "placebo")


@contextmanager
def changed(place: Any, **values: Any) -> Iterator[None]:
    before = {name: getattr(place, name) for name in values}
    for name, value in values.items():
        setattr(place, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(place, name, value)


def areas(people: Sequence[Labelled]) -> np.ndarray:
    """[people, 3]"""
    return table([measure(one.windows()) for one in people])


def table(measured: Sequence[Person]) -> np.ndarray:
    return np.array([[getattr(person, name) for name in AREAS] for person in measured])


def show(name: str, values: np.ndarray) -> None:
    medians, means = np.nanmedian(values, axis=0), np.nanmean(values, axis=0)
    middle, mean = (" ".join(f"{value:.3f}" for value in row) for row in (medians, means))
    print(f"  {name:<52} {middle}   mean {mean}")


def with_fields(people: Sequence[Labelled], change: Callable[[ReadingColumns], dict[str, Any]]) -> list[Labelled]:
    return [
        one._replace(readings=msgspec.structs.replace(one.readings, fields=one.readings.fields | change(one.readings)))
        for one in people
    ]


def told_rates(folder: Path) -> list[Labelled]:
    """The rate that the band tells, in place of its beats."""

    def without_beats(samples: Any) -> epochs.Signals:
        return msgspec.structs.replace(signals_of(samples), beat_t=None, rr=None)

    signals_of = replay.signals_of
    with changed(replay, signals_of=without_beats):
        return load(folder)


def absent(readings: ReadingColumns) -> np.ndarray:
    return np.full(len(readings.minute), np.nan)


def variants(people: Sequence[Labelled], folder: Path) -> None:
    print("the formula, and without a part of it")
    show("as evaluated: public constants, causal", areas(people))
    show("against the recording itself, as on a first day", table(
        [measure(label(one.readings.minute, one.calm(first_day=True), one.segments)) for one in people]))  # fmt: skip
    show("skin alone", areas(with_fields(people, lambda r: {"hr": absent(r)})))
    show("heart alone (minutes without beats not scored)", areas(with_fields(people, lambda r: {"eda": absent(r)})))
    show("the band's own rate instead of its beats", areas(told_rates(folder)))
    show("its own rate where beats are missing", areas(with_fields(people, lambda r: {"rr_coverage": np.where(
        r.fields["rr_coverage"] > 0, r.fields["rr_coverage"], np.nan)})))  # fmt: skip
    show("moving minutes too", areas(with_fields(people, lambda r: {"motion": np.zeros(len(r.minute))})))


def by_kind(people: Sequence[Labelled], folder: Path) -> None:
    print("one kind of stress against all rest (median, quartiles)")
    names = {one.name: np.load(folder / f"{one.name}.npz")["seg_name"] for one in people}
    for kind in ("stroop", "interview", "hypervent"):
        found = []
        for one in people:
            own = [s for s, name in zip(one.segments, names[one.name], strict=True) if not s.stress or name == kind]
            found.append(measure(label(one.readings.minute, one.calm(), own)).stress_vs_rest)
        low, middle, high = np.nanquantile(found, (0.25, 0.5, 0.75))
        print(f"  {kind:<52} {middle:.3f} [{low:.2f} {high:.2f}]")


def controls(people: Sequence[Labelled]) -> None:
    print("controls: what needs no body, or no time")

    def of(value: Callable[[Labelled], np.ndarray]) -> np.ndarray:
        return table([measure(label(p.readings.minute, value(p).astype(float), p.segments)) for p in people])

    show("minutes since the beginning", of(lambda p: p.readings.minute - p.readings.minute[0]))
    show("motion alone", of(lambda p: -p.readings.fields["motion"]))
    random = np.random.default_rng(5)
    walks = [areas(with_fields(people, lambda r: walk(r, random))) for _ in range(20)]
    show("random walks for skin and heart (20 times)", np.median(walks, axis=0))


def walk(readings: ReadingColumns, random: np.random.Generator) -> dict[str, np.ndarray]:
    n = len(readings.minute)
    heart = 75 + np.cumsum(random.normal(0, 1.5, n)) + random.normal(0, 2, n)
    skin = np.exp(np.cumsum(random.normal(0, 0.12, n)) - 1)
    return {"eda": skin, "hr": np.where(np.isfinite(readings.fields["hr"]), heart, np.nan)}


def sensitivity(people: Sequence[Labelled]) -> None:
    print("sensitivity: one constant changed (the frozen ones: 15 min, 20 min, .1 g, (0, .35), (5, 6))")
    for minutes in (5, 10, 20, 30):
        with changed(rises, SKIN_MEMORY_MINUTES=float(minutes)):
            show(f"the skin's memory {minutes} min", areas(people))
    for minutes in (10, 15):  # more than 20 would need another quantile than the one between the two lowest
        with changed(rises, REST_MINUTES=minutes):
            show(f"the heart's rest out of {minutes} min", areas(people))
    for motion in (0.03, 0.05, 0.2):
        with changed(scores, STILL_G_MAX=motion):
            show(f"still below {motion} g", areas(people))
    for centre, scale in (((0.0, 5.0), (0.2, 6.0)), ((0.0, 5.0), (0.5, 6.0)), ((0.0, 5.0), (0.35, 4.0)),
                          ((0.0, 5.0), (0.35, 8.0)), ((0.0, 3.0), (0.35, 6.0)), ((0.0, 7.0), (0.35, 6.0))):  # fmt: skip
        with changed(replay, CONSTANTS=Constants(centre, scale)):
            show(f"centres {centre}, scales {scale}", areas(people))


def cross_validated(people: Sequence[Labelled]) -> None:
    """The choice of three constants made on some people and measured on the others."""
    grid = list(itertools.product((5.0, 10.0, 15.0, 20.0, 30.0), (0.2, 0.35, 0.5), (4.0, 6.0, 9.0)))
    values = []
    for memory, skin, heart in grid:
        with (
            changed(rises, SKIN_MEMORY_MINUTES=memory),
            changed(replay, CONSTANTS=Constants((0.0, 5.0), (skin, heart))),
        ):
            values.append(areas(people))
    found = np.array(values)  # [grid, people, 3]

    def best(chosen: np.ndarray) -> int:
        middle = np.nanmedian(found[:, chosen], axis=1)
        drift = np.maximum(np.abs(middle[:, 2] - 0.5) - 0.05, 0)
        return int(np.argmax(np.nanmean(found[:, chosen, :2], axis=(1, 2)) - drift))

    everyone = np.arange(len(people))
    held_out = np.array([found[best(everyone[everyone != one]), one] for one in everyone])
    print(f"cross-validation over people: {len(grid)} choices of memory and scales")
    show("chosen without the person that is measured", held_out)
    middle = np.nanmedian(found, axis=1)
    print(f"  {'all choices, lowest to highest of the medians':<52} " + "  ".join(
        f"{low:.3f}-{high:.3f}" for low, high in zip(middle.min(axis=0), middle.max(axis=0), strict=True)))  # fmt: skip
    random = np.random.default_rng(0)
    halves = []
    for _ in range(1000):
        order = random.permutation(everyone)
        chosen, others = np.split(order, [(len(order) + 1) // 2])
        halves.append(np.nanmedian(found[best(chosen), others], axis=0))
    half = np.array(halves)
    reached = (half[:, 0] >= 0.85).mean(), (half[:, 1] >= 0.85).mean(), (np.abs(half[:, 2] - 0.5) <= 0.1).mean()
    print("  chosen on a random half, measured on the other: share of 1000 halves that reach .85 / .85 / .40 to .60: "
          + " / ".join(f"{share:.0%}" for share in reached))  # fmt: skip


def windows_moved(folder: Path) -> None:
    """Where the minutes begin is chance: the recordings moved by parts of a minute."""
    print("the grid of minutes moved")
    for seconds in (0, 15, 30, 45):
        moved: list[Windows] = []
        for recording in replay.load_folder(folder):
            samples = recording.whole.shifted(seconds)
            found = replay.table_of(samples)
            if found is None:
                continue
            own = tuple(s._replace(start=s.start + seconds, end=s.end + seconds)
                        for s in replay.segments_of(folder / f"{recording.name}.npz"))  # fmt: skip
            moved.append(Labelled(recording.name, replay.columns_of([(recording.name, found)]), own).windows())
        show(f"by {seconds} s", table([measure(one) for one in moved]))


def main() -> int:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "stress_predict"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=beside)
    folder = parser.parse_args().folder
    people = load(folder)
    print(f"{len(people)} people; medians over people: stress against rest, against later rest, placebo")
    variants(people, folder)
    by_kind(people, folder)
    windows_moved(folder)
    controls(people)
    sensitivity(people)
    cross_validated(people)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
