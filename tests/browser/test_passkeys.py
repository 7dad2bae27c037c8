"""Passkeys in a real Chromium, by its virtual authenticator: made, used, replayed, too late, and lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, CDPSession, Page
from sqlalchemy import select, update

from api.app import listen
from api.passkeys import CHALLENGE_S
from api.tables import PASSKEY_CHALLENGES, PASSKEYS
from tests.api_support import serving
from tests.api_volunteers import SECRET, Person, Town, csrf_in
from tests.browser.reading import reader, shot, violations

_AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


class Device(NamedTuple):
    """A browser with an authenticator in it."""

    page: Page
    cdp: CDPSession
    authenticator: str

    def passkeys(self) -> list[dict[str, Any]]:
        found = self.cdp.send("WebAuthn.getCredentials", {"authenticatorId": self.authenticator})
        return list(found["credentials"])

    def hold_back(self) -> None:
        """From now on the page's form is filled and not sent, so that a test can send it as it likes."""
        self.page.add_init_script("HTMLFormElement.prototype.submit = () => { window.filled = true }")

    def answer(self) -> dict[str, Any]:
        """What the browser made of the button on this page."""
        self.page.locator("form[data-passkey] button").click()
        # A function is compiled once; a bare expression again at each look, which the page's CSP refuses.
        self.page.wait_for_function("() => window.filled === true")
        found: dict[str, Any] = json.loads(self.page.locator("[name=credential]").input_value())
        return found


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    bound = listen("127.0.0.1", 0)
    # A passkey belongs to a name, never to a number: the browser goes to localhost.
    url = f"http://localhost:{bound.getsockname()[1]}"
    town = Town(tmp_path_factory.mktemp("keys"), public_url=url)
    with serving(town.app, bound):
        yield town


@pytest.fixture
def site(town: Town) -> str:
    town.clock.time += 3600  # no test waits for another one's tries
    return town.settings.public_url


@pytest.fixture
def device(browser: Browser, site: str) -> Iterator[Device]:
    with reader(browser, site, java_script_enabled=True, width=390) as page:
        yield device_of(page)


def device_of(page: Page, **options: Any) -> Device:
    cdp = page.context.new_cdp_session(page)
    cdp.send("WebAuthn.enable")
    added = cdp.send("WebAuthn.addVirtualAuthenticator", {"options": _AUTHENTICATOR | options})
    return Device(page, cdp, added["authenticatorId"])


def log_in_by_cookie(device: Device, site: str, person: Person) -> None:
    device.page.context.add_cookies([{"name": "wijkpols", "value": person.http.cookies["wijkpols"], "url": site}])


def with_passkey(device: Device, site: str, town: Town) -> Person:
    """Somebody who made a passkey on this device, and logged out."""
    person = town.enrol(site)
    log_in_by_cookie(device, site, person)
    device.page.goto(f"{site}/mijn/passkeys")
    with device.page.expect_navigation():
        device.page.locator("form[data-passkey] button").click()
    assert device.page.locator("tbody tr").count() == 1
    device.page.context.clear_cookies()
    return person


def send(device: Device, site: str, credential: object) -> int:
    answer = device.page.context.request.post(
        f"{site}/mijn/passkey", form={"credential": json.dumps(credential)}, max_redirects=0
    )
    return answer.status


def test_a_passkey_is_made_and_logs_in_without_code_or_password(device: Device, site: str, town: Town) -> None:
    person = with_passkey(device, site, town)
    (kept,) = device.passkeys()
    assert kept["rpId"] == "localhost"
    assert kept["isResidentCredential"] is True
    # What the authenticator's maker may keep tells neither who it is nor under which number.
    assert person.pseudonym not in json.dumps(kept)
    page = device.page
    page.goto(f"{site}/mijn/inloggen")
    page.get_by_role("link", name="Inloggen met een passkey").click()
    page.wait_for_selector("form[data-passkey]:not([hidden])")
    with page.expect_navigation():
        page.locator("form[data-passkey] button").click()
    assert "U doet mee." in page.locator("main").inner_text()
    (cookie,) = page.context.cookies()
    assert town.accounts.pseudonym_of(cookie["value"]) == person.pseudonym
    page.goto(f"{site}/mijn/passkeys")
    shot(page, "mijn-passkeys")
    with town.registry.engine.connect() as connection:
        row = connection.execute(select(PASSKEYS).where(PASSKEYS.c.pseudonym == person.pseudonym)).one()
    assert row.sign_count == device.passkeys()[0]["signCount"] > 0
    assert row.used_at == int(town.clock.time)


