"""Every route, asked by somebody else and by nobody: another volunteer's data comes out of none of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import insert
from starlette.routing import Mount, Route

from api.addresses import Addresses
from api.objections import Subject
from api.prompts import Schedule
from api.tables import PASSKEYS
from tests.api_support import NOW, serving
from tests.api_volunteers import SECRET, Person, Town, csrf_in

#: A heart rate that nobody else has: 77.25 in any writing.
_RATE = 77.25
_MARKS = ("77.25", "77,25")
_ADDRESS = "het.slachtoffer@voorbeeld.nl"


class Case(NamedTuple):
    """One method of one route."""

    method: str
    path: str


class Scene(NamedTuple):
    """A victim with data, an attacker with an account, and whoever has none."""

    town: Town
    url: str
    victim: Person
    victim_bearer: str
    attacker: Person
    attacker_bearer: str


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("two")
    town = Town(folder, email_key_file=str(folder / "email-key"))
    Addresses(town.registry.engine, key_file=folder / "email-key").change_key()
    with serving(town.app) as url:
        victim, attacker = town.enrol(url), town.enrol(url)
        town.store.rates[victim.pseudonym] = _RATE
        bearers = []
        for person in (victim, attacker):
            body = {"claimCode": town.code(), "district": "WK034403", "adult": True}
            answer = httpx.post(f"{url}/v1/enrolments", json=body).json()
            bearers.append(answer["bearerToken"])
            town.store.rates[answer["receipt"]["record"]["principal"]["principalId"]] = (
                _RATE if person is victim else 61.0
            )
        fill(town, victim)
        yield Scene(town, url, victim, bearers[0], attacker, bearers[1])


def fill(town: Town, victim: Person) -> None:
    """All that somebody can have beside readings: a passkey, an address, a schedule, an objection, a sheet."""
    parts = town.app.state.parts
    parts.addresses.keep(victim.pseudonym, _ADDRESS)
    parts.prompts.choose(victim.pseudonym, Schedule(2, 9, 21))
    parts.objections.make(victim.pseudonym, Subject.LOOK)
    parts.recoveries.print_for(victim.pseudonym)
    row = {
        "id": "passkey-of-the-victim",
        "pseudonym": victim.pseudonym,
        "public_key": "",
        "sign_count": 0,
        "made_at": 1,
    }
    with town.registry.engine.begin() as connection:
        connection.execute(insert(PASSKEYS).values(row))


def routes_of(app: FastAPI, prefix: str = "") -> list[Case]:
    found: list[Case] = []
    for route in app.routes:
        if isinstance(route, Mount):
            found += routes_of(route.app, prefix + route.path)  # type: ignore[arg-type]
        elif isinstance(route, Route):
            found += [Case(method, prefix + route.path) for method in sorted(route.methods or ())]
        else:  # FastAPI's included routers
            inner = getattr(route, "original_router", None) or getattr(route, "router", None)
            assert inner is not None, route
            found += routes_of(inner, prefix)
    return found


def known_to(scene: Scene) -> dict[str, str]:
    """Everything by which the victim could be named in a request."""

    record = scene.town.registry.ledger.current(scene.victim.pseudonym)
    return {
        "pseudonym": scene.victim.pseudonym,
        "principalId": scene.victim.pseudonym,
        "recordId": record.record_id,
        "id": record.record_id,
        "user": scene.victim.pseudonym,
        "code": scene.victim.code,
        "claimCode": scene.victim.code,
        "number": scene.town.app.state.parts.passkeys.of(scene.victim.pseudonym)[0].number,
        "at": str(NOW - 86_400 - 60 * 115),  # when the victim answered
        "email": _ADDRESS,
    }


def state_of(scene: Scene) -> tuple[object, ...]:
    pseudonyms = [scene.victim.pseudonym, str(scene.town.registry.ledger.pseudonym_of(scene.victim_bearer))]
    ledger, parts, victim = scene.town.registry.ledger, scene.town.app.state.parts, scene.victim.pseudonym
    wishes = (parts.addresses.of(victim), parts.prompts.of(victim), parts.recoveries.waiting(victim))
    kept = (*wishes, tuple(parts.objections.of(victim)), tuple(parts.passkeys.of(victim)))
    return kept + tuple((ledger.current(p), len(ledger.history(p)), tuple(ledger.erasures(p))) for p in pseudonyms)


def secrets_of(scene: Scene) -> tuple[str, ...]:
    own = str(scene.town.registry.ledger.pseudonym_of(scene.victim_bearer))
    ledger = scene.town.registry.ledger
    records = [ledger.current(p).record_id for p in (scene.victim.pseudonym, own)]
    return (*_MARKS, _ADDRESS, scene.victim.pseudonym, own, *records, scene.victim.words, scene.victim_bearer)


def ask(
    scene: Scene, http: httpx.Client, case: Case, named: dict[str, str], *, logged_in: bool
) -> list[httpx.Response]:
    """The route with the victim's ids in path, query, headers, form and JSON, by the attacker or by nobody."""
    answers = []
    values = {**named, "csrf": ""}
    headers = {f"X-{name}": value for name, value in named.items()} | {"X-Forwarded-User": named["pseudonym"]}
    cookies = {"pseudonym": named["pseudonym"]}
    if logged_in:
        values["csrf"] = csrf_in(scene.attacker.http.get("/mijn").text)
        headers["Authorization"] = f"Bearer {scene.attacker_bearer}"
        cookies |= dict(scene.attacker.http.cookies)
    values |= {"safe": "1", "happy": "1", "erase": "yes", "adult": "yes", "secret": SECRET, "again": SECRET}
    values |= {"subject": "figure", "per-day": "1", "from": "1", "to": "9", "email": "attacker@voorbeeld.nl"}
    values |= {"words": "AAAA-AAAA-AAAA-AAAA-AAAA", "district": "WK034403"}
    if case.path.endswith(("uitloggen",)):
        values["csrf"] = ""  # the attacker must stay logged in for the next route
    http.cookies.clear()
    http.cookies.update(cookies)
    for value in named.values() if "{" in case.path else ("",):
        path = re.sub(r"\{[^}]*\}", value, case.path)
        answers.append(http.request(case.method, path, params=named, headers=headers))
    if case.method in ("POST", "PUT"):
        json = {"choices": {"research-profile": ["skin"]}, "erase": True}
        path = re.sub(r"\{[^}]*\}", named["pseudonym"], case.path)
        bodies = ({"data": values}, {"json": json}, {"json": json | named})
        answers += [http.request(case.method, path, params=named, headers=headers, **body) for body in bodies]  # type: ignore[arg-type]
    return answers


