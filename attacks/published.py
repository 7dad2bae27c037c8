"""Attacks through the API: asking often, in every form and role, and reading clocks out of the answers."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import httpx
import msgspec
import numpy as np

from analytics.mechanism import draw, noise
from analytics.release import cells_of
from analytics.release_log import ReleaseLog
from api.sources import Charge
from attacks.city import City
from attacks.verdict import Verdict, judge
from contracts.ports import TIMEZONE, Fault
from contracts.release import Area, Budget, Cadence, Cell, Metric, ProfileBlock, ReasonCount, Window

_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?")
_MEASURED: Final = ("area", "metric", "window", "method")
#: (path and query, Accept) of every form in which a district's figures are given; {code} is the district's.
_FORMS: Final = (
    ("/v1/releases?district={code}", "application/json"),
    ("/v1/releases?district={code}", "text/csv"),
    ("/v1/releases?district={code}&format=csv&dialect=nl", "*/*"),
    ("/v1/releases?district={code}&metric=safe&limit=10000", "*/*"),
    ("/v1/reasons?district={code}", "application/json"),
    ("/v1/profiles?district={code}", "application/json"),
    ("/v1/totals", "application/json"),
    ("/wijken/{code}", "text/html"),
    ("/en/wijken/{code}", "text/html"),
    ("/stad", "text/html"),
)
#: Headers that may tell when something was computed.
_CLOCK_HEADERS: Final = ("last-modified", "age", "expires")
_TIMEOUT_S: Final = 30.0


class FreshNoise:
    """Broken: a source that draws again each time it is asked."""

    def __init__(self, log: ReleaseLog, *, late: int | None = None) -> None:
        """`late`: instead of drawing, tell this instant (unix seconds) as the end of each window."""
        self._log = log
        self._late = late
        self._people = np.full((82, 3), 7000, dtype=np.int64)

    def cells(
        self,
        *,
        districts: Collection[str] | None = None,
        metrics: Collection[Metric] | None = None,
        start: int | None = None,
        end: int | None = None,
        derived: bool = True,
    ) -> list[Cell]:
        """See `api.sources.ReleaseSource`."""
        held = self._log.cells(districts=districts, metrics=metrics, start=start, end=end, derived=derived)
        if self._late is not None:
            return [msgspec.structs.replace(cell, end=self._late) for cell in held]
        return [self._again(cell) for cell in held]

    def reasons(
        self, *, districts: Collection[str] | None = None, start: int | None = None, end: int | None = None
    ) -> list[ReasonCount]:
        """See `api.sources.ReleaseSource`."""
        return self._log.reasons(districts=districts, start=start, end=end)

    def profiles(
        self, *, districts: Collection[str] | None = None, start: int | None = None, end: int | None = None
    ) -> list[ProfileBlock]:
        """See `api.sources.ReleaseSource`."""
        return self._log.profiles(districts=districts, start=start, end=end)

    def totals(self, *, start: int | None = None, end: int | None = None) -> list[Cell]:
        """See `api.sources.ReleaseSource`."""
        return self._log.totals(start=start, end=end)

    def budget(self, now: float) -> Budget:
        """See `api.sources.ReleaseSource`."""
        return self._log.budget(now)

    def ledger(self) -> Sequence[Charge]:
        """See `api.sources.ReleaseSource`."""
        return self._log.ledger()

    def plan(self) -> tuple[Area, ...]:
        """See `api.sources.ReleaseSource`."""
        return self._log.plan()

    def _again(self, cell: Cell) -> Cell:
        area = Area(code=cell.area, districts=cell.districts, cadence=Cadence.DAILY)
        window = Window(name=cell.window, cadence=Cadence.DAILY, start=cell.start, end=cell.end)
        fresh = cells_of(draw(self._people, Cadence.DAILY), noise(Cadence.DAILY), area=area, window=window)[0]
        return msgspec.structs.replace(fresh, metric=cell.metric)


def averaging(city: City, requests: int, *, url: str | None = None) -> Verdict:
    """Ask over and over, in every form and role, and average the noise away: there is one value, so nothing goes."""
    with city.serving() as own:
        measured = _values_per_figure(url or own, requests, city.bearer)
    with city.serving(FreshNoise(city.log)) as broken:
        caught = _values_per_figure(broken, max(3 * len(_FORMS), requests // 20), city.bearer)
    return judge("averaging", measured=measured, limit=1, mutants={"the noise is drawn again for each request": caught})


def timestamps(city: City, *, url: str | None = None) -> Verdict:
    """Find any instant in the answers that is not a local midnight: it would tell when somebody was measured."""
    with city.serving() as own:
        measured = _clock_readings(url or own)
    with city.serving(FreshNoise(city.log, late=int(city.clock.now()))) as broken:
        caught = _clock_readings(broken)
    return judge("timestamps", measured=measured, limit=0, mutants={"a window ends when it was computed": caught})


def _values_per_figure(url: str, requests: int, bearer: str) -> int:
    """The most different values (or page texts) that one figure had."""
    seen: dict[str, set[str]] = {}
    roles: tuple[dict[str, str], ...] = (
        {},
        {"Authorization": f"Bearer {bearer}"},
        {"Authorization": "Bearer nobody", "Cookie": "role=staff"},
    )
    with httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False) as http:
        code = _ask(http, "/v1/districts").json()["districts"][0]["code"]
        for number in range(requests):
            path, accept = _FORMS[number % len(_FORMS)]
            role = roles[number // len(_FORMS) % len(roles)]
            answer = _ask(http, path.format(code=code), Accept=accept, **role)
            for figure, value in _figures(path, answer):
                seen.setdefault(figure, set()).add(value)
    if not any("|" in figure for figure in seen):
        raise Fault("the API has no figures yet to attack: release some first")
    return max(map(len, seen.values()))


def _figures(path: str, answer: httpx.Response) -> Iterator[tuple[str, str]]:
    kind = answer.headers["content-type"].split(";")[0]
    if kind == "text/html" or "/releases" not in path:
        yield path, hashlib.sha256(answer.content).hexdigest()
        return
    dutch = "dialect=nl" in path
    rows: list[dict[str, Any]]
    if kind == "text/csv":
        rows = list(csv.DictReader(io.StringIO(answer.text), delimiter=";" if dutch else ","))
    else:
        rows = answer.json()["releases"]
    for row in rows:
        for field in ("status", "value", "margin", "participants"):
            value = "" if row[field] is None else str(row[field]).replace(",", "." if dutch else ",")
            yield "|".join([*(str(row[name]) for name in _MEASURED), field]), value


def _clock_readings(url: str) -> int:
    """How many different instants, other than local midnights, stand in what is told of figures."""
    found: set[str] = set()
    zone = ZoneInfo(TIMEZONE)
    with httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False) as http:
        for path in (
            "/v1/releases?limit=10000",
            "/v1/releases?format=csv&limit=10000",
            "/v1/budget",
            "/v1/districts",
            "/v1/reasons",
            "/v1/profiles",
            "/v1/totals",
        ):
            answer = _ask(http, path)
            found |= {name for name in _CLOCK_HEADERS if name in answer.headers}
            for text in _INSTANT.findall(answer.text):
                local = datetime.fromisoformat(text).astimezone(zone)
                if (local.hour, local.minute, local.second, local.microsecond) != (0, 0, 0, 0):
                    found.add(text)
    return len(found)


def _ask(http: httpx.Client, path: str, **headers: str) -> httpx.Response:
    try:
        answer = http.get(path, headers=headers)
        answer.raise_for_status()
    except httpx.HTTPStatusError as fault:
        raise Fault(f"the API answered {fault.response.status_code} to {path}: see its log") from None
    except httpx.HTTPError:
        raise Fault(f"{http.base_url} cannot be reached: check --url") from None
    return answer
