"""/mijn: a reminder by e-mail, questions at moments of one's own, and the printed way back that can be refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from pypdf import PdfReader
from sqlalchemy import update

import wijkpols
from api.addresses import Addresses
from api.prompts import Schedule, moments
from api.recoveries import USABLE_S, WAIT_S, Sheet
from api.tables import PROMPTS
from tests.api_support import BAND_KEY, serving
from tests.api_volunteers import SECRET, Person, Town, post
from tests.registrykit.databases import url_of

NEW = "een heel ander lang woord"


@pytest.fixture
def town(tmp_path: Path) -> Town:
    found = Town(tmp_path, email_key_file=str(tmp_path / "email-key"))
    Addresses(found.registry.engine, key_file=tmp_path / "email-key").change_key()
    return found


@pytest.fixture
def url(town: Town) -> Iterator[str]:
    with serving(town.app) as found:
        yield found


def test_an_address_is_never_asked_for_unless_somebody_goes_there(town: Town, url: str, tmp_path: Path) -> None:
    person = town.enrol(url)
    assert 'value=""' in person.http.get("/mijn/email").text
    page = post(person, "/mijn/email", email=" jan@voorbeeld.nl ")
    assert 'value="jan@voorbeeld.nl"' in page.text
    assert person.http.get("/mijn/gegevens.json").json()["email"] == "jan@voorbeeld.nl"
    for bad in ("jan", "jan@voorbeeld.nl\nBcc: x@y.nl", "a" * 400 + "@b.nl"):
        refused = post(person, "/mijn/email", email=bad)
        assert (refused.status_code, "Bcc" in refused.text) == (400, False)
    post(person, "/mijn/email", email="")
    assert person.http.get("/mijn/gegevens.json").json()["email"] is None
    (tmp_path / "without").mkdir()
    without = Town(tmp_path / "without")
    with serving(without.app) as other:
        someone = without.enrol(other)
        assert "/mijn/email" not in someone.http.get("/mijn").text
        assert someone.http.get("/mijn/email").status_code == 404
        assert post(someone, "/mijn/email", email="jan@voorbeeld.nl").status_code == 404


def test_the_page_asks_at_the_moments_that_somebody_chose(town: Town, url: str) -> None:
    person, prompts = town.enrol(url), town.app.state.parts.prompts
    assert "Er is een vraag" not in person.http.get("/mijn").text
    page = post(person, "/mijn/vragen", **{"per-day": "3", "from": "10", "to": "22"})
    assert page.text.count(" selected") == 3
    assert prompts.of(person.pseudonym) == (3, 10, 22)
    with town.registry.engine.begin() as connection:  # moments that this test can foresee
        connection.execute(update(PROMPTS).where(PROMPTS.c.pseudonym == person.pseudonym).values(seed="seed"))
    begin = town.clock.time
    first, second, third = moments(Schedule(3, 10, 22), "seed", datetime.fromtimestamp(begin, UTC).date())
    assert first + 3_600 < second < third < begin + 13 * 3_600
    for step in range(13 * 6):
        now = town.clock.time = begin + step * 600
        asked = "Er is een vraag" in httpx.get(f"{url}/mijn", cookies=session(town, person)).text
        assert asked is any(moment <= now < moment + 3_600 for moment in (first, second, third)), now - begin
    person.http.cookies.clear()  # the first session is over
    person.http.cookies.update(session(town, person))
    for bad in ({"per-day": "3", "from": "22", "to": "10"}, {"per-day": "7"}, {"per-day": "²", "from": "1", "to": "9"}):
        assert post(person, "/mijn/vragen", **bad).status_code == 400
    assert prompts.of(person.pseudonym) == (3, 10, 22)
    post(person, "/mijn/vragen", **{"per-day": "0", "from": "10", "to": "22"})
    assert prompts.of(person.pseudonym) is None


def session(town: Town, person: Person) -> dict[str, str]:
    return {"wijkpols": town.accounts.open(person.pseudonym)}


# The way back that staff prints


def sheet_of(town: Town, person: Person) -> Sheet:
    found: Sheet = town.app.state.parts.recoveries.print_for(person.pseudonym)
    return found


def recover(url: str, sheet: Sheet, **changes: str) -> httpx.Response:
    form = {"code": sheet.code, "words": sheet.words, "secret": NEW, "again": NEW}
    return httpx.post(f"{url}/mijn/herstel", data=form | changes)


def test_a_printed_sheet_works_after_three_days_once_and_ends_all_log_ins(town: Town, url: str) -> None:
    person, other = town.enrol(url), town.enrol(url)
    sheet = sheet_of(town, person)
    assert recover(url, sheet).status_code == 403  # not yet
    right = {"code": person.code, "secret": SECRET}
    assert "U doet mee." in httpx.post(f"{url}/mijn/inloggen", data=right, follow_redirects=True).text
    town.clock.time += WAIT_S
    assert recover(url, sheet, words=other.words).status_code == 403
    assert recover(url, sheet, code=other.code).status_code == 403
    before = session(town, person)
    done = recover(url, sheet)
    assert done.headers["location"] == "/mijn/herstelcode"
    assert town.registry.ledger.wearer_of(sheet.code) == person.pseudonym
    assert httpx.get(f"{url}/mijn/bewijs", cookies=before).status_code == 303
    assert httpx.post(f"{url}/mijn/inloggen", data=right).status_code == 403
    login = {"code": sheet.code, "secret": NEW}
    assert "U doet mee." in httpx.post(f"{url}/mijn/inloggen", data=login, follow_redirects=True).text
    assert recover(url, sheet).status_code == 403  # its words are used up
    assert town.registry.ledger.wearer_of(other.code) == other.pseudonym


def test_a_printed_sheet_also_ends_the_token_of_the_api(town: Town, url: str) -> None:
    code = town.code()
    body = {"claimCode": code, "district": "WK034403", "adult": True}
    bearer = {"Authorization": f"Bearer {httpx.post(f'{url}/v1/enrolments', json=body).json()['bearerToken']}"}
    pseudonym = town.registry.ledger.wearer_of(code)
    assert pseudonym is not None
    sheet: Sheet = town.app.state.parts.recoveries.print_for(pseudonym)
    town.clock.time += WAIT_S
    assert httpx.get(f"{url}/v1/me", headers=bearer).status_code == 200
    assert recover(url, sheet).status_code == 303
    assert httpx.get(f"{url}/v1/me", headers=bearer).status_code == 401


def test_who_did_not_ask_for_a_sheet_sees_it_and_makes_it_worthless(town: Town, url: str) -> None:
    person = town.enrol(url)
    sheet = sheet_of(town, person)
    assert "Er is een herstelcode voor u geprint" in person.http.get("/mijn").text
    assert "Er is een herstelcode" not in post(person, "/mijn/herstelcode-weg").text
    town.clock.time += WAIT_S
    assert recover(url, sheet).status_code == 403


def test_a_sheet_ends_and_a_newer_one_takes_its_place(town: Town, url: str) -> None:
    person = town.enrol(url)
    first, second = sheet_of(town, person), sheet_of(town, person)
    town.clock.time += WAIT_S
    assert recover(url, first).status_code == 403
    town.clock.time += USABLE_S
    assert recover(url, second).status_code == 403


def test_an_unknown_code_costs_as_many_hashes_as_a_known_one(
    town: Town, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, hashes = town.enrol(url), list[str]()
    digest = town.accounts._digest
    sheet = sheet_of(town, person)
    town.clock.time += WAIT_S

    def counted(text: str, *rest: object) -> bytes:
        hashes.append(text)
        return digest(text, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(town.accounts, "_digest", counted)
    counts = []
    for code in (person.code, sheet.code, "AAAA-BBBB-CCCC-DDDD"):
        hashes.clear()
        assert recover(url, sheet, code=code, words="AAAA-AAAA-AAAA-AAAA-AAAA").status_code == 403
        counts.append(len(hashes))
    assert counts == [3, 3, 3]


def test_the_command_prints_a_sheet_and_is_in_the_access_log(
    town: Town, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WIJKPOLS_REGISTRY_URL", url_of(tmp_path))
    monkeypatch.setenv("WIJKPOLS_BAND_KEY", BAND_KEY)
    person, pdf = town.enrol(url), tmp_path / "sheet.pdf"
    assert wijkpols.main(["volunteers", "recover", "WP-000001", "--pdf", str(pdf)]) == 0
    assert oct(pdf.stat().st_mode)[-3:] == "600"
    printed = PdfReader(pdf).pages[0].extract_text()
    assert "/mijn/herstel" in printed
    assert "Een herstelcode voor u geprint" in person.http.get("/mijn").text
    told = capsys.readouterr().out
    assert person.pseudonym not in told + printed
    assert wijkpols.main(["volunteers", "recover", "WP-999999", "--pdf", str(pdf)]) == 1
