"""`wijkpols attack`: every attack on a throw-away city, with broken engines that each must catch."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from attacks.cells import homogeneity, merges, over_totals, small_cells, withdrawal
from attacks.city import City
from attacks.distinguish import membership, profile_membership, value_change
from attacks.published import averaging, timestamps
from attacks.reconstruction import reconstruction
from attacks.verdict import Verdict
from contracts.ports import UsageFault
from contracts.release import Cadence

#: Draws on each side of a membership attack: the short form, for every change, and the long one.
RUNS_SHORT: Final = 1_500
RUNS_LONG: Final = 250_000
_RUNS_MIN: Final = 1_000
_REQUESTS: Final = {False: 110, True: 1_000}
_REPEATS: Final = {False: 4, True: 20}
_CITIES: Final = {False: 3, True: 50}
_DRAWS: Final = {False: 100, True: 5_000}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `wijkpols attack`."""
    parser.add_argument("--json", action="store_true", help="print a list of verdicts as JSON")
    parser.add_argument("--long", action="store_true", help="the long form: 1,000 requests, 250,000 draws a side")
    parser.add_argument("--runs", type=int, metavar="N", help=f"draws on each side (short {RUNS_SHORT})")
    parser.add_argument("--url", metavar="URL", help="put the attacks on the API to this address too")


def run(args: argparse.Namespace) -> int:
    """Attack; 1 when an attack succeeds or a broken engine is not caught. Raises Fault or UsageFault."""
    runs = args.runs if args.runs is not None else RUNS_LONG if args.long else RUNS_SHORT
    if runs < _RUNS_MIN:
        raise UsageFault(f"--runs needs {_RUNS_MIN} or more: fewer tell nothing")
    if args.url is not None and not args.url.startswith(("http://", "https://")):
        raise UsageFault("--url needs an address like http://127.0.0.1:8000")
    verdicts = []
    for verdict in attack_all(runs=runs, long=args.long, url=args.url):
        verdicts.append(verdict)
        if not args.json:
            sys.stdout.write(told(verdict) + "\n")
            sys.stdout.flush()
    if args.json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(verdicts), indent=2).decode() + "\n")
    return 0 if all(verdict.passed and verdict.mutant_caught for verdict in verdicts) else 1


def attack_all(*, runs: int = RUNS_SHORT, long: bool = False, url: str | None = None) -> Iterator[Verdict]:
    """Every attack, one after another. `url`: an API that is running, for the attacks that need only that."""
    with tempfile.TemporaryDirectory(prefix="wijkpols-attack-") as folder, City(Path(folder)) as city:
        city.live(range(3))
        city.run_after(2)
        yield averaging(city, _REQUESTS[long])
        yield timestamps(city)
        if url is not None:
            yield msgspec.structs.replace(averaging(city, _REQUESTS[long], url=url), attack=f"averaging at {url}")
            yield msgspec.structs.replace(timestamps(city, url=url), attack=f"timestamps at {url}")
        yield withdrawal(city)
    yield merges()
    yield over_totals(_CITIES[long])
    yield small_cells(_DRAWS[long])
    yield homogeneity()
    yield membership(runs)
    yield profile_membership(runs)
    yield value_change(runs)
    yield reconstruction(Cadence.WEEKLY, 5 * _REPEATS[long])
    yield reconstruction(Cadence.DAILY, _REPEATS[long])


def told(verdict: Verdict) -> str:
    """One line for a person."""
    passed = "held  " if verdict.passed else "BROKEN"
    caught = "caught" if verdict.mutant_caught else "NOT CAUGHT"
    return (
        f"{passed}  {verdict.attack:<42}  {verdict.measured:<9g}  limit {verdict.limit:<9g}  {caught}: {verdict.mutant}"
    )
