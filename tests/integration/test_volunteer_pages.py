"""/mijn as a volunteer meets it: forms over HTTP, a real server, a real registry."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from pypdf import PdfReader

from api.notices import Notices
from api.records import Event
from api.renewals import Renewals
from api.volunteer.entry_pages import TWICE_S
from contracts import wire
from contracts.consent import Purpose
from contracts.reading import Category
from firmware_sim import security
from tests.api_support import NOW, serving
from tests.api_volunteers import SECRET, YES, Town, csrf_in, post

WORDS = re.compile(r'id="herstelwoorden">([A-Z2-7-]{24})<')


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town(tmp_path_factory.mktemp("town"))


@pytest.fixture(scope="module")
def url(town: Town) -> Iterator[str]:
    with serving(town.app) as found:
        yield found


@pytest.fixture
def guest(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, follow_redirects=True) as found:
        yield found


@pytest.fixture(autouse=True)
def own_time(town: Town) -> Iterator[None]:
    """Each test an hour later than the one before, so that nobody waits for another test's mistakes."""
    town.clock.time += 3600
    yield
    town.clock.time = max(town.clock.time, NOW)


LANGUAGE = re.compile(r'class="language" href="([^"]*)"')


def test_an_invitation_stays_one_in_the_other_language(town: Town, guest: httpx.Client) -> None:
    invited = guest.get("/mijn/meedoen", params={"code": (code := town.code())})
    (other,) = LANGUAGE.findall(invited.text)
    assert f'value="{code}"' in guest.get(other).text
    (typed,) = LANGUAGE.findall(guest.post("/mijn/meedoen", data={"code": code}).text)
    assert code not in typed
    (hostile,) = LANGUAGE.findall(guest.get("/mijn/meedoen", params={"code": '"><b>&x=1'}).text)
    assert hostile == "/en/mijn/meedoen?code=%22%3E%3Cb%3E%26x%3D1"


def test_nothing_is_ticked_beforehand_and_no_is_as_large_as_yes(town: Town, guest: httpx.Client) -> None:
    first = guest.get("/mijn/meedoen", params={"code": town.code()})
    assert "checked" not in first.text
    second = guest.post("/mijn/meedoen", data={"code": town.code(), "adult": "yes"})
    assert "checked" not in second.text
    assert second.text.count('value="yes">') - 1 == second.text.count('value="no">') == 8
    for page in (first, second):
        assert re.search(r'<p class="pair">\s*<button class="button">.*?</button>\s*<a class="button"', page.text)


def test_the_notice_comes_short_first_and_full_behind_it(guest: httpx.Client) -> None:
    page = guest.get("/mijn/meedoen").text
    short, full = page.split("<details>", 1)
    assert "Stoppen kan altijd" in short
    assert "Autoriteit Persoonsgegevens" not in short
    assert "Autoriteit Persoonsgegevens" in full


def test_somebody_enrols_and_gets_a_receipt_as_page_and_as_json(town: Town, url: str) -> None:
    person = town.enrol(url)
    record = town.registry.ledger.current(person.pseudonym)
    assert record.event is Event.GIVEN
    assert record.purposes == {Purpose.DISTRICT_INDEX: (Category.HEART, Category.SELF_REPORT)}
    page = person.http.get("/mijn/bewijs")
    assert record.record_id in page.text
    receipt = person.http.get("/mijn/bewijs.json").json()
    assert receipt["record"]["recordId"] == record.record_id
    assert receipt["record"]["notice"]["sha256"] == town.registry.notices.of("nl").sha256
    for name, told in (
        ("Vingerafdruk van deze keuze", receipt["ledger"]["hash"]),
        ("Vingerafdruk van de tekst (SHA-256)", record.notice.sha256),
    ):
        assert f'<dt>{name}</dt><dd class="code">{told}</dd>' in page.text
    paper = PdfReader(io.BytesIO(person.http.get("/mijn/bewijs.pdf").content)).pages
    assert len(paper) == 1
    printed = paper[0].extract_text()
    for told in (record.record_id, record.notice.sha256, receipt["ledger"]["hash"], record.principal_id):
        assert told in printed
    english = person.http.get("/en/mijn/bewijs").text
    for told, where in (("Overvecht (WK034403)", (page.text, english, printed)), ("23 mei 2027", (page.text, printed))):
        assert [text for text in where if told not in text] == []
    assert "<dd>23 May 2027</dd>" in english  # a day for a reader; the second is in the JSON
    assert datetime.fromisoformat(receipt["record"]["validUntil"]).timestamp() == record.valid_until
    assert town.registry.ledger.verify() is None