def test_on_each_database_a_passkey_opens_its_own_volunteers_page_once(
    database: str, browser: Browser, tmp_path: Path
) -> None:
    bound = listen("127.0.0.1", 0)
    site = f"http://localhost:{bound.getsockname()[1]}"
    town = Town(tmp_path, public_url=site)
    assert town.registry.engine.dialect.name == database
    with serving(town.app, bound), reader(browser, site, java_script_enabled=True) as page:
        device = device_of(page)
        person = with_passkey(device, site, town)
        device.hold_back()
        page.goto(f"{site}/mijn/passkey")
        credential = device.answer()
        assert [send(device, site, credential) for _ in range(2)] == [303, 403]
        (cookie,) = page.context.cookies()
        assert town.accounts.pseudonym_of(cookie["value"]) == person.pseudonym


def test_an_answer_is_good_once(device: Device, site: str, town: Town) -> None:
    with_passkey(device, site, town)
    device.hold_back()
    device.page.goto(f"{site}/mijn/passkey")
    credential = device.answer()
    assert send(device, site, credential) == 303
    device.page.context.clear_cookies()
    with town.registry.engine.begin() as connection:  # as of a key that counts nothing: the counter must not be all
        connection.execute(update(PASSKEYS).values(sign_count=0))
    assert send(device, site, credential) == 403
    assert device.page.context.cookies() == []


def test_an_answer_that_comes_too_late_opens_nothing(device: Device, site: str, town: Town) -> None:
    with_passkey(device, site, town)
    device.hold_back()
    device.page.goto(f"{site}/mijn/passkey")
    credential = device.answer()
    town.clock.time += CHALLENGE_S
    assert send(device, site, credential) == 403


def test_an_answer_to_another_question_opens_nothing(device: Device, site: str, town: Town) -> None:
    person = with_passkey(device, site, town)
    device.hold_back()
    device.page.goto(f"{site}/mijn/passkey")
    credential = device.answer()
    with town.registry.engine.begin() as connection:  # the challenge was one for adding, of this very person
        connection.execute(update(PASSKEY_CHALLENGES).values(ceremony="add", pseudonym=person.pseudonym))
    assert send(device, site, credential) == 403


def test_a_copied_authenticator_is_refused(device: Device, site: str, town: Town) -> None:
    person = with_passkey(device, site, town)
    with town.registry.engine.begin() as connection:  # the copy was used more often than this one
        mine = PASSKEYS.c.pseudonym == person.pseudonym
        connection.execute(update(PASSKEYS).where(mine).values(sign_count=50))
    device.hold_back()
    device.page.goto(f"{site}/mijn/passkey")
    assert send(device, site, device.answer()) == 403


@pytest.mark.parametrize("field", ["signature", "authenticatorData", "clientDataJSON", "id"])
def test_an_altered_answer_opens_nothing(device: Device, site: str, town: Town, field: str) -> None:
    with_passkey(device, site, town)
    device.hold_back()
    device.page.goto(f"{site}/mijn/passkey")
    credential = device.answer()
    place = credential if field == "id" else credential["response"]
    middle = len(place[field]) // 2
    place[field] = place[field][:middle] + ("A" if place[field][middle] != "A" else "B") + place[field][middle + 1 :]
    assert send(device, site, credential) == 403


def test_another_volunteer_cannot_keep_an_answer_made_for_the_first(device: Device, site: str, town: Town) -> None:
    one, two = town.enrol(site), town.enrol(site)
    log_in_by_cookie(device, site, one)
    device.hold_back()
    device.page.goto(f"{site}/mijn/passkeys")
    credential = device.answer()
    answer = two.http.post("/mijn/passkeys", data={"csrf": csrf_of_page(two), "credential": json.dumps(credential)})
    assert answer.status_code == 400
    assert town.app.state.parts.passkeys.of(two.pseudonym) == []


def csrf_of_page(person: Person) -> str:
    return csrf_in(person.http.get("/mijn").text)


