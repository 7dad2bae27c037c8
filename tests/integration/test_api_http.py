"""The API as a client meets it: a real server, a real registry, figures in memory."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import Registry, create_app
from contracts.ports import StoreUnavailable
from tests.api_support import (
    EVERYTHING,
    NOW,
    ManualClock,
    MemoryReleases,
    MemoryStore,
    registry_for,
    serving,
    settings_for,
    utrecht,
)

PROBLEM = "application/problem+json"


class House:
    """A running API and what is behind it."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.registry: Registry = registry_for(folder, clock=self.clock)
        self.store = MemoryStore("")
        self.releases: MemoryReleases = utrecht()
        self.app = create_app(
            ledger=self.registry.ledger,
            releases=self.releases,
            districts=self.registry.districts,
            access_log=self.registry.access_log,
            publisher=None,
            own_data=self.store,  # type: ignore[arg-type]
            clock=self.clock,
            settings=settings_for(folder, public_url="https://wijkpols.example"),
        )
        self.serial = 0

    def enrolment(self, **changes: object) -> dict[str, object]:
        self.serial += 1
        code = self.registry.ledger.add_band(f"WP-{self.serial:06}")
        body = {"claimCode": code, "district": "WK034403", "adult": True, "language": "nl", "choices": EVERYTHING}
        return body | changes


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def client(house: House) -> Iterator[httpx.Client]:
    with serving(house.app) as url, httpx.Client(base_url=url) as found:
        yield found


def volunteer(house: House, client: httpx.Client, **changes: object) -> tuple[dict[str, str], dict[str, Any]]:
    answer = client.post("/v1/enrolments", json=house.enrolment(**changes))
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['bearerToken']}"}, answer.json()["receipt"]


# What everybody may see


def test_districts_are_given_by_code_with_their_area_and_cadence(client: httpx.Client) -> None:
    found = client.get("/v1/districts").json()["districts"]
    assert [d["code"] for d in found] == sorted(d["code"] for d in found)
    assert found[3] == {
        "code": "WK034404", "name": "Noordoost", "boundaryYear": 2024, "area": "WK034404+WK034405",
        "cadence": "weekly", "hasGeometry": False,
    }  # fmt: skip
    assert found[9]["area"] is None
    assert client.get("/v1/districts/WK034404").json() == found[3]


@pytest.mark.parametrize("how", [{"params": {"f": "geojson"}}, {"headers": {"Accept": "application/geo+json"}}])
def test_districts_are_given_as_geojson_with_a_note_on_tiles(client: httpx.Client, how: dict[str, Any]) -> None:
    answer = client.get("/v1/districts", **how)
    assert answer.headers["content-type"] == "application/geo+json"
    document = answer.json()
    assert document["type"] == "FeatureCollection"
    assert document["numberReturned"] == len(document["features"]) == 10
    feature = document["features"][0]
    ring = feature["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]
    signed_area = sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring))
    assert signed_area > 0  # RFC 7946: outer rings run counterclockwise
    assert "not the district's boundary" in feature["properties"]["note"]


def test_releases_hold_published_and_withheld_figures_of_one_shape(client: httpx.Client) -> None:
    found = client.get("/v1/releases", params={"limit": 10_000}).json()["releases"]
    withheld = [cell for cell in found if cell["status"] == "withheld"]
    assert withheld
    for cell in withheld:
        assert (cell["value"], cell["margin"], cell["participants"]) == (None, None, None)
        assert cell["reason"] == "too-few-participants"
    assert {tuple(sorted(cell)) for cell in found} == {tuple(sorted(withheld[0]))}


def test_releases_are_filtered_by_district_metric_and_day(client: httpx.Client) -> None:
    query = {"district": "WK034403", "metric": "safe", "from": "2026-11-04", "to": "2026-11-06"}
    found = client.get("/v1/releases", params=query).json()["releases"]
    assert [cell["window"] for cell in found] == ["2026-11-04", "2026-11-05", "2026-11-06"]
    assert {cell["area"] for cell in found} == {"WK034403"}
    merged = client.get("/v1/releases", params={"district": "WK034405", "metric": "safe"}).json()["releases"]
    assert {cell["area"] for cell in merged} == {"WK034404+WK034405"}


