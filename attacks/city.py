"""A throw-away city: the real registry, store, analytics and API in a folder of its own, with made-up volunteers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from analytics.release import Mechanism
from analytics.release_log import ReleaseLog
from analytics.runner import Analytics, RunSummary
from analytics.windows import instant
from api.app import Registry, build, listen, server
from api.settings import read_settings
from api.sources import ReleaseSource
from contracts.consent import Purpose
from contracts.district import UTRECHT
from contracts.ports import ConsentDirectory, StoredReading, StoredReport
from contracts.reading import Category, Reading, SelfReport
from ingest.app import open_store

MONDAY: Final = date(2026, 11, 2)
#: Enough for a daily area, for a weekly one, and too few for any of their own.
DAILY, WEEKLY, SMALL = (district.code for district in UTRECHT[:3])
PEOPLE: Final = {DAILY: 82, WEEKLY: 34, SMALL: 3}
#: Minutes of a volunteer's day: just enough to count.
_MINUTES: Final = 31
_BAND_KEY: Final = "00112233445566778899aabbccddeeff"
_CHOICES: Final = {Purpose.DISTRICT_INDEX: tuple(Category)}
_HOUR: Final = 3600


class SetClock:
    """A clock that is set by hand."""

    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        """Unix seconds."""
        return self.time


class City:
    """Three districts of Utrecht with volunteers, some days of readings, and its plan. A context manager."""

    def __init__(self, folder: Path) -> None:
        """Everything is written below `folder`, which must exist."""
        self.clock = SetClock(instant(MONDAY) - 12 * _HOUR)
        self.settings = read_settings(
            registry_url=f"sqlite:///{folder / 'registry.sqlite'}",
            broker_url="",
            band_key=_BAND_KEY,
            controller_name="An attacked city",
        )
        self._stack = contextlib.ExitStack()
        self._store_url = f"duckdb:///{folder / 'readings.duckdb'}"
        self.people: dict[str, str] = {}  # pseudonym -> district
        self.bearer = ""  # of one volunteer

    def __enter__(self) -> City:
        self.registry = Registry(self.settings, clock=self.clock)
        self.log = ReleaseLog(self.registry.engine)
        self.store = self._stack.enter_context(contextlib.closing(open_store(self._store_url, clock=self.clock)))
        self._enrol()
        self.analytics().make_plan(self.registry.districts.all(), holds_from=MONDAY)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self.registry.engine.dispose()

    def analytics(
        self,
        *,
        consents: ConsentDirectory | None = None,
        mechanism: Mechanism | None = None,
        log: ReleaseLog | None = None,
    ) -> Analytics:
        """The real analytics, with a broken part in it when one is given."""
        return Analytics(
            store=self.store,
            consents=consents or self.registry.ledger,
            log=log or self.log,
            clock=self.clock,
            mechanism=mechanism,
        )

    def live(self, days: Iterable[int]) -> None:
        """Write everybody's readings and answers of these days (0 is the first Monday)."""
        for offset in days:
            rows = [self._day(name, code, MONDAY + timedelta(days=offset)) for name, code in self.people.items()]
            self.store.write([r for readings, _ in rows for r in readings], [report for _, report in rows])

    def run_after(self, days: int, analytics: Analytics | None = None) -> RunSummary:
        """Set the clock to seven hours after the end of so many days, and release what is due."""
        self.clock.time = instant(MONDAY + timedelta(days=days)) + 7 * _HOUR
        return (analytics or self.analytics()).run()

    @contextlib.contextmanager
    def serving(self, releases: ReleaseSource | None = None) -> Iterator[str]:
        """The real API on a port of this machine; yields its address."""
        with (
            build(self.settings, releases=releases or self.log, clock=self.clock, registry=self.registry) as app,
            listen("127.0.0.1", 0) as bound,
        ):
            web = server(app)
            thread = threading.Thread(target=web.run, kwargs={"sockets": [bound]}, name="attacked", daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{bound.getsockname()[1]}"
            finally:
                web.should_exit = True
                thread.join(10)

    def _enrol(self) -> None:
        for code, people in PEOPLE.items():
            for number in range(people):
                claim = self.registry.ledger.add_band(f"{code}-{number}")
                made = self.registry.ledger.enrol(claim, district=code, adult=True, language="nl", choices=_CHOICES)
                self.people[made.record.principal_id] = code
                self.bearer = made.bearer

    @staticmethod
    def _day(name: str, code: str, day: date) -> tuple[Sequence[StoredReading], StoredReport]:
        begin, mark = instant(day, 9), 6 + hash_of(name) % 4
        readings = [
            StoredReading(
                code,
                Reading(pseudonym=name, minute=begin + 60 * i, hr=68.0 + (i + mark) % 7, motion=0.01, worn=1.0),
            )
            for i in range(_MINUTES)
        ]
        return readings, StoredReport(
            code, SelfReport(pseudonym=name, at=begin + 3 * _HOUR, safe=mark, happy=15 - mark)
        )


def hash_of(name: str) -> int:
    """A small number out of a pseudonym, the same each time."""
    return sum(name.encode())
