"""Where analytics is put together, and its commands: `wijkpols analytics run | schedule | plan | budget`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date

from sqlalchemy.exc import DBAPIError

from analytics.mechanism import epsilon
from analytics.release_log import ReleaseLog, open_engine
from analytics.runner import GRACE_S, Analytics, Refusal, RunSummary
from analytics.schedule import keep_releasing
from analytics.settings import Settings
from contracts.district import UTRECHT, District
from contracts.ports import Clock, ConsentDirectory, Fault, ReadingStore, StoreUnavailable, SystemClock, UsageFault

__all__ = ["Analytics", "Refusal", "RunSummary", "add_arguments", "build", "run"]


def build(
    registry_url: str,
    store: ReadingStore,
    consents: ConsentDirectory,
    clock: Clock,
    *,
    grace_s: float = GRACE_S,
) -> Analytics:
    """Analytics on a registry database. Raises UsageFault or Fault when that cannot be used."""
    log = ReleaseLog(open_engine(registry_url))
    return Analytics(store=store, consents=consents, log=log, clock=clock, grace_s=grace_s)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wijkpols analytics`."""
    commands = parser.add_subparsers(dest="analytics_command", required=True, metavar="run|schedule|plan|budget")
    commands.add_parser("run", help="release every complete window that has not been released yet")
    commands.add_parser("schedule", help="release whenever it is due, until it is stopped; any number may run at once")
    planning = commands.add_parser("plan", help="show the public release plan, or make a new one")
    planning.add_argument("--set", action="store_true", help="make a plan out of who is enrolled now")
    planning.add_argument("--from", dest="holds_from", metavar="YYYY-MM-DD", help="the first day it holds (today)")
    commands.add_parser("budget", help="show what the releases cost a volunteer at most")


def run(
    args: argparse.Namespace,
    *,
    consents: ConsentDirectory,
    open_store: Callable[[str], ReadingStore],
    districts: Sequence[District] = UTRECHT,
    clock: Clock | None = None,
) -> int:
    """Carry out a command; returns the exit code. Raises Fault with what to do."""
    settings = Settings()
    clock = clock or SystemClock()
    if args.analytics_command == "budget":
        return _show_budget(ReleaseLog(open_engine(settings.registry_url)), clock)
    if args.analytics_command == "plan" and not args.set:
        return _show_plan(ReleaseLog(open_engine(settings.registry_url)))
    if args.analytics_command == "schedule":
        return _schedule(lambda: _run(settings, open_store, consents, clock), clock)
    try:
        with closing(open_store(settings.store_url)) as store:
            analytics = build(settings.registry_url, store, consents, clock)
            if args.analytics_command == "plan":
                analytics.make_plan(districts, holds_from=_day(args.holds_from))
                return _show_plan(ReleaseLog(open_engine(settings.registry_url)))
            return _show_run(analytics.run())
    except StoreUnavailable as fault:
        raise Fault("the store of readings cannot be reached: check WIJKPOLS_STORE_URL and try again") from fault
    except DBAPIError as fault:
        raise Fault("the registry is busy or out of reach: check WIJKPOLS_REGISTRY_URL and try again") from fault


def _run(
    settings: Settings, open_store: Callable[[str], ReadingStore], consents: ConsentDirectory, clock: Clock
) -> None:
    """One run with a store of its own, so that a DuckDB file is free for ingest in between."""
    with closing(open_store(settings.store_url)) as store:
        _show_run(build(settings.registry_url, store, consents, clock).run())
    sys.stdout.flush()


def _schedule(run: Callable[[], None], clock: Clock) -> int:
    """Until SIGTERM or Ctrl-C, which let a run end: a release is one transaction either way."""
    stopped = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopped.set())
    keep_releasing(run, clock=clock, wait=stopped.wait, grace_s=GRACE_S)
    return 0


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise UsageFault("--from needs a day like 2026-11-23") from None


def _show_run(summary: RunSummary) -> int:
    for cell in summary.published:
        _say(f"published  {cell.window}  {cell.area}  {cell.metric:<5}  {cell.value:5.1f} ± {cell.margin:.1f}")
    for cell in summary.withheld:
        _say(f"withheld   {cell.window}  {cell.area}  {cell.metric:<5}  {cell.reason}")
    for refusal in summary.refused:
        _say(
            f"refused    {refusal.window}  {refusal.area}  budget: {refusal.remaining:g} left, "
            f"{refusal.requested:g} needed"
        )
    if not any(summary):
        _say("nothing to release: every complete window has been released")
    return 0


def _show_plan(log: ReleaseLog) -> int:
    plans = log.plans()
    if not plans:
        raise UsageFault("there is no release plan yet: run 'wijkpols analytics plan --set'")
    for plan in plans:
        _say(f"from {plan.holds_from}:")
        for area in plan.areas:
            _say(f"  {area.cadence:<6}  {area.code}")
    return 0


def _show_budget(log: ReleaseLog, clock: Clock) -> int:
    budget = log.budget(clock.now())
    spent = f"ε = {epsilon(budget.rho_spent):.2f} at δ = 1e-6" if budget.rho_spent else "nothing yet"
    _say(
        f"at most ρ = {budget.rho_spent:g} in any {budget.days} days ({spent}); "
        f"the cap is ρ = {budget.rho_cap:g} (ε = {epsilon(budget.rho_cap):.2f})"
    )
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
