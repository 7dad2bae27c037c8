"""One run: every complete window that is not in the log yet, oldest first, scored and released by the plan.

Runs may overlap, be killed and be repeated: the log lets each area and window have one draw.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import date
from math import cos, radians
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analytics import budget
from analytics.cluster import Scorer, score_here
from analytics.coverage import complete, covered_readings, covered_reports
from analytics.plan import Plan, plan
from analytics.profile import Deviations, profile_of
from analytics.reasons import reasons_of
from analytics.records import Scores, records_of
from analytics.release import Mechanism, release, release_week
from analytics.release_log import AlreadyReleased, ReleaseLog
from analytics.scores import first_day_read, score_reports
from analytics.sums import Partial, merge
from analytics.windows import Calendar, complete_windows, days_of, instant, local_day
from contracts.consent import Cover, Purpose
from contracts.district import District
from contracts.ports import Clock, ConsentDirectory, ReadingStore, ReportColumns, UsageFault
from contracts.reading import RETENTION_DAYS
from contracts.release import Area, Cadence, Cell, Window

#: How long after its end a window is computed, so that gateways with a bad uplink can catch up, in seconds.
GRACE_S: Final = 6 * 3600.0
_LOG: Final = logging.getLogger(__name__)


class Refusal(NamedTuple):
    """A release that the budget did not allow."""

    area: str
    window: str
    remaining: float
    requested: float


class RunSummary(NamedTuple):
    """What one run released: measured cells only, and what was refused."""

    published: list[Cell]
    withheld: list[Cell]
    refused: list[Refusal]


class Analytics:
    """Store -> release log. Holds nothing between runs."""

    def __init__(
        self,
        *,
        store: ReadingStore,
        consents: ConsentDirectory,
        log: ReleaseLog,
        clock: Clock,
        grace_s: float = GRACE_S,
        mechanism: Mechanism | None = None,
        scorer: Scorer = score_here,
    ) -> None:
        """`grace_s`: how long after its end a window waits for late readings. Raises ValueError below 0."""
        if grace_s < 0:  # who moves after a release could then be in a window that overlaps with it
            raise ValueError("a window is released after its end")
        self._store = store
        self._consents = consents
        self._log = log
        self._clock = clock
        self._grace_s = grace_s
        self._scorer = scorer
        self._mechanism = mechanism  # None: the one that there is

    def make_plan(self, districts: Sequence[District], *, holds_from: date | None = None) -> Plan:
        """Make and keep the release plan out of who is enrolled now; by default it holds from today on."""
        now = self._clock.now()
        enrolled: dict[str, int] = {}
        for cover in self._consents.covered(Purpose.DISTRICT_INDEX, now).values():
            if complete(cover):
                enrolled[cover.district] = enrolled.get(cover.district, 0) + 1
        areas = plan(enrolled, {district.code: _flat(district) for district in districts})
        return self._log.set_plan(areas, holds_from=holds_from or local_day(now))

    def run(self) -> RunSummary:
        """Release what is due. Raises UsageFault without a plan, and whatever the store or the directory raises."""
        now = self._clock.now()
        plans = self._log.plans()
        if not plans:
            raise UsageFault("there is no release plan yet: run 'wijkpols analytics plan --set'")
        summary = RunSummary([], [], [])
        due = pending(plans, self._log.released(), now=now, grace_s=self._grace_s)
        if not due:
            return summary
        covers = self._covers(now)
        partial, reports = self._score(_days([window for window, _, _ in due]), covers)
        for window, held, areas in due:
            # Asked anew for each window: a withdrawal leaves the person out of the very next one.
            latest = self._covers(self._clock.now())
            still = {name: cover for name, cover in latest.items() if covers.get(name) == cover}
            records = records_of(partial, window, plan=held, covers=still)
            weekly = window.cadence is Cadence.WEEKLY
            reasons = reasons_of(partial, reports, window, plan=held, covers=still) if weekly else {}
            profile = profile_of(partial, window, plan=held, covers=still) if weekly else {}
            for area in areas:
                try:
                    cells = self._release(
                        area, window, records.get(area.code), reasons.get(area.code), profile.get(area.code)
                    )
                except AlreadyReleased:
                    continue  # another scheduler was first
                except budget.InsufficientBudget as fault:
                    summary.refused.append(Refusal(area.code, window.name, fault.remaining, fault.requested))
                    continue
                for cell in cells:
                    (summary.published if cell.status == "published" else summary.withheld).append(cell)
        _LOG.info(
            "released %d figures, withheld %d, refused %d releases for want of budget",
            len(summary.published), len(summary.withheld), len(summary.refused),
        )  # fmt: skip
        return summary

    def _release(
        self,
        area: Area,
        window: Window,
        scores: Scores | None,
        reasons: NDArray[np.int64] | None,
        profile: Deviations | None,
    ) -> Sequence[Cell]:
        """An area has scores in its own cadence's windows alone, reasons in every week, a profile if it is daily."""
        if scores is not None:
            return release(
                self._log, area=area, window=window, scores=scores, reasons=reasons, mechanism=self._mechanism
            )
        if reasons is not None and profile is not None:
            release_week(self._log, area=area, week=window, reasons=reasons, profile=profile)
        return ()

    def _covers(self, now: float) -> dict[str, Cover]:
        covered = self._consents.covered(Purpose.DISTRICT_INDEX, now)
        return {pseudonym: cover for pseudonym, cover in covered.items() if complete(cover)}

    def _score(self, days: range, covers: Mapping[str, Cover]) -> tuple[Partial, ReportColumns]:
        """Sums per person and day, and the answers, of the days and nobody but the covered."""
        scored = Calendar(first=days.start, last=days.stop - 1)
        start = instant(date.fromordinal(first_day_read(days)))
        chunks = (covered_readings(chunk, covers) for chunk in self._store.readings(start, scored.end))
        partial = self._scorer(chunks, days)
        reports = covered_reports(self._store.reports(scored.start, scored.end), covers)
        return merge(partial, score_reports(reports, days)), reports


def pending(
    plans: Sequence[Plan], released: set[tuple[str, str]], *, now: float, grace_s: float
) -> list[tuple[Window, Plan, list[Area]]]:
    """Complete windows with areas that have had no draw, oldest first, each with the plan that holds for it.

    A window counts when it begins on or after the plan's first day, ends before the next plan's, and its readings
    are all still kept.
    """
    kept_from = now - RETENTION_DAYS * 86_400
    found = []
    for index, held in enumerate(plans):
        start = max(instant(held.holds_from), kept_from)
        end = now - grace_s
        if index + 1 < len(plans):
            end = min(end, instant(plans[index + 1].holds_from))
        for cadence in Cadence:
            for window in complete_windows(cadence, start, end):
                areas = [
                    area
                    for area in held.areas
                    # Of a daily area a week's window holds its reasons.
                    if cadence in (area.cadence, Cadence.WEEKLY)
                    and not any((d, window.name) in released for d in area.districts)
                ]
                if areas:
                    found.append((window, held, areas))
    return sorted(found, key=lambda due: (due[0].end, due[0].name))


def _days(windows: Sequence[Window]) -> range:
    spans = [days_of(window) for window in windows]
    return range(min(span.start for span in spans), max(span.stop for span in spans))


def _flat(district: District) -> tuple[float, float]:
    """A district's centre in a plane: a degree of longitude shrinks with the latitude."""
    x, y = district.centre()
    return (x * cos(radians(y)), y) if district.polygons else (x, y)
