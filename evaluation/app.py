"""The command `wijkpols evaluate`: what calm is worth on labelled recordings, as a table or JSON."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any, Final

from analytics.evaluate import Person, bootstrap, coverage, measure, over_people
from contracts.release import METHOD_VERSION
from evaluation.replay import load

_TOLD: Final = {
    "stress_vs_rest": "stress against rest",
    "stress_vs_later_rest": "stress against later rest",
    "placebo": "placebo: later against first rest",
    "shuffled": "labels shuffled over the windows",
    "rolled": "labels moved round in time",
}
_FOOT: Final = """\
AUC of calm per person, then over people; .5 is chance. A window is a UTC minute wholly inside a labelled segment.
Causal: no minute knows of a later one, nothing is fitted to a person, public constants only (method {method}).
The interval is that of the median when people are drawn anew. A laboratory's stress is not that of a street."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wijkpols evaluate`."""
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="recordings (.npz) with segments labelled stress or rest"
    )
    parser.add_argument("--json", action="store_true", help="the figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the figures; returns the exit code. Raises Fault with what to do about a folder that cannot be used."""
    people = {labelled.name: measure(labelled.windows()) for labelled in load(args.folder)}
    sys.stdout.write((json.dumps(_json(people)) if args.json else _text(people)) + "\n")
    return 0


def _json(people: dict[str, Person]) -> dict[str, Any]:
    measured = list(people.values())
    spreads = {name: _finite(spread._asdict()) for name, spread in over_people(measured).items()}
    return {**spreads, "coverage": _finite(coverage(measured))}


def _finite(figures: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: what cannot be told is null."""
    return {name: None if math.isnan(value) else value for name, value in figures.items()}


def _text(people: dict[str, Person]) -> str:
    measured = list(people.values())
    lines = [f"{'person':<10} {'stress/rest':>11} {'/later rest':>11} {'placebo':>8}   scored in stress, rest"]
    lines += [
        f"{name:<10} {_two(p.stress_vs_rest):>11} {_two(p.stress_vs_later_rest):>11} {_two(p.placebo):>8}"
        f"   {p.covered_stress:>4.0%} {p.covered_rest:>5.0%}"
        for name, p in people.items()
    ]
    lines += ["", f"{'over people':<36} median  [quartiles]   95 %         people"]
    for name, spread in over_people(measured).items():
        low, high = bootstrap(measured, lambda person, name=name: getattr(person, name))  # type: ignore[misc]
        lines.append(
            f"{_TOLD[name]:<36} {_three(spread.median):>6}  [{_two(spread.q1)} {_two(spread.q3)}]"
            f"  {_two(low)} to {_two(high)}  {spread.people:>3}"
        )
    share = coverage(measured)
    lines += [f"{'share of windows scored':<36} {share['stress']:.0%} in stress, {share['rest']:.0%} in rest", ""]
    return "\n".join(lines) + _FOOT.format(method=METHOD_VERSION)


def _two(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _three(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