def test_no_to_everything_is_a_choice_that_covers_nothing(town: Town, url: str) -> None:
    person = town.enrol(url, choices={"district-index.heart": "no"}, base="/en")
    assert town.registry.ledger.current(person.pseudonym).event is Event.REFUSED
    overview = person.http.get("/en/mijn").text
    assert "You do not take part" in overview
    assert "Hold the button" not in overview  # there is nothing to measure


def test_who_begins_is_told_to_hold_the_button_until_there_are_minutes(town: Town, url: str) -> None:
    code = town.code()
    form = {"code": code, "adult": "yes", "district": "WK034403", "secret": SECRET, "again": SECRET} | YES
    with httpx.Client(base_url=url, follow_redirects=True) as http:
        pages = [http.post("/mijn/kiezen", data=form).text, http.get("/mijn").text, http.get("/en/mijn").text]
        assert [("vijf seconden" in page, "five seconds" in page) for page in pages] == [
            (True, False),
            (True, False),
            (False, True),
        ]
        assert "twee minuten" in pages[0]
        assert security.WINDOW_S == 120
        pseudonym = town.registry.ledger.wearer_of(code)
        assert pseudonym is not None
        town.store.rates[pseudonym] = 70.0
        assert "vijf seconden" not in http.get("/mijn").text
        done = http.post("/mijn/band", data={"csrf": csrf_in(pages[1]), "code": town.code()})
        assert "vijf seconden" in done.text  # another band, another bond


def test_who_presses_twice_takes_part_once_and_has_a_recovery_code_that_works(town: Town, url: str) -> None:
    code = town.code()
    form = {"code": code, "adult": "yes", "district": "WK034403", "secret": SECRET, "again": SECRET} | YES

    def press(later_s: int = 0, **changes: str) -> httpx.Response:
        """By a browser that knows nothing of an earlier answer: it threw that away."""
        town.clock.time += later_s
        with httpx.Client(base_url=url, follow_redirects=True) as http:
            return http.post("/mijn/kiezen", data=form | changes)

    first, second = (WORDS.findall(press().text)[0] for _ in range(2))
    pseudonym = town.registry.ledger.wearer_of(code)
    assert pseudonym is not None
    assert len(town.registry.ledger.history(pseudonym)) == 1
    wrong = {"secret": "een heel ander woord", "again": "een heel ander woord"}
    assert [press(**wrong).status_code, press(TWICE_S).status_code] == [403, 403]
    with httpx.Client(base_url=url, follow_redirects=True) as http:
        tried = [http.post("/mijn/herstel", data=form | {"words": words}) for words in (first, second)]
    assert [answer.status_code for answer in tried] == [403, 200]


@pytest.mark.parametrize(
    ("changes", "status", "told"),
    [
        ({"adult": "no"}, 400, "18 jaar of ouder"),
        ({"district": "WK999999"}, 400, "Kies de wijk"),
        ({"secret": "kort", "again": "kort"}, 400, "langer wachtwoord"),
        ({"secret": "aaaaaaaaaaaa", "again": "aaaaaaaaaaaa"}, 400, "langer wachtwoord"),
        ({"again": "iets heel anders"}, 400, "niet gelijk"),
        ({"code": "AAAA-BBBB-CCCC-DDDD"}, 403, "kan niet worden gebruikt"),
    ],
)
def test_what_must_be_refused_is_refused_and_said_in_words(
    town: Town, guest: httpx.Client, changes: dict[str, str], status: int, told: str
) -> None:
    code = town.code()
    form = {"code": code, "adult": "yes", "district": "WK034403", "secret": SECRET, "again": SECRET} | YES
    answer = guest.post("/mijn/kiezen", data=form | changes)
    assert answer.status_code == status
    assert told in answer.text
    assert SECRET not in answer.text
    assert town.registry.ledger.claimable(code)
    assert not answer.cookies