def test_pages_of_releases_follow_one_another_without_gap_or_repeat(client: httpx.Client) -> None:
    everything = client.get("/v1/releases", params={"limit": 10_000}).json()["releases"]
    address, found = "/v1/releases?limit=97&metric=safe&metric=calm", []
    while address:
        answer = client.get(address)
        found += answer.json()["releases"]
        links = answer.json()["links"]
        address = links[0]["href"] if links else ""
        assert ("next" in answer.links) == bool(address)
    assert found == [cell for cell in everything if cell["metric"] in ("safe", "calm")]


def test_every_format_gives_the_same_rounded_value(client: httpx.Client) -> None:
    query = {"district": "WK034403", "metric": "wellbeing", "to": "2026-11-02"}
    cell = client.get("/v1/releases", params=query).json()["releases"][0]
    assert cell["value"] == round(cell["value"], 1)
    plain = client.get("/v1/releases", params=query, headers={"Accept": "text/csv"})
    assert plain.headers["content-type"].startswith("text/csv")
    row = next(csv.DictReader(io.StringIO(plain.text)))
    assert float(row["value"]) == cell["value"]
    dutch = client.get("/v1/releases", params=query | {"format": "csv", "dialect": "nl"})
    row = next(csv.DictReader(io.StringIO(dutch.text), delimiter=";"))
    assert row["value"] == f"{cell['value']:.1f}".replace(".", ",")
    page = client.get("/wijken/WK034403").text
    assert row["value"] in page


def test_asking_a_thousand_times_gives_one_answer(client: httpx.Client) -> None:
    answers = {client.get("/v1/releases", params={"limit": 5}).content for _ in range(20)}
    assert len(answers) == 1


def test_transparency_tells_fields_budget_and_counts_of_figures(client: httpx.Client) -> None:
    record = client.get("/v1/transparency").json()
    assert record["controller"] == "Gemeente Utrecht"
    assert {c["category"] for c in record["categories"]} == {"heart", "skin", "motion", "self-report"}
    assert record["retentionDays"] == 35
    assert record["figures"][0] == {"metric": "safe", "published": 90, "withheld": {"too-few-participants": 6}}
    assert record["budget"] == client.get("/v1/budget").json()
    assert record["budget"]["epsilonCap"] == pytest.approx(9.85, abs=0.01)
    assert len(record["noticeSha256"]["nl"]) == 64


