"""GET /v1/reasons: published and withheld counts of a week, from a real server."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import httpx
import pytest
from api_support import ManualClock, MemoryReleases, cell, midnight, registry_for, serving, settings_for

from api.app import create_app
from contracts.reading import Reason
from contracts.release import METHOD_VERSION, WITHHELD_REASON, Area, Cadence, ProfileBlock, ReasonCount

MONDAY = date(2026, 11, 16)


def counted(code: str, people: float | None) -> ReasonCount:
    return ReasonCount(
        area=code,
        districts=(code,),
        reason=Reason.LIGHT,
        window="2026-W47",
        start=midnight(MONDAY),
        end=midnight(MONDAY + timedelta(days=7)),
        method=METHOD_VERSION,
        status="withheld" if people is None else "published",
        people=people,
        margin=None if people is None else 9.8,
    )


def block(code: str, value: float | None) -> ProfileBlock:
    return ProfileBlock(
        area=code,
        districts=(code,),
        from_hour=18,
        to_hour=21,
        window="2026-W47",
        start=midnight(MONDAY),
        end=midnight(MONDAY + timedelta(days=7)),
        method=METHOD_VERSION,
        status="withheld" if value is None else "published",
        value=value,
        margin=None if value is None else 2.6,
        participants=None if value is None else 91.0,
        reason=WITHHELD_REASON if value is None else None,
    )


@pytest.fixture
def client(tmp_path: Path):
    registry, source = registry_for(tmp_path), MemoryReleases()
    source.counted = [counted("WK034401", 61.0), counted("WK034402", None)]
    source.by_hour = [block("WK034401", 1.234), block("WK034403", None)]
    city = Area(code="city", districts=("WK034401", "WK034403"), cadence=Cadence.WEEKLY)
    source.summed = [cell(city, "safe", MONDAY, 71.2)]
    app = create_app(
        ledger=registry.ledger,
        releases=source,
        districts=registry.districts,
        access_log=registry.access_log,
        publisher=None,
        own_data=None,
        clock=ManualClock(),
        settings=settings_for(tmp_path),
    )
    with serving(app) as url, httpx.Client(base_url=url, trust_env=False) as http:
        yield http


def test_reasons_of_the_last_weeks_are_given_and_a_withheld_one_has_no_number(client: httpx.Client):
    reasons = client.get("/v1/reasons").json()["reasons"]
    assert [(r["districts"], r["reason"], r["status"], r["people"], r["margin"]) for r in reasons] == [
        (["WK034401"], "light", "published", 61.0, 9.8),
        (["WK034402"], "light", "withheld", None, None),
    ]


def test_reasons_can_be_asked_for_a_district_and_from_a_day(client: httpx.Client):
    assert len(client.get("/v1/reasons", params={"district": "WK034401"}).json()["reasons"]) == 1
    assert client.get("/v1/reasons", params={"from": "2026-11-17"}).json()["reasons"] == []
    assert client.get("/v1/reasons", params={"from": "9999-12-31"}).status_code == 400


def test_a_week_by_hours_is_given_for_a_district_and_a_withheld_one_has_no_number(client: httpx.Client):
    (shown,) = client.get("/v1/profiles", params={"district": "WK034401"}).json()["profiles"]
    assert (shown["fromHour"], shown["toHour"], shown["value"], shown["margin"]) == (18, 21, 1.2, 2.6)
    (hidden,) = client.get("/v1/profiles", params={"district": "WK034403"}).json()["profiles"]
    assert (hidden["status"], hidden["value"], hidden["margin"], hidden["participants"], hidden["reason"]) == (
        "withheld", None, None, None, "too-few-participants"
    )  # fmt: skip
    assert client.get("/v1/profiles", params={"from": "2026-11-17"}).json()["profiles"] == []


def test_the_citys_week_says_which_districts_are_in_it(client: httpx.Client):
    (total,) = client.get("/v1/totals").json()["totals"]
    assert (total["area"], total["districts"], total["window"], total["value"]) == (
        "city",
        ["WK034401", "WK034403"],
        "2026-W47",
        71.2,
    )
    assert client.get("/v1/totals", params={"from": "2026-11-17"}).json()["totals"] == []