def test_a_second_account_on_one_band_is_refused(town: Town, url: str, guest: httpx.Client) -> None:
    person = town.enrol(url)
    assert guest.post("/mijn/meedoen", data={"code": person.code, "adult": "yes"}).status_code == 403


def test_any_device_logs_in_by_code_and_secret_and_out_again(town: Town, url: str, guest: httpx.Client) -> None:
    person = town.enrol(url)
    answer = guest.post("/mijn/inloggen", data={"code": person.code.lower(), "secret": f" {SECRET}"})
    assert "U doet mee." in answer.text
    token = dict(guest.cookies)
    out = guest.post("/mijn/uitloggen", data={"csrf": csrf_in(answer.text)})
    assert "Ik doe al mee" in out.text
    assert not guest.cookies
    again = httpx.get(f"{url}/mijn/bewijs", cookies=token)
    assert again.status_code == 303  # the token is worth nothing any more
    assert "U doet mee." in person.http.get("/mijn").text  # the other device stays logged in


def test_wrong_unknown_and_secretless_log_ins_look_alike(town: Town, url: str, guest: httpx.Client) -> None:
    person = town.enrol(url)
    by_api = town.code()
    body = {"claimCode": by_api, "district": "WK034403", "adult": True}
    assert guest.post("/v1/enrolments", json=body).status_code == 201
    answers = [
        guest.post("/mijn/inloggen", data={"code": code, "secret": secret})
        for code, secret in ((person.code, "een ander woord"), ("AAAA-BBBB-CCCC-DDDD", SECRET), (by_api, SECRET))
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.text for answer in answers}) == 1


def test_five_wrong_secrets_lock_a_code_for_a_quarter_of_an_hour_and_say_so(
    town: Town, url: str, guest: httpx.Client
) -> None:
    person, other = town.enrol(url), town.enrol(url)
    for _ in range(5):
        assert guest.post("/mijn/inloggen", data={"code": person.code, "secret": "geraden"}).status_code == 403
    right = {"code": person.code, "secret": SECRET}
    locked = guest.post("/mijn/inloggen", data=right)
    assert locked.status_code == 429
    assert locked.headers["retry-after"] == "900"
    assert "Wacht dan 15 minuten" in locked.text
    assert "U doet mee." in guest.post("/mijn/inloggen", data={"code": other.code, "secret": SECRET}).text
    guest.cookies.clear()
    town.clock.time += 901
    assert "U doet mee." in guest.post("/mijn/inloggen", data=right).text


def test_recovery_words_give_a_new_secret_once_and_end_all_sessions(town: Town, url: str, guest: httpx.Client) -> None:
    person = town.enrol(url)
    new = "een heel nieuw wachtwoord"
    form = {"code": person.code, "words": person.words.lower().replace("-", " "), "secret": new, "again": new}
    assert guest.post("/mijn/herstel", data=form | {"words": "AAAA-AAAA-AAAA-AAAA-AAAA"}).status_code == 403
    answer = guest.post("/mijn/herstel", data=form)
    assert answer.url.path == "/mijn/herstelcode"
    assert person.words not in answer.text
    assert WORDS.search(answer.text) is not None
    assert person.http.get("/mijn/bewijs").url.path == "/mijn/inloggen"
    assert guest.post("/mijn/herstel", data=form).status_code == 403
    guest.cookies.clear()
    assert guest.post("/mijn/inloggen", data={"code": person.code, "secret": SECRET}).status_code == 403
    assert "U doet mee." in guest.post("/mijn/inloggen", data={"code": person.code, "secret": new}).text


