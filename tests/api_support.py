"""An API to test: a registry on disk, a release source in memory, time that the test owns, a real server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Collection, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from analytics.budget import Entry
from api.app import Registry, listen, server
from api.settings import Settings
from contracts.consent import Purpose
from contracts.ports import TIMEZONE, Holdings, StoredReading, StoredReport
from contracts.reading import Category, Reading, Reason, SelfReport
from contracts.release import (
    DERIVED,
    METHOD_VERSION,
    WITHHELD_REASON,
    Area,
    Budget,
    Cadence,
    Cell,
    Metric,
    ProfileBlock,
    ReasonCount,
)
from tests.registrykit.databases import url_of

#: Monday 23 November 2026, 09:00 in Utrecht.
NOW = int(datetime(2026, 11, 23, 9, tzinfo=ZoneInfo(TIMEZONE)).timestamp())
BAND_KEY = "0123456789abcdef" * 2
EVERYTHING = {purpose.value: [category.value for category in Category] for purpose in Purpose}
CHOICES = {Purpose.DISTRICT_INDEX: (Category.HEART, Category.SELF_REPORT)}


class ManualClock:
    """Time stands still until the test moves it."""

    def __init__(self, now: float = NOW) -> None:
        self.time = float(now)

    def now(self) -> float:
        return self.time


class MemoryReleases:
    """A ReleaseSource that holds what it is given."""

    def __init__(self, cells: Collection[Cell] = (), plan: tuple[Area, ...] = (), spent: float = 0.63) -> None:
        self.held = list(cells)
        self.areas = plan
        self.spent = spent
        self.counted: list[ReasonCount] = []
        self.summed: list[Cell] = []
        self.by_hour: list[ProfileBlock] = []
        self.charged: list[Entry] = []

    def cells(
        self,
        *,
        districts: Collection[str] | None = None,
        metrics: Collection[Metric] | None = None,
        start: int | None = None,
        end: int | None = None,
        derived: bool = True,
    ) -> list[Cell]:
        return [
            c
            for c in self.held
            if (districts is None or set(districts) & set(c.districts))
            and (metrics is None or c.metric in metrics)
            and (start is None or c.start >= start)
            and (end is None or c.start < end)
            and (derived or c.metric not in DERIVED)
        ]

    def reasons(
        self, *, districts: Collection[str] | None = None, start: int | None = None, end: int | None = None
    ) -> list[ReasonCount]:
        return [r for r in self.counted if _asked(r, districts, start, end)]

    def profiles(
        self, *, districts: Collection[str] | None = None, start: int | None = None, end: int | None = None
    ) -> list[ProfileBlock]:
        return [b for b in self.by_hour if _asked(b, districts, start, end)]

    def totals(self, *, start: int | None = None, end: int | None = None) -> list[Cell]:
        return [c for c in self.summed if (start is None or c.start >= start) and (end is None or c.start < end)]

    def budget(self, now: float) -> Budget:
        assert now > 0
        return Budget(rho_spent=self.spent, rho_cap=1.5)

    def ledger(self) -> list[Entry]:
        return self.charged

    def plan(self) -> tuple[Area, ...]:
        return self.areas


def _asked(
    figure: ReasonCount | ProfileBlock, districts: Collection[str] | None, start: int | None, end: int | None
) -> bool:
    return (
        (districts is None or bool(set(districts) & set(figure.districts)))
        and (start is None or figure.start >= start)
        and (end is None or figure.start < end)
    )


class MemoryStore:
    """The own-data side of a ReadingStore, with one person in it."""

    def __init__(self, pseudonym: str) -> None:
        self.pseudonym = pseudonym
        self.asked: list[str] = []

    def person(self, pseudonym: str) -> tuple[list[StoredReading], list[StoredReport]]:
        self.asked.append(pseudonym)
        if pseudonym != self.pseudonym:
            return [], []
        return (
            [StoredReading("WK034403", Reading(pseudonym=pseudonym, minute=NOW - 60, hr=71.5))],
            [StoredReport("WK034403", SelfReport(pseudonym=pseudonym, at=NOW - 30, safe=8, happy=7))],
        )

    def holdings(self, pseudonym: str | None = None) -> Holdings:
        return Holdings(1, 1) if pseudonym in (None, self.pseudonym) else Holdings(0, 0)


def midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(TIMEZONE)).timestamp())


def cell(area: Area, metric: Metric, day: date, value: float | None, margin: float = 4.2, count: float = 52.3) -> Cell:
    """A cell of the day, or of the ISO week that begins on that day; no value means withheld."""
    weekly = area.cadence is Cadence.WEEKLY
    year, week, _ = day.isocalendar()
    return Cell(
        area=area.code,
        districts=area.districts,
        metric=metric,
        window=f"{year}-W{week:02}" if weekly else day.isoformat(),
        start=midnight(day),
        end=midnight(day + timedelta(days=7 if weekly else 1)),
        method=METHOD_VERSION,
        status="withheld" if value is None else "published",
        value=value,
        margin=None if value is None else margin,
        participants=None if value is None else count,
        reason=WITHHELD_REASON if value is None else None,
    )


def utrecht() -> MemoryReleases:
    """Three weeks of figures: daily and weekly districts, a merge, one that is always withheld, one without any."""
    daily, weekly = Cadence.DAILY, Cadence.WEEKLY
    codes = {
        "WK034401": daily, "WK034402": weekly, "WK034403": daily, "WK034404+WK034405": weekly, "WK034406": daily,
        "WK034407": weekly, "WK034408": weekly, "WK034409": daily,
    }  # fmt: skip
    plan = tuple(Area(code=c, districts=tuple(c.split("+")), cadence=k) for c, k in codes.items())
    cells = []
    for number, area in enumerate(plan):
        days = range(21) if area.cadence is daily else range(0, 21, 7)
        for offset in days:
            day = date(2026, 11, 2) + timedelta(days=offset)
            wave = ((number * 7 + offset * 3) % 11) - 5
            dip = -9 if area.code == "WK034403" and offset in (13, 14) else 0
            values = {"safe": 72.4 + wave - 5 * (number % 3) + dip, "calm": 51.3 - wave / 2 + dip, "happy": 70.2 + wave}
            values["safety"] = 0.7 * values["safe"] + 0.3 * values["calm"]
            values["happiness"] = values["happy"]
            values["wellbeing"] = (values["safety"] * values["happiness"]) ** 0.5
            withheld = area.code == "WK034408" or (number == 0 and offset in (5, 6, 12))
            margin = 3.1 + number % 4 * 1.7
            cells += [cell(area, m, day, None if withheld else v, margin) for m, v in values.items()]  # type: ignore[arg-type]
    source = MemoryReleases(cells, plan)
    source.counted, source.by_hour, source.summed = _weeks(plan)
    return source


def _weeks(plan: tuple[Area, ...]) -> tuple[list[ReasonCount], list[ProfileBlock], list[Cell]]:
    """Two weeks of reasons (a third of them published), of profiles of daily areas (all but the first), of the city."""
    reasons, profiles, totals = [], [], []
    city = Area(code="city", districts=("WK034401", "WK034403", "WK034404", "WK034405"), cadence=Cadence.WEEKLY)
    for week, monday in enumerate((date(2026, 11, 9), date(2026, 11, 16))):
        shared = {
            "window": f"2026-W{46 + week}",
            "start": midnight(monday),
            "end": midnight(monday + timedelta(days=7)),
            "method": METHOD_VERSION,
        }
        for number, area in enumerate(plan):
            of = {"area": area.code, "districts": area.districts, **shared}
            for index, reason in enumerate(Reason):
                told = (number + index) % 3 == 0 and area.code != "WK034408"
                people, margin = (35.0 + 7 * index + week, 9.8) if told else (None, None)
                status = "published" if told else "withheld"
                reasons.append(ReasonCount(reason=reason, status=status, people=people, margin=margin, **of))
            if area.cadence is Cadence.DAILY:
                profiles += [_block(of, hour, number > 0, 1.4 * (15 - hour) + week) for hour in (9, 12, 15, 18, 21)]
        values = {"safe": 71.2, "calm": 50.6, "happy": 70.1, "safety": 65.0, "happiness": 70.1, "wellbeing": 67.5}
        totals += [cell(city, m, monday, v + week, 1.9, 512.0) for m, v in values.items()]  # type: ignore[arg-type]
    return reasons, profiles, totals


def _block(of: dict[str, object], hour: int, told: bool, value: float) -> ProfileBlock:
    return ProfileBlock(
        from_hour=hour,
        to_hour=hour + 3,
        status="published" if told else "withheld",
        value=max(-10.0, min(10.0, value)) if told else None,
        margin=2.6 if told else None,
        participants=96.0 if told else None,
        reason=None if told else WITHHELD_REASON,
        **of,  # type: ignore[arg-type]
    )


def settings_for(folder: Path, **given: object) -> Settings:
    """Settings of a test: a registry of its own, no broker unless it is given."""
    values: dict[str, object] = {
        "registry_url": url_of(folder),
        "broker_url": "",
        "band_key": BAND_KEY,
        "controller_name": "Gemeente Utrecht",
        "contact_email": "privacy@utrecht.example",
    }
    return Settings(**(values | given))


def registry_for(folder: Path, *, clock: ManualClock | None = None, **given: object) -> Registry:
    return Registry(settings_for(folder, **given), clock=clock or ManualClock())


@contextlib.contextmanager
def serving(app: object, bound: socket.socket | None = None) -> Iterator[str]:
    """A real server in a thread; yields its address."""
    bound = bound or listen("127.0.0.1", 0)
    uvicorn_server = server(app)  # type: ignore[arg-type]
    thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        uvicorn_server.should_exit = True
        thread.join(10)
        bound.close()
