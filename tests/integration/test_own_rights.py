"""/mijn: take along as FHIR, what releases cost, correct, object, another band; and each look is told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import httpx
import pytest
from fhirclient.models.bundle import Bundle
from fhirclient.models.fhirabstractbase import FHIRValidationError

import wijkpols
from analytics.budget import Entry
from api.pacing import PER_HOUR_MAX
from api.volunteer import own_fhir
from api.volunteer.own_data import looks
from contracts.consent import Purpose
from contracts.ports import ReadingStore, StoredReading
from contracts.reading import Category, Reading, Reason
from contracts.release import METHOD_VERSION, Cadence, ReasonCount
from contracts.wire import ReadingsMessage
from ingest.admission import Heard, admit
from ingest.app import Ingest, open_store
from tests.api_support import BAND_KEY, NOW, midnight, registry_for, serving
from tests.api_volunteers import SECRET, YES, Person, Town, csrf_in, post
from tests.registrykit.databases import url_of
from tests.servers import Broker, until

#: The day on which each person of the town has two hours of readings and an answer.
DAY = date(2026, 11, 22)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town(tmp_path_factory.mktemp("town"))


@pytest.fixture(scope="module")
def url(town: Town) -> Iterator[str]:
    with serving(town.app) as found:
        yield found


# FHIR


def test_heart_data_goes_along_as_fhir_that_a_library_reads(town: Town, url: str) -> None:
    person = town.enrol(url)
    answer = person.http.get("/mijn/gegevens.fhir.json")
    assert answer.headers["content-type"] == "application/fhir+json"
    assert answer.headers["cache-control"] == "no-store"
    found = Bundle(answer.json())  # raises on anything that R4 does not know
    assert (found.type, len(found.entry)) == ("collection", 120)
    first = found.entry[0].resource
    assert first.code.coding[0].code == "8867-4"
    assert (first.valueQuantity.code, first.valueQuantity.system) == ("/min", "http://unitsofmeasure.org")
    assert first.valueQuantity.value == town.store.rates[person.pseudonym]
    assert first.effectivePeriod.start.date.timestamp() == NOW - 86_400 - 60 * 120
    assert first.subject.identifier.value == person.pseudonym
    looked = [entry.purpose for entry in town.registry.access_log.own(person.pseudonym)]
    assert "own export" in looked


def test_each_kind_has_its_code_and_unit_and_what_was_not_measured_is_absent() -> None:
    rows = [
        StoredReading("WK034403", Reading(pseudonym="a" * 26, minute=NOW, hr=70.5, sdnn=41.5)),
        StoredReading("WK034403", Reading(pseudonym="a" * 26, minute=NOW + 60, eda=1.0)),
    ]
    found = Bundle(json.loads("".join(own_fhir.bundle("a" * 26, rows, now=NOW))))
    told = [(e.resource.code.coding[0].code, e.resource.valueQuantity.code) for e in found.entry]
    assert told == [("8867-4", "/min"), ("80404-7", "ms")]
    for nothing in ([], rows[1:]):  # FHIR's JSON knows no empty array
        assert set(json.loads("".join(own_fhir.bundle("a" * 26, nothing, now=NOW)))) == {
            "resourceType",
            "type",
            "timestamp",
        }
    rows = [StoredReading("WK034403", Reading(pseudonym="a" * 26, minute=NOW, hr="fast"))]  # type: ignore[arg-type]
    with pytest.raises(FHIRValidationError):
        "".join(own_fhir.bundle("a" * 26, rows, now=NOW))


def test_each_entry_has_a_name_of_its_own_that_stays_the_same() -> None:
    def names(pseudonym: str, *minutes: int) -> list[str]:
        rows = [StoredReading("WK034403", Reading(pseudonym=pseudonym, minute=m, hr=70.5, sdnn=41.5)) for m in minutes]
        found = json.loads("".join(own_fhir.bundle(pseudonym, rows, now=NOW)))
        return [entry["fullUrl"] for entry in found["entry"]]

    mine = names("a" * 26, NOW, NOW + 60)
    assert mine == names("a" * 26, NOW) + names("a" * 26, NOW + 60)
    assert len({*mine, *names("b" * 26, NOW, NOW + 60)}) == 8
    assert all(name == UUID(name).urn and UUID(name).version == 5 for name in mine)


# What releases cost


def test_the_releases_that_somebody_was_part_of_are_told_with_what_they_cost(tmp_path: Path) -> None:
    town = Town(tmp_path)
    monday = DAY - timedelta(days=6)
    town.releases.charged = [
        Entry("WK034403", DAY.isoformat(), Cadence.DAILY, midnight(DAY + timedelta(days=1)), METHOD_VERSION, 0.04),
        Entry("WK034403", "2026-11-21", Cadence.DAILY, midnight(DAY), METHOD_VERSION, 0.04),  # nothing of hers
        Entry("WK034406", DAY.isoformat(), Cadence.DAILY, midnight(DAY + timedelta(days=1)), METHOD_VERSION, 0.04),
        Entry("WK034403", "2026-W47", Cadence.DAILY, midnight(DAY + timedelta(days=1)), METHOD_VERSION, 0.01),
    ]
    town.releases.counted = [
        ReasonCount(
            area="WK034403",
            districts=("WK034403",),
            reason=Reason.LIGHT,
            window="2026-W47",
            start=midnight(monday),
            end=midnight(DAY + timedelta(days=1)),
            method=METHOD_VERSION,
            status="withheld",
        )
    ]
    with serving(town.app) as url:
        person = town.enrol(url)
        page = person.http.get("/mijn/gegevens").text
        section = page[page.index('id="cijfers"') :]
        assert section.count('<th scope="row">') == 1  # the day; in the week she gave no reason
        assert "waarschijnlijk 0,04 van hoogstens 1,50" in section
        assert "Precies weten kan niet" in section
        whole = person.http.get("/mijn/gegevens.json").json()
        assert whole["releases"] == [{"area": "WK034403", "window": "2026-11-22", "rho": 0.04}]


# Correct


def test_a_wrong_district_is_corrected_and_the_receipt_says_so(town: Town, url: str) -> None:
    person = town.enrol(url)
    until = town.registry.ledger.current(person.pseudonym).valid_until
    answer = post(person, "/mijn/verbeteren", district="WK034404")
    assert "WK034404" in answer.text
    record = town.registry.ledger.current(person.pseudonym)
    assert (record.district, record.valid_until) == ("WK034404", until)
    assert post(person, "/mijn/verbeteren", district="WK999999").status_code == 400
    post(person, "/mijn/stoppen")
    refused = post(person, "/mijn/verbeteren", district="WK034403")
    assert (refused.status_code, "U doet nu niet mee" in refused.text) == (409, True)


def test_only_an_own_answer_can_be_corrected(tmp_path: Path) -> None:
    town = Town(tmp_path)
    town.clock.time -= 2 * 86_400  # before the answer
    at = NOW - 86_400 - 60 * 115
    with serving(town.app) as url:
        person = town.enrol(url)
        page = person.http.get("/mijn/verbeteren").text
        assert f"/mijn/verbeteren/antwoord?at={at}" in page
        form = person.http.get("/mijn/verbeteren/antwoord", params={"at": str(at)})
        assert form.text.count(" checked") == 2  # what was answered
        for other in ("", "1", f"{at + 60}", "9" * 12, "9" * 200, "-1", "²", "1 OR 1=1"):
            assert person.http.get("/mijn/verbeteren/antwoord", params={"at": other}).status_code == 404
            assert post(person, "/mijn/verbeteren/antwoord", at=other, safe="1", happy="1").status_code == 404
        assert post(person, "/mijn/verbeteren/antwoord", at=str(at), safe="1").status_code == 400
        no_broker = post(person, "/mijn/verbeteren/antwoord", at=str(at), safe="1", happy="1")
        assert no_broker.status_code == 503


#: What somebody does after an answer: the form, its fields, and why the answer then cannot be corrected.
SINCE: Final = {
    "stopped": ("stoppen", {}, "U doet nu niet mee."),
    "moved": ("verbeteren", {"district": "WK034401"}, "Na dit antwoord heeft u opnieuw gekozen"),
    "yes to more": ("keuzes", YES | {"district-index.skin": "yes"}, "Na dit antwoord heeft u opnieuw gekozen"),
    "no to answers": ("keuzes", {"district-index.heart": "yes"}, "geen ja tegen het bewaren van antwoorden"),
    "the same again": ("keuzes", YES, ""),
}


def test_a_correction_is_stored_or_said_to_be_refused_as_ingest_judges(tmp_path: Path, broker: Broker) -> None:
    publisher = registry_for(tmp_path).publisher(broker.url)
    assert publisher is not None
    store: ReadingStore = open_store(f"duckdb:///{tmp_path}/readings.duckdb")
    town = Town(tmp_path, publisher=publisher, own_data=store)
    town.clock.time = time.time() - 600
    ingest = Ingest(store=store, broker=broker.url, rejects=tmp_path / "rejects.sqlite", name="correction-test")
    with publisher, ingest, serving(town.app) as url:
        ingest.wait_until_ready(20)
        people = {since: town.enrol(url) for since in SINCE}
        assert publisher.wait_until_sent(20)
        until(lambda: ingest.mirror_size() == len(SINCE))
        town.clock.time += 61
        for since, person in people.items():
            form, fields, why = SINCE[since]
            post(person, "/mijn/antwoord", safe="8", happy="7")
            until(lambda who=person.pseudonym: store.person(who)[1])  # type: ignore[misc]
            ((_, given),) = store.person(person.pseudonym)[1]
            town.clock.time += 61
            post(person, f"/mijn/{form}", **fields)
            told = _correct(person, given.at)
            if not why:
                assert told.url.path == "/mijn/antwoord/dank"
                until(lambda who=person.pseudonym: store.person(who)[1][0].report.safe == 2)  # type: ignore[misc]
            else:
                assert (told.status_code, why in told.text, "maak bezwaar" in told.text) == (409, True, True), since
                assert store.person(person.pseudonym)[1][0].report == given
            # What was said is what ingest's admission says.
            covers = town.registry.ledger.covered(Purpose.DISTRICT_INDEX, town.clock.time)
            heard = Heard("WK034403", ReadingsMessage(seq=1, reports=(given,)))
            assert len(admit([heard], covers, town.clock.time).reports) == (0 if why else 1), since
    store.close()


def _correct(person: Person, at: int) -> httpx.Response:
    """The answer to the correction; it is offered, by list and form, where it is taken."""
    path = "/mijn/verbeteren/antwoord"
    listed, form = person.http.get("/mijn/verbeteren").text, person.http.get(path, params={"at": at})
    told = post(person, path, at=str(at), safe="2", happy="4")
    assert (f"{path}?at={at}" in listed, form.status_code) == (told.status_code == 200, told.status_code)
    assert ("Dit kan wel" in listed) == (told.status_code == 409)
    return told


# Object


def test_an_objection_is_kept_answered_by_staff_and_read_on_the_own_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    town = Town(tmp_path)
    monkeypatch.setenv("WIJKPOLS_REGISTRY_URL", url_of(tmp_path))
    monkeypatch.setenv("WIJKPOLS_BAND_KEY", BAND_KEY)
    with serving(town.app) as url:
        person = town.enrol(url)
        assert post(person, "/mijn/bezwaar").status_code == 400
        assert post(person, "/mijn/bezwaar", subject="everything").status_code == 400
        assert "Nog geen antwoord" in post(person, "/mijn/bezwaar", subject="look").text
        assert wijkpols.main(["volunteers", "objections"]) == 0
        listed = capsys.readouterr().out
        assert "1  2026-11-23  look" in listed
        assert person.pseudonym not in listed  # who answers does not see who asked
        words = "Dat was voor de berekening. <b>"
        assert wijkpols.main(["volunteers", "objections", "--answer", "1", words]) == 0
        for again in (["1", "nog eens"], ["x", "y"], ["1", ""], ["1", "z" * 501], ["99999", "y"]):
            assert wijkpols.main(["volunteers", "objections", "--answer", *again]) in (1, 2)
        page = person.http.get("/mijn/bezwaar").text
        assert "Dat was voor de berekening. &lt;b&gt;" in page
        assert "nog eens" not in page
        assert "Uw bezwaar beantwoord" in person.http.get("/mijn").text
        for _ in range(10):
            assert post(person, "/mijn/bezwaar", subject="figure").status_code == 200
        assert post(person, "/mijn/bezwaar", subject="figure").status_code == 409
        assert len(person.http.get("/mijn/gegevens.json").json()["objections"]) == 11


# Who looked


def test_each_look_is_told_by_page_export_staff_and_analytics(tmp_path: Path) -> None:
    town = Town(tmp_path)
    with serving(town.app) as url:
        town.registry.ledger.covered(Purpose.DISTRICT_INDEX, town.clock.time)  # a day before anybody took part
        town.clock.time += 86_400
        person = town.enrol(url)
        for path in ("gegevens", "gegevens.json", "metingen.csv", "antwoorden.csv", "gegevens.fhir.json", "verbeteren"):
            assert person.http.get(f"/mijn/{path}").status_code == 200
        for _ in range(3):
            town.registry.ledger.covered(Purpose.DISTRICT_INDEX, town.clock.time)
        whole = person.http.get("/mijn/gegevens.json").json()
        assert [(entry["role"], entry["purpose"], entry["times"]) for entry in whole["accesses"]] == [
            ("volunteer", "own data", 1),
            ("volunteer", "own export", 5),
            ("volunteer", "correction", 1),
            ("analytics", "district-index", 1),  # one line a day, and not from before
        ]
        page = person.http.get("/mijn").text
        assert "<td>De berekening van de wijkcijfers</td><td>Het wijkcijfer</td><td>1 of meer</td>" in page
        assert "één regel per dag" in page
        public = person.http.get("/v1/access-log").json()["entries"]
        assert {entry["role"] for entry in public} == {"volunteer", "analytics"}
        assert person.pseudonym not in json.dumps(public)


def test_analytics_is_told_of_the_days_on_which_a_yes_covered_it(tmp_path: Path) -> None:
    town = Town(tmp_path)
    ledger, index = town.registry.ledger, Purpose.DISTRICT_INDEX
    with serving(town.app) as url:
        yes, no, other = (
            town.enrol(url, choices=choices).pseudonym for choices in (None, {}, {"research-profile.heart": "yes"})
        )
        for day in range(6):
            if day == 2:
                ledger.withdraw(yes, erase=False)
            if day == 4:
                ledger.change(yes, {index: (Category.HEART,)})
            if day == 5:
                ledger.change(yes, {Purpose.RESEARCH_PROFILE: (Category.HEART,)})
            assert (yes in ledger.covered(index, town.clock.time)) == (day in (0, 1, 4))
            town.clock.time += 86_400
        ledger.change(yes, {index: (Category.HEART,)})
        town.clock.time += 200 * 86_400
        assert not ledger.covered(index, town.clock.time)  # over by its time: nobody said so in the ledger yet
        parts = town.app.state.parts
        told = {who: [e.day for e in looks(parts, who) if e.role == "analytics"] for who in (yes, no, other)}
        # The third and the sixth day began with a yes, the fourth did not.
        days = [f"2026-11-{day}" for day in (23, 24, 25, 27, 28)]
        assert told == {yes: days, no: [], other: []}
        assert len([entry for entry in parts.access_log.own(no) if entry.role == "analytics"]) == 7


# Another band


def test_a_lost_band_is_left_for_a_new_one_with_everything(town: Town, url: str) -> None:
    person = town.enrol(url)
    new = town.code()
    accounts = town.app.state.parts.accounts
    elsewhere = accounts.open(person.pseudonym)  # on the phone that was lost with the band, say
    answer = post(person, "/mijn/band", code=new)
    assert accounts.pseudonym_of(elsewhere) is None
    assert (answer.status_code, answer.url.path) == (200, "/mijn/band/klaar")
    assert town.registry.ledger.wearer_of(new) == person.pseudonym
    assert "120 minuten" in person.http.get("/mijn").text
    person.http.cookies.clear()
    assert person.http.post("/mijn/inloggen", data={"code": person.code, "secret": SECRET}).status_code == 403
    assert "U doet mee." in person.http.post("/mijn/inloggen", data={"code": new, "secret": SECRET}).text


def test_guessing_for_another_band_is_slowed_down(tmp_path: Path) -> None:
    town = Town(tmp_path)
    with serving(town.app) as url:
        person, other = town.enrol(url), town.enrol(url)
        csrf = csrf_in(person.http.get("/mijn").text)
        unknown = [f"AAAA-BBBB-CCCC-{number:04}" for number in range(30)]
        for guess in [other.code] * 5 + unknown:
            assert person.http.post("/mijn/band", data={"csrf": csrf, "code": guess}).status_code == 403
        for guess in (other.code, "AAAA-BBBB-CCCC-9999"):
            locked = person.http.post("/mijn/band", data={"csrf": csrf, "code": guess})
            assert (locked.status_code, locked.headers["retry-after"]) == (429, "900")
        assert town.registry.ledger.wearer_of(other.code) == other.pseudonym
        good = town.code()  # who holds one is not held up
        assert person.http.post("/mijn/band", data={"csrf": csrf, "code": good}).url.path == "/mijn/band/klaar"


def test_a_yes_too_many_waits_while_a_no_is_taken_and_page_and_api_say_until_when(town: Town, url: str) -> None:
    person = town.enrol(url)
    csrf = {"csrf": csrf_in(person.http.get("/mijn").text)}
    for number in range(PER_HOUR_MAX - 1):
        kinds = ("heart", "skin") if number % 2 else ("skin", "motion")
        form = {f"district-index.{kind}": "yes" for kind in kinds}
        assert person.http.post("/mijn/keuzes", data=csrf | form).status_code == 200
    form = {"district-index.skin": "yes", "research-profile.skin": "yes"}
    answer = person.http.post("/mijn/keuzes", data=csrf | form)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3600")
    assert "Wat u op nee zette, is meteen gestopt." in answer.text
    assert "kunt u opnieuw kiezen over 60 minuten" in answer.text
    assert answer.text.count("checked") == 1  # what holds now
    now = town.registry.ledger.current(person.pseudonym)
    assert now.purposes == {Purpose.DISTRICT_INDEX: (Category.SKIN,)}
    answer = person.http.post("/mijn/verbeteren", data=csrf | {"district": "WK034401"})
    assert (answer.status_code, "over 60 minuten" in answer.text) == (429, True)
    assert "U bent gestopt" in person.http.post("/mijn/stoppen", data=csrf | {"erase": "no"}).text
    town.clock.time += 3600
    assert person.http.post("/mijn/keuzes", data=csrf | form).url.path == "/mijn/bewijs"


def test_the_api_takes_the_no_and_answers_429(town: Town, url: str) -> None:
    body = {"claimCode": town.code(), "district": "WK034403", "adult": True}
    bearer = {"Authorization": f"Bearer {httpx.post(f'{url}/v1/enrolments', json=body).json()['bearerToken']}"}

    def choose(*kinds: str) -> httpx.Response:
        return httpx.put(f"{url}/v1/me/consents", json={"choices": {"district-index": kinds}}, headers=bearer)

    for number in range(PER_HOUR_MAX - 1):
        assert choose("heart", "skin" if number % 2 else "motion").status_code == 200
    answer = choose("skin")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3600")
    assert answer.json()["type"] == "urn:wijkpols:problem:too-often"
    assert httpx.get(f"{url}/v1/me", headers=bearer).json()["coversNow"] is False