@pytest.mark.parametrize("logged_in", [True, False], ids=["another volunteer", "nobody"])
def test_no_route_gives_or_changes_another_volunteers_data(scene: Scene, logged_in: bool) -> None:
    cases = routes_of(scene.town.app)
    assert len(cases) > 60
    assert {"/mijn/gegevens.json", "/en/mijn/stoppen", "/v1/me/data", "/wijken/{code}"} <= {case.path for case in cases}
    new = {
        "bewijs.pdf",
        "gegevens.fhir.json",
        "verbeteren/antwoord",
        "bezwaar",
        "band",
        "passkeys/weg",
        "vragen",
        "email",
    }
    assert {f"/en/mijn/{page}" for page in new} <= {case.path for case in cases}
    named, before, hidden = known_to(scene), state_of(scene), secrets_of(scene)
    scene.town.store.asked.clear()
    with httpx.Client(base_url=scene.url) as http:
        for case in cases:
            scene.town.clock.time += 1000  # so that no lock-out hides what a route would have said
            if logged_in:
                scene.attacker.http.cookies.clear()
                scene.attacker.http.cookies.set("wijkpols", scene.town.accounts.open(scene.attacker.pseudonym))
            for answer in ask(scene, http, case, named, logged_in=logged_in):
                assert answer.status_code < 500 or answer.status_code == 503, case
                told = answer.text + str(answer.headers)
                assert [secret for secret in hidden if secret in told] == [], (case, answer.status_code)
            assert state_of(scene) == before, case
    victims = {scene.victim.pseudonym, scene.town.registry.ledger.pseudonym_of(scene.victim_bearer)}
    assert victims.isdisjoint(scene.town.store.asked)
    assert scene.town.registry.ledger.verify() is None


def test_without_an_identity_no_personal_route_opens(scene: Scene) -> None:
    public = {"/mijn", "/mijn/passkey", "/mijn/meedoen", "/mijn/kiezen", "/mijn/nee", "/mijn/inloggen", "/mijn/herstel"}
    asked = 0
    http = httpx.Client(base_url=scene.url)
    for method, path in routes_of(scene.town.app):
        plain = path.removeprefix("/en")
        if plain.startswith("/mijn") and plain not in public:
            answer = http.request(method, path, data={"a": "b"} if method == "POST" else None)
            assert (answer.status_code, answer.headers["location"].endswith("/mijn/inloggen")) == (303, True), path
            asked += 1
        elif path.startswith("/v1/me"):
            answer = http.request(method, path, json={"choices": {}} if method == "PUT" else {})
            assert answer.status_code == 401, path
            asked += 1
    assert asked >= 30