def test_who_is_not_verified_by_the_device_gets_no_passkey(browser: Browser, site: str, town: Town) -> None:
    person = town.enrol(site)
    with reader(browser, site, java_script_enabled=True) as page:
        device = device_of(page, hasUserVerification=False, isUserVerified=False)
        log_in_by_cookie(device, site, person)
        page.goto(f"{site}/mijn/passkeys")
        page.locator("form[data-passkey] button").click()
        page.wait_for_selector("#passkey-failed:not([hidden])")
    assert town.app.state.parts.passkeys.of(person.pseudonym) == []


def test_the_server_too_wants_to_know_that_the_device_asked_who_is_there(device: Device, site: str, town: Town) -> None:
    with_passkey(device, site, town)
    unverified = {"authenticatorId": device.authenticator, "isUserVerified": False}
    device.cdp.send("WebAuthn.setUserVerified", unverified)
    device.hold_back()
    device.page.goto(f"{site}/mijn/passkey")
    device.page.evaluate(  # a page that somebody altered asks for less
        """() => { const form = document.querySelector("form[data-passkey]");
        const options = JSON.parse(form.dataset.options); options.userVerification = "discouraged";
        form.dataset.options = JSON.stringify(options); }"""
    )
    assert send(device, site, device.answer()) == 403


def test_a_lost_device_is_removed_and_recovery_words_end_all_passkeys(device: Device, site: str, town: Town) -> None:
    person = with_passkey(device, site, town)
    page = person.http.get("/mijn/passkeys").text
    number = page.split('name="number" value="')[1].split('"')[0]
    accounts, other = town.app.state.parts.accounts, town.enrol(site)
    lost = accounts.open(person.pseudonym)
    other.http.post("/mijn/passkeys/weg", data={"csrf": csrf_of_page(other), "number": number})
    assert len(town.app.state.parts.passkeys.of(person.pseudonym)) == 1  # not by somebody else
    assert accounts.pseudonym_of(lost) == person.pseudonym
    person.http.post("/mijn/passkeys/weg", data={"csrf": csrf_of_page(person), "number": number})
    assert accounts.pseudonym_of(lost) is None  # the device that is lost may have been logged in
    assert person.http.get("/mijn/passkeys").url.path == "/mijn/passkeys"
    device.hold_back()
    device.page.goto(f"{site}/mijn/passkey")
    assert send(device, site, device.answer()) == 403
    second = with_passkey_again(device, site, town)
    form = {"code": second.code, "words": second.words, "secret": SECRET, "again": SECRET}
    recovered = second.http.post("/mijn/herstel", data=form)
    assert recovered.status_code == 200
    assert town.app.state.parts.passkeys.of(second.pseudonym) == []


def with_passkey_again(device: Device, site: str, town: Town) -> Person:
    with reader(device.page.context.browser, site, java_script_enabled=True) as page:  # type: ignore[arg-type]
        return with_passkey(device_of(page), site, town)


def test_the_pages_run_only_our_script_and_meet_wcag(device: Device, site: str, town: Town, axe: str) -> None:
    person = town.enrol(site)
    blocked: list[str] = []
    device.page.on(
        "console", lambda message: blocked.append(message.text) if "Content Security" in message.text else None
    )
    elsewhere: list[str] = []
    device.page.on("request", lambda request: elsewhere.append(request.url))
    device.page.goto(f"{site}/mijn/passkey")
    log_in_by_cookie(device, site, person)
    device.page.wait_for_selector("form[data-passkey]:not([hidden])")  # the script ran
    assert blocked == []
    assert [url for url in elsewhere if not url.startswith((site, "data:"))] == []
    found = {}
    for path in ("/mijn/passkey", "/mijn/passkeys", "/en/mijn/passkey", "/en/mijn/passkeys"):
        answer = device.page.goto(f"{site}{path}")
        assert answer is not None
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        found |= violations(device.page, axe, path)
    assert found == {}
    assert "script-src" not in person.http.get("/mijn").headers["content-security-policy"]


def test_without_javascript_the_page_says_the_other_way(browser: Browser, site: str) -> None:
    with reader(browser, site) as page:
        page.goto(f"{site}/mijn/passkey")
        assert page.locator("form[data-passkey]").is_visible() is False
        assert "code en uw wachtwoord" in page.locator("#passkey-absent").inner_text()
        assert page.locator("a[href='/mijn/inloggen']").is_visible()