def test_the_openapi_document_meets_the_design_rules_that_a_linter_checks(client: httpx.Client) -> None:
    answer = client.get("/v1/openapi.json", headers={"Origin": "https://elsewhere.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    document = answer.json()
    assert document["openapi"].startswith("3.")
    assert document["servers"] == [{"url": "https://wijkpols.example/v1"}]
    assert {"name", "url", "email"} <= set(document["info"]["contact"])
    for path, operations in document["paths"].items():
        assert not path.endswith("/")
        assert path == path.lower()
        for method, operation in operations.items():
            assert operation["summary"]
            assert operation["description"]
            assert operation["operationId"]
            if method != "get" or operation.get("parameters"):
                assert "400" in operation["responses"], path
            for parameter in operation.get("parameters", ()):
                assert parameter["description"], (path, parameter["name"])
                assert "_" not in parameter["name"]
            for status, response in operation["responses"].items():
                assert "API-Version" in response["headers"]
                if status[0] in "45":
                    assert PROBLEM in response["content"], (path, status)
            assert "422" not in operation["responses"]
    for name, schema in document["components"]["schemas"].items():
        for field, told in schema.get("properties", {}).items():
            assert "_" not in field, (name, field)
            assert "description" in told or "$ref" in told or "const" in told or "items" in told, (name, field)
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}:
        assert reference in document["components"]["schemas"]


# Errors


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1", 404),
        ("GET", "/v1/", 404),
        ("GET", "/v1/districts/", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/districts/WK000000", 404),
        ("DELETE", "/v1/districts", 405),
        ("GET", "/v1/me", 401),
        ("GET", "/v1/releases?metric=joy", 400),
        ("GET", "/v1/releases?limit=0", 400),
        ("GET", "/v1/releases?from=yesterday", 400),
        ("GET", "/v1/releases?to=9999-12-31", 400),
        ("GET", "/v1/releases?after=%21%21", 400),
        ("GET", "/v1/districts?f=shapefile", 400),
        ("GET", "/docs", 404),
        ("GET", "/redoc", 404),
        ("GET", "/openapi.json", 404),
    ],
)
def test_errors_are_problems_and_carry_the_version(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["API-Version"] == "1.0.0"
    if path.startswith("/v1"):
        assert answer.headers["content-type"] == PROBLEM
        assert answer.json()["status"] == status
        assert set(answer.json()) == {"type", "title", "status", "detail"}


@pytest.mark.parametrize(
    "body",
    [
        b"not json SECRET",
        json.dumps({"claimCode": "SECRET", "district": "SECRET"}).encode(),
        json.dumps({"SECRET": 1, "claimCode": "x" * 20, "district": "WK034403", "adult": True}).encode(),
        json.dumps(
            {"claimCode": "x" * 20, "district": "WK034403", "adult": True, "choices": {"SECRET": ["heart"]}}
        ).encode(),
        b"\xff\xfe" * 50,
    ],
)
def test_nothing_that_was_sent_comes_back_in_a_problem(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/v1/enrolments", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == PROBLEM
    assert "SECRET" not in answer.text


def test_a_body_that_is_too_large_is_refused(client: httpx.Client) -> None:
    answer = client.post("/v1/enrolments", content=b"{" + b" " * 70_000, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == PROBLEM


def test_an_unexpected_fault_is_a_problem_without_a_trace(house: House, client: httpx.Client) -> None:
    held, house.releases.held = house.releases.held, None  # type: ignore[assignment]
    try:
        of_api, of_page = client.get("/v1/releases"), client.get("/wijken")
    finally:
        house.releases.held = held
    assert (of_api.status_code, of_page.status_code) == (500, 500)
    assert of_api.headers["content-type"] == PROBLEM
    for answer in (of_api, of_page):
        assert "Traceback" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_pages_forbid_scripts_frames_and_other_hosts_and_set_no_cookie(client: httpx.Client) -> None:
    for path in ("/", "/wijken", "/wijken/WK034403", "/en", "/en/toestemming", "/nothing"):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "set-cookie" not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["strict-transport-security"]
        assert "<script" not in answer.text
        assert " style=" not in answer.text


@pytest.mark.parametrize(
    "path", ["/wijken/", "/en/", "/wijken/WK000000", "/wijken?metric=joy", "/wijken?metric=happiness"]
)
def test_a_page_that_is_not_there_is_a_page_in_the_readers_language(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert ("This page is not here" if path.startswith("/en") else "Deze pagina is er niet") in answer.text


# Volunteers


def test_a_volunteer_enrols_reads_changes_and_stops(house: House, client: httpx.Client) -> None:
    login, receipt = volunteer(house, client)
    assert receipt["record"]["status"]["event"] == "given"
    assert receipt["record"]["notice"]["sha256"] == house.registry.notices.of("nl").sha256
    assert client.get("/v1/me", headers=login).json()["coversNow"] is True
    less = {"choices": {"district-index": ["heart"]}}
    changed = client.put("/v1/me/consents", json=less, headers=login)
    assert [len(p["personalData"]) for p in changed.json()["record"]["processes"]] == [1]
    assert client.get("/v1/me/consents", headers=login).json() == changed.json()
    stopped = client.post("/v1/me/withdrawals", json={"erase": True}, headers=login)
    assert (stopped.status_code, stopped.json()["record"]["status"]["event"]) == (201, "withdrawn")
    me = client.get("/v1/me", headers=login).json()
    assert me["coversNow"] is False
    assert me["erasures"][0]["erasedAt"] is None
    refused = client.put("/v1/me/consents", json=less, headers=login)
    assert refused.status_code == 409
    assert house.registry.ledger.verify() is None


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"adult": False}, 403),
        ({"district": "WK999999"}, 400),
        ({"claimCode": "AAAA-BBBB-CCCC-DDDD"}, 403),
        ({"choices": {"advertising": ["heart"]}}, 400),
        ({"choices": {"district-index": ["thoughts"]}}, 400),
        ({"adult": "yes please"}, 400),
    ],
)
def test_what_must_be_refused_is_refused(
    house: House, client: httpx.Client, changes: dict[str, object], status: int
) -> None:
    assert client.post("/v1/enrolments", json=house.enrolment(**changes)).status_code == status


