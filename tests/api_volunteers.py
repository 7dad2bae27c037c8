"""A running API with volunteers in it, each with pages, a token and data that can be told apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import httpx

from analytics.own import own_calm
from api.accounts import Accounts, Cost
from api.app import create_app
from api.consent_publisher import ConsentPublisher
from contracts.ports import Holdings, ReadingStore, StoredReading, StoredReport
from contracts.reading import Reading, SelfReport
from tests.api_support import NOW, ManualClock, MemoryReleases, registry_for, settings_for, utrecht

SECRET = "vier losse woorden hier"
YES = {"district-index.heart": "yes", "district-index.self-report": "yes"}
CHEAP = Cost(n=2**4, r=8, p=1)


class PeopleStore:
    """The own-data side of a ReadingStore: two days for each person, with a heart rate of their own."""

    def __init__(self) -> None:
        self.rates: dict[str, float] = {}
        self.asked: list[str] = []

    def person(self, pseudonym: str) -> tuple[list[StoredReading], list[StoredReport]]:
        self.asked.append(pseudonym)
        rate = self.rates.get(pseudonym)
        if rate is None:
            return [], []
        minutes = [NOW - 86_400 - 60 * n for n in range(120, 0, -1)]
        return (
            [
                StoredReading(
                    "WK034403",
                    Reading(pseudonym=pseudonym, minute=m, hr=rate, rr_coverage=0.9, worn=1.0, eda=2.0, motion=0.01),
                )
                for m in minutes
            ],
            [StoredReport("WK034403", SelfReport(pseudonym=pseudonym, at=minutes[5], safe=8, happy=7))],
        )

    def holdings(self, _pseudonym: str | None = None) -> Holdings:
        return Holdings(0, 0)


class Person(NamedTuple):
    """One volunteer who enrolled by the pages."""

    code: str
    words: str
    pseudonym: str
    http: httpx.Client


class Town:
    """The parts of a running API, with cheap hashes."""

    def __init__(
        self,
        folder: Path,
        *,
        publisher: ConsentPublisher | None = None,
        own_data: ReadingStore | None = None,
        **settings: str,
    ) -> None:
        self.clock = ManualClock()
        self.settings = settings_for(folder, **settings)
        self.registry = registry_for(folder, clock=self.clock)
        self.releases: MemoryReleases = utrecht()
        self.store = PeopleStore()
        self.accounts = Accounts(self.registry.engine, clock=self.clock, cost=CHEAP)
        self.app = create_app(
            ledger=self.registry.ledger,
            releases=self.releases,
            districts=self.registry.districts,
            access_log=self.registry.access_log,
            publisher=publisher,
            own_data=own_data or self.store,  # type: ignore[arg-type]
            own_calm=own_calm,
            clock=self.clock,
            settings=self.settings,
            notices=self.registry.notices,
            accounts=self.accounts,
        )
        self.serial = 0

    def code(self) -> str:
        self.serial += 1
        return self.registry.ledger.add_band(f"WP-{self.serial:06}")

    def enrol(self, url: str, *, choices: dict[str, str] | None = None, base: str = "") -> Person:
        """Somebody who fills in the forms."""
        code = self.code()
        http = httpx.Client(base_url=url, follow_redirects=True)
        step = http.post(f"{base}/mijn/meedoen", data={"code": code, "adult": "yes"})
        assert step.status_code == 200, step.text
        form = {"code": code, "adult": "yes", "district": "WK034403", "secret": SECRET, "again": SECRET}
        step = http.post(
            f"{base}/mijn/kiezen", data=form | (YES if choices is None else choices), follow_redirects=False
        )
        assert step.status_code == 303, step.text
        cookie = step.headers["set-cookie"].partition(";")[0]  # one for https alone, too
        done = http.get(step.headers["location"], headers={"Cookie": cookie})
        words = re.search(r'id="herstelwoorden">([A-Z2-7-]+)<', done.text)
        assert words is not None
        pseudonym = self.registry.ledger.wearer_of(code)
        assert pseudonym is not None
        self.store.rates[pseudonym] = 60.0 + self.serial
        return Person(code, words[1], pseudonym, http)


def csrf_in(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1]


def post(person: Person, path: str, **fields: str) -> httpx.Response:
    """Press a button of the own page."""
    return person.http.post(path, data={"csrf": csrf_in(person.http.get("/mijn").text), **fields})
