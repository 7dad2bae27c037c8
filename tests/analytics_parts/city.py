"""A small city in memory: a store, a consent directory and volunteers, for the tests of analytics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from analytics.release_log import ReleaseLog, open_engine
from analytics.runner import Analytics
from analytics.windows import instant
from contracts.consent import Cover, Purpose, new_pseudonym
from contracts.district import UTRECHT
from contracts.ports import Holdings, ReadingColumns, ReportColumns, StoredReading, StoredReport
from contracts.reading import FIELDS, Category, Reading, Reason, SelfReport
from contracts.release import Area, Cadence
from tests.registrykit.databases import url_of

MONDAY = date(2026, 11, 2)
WEST, NOORDWEST, OVERVECHT = (district.code for district in UTRECHT[:3])
#: West releases daily, Noordwest weekly.
AREAS = (
    Area(code=WEST, districts=(WEST,), cadence=Cadence.DAILY),
    Area(code=NOORDWEST, districts=(NOORDWEST,), cadence=Cadence.WEEKLY),
)


def pseudonym(number: int) -> str:
    return new_pseudonym(number.to_bytes(16, "big"))


class SetClock:
    """A clock that the test owns."""

    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        return self.time


class Consents:
    """A consent directory that the test owns."""

    def __init__(self, covers: Iterable[Cover] = ()) -> None:
        self.covers = {cover.pseudonym: cover for cover in covers}

    def covered(self, purpose: Purpose, now: float) -> Mapping[str, Cover]:
        assert now > 0
        return {name: cover for name, cover in self.covers.items() if purpose in cover.purposes}


def cover(
    number: int, district: str = WEST, *, categories: Sequence[Category] = tuple(Category), valid_from: int = 0
) -> Cover:
    return Cover(
        pseudonym=pseudonym(number),
        district=district,
        categories=frozenset(categories),
        purposes={Purpose.DISTRICT_INDEX: tuple(categories)},
        valid_from=valid_from,
    )


class MemoryStore:
    """A ReadingStore in a dict."""

    def __init__(self) -> None:
        self._readings: dict[tuple[str, int], StoredReading] = {}
        self._reports: dict[tuple[str, int], StoredReport] = {}

    def write(self, readings: Sequence[StoredReading], reports: Sequence[StoredReport]) -> None:
        self._readings |= {(row.reading.pseudonym, row.reading.minute): row for row in readings}
        self._reports |= {(row.report.pseudonym, row.report.at): row for row in reports}

    def readings(self, start: int, end: int, *, rows_max: int = 2_000_000) -> Iterator[ReadingColumns]:
        rows = [self._readings[key] for key in sorted(self._readings) if start <= key[1] < end]
        chunk: list[StoredReading] = []
        for i, row in enumerate(rows):
            chunk.append(row)
            ends = i + 1 == len(rows) or rows[i + 1].reading.pseudonym != row.reading.pseudonym
            if ends and (len(chunk) >= rows_max or i + 1 == len(rows)):
                yield columns(chunk)
                chunk = []

    def reports(self, start: int, end: int) -> ReportColumns:
        rows = [self._reports[key] for key in sorted(self._reports) if start <= key[1] < end]
        people, districts, person, district = _named([(r.report.pseudonym, r.district) for r in rows])
        return ReportColumns(
            pseudonyms=people,
            districts=districts,
            person=person,
            district=district,
            at=np.array([r.report.at for r in rows], np.int64),
            safe=np.array([r.report.safe for r in rows], np.int16),
            happy=np.array([r.report.happy for r in rows], np.int16),
            reason=np.array([r.report.reason for r in rows], np.object_),
        )

    def person(self, pseudonym: str) -> tuple[list[StoredReading], list[StoredReport]]:
        return (
            [self._readings[key] for key in sorted(self._readings) if key[0] == pseudonym],
            [self._reports[key] for key in sorted(self._reports) if key[0] == pseudonym],
        )

    def holdings(self, pseudonym: str | None = None) -> Holdings:
        if pseudonym is None:
            return Holdings(len(self._readings), len(self._reports))
        readings, reports = self.person(pseudonym)
        return Holdings(len(readings), len(reports))

    def erase(self, pseudonym: str) -> Holdings:
        held = self.holdings(pseudonym)
        self._readings = {key: row for key, row in self._readings.items() if key[0] != pseudonym}
        self._reports = {key: row for key, row in self._reports.items() if key[0] != pseudonym}
        return held

    def close(self) -> None:
        """Nothing to let go of."""


def columns(rows: Sequence[StoredReading]) -> ReadingColumns:
    people, districts, person, district = _named([(r.reading.pseudonym, r.district) for r in rows])
    return ReadingColumns(
        pseudonyms=people,
        districts=districts,
        person=person,
        district=district,
        minute=np.array([r.reading.minute for r in rows], np.int64),
        fields={
            name: np.array([np.nan if (v := getattr(r.reading, name)) is None else v for r in rows], np.float64)
            for name in FIELDS
        },
    )


def _named(
    pairs: Sequence[tuple[str, str]],
) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray, np.ndarray]:
    people = tuple(dict.fromkeys(name for name, _ in pairs))
    districts = tuple(sorted({code for _, code in pairs}))
    person_at = {name: i for i, name in enumerate(people)}
    district_at = {code: i for i, code in enumerate(districts)}
    return (
        people,
        districts,
        np.array([person_at[name] for name, _ in pairs], np.int32),
        np.array([district_at[code] for _, code in pairs], np.int32),
    )


def day_of(
    number: int,
    day: date,
    *,
    district: str = WEST,
    minutes: int = 40,
    hr: float = 70.0,
    safe: int = 7,
    happy: int = 8,
    answers: int = 1,
    reason: Reason | None = None,
) -> tuple[list[StoredReading], list[StoredReport]]:
    """One day of one volunteer: still minutes from nine in the morning, and answers at noon."""
    begin = instant(day, 9)
    readings = [
        StoredReading(
            district,
            Reading(
                pseudonym=pseudonym(number),
                minute=begin + 60 * i,
                hr=hr + i % 7,
                eda=1.0 + 0.01 * (i % 5),
                scr=float(i % 3),
                motion=0.01,
                worn=1.0,
            ),
        )
        for i in range(minutes)
    ]
    reports = [
        StoredReport(
            district,
            SelfReport(pseudonym=pseudonym(number), at=instant(day, 12) + i, safe=safe, happy=happy, reason=reason),
        )
        for i in range(answers)
    ]
    return readings, reports


def fill(store: MemoryStore, people: Iterable[int], days: int, *, district: str = WEST, first: date = MONDAY) -> None:
    for number in people:
        for offset in range(days):
            store.write(*day_of(number, first + timedelta(days=offset), district=district))


def registry(folder: Path) -> str:
    return url_of(folder)


def planned_log(folder: Path, *, first: date = MONDAY, areas: Sequence[Area] = AREAS) -> ReleaseLog:
    log = ReleaseLog(open_engine(registry(folder)))
    log.set_plan(areas, holds_from=first)
    return log


def analytics_of(
    log: ReleaseLog, store: MemoryStore, consents: Consents, *, now: float, grace_s: float = 0
) -> Analytics:
    return Analytics(store=store, consents=consents, log=log, clock=SetClock(now), grace_s=grace_s)