def test_nothing_is_ticked_beforehand(house: House, client: httpx.Client) -> None:
    body = house.enrolment()
    del body["choices"]
    answer = client.post("/v1/enrolments", json=body)
    assert answer.json()["receipt"]["record"]["processes"] == []
    assert answer.json()["receipt"]["record"]["status"]["event"] == "refused"


def test_own_data_is_that_of_the_bearer_alone_and_each_look_is_logged(house: House, client: httpx.Client) -> None:
    login, receipt = volunteer(house, client)
    other, _ = volunteer(house, client)
    house.store.pseudonym = receipt["record"]["principal"]["principalId"]
    answer = client.get("/v1/me/data", headers=login, params={"pseudonym": "x"})
    assert answer.headers["cache-control"] == "no-store"
    mine = answer.json()
    assert (len(mine["readings"]), len(mine["reports"]), mine["readings"][0]["hr"]) == (1, 1, 71.5)
    assert mine["consents"][0]["principalId"] == receipt["record"]["principal"]["principalId"]
    assert len(mine["accesses"]) == 1
    theirs = client.get("/v1/me/data", headers=other).json()
    assert theirs["readings"] == []
    assert receipt["record"]["principal"]["principalId"] not in json.dumps(theirs)
    public = client.get("/v1/access-log")
    assert receipt["record"]["principal"]["principalId"] not in public.text
    entry = public.json()["entries"][0]
    assert (entry["role"], entry["dataset"], entry["day"]) == ("volunteer", "readings", "2026-11-23")
    assert entry["times"] >= 2


def test_own_data_says_when_the_store_is_away(
    house: House, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    login, _ = volunteer(house, client)

    def away(_pseudonym: str) -> None:
        raise StoreUnavailable("down")

    monkeypatch.setattr(house.store, "person", away)
    assert client.get("/v1/me/data", headers=login).status_code == 503


@pytest.mark.parametrize("token", ["-", "x", "x" * 5000, "é".encode().decode("latin-1")])
def test_a_wrong_token_opens_nothing(client: httpx.Client, token: str) -> None:
    header = f"Bearer {token}".encode("latin-1", "replace")
    for method, path in (("GET", "/v1/me"), ("GET", "/v1/me/data"), ("POST", "/v1/me/withdrawals")):
        answer = client.request(method, path, headers={b"Authorization": header}, json={} if method == "POST" else None)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


def test_no_answer_to_a_volunteer_is_kept_by_a_cache(house: House, client: httpx.Client) -> None:
    login, _ = volunteer(house, client)
    for path in ("/v1/me", "/v1/me/consents", "/v1/me/data"):
        assert client.get(path, headers=login).headers["cache-control"] == "no-store"


def test_consent_that_ended_covers_nothing(house: House, client: httpx.Client) -> None:
    login, _ = volunteer(house, client)
    house.clock.time = NOW + 200 * 86_400
    try:
        assert client.get("/v1/me", headers=login).json()["coversNow"] is False
    finally:
        house.clock.time = NOW


def test_four_hundred_volunteers_enrol_within_six_seconds_of_processor_time(house: House, client: httpx.Client) -> None:
    bodies = [house.enrolment() for _ in range(400)]
    begin = time.process_time()  # other work on this machine does not count
    for body in bodies:
        assert client.post("/v1/enrolments", json=body).status_code == 201
    assert time.process_time() - begin < 6


def test_health_says_what_is_there(client: httpx.Client) -> None:
    assert client.get("/v1/health").json() == {"status": "ok", "registry": "ok", "broker": "not-configured"}


def test_a_registry_that_is_away_is_a_503_for_health_and_for_volunteers(tmp_path: Path) -> None:
    house = House(tmp_path)
    with serving(house.app) as url, httpx.Client(base_url=url) as client:
        login, _ = volunteer(house, client)
        house.registry.engine.dispose()
        for path in tmp_path.glob("registry.sqlite*"):
            path.unlink()
        (tmp_path / "registry.sqlite").mkdir()
        health, me = client.get("/v1/health"), client.get("/v1/me", headers=login)
    assert (health.status_code, health.json()["registry"]) == (503, "unreachable")
    assert (me.status_code, me.headers["content-type"]) == (503, PROBLEM)