def test_a_session_ends_by_itself(town: Town, url: str) -> None:
    person = town.enrol(url)
    town.clock.time += 13 * 3600
    assert person.http.get("/mijn/keuzes").url.path == "/mijn/inloggen"


def test_the_cookie_is_for_this_site_alone_and_no_script(tmp_path: Path) -> None:
    town = Town(tmp_path, public_url="https://wijkpols.example")
    with serving(town.app) as url:
        code = town.code()
        form = {"code": code, "adult": "yes", "district": "WK034403", "secret": SECRET, "again": SECRET}
        cookie = httpx.post(f"{url}/mijn/kiezen", data=form).headers["set-cookie"]
    assert cookie.startswith("__Host-wijkpols=")
    for part in ("HttpOnly", "Path=/", "SameSite=strict", "Secure"):
        assert part in cookie


def test_a_form_of_another_site_does_nothing(town: Town, url: str) -> None:
    person = town.enrol(url)
    for fields, headers in (
        ({"erase": "yes"}, {}),
        ({"erase": "yes", "csrf": "0" * 64}, {}),
        ({"erase": "yes", "csrf": csrf_in(person.http.get("/mijn").text)}, {"Sec-Fetch-Site": "cross-site"}),
        ({"erase": "yes", "csrf": csrf_in(person.http.get("/mijn").text)}, {"Sec-Fetch-Site": "same-site"}),
    ):
        answer = person.http.post("/mijn/stoppen", data=fields, headers=headers)
        assert answer.status_code == 403
        assert "Er is niets veranderd." in answer.text
        assert '<a class="button" href="/mijn">Naar mijn pagina</a>' in answer.text
    assert town.registry.ledger.current(person.pseudonym).event is Event.GIVEN


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"a=" + b"b" * 20_000, "application/x-www-form-urlencoded", 413),
        (b"&".join(b"a=1" for _ in range(100)), "application/x-www-form-urlencoded", 400),
        (b"code=%ff%fe", "application/x-www-form-urlencoded", 400),
        (b"{}", "application/json", 415),
        (b"", "", 415),
    ],
)
def test_what_is_no_form_of_ours_is_refused(guest: httpx.Client, content: bytes, kind: str, status: int) -> None:
    answer = guest.post("/mijn/inloggen", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert "Dit formulier kunnen we niet aannemen" in answer.text


def test_choices_change_and_nothing_chosen_is_a_withdrawal(town: Town, url: str) -> None:
    person = town.enrol(url)
    assert person.http.get("/mijn/keuzes").text.count("checked") == 2
    changed = post(person, "/mijn/keuzes", **{"research-profile.skin": "yes"})
    assert changed.url.path == "/mijn/bewijs"
    assert town.registry.ledger.current(person.pseudonym).purposes == {Purpose.RESEARCH_PROFILE: (Category.SKIN,)}
    part = post(person, "/mijn/keuzes", **{"research-profile.skin": "yes", "erase": "yes"})
    assert "Daar zijn we mee bezig" in part.text
    assert [state.everything for state in town.registry.ledger.erasures(person.pseudonym)] == [False]
    assert "Daar zijn we mee bezig: hart en antwoorden" in part.text
    assert "om te wissen wat we hebben van hart en antwoorden" in person.http.get("/mijn").text
    told = wire.Erasure(revision=1_000, readings=4, reports=1, asked_at=0, erased_at=town.clock.time + 2)
    town.registry.ledger.record_erasure(person.pseudonym, told)
    assert "wat we hadden van hart en antwoorden (4 minuten, 1 antwoord)" in person.http.get("/mijn").text
    assert "Gewist is wat we hadden van hart en antwoorden" in person.http.get("/mijn/bewijs").text
    assert "What we had of heart and answers is erased" in person.http.get("/en/mijn/bewijs").text
    whole = person.http.get("/mijn/gegevens.json").json()
    assert whole["erasures"][0]["kinds"] == ["heart", "self-report"]
    post(person, "/mijn/keuzes")
    assert town.registry.ledger.current(person.pseudonym).event is Event.WITHDRAWN


@pytest.mark.parametrize("erase", ["no", "yes"])
def test_one_tap_stops_with_or_without_erasing(town: Town, url: str, erase: str) -> None:
    person = town.enrol(url)
    asked = post(person, "/mijn/vragen", **{"per-day": "2", "from": "9", "to": "21"}).text
    assert "Nu vragen we u 2 keer per dag iets, tussen 9 en 21 uur." in asked
    page = post(person, "/mijn/stoppen", erase=erase).text
    assert "U bent gestopt" in page
    assert ("Nu vragen we u niets." in person.http.get("/mijn/vragen").text) == (erase == "yes")
    assert ("Daar zijn we mee bezig" in page) == (erase == "yes")
    assert town.registry.ledger.covered(Purpose.DISTRICT_INDEX, town.clock.time + 1).get(person.pseudonym) is None
    if erase == "yes":
        refused = post(person, "/mijn/keuzes", **YES)
        assert refused.status_code == 409
        assert "worden nu gewist" in refused.text


def test_a_changed_notice_is_told_and_renewed_on_the_page(tmp_path: Path) -> None:
    town = Town(tmp_path)
    with serving(town.app) as url:
        person = town.enrol(url)
        folder = tmp_path / "notices"
        folder.mkdir()
        for language in ("nl", "en"):
            head = "version: 2027-1\nchanged: We vragen nu ook iets anders.\n\n"
            (folder / f"{language}.md").write_text(f"{head}# Titel\n\n## Kort\n\nKort.\n\n## Lang\n\nLang.\n")
        notices = Notices(folder=folder)
        renewals = Renewals(town.registry.engine, clock=town.clock, notices=notices)
        town.app.state.parts = dataclasses.replace(town.app.state.parts, notices=notices, renewals=renewals)
        town.registry.ledger._notices = notices  # as one process has them at its next start
        told = "We meten niets, want de tekst is veranderd."
        assert told in person.http.get("/mijn").text  # at once, also before the sweep
        renewals.sweep()
        page = person.http.get("/mijn").text
        assert told in page
        assert "We vragen nu ook iets anders." in page
        assert "checked" not in person.http.get("/mijn/keuzes").text
        renewed = post(person, "/mijn/keuzes", **YES)
        assert "U zei opnieuw ja" in renewed.text
        assert "U doet mee." in person.http.get("/mijn").text


def test_the_end_of_consent_is_announced_a_month_before(tmp_path: Path) -> None:
    town = Town(tmp_path)
    with serving(town.app) as url:
        person = town.enrol(url)
        assert "Nog" not in person.http.get("/mijn").text
        town.clock.time = town.registry.ledger.current(person.pseudonym).valid_until - 86_400 * 3
        person.http.post("/mijn/inloggen", data={"code": person.code, "secret": SECRET})
        assert "Nog 3 dagen." in person.http.get("/mijn").text


def test_own_data_is_drawn_with_tables_behind_and_each_look_is_listed(town: Town, url: str) -> None:
    person = town.enrol(url)
    page = person.http.get("/mijn/gegevens").text
    assert page.count('<svg role="img"') == 3
    assert "Rust in het lichaam per minuut: " in page
    assert "Noordwest" in page or "Overvecht" in page
    assert page.count("<caption>") == 4
    assert "22 november 2026" in page
    overview = person.http.get("/mijn").text
    assert "120 minuten" in overview
    assert overview.count("<td>Uw gegevens bekeken</td>") == 1
    assert overview.count("<td>Uw eigen pagina</td>") == 1


def test_everything_can_be_taken_along_as_json_and_csv(town: Town, url: str) -> None:
    person = town.enrol(url)
    whole = person.http.get("/mijn/gegevens.json").json()
    assert (len(whole["readings"]), len(whole["reports"])) == (120, 1)
    assert whole["pseudonym"] == person.pseudonym
    dutch = list(csv.reader(io.StringIO(person.http.get("/mijn/metingen.csv").text), delimiter=";"))
    assert len(dutch) == 121
    assert dutch[1][2].endswith(",0")
    english = next(csv.DictReader(io.StringIO(person.http.get("/en/mijn/antwoorden.csv").text)))
    assert (english["safe"], english["happy"], english["district"]) == ("8", "7", "WK034403")


def test_no_page_of_a_volunteer_is_kept_by_a_cache_or_found_by_a_search(town: Town, url: str) -> None:
    person = town.enrol(url)
    for path in ("/mijn", "/mijn/gegevens", "/mijn/keuzes", "/mijn/bewijs", "/mijn/antwoord", "/mijn/gegevens.json"):
        answer = person.http.get(path)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        if path != "/mijn/gegevens.json":
            assert 'content="noindex"' in answer.text


def test_an_answer_that_cannot_be_sent_is_said_to_be_lost(town: Town, url: str) -> None:
    person = town.enrol(url)  # this town has no broker
    answer = post(person, "/mijn/antwoord", safe="8", happy="7")
    assert answer.status_code == 503
    assert "Probeer het straks nog een keer" in answer.text
    assert answer.text.count("checked") == 2
    assert post(person, "/mijn/antwoord", safe="8").status_code == 400
    assert post(person, "/mijn/antwoord", safe="11", happy="-1").status_code == 400


def test_without_a_yes_to_answers_none_is_sent(town: Town, url: str) -> None:
    person = town.enrol(url, choices={"district-index.heart": "yes"})
    assert "/mijn/antwoord" not in person.http.get("/mijn").text
    assert post(person, "/mijn/antwoord", safe="8", happy="7").status_code == 409


def test_the_recovery_code_is_shown_until_it_is_written_down_and_never_to_another_session(
    town: Town, url: str, guest: httpx.Client
) -> None:
    person = town.enrol(url)
    first = person.http.get("/mijn/herstelcode")
    assert person.words in first.text
    assert person.code in first.text
    assert "Vingerafdruk van deze keuze" in first.text  # the receipt
    assert first.headers["cache-control"] == "no-store"
    assert person.words in person.http.get("/en/mijn/herstelcode").text  # a second tab, in another language
    assert 'href="/mijn/herstelcode"' in person.http.get("/mijn").text
    guest.post("/mijn/inloggen", data={"code": person.code, "secret": SECRET})
    for path in ("/mijn/herstelcode", "/mijn"):
        assert "erstelcode nog niet opgeschreven" not in guest.get(path).text
        assert person.words not in guest.get(path).text
    post(person, "/mijn/herstelcode")
    gone = person.http.get("/mijn/herstelcode").text
    assert person.words not in gone
    assert person.code not in gone
    assert "We laten uw herstelcode niet meer zien." in gone
    assert 'href="/mijn/herstelcode"' not in person.http.get("/mijn").text


def test_the_recovery_code_is_not_shown_after_its_quarter_of_an_hour(town: Town, url: str) -> None:
    person = town.enrol(url)
    town.clock.time += 899
    assert person.words in person.http.get("/mijn/herstelcode").text
    town.clock.time += 1
    assert person.words not in person.http.get("/mijn/herstelcode").text


def test_no_page_answers_a_form_that_changed_something(town: Town, url: str) -> None:
    person = town.enrol(url)
    person.http.follow_redirects = False
    csrf = {"csrf": csrf_in(person.http.get("/mijn").text)}
    for path, fields in (
        ("/mijn/herstelcode", {}),
        ("/mijn/keuzes", YES),
        ("/mijn/verbeteren", {"district": "WK034401"}),
        ("/mijn/band", {"code": town.code()}),
        ("/mijn/bezwaar", {"subject": "look"}),
        ("/mijn/vragen", {"per-day": "0", "from": "9", "to": "10"}),
        ("/mijn/stoppen", {"erase": "yes"}),
    ):
        answer = person.http.post(path, data=csrf | fields)
        assert (answer.status_code, answer.headers["cache-control"]) == (303, "no-store"), path
        assert person.http.get(answer.headers["location"]).status_code == 200, path
