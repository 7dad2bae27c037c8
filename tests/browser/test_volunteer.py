"""/mijn in a real Chromium: by keyboard alone, without JavaScript, narrow, zoomed, and as axe-core sees it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from api.records import Event
from tests.api_volunteers import SECRET, Town
from tests.browser.reading import enter, reader, shot, tab_to, type_into, violations

OWN = (
    *("/mijn", "/mijn/gegevens", "/mijn/keuzes", "/mijn/antwoord", "/mijn/bewijs", "/mijn/verbeteren"),
    *("/mijn/bezwaar", "/mijn/band", "/mijn/vragen", "/mijn/email", "/mijn/passkeys"),
)
PICTURES = ("/mijn/gegevens", "/mijn/bewijs", "/mijn/verbeteren")
GUEST = ("/mijn", "/mijn/meedoen", "/mijn/nee", "/mijn/inloggen", "/mijn/herstel", "/mijn/passkey")
CITIZEN = ("/", "/wijken", "/wijken/WK034403", "/toestemming", "/nergens")


def test_somebody_takes_part_changes_and_stops_by_keyboard_alone_without_javascript(
    browser: Browser, town: Town, site: str
) -> None:
    code = town.code()
    with reader(browser, site, width=390) as page:
        page.goto(f"{site}/mijn/meedoen?code={code}")
        assert page.locator("#code").input_value() == code
        tab_to(page, "#adult")
        page.keyboard.press("Space")
        tab_to(page, "form .pair button")
        enter(page)
        assert page.locator("input:checked").count() == 0
        tab_to(page, "[name='district-index.heart']")
        page.keyboard.press("Space")
        tab_to(page, "[name='district-index.skin']")
        page.keyboard.press("Space")
        page.keyboard.press("ArrowRight")  # no, after all
        shot(page, "mijn-kiezen")
        type_into(page, "#district", "Overvecht")
        type_into(page, "#secret", SECRET)
        type_into(page, "#again", SECRET)
        tab_to(page, "form .pair button")
        enter(page)
        assert page.locator("h1").inner_text() == "U doet mee"
        assert page.locator("#herstelwoorden").inner_text().count("-") == 4
        shot(page, "mijn-herstelcode", "section.keep")
        pseudonym = town.registry.ledger.wearer_of(code)
        assert pseudonym is not None
        record = town.registry.ledger.current(pseudonym)
        assert [c.value for c in record.purposes.popitem()[1]] == ["heart"]
        assert record.district == "WK034403"
        tab_to(page, "form[action='/mijn/herstelcode'] button")
        enter(page)
        tab_to(page, "a.button[href='/mijn']")
        enter(page)
        tab_to(page, "form.pair button[value='no']")
        enter(page)  # one tap
        assert "U bent gestopt" in page.locator("main").inner_text()
    assert town.registry.ledger.current(pseudonym).event is Event.WITHDRAWN


def test_somebody_logs_in_and_out_by_keyboard_and_is_told_of_a_mistake(browser: Browser, town: Town, site: str) -> None:
    person = town.enrol(site)
    with reader(browser, site) as page:
        page.goto(f"{site}/mijn")
        tab_to(page, "a[href='/mijn/inloggen'].button")
        enter(page)
        type_into(page, "#code", person.code)
        type_into(page, "#secret", "niet het goede")
        enter(page)
        assert "horen niet bij elkaar" in page.get_by_role("alert").inner_text()
        type_into(page, "#code", person.code)
        type_into(page, "#secret", SECRET)
        enter(page)
        assert "U doet mee." in page.locator("main").inner_text()
        (cookie,) = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        tab_to(page, ".session button")
        enter(page)
        assert page.context.cookies() == []


def test_a_form_of_another_site_arrives_without_a_login(browser: Browser, town: Town, site: str) -> None:
    person = town.enrol(site)
    with reader(browser, site, person, java_script_enabled=True) as page:
        form = f"<form method=post action='{site}/mijn/stoppen'><input name=erase value=yes><button>x</button></form>"
        page.route("http://elsewhere.example/", lambda route: route.fulfill(content_type="text/html", body=form))
        page.goto("http://elsewhere.example/")
        page.locator("button").click()
        page.wait_for_load_state()
    assert town.registry.ledger.current(person.pseudonym).event is Event.GIVEN


@pytest.mark.parametrize(("width", "zoom"), [(320, 1), (1280, 2), (1280, 4)])
def test_no_own_page_scrolls_sideways_and_targets_are_large_enough(
    browser: Browser, town: Town, site: str, width: int, zoom: float
) -> None:
    person = town.enrol(site)
    for who, paths in ((person, OWN), (None, GUEST)):
        with reader(browser, site, who, width=width, zoom=zoom) as page:
            for path in (*paths, *(f"/en{path}" for path in paths)):
                page.goto(site + path)
                whole, seen = page.locator("html").evaluate("e => [e.scrollWidth, e.clientWidth]")
                assert whole <= seen, path
                small = page.locator("main button, main input:not([type=hidden]), main select").evaluate_all(
                    "all => all.filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect())"
                    ".filter(b => b.width < 24 || b.height < 24).length"
                )
                assert small == 0, path  # WCAG 2.2, 2.5.8


def test_yes_and_no_are_of_one_size(browser: Browser, town: Town, site: str) -> None:
    person = town.enrol(site)
    for who, path, pair in (
        (None, "/mijn/meedoen", "main form .pair > *"),
        (person, "/mijn", "main .pair button"),
        (person, "/mijn/keuzes", ".yesno:first-of-type div > span"),
    ):
        with reader(browser, site, who) as page:
            page.goto(site + path)
            boxes = page.locator(pair).evaluate_all(
                "all => all.map(e => [e.offsetWidth, getComputedStyle(e).backgroundColor])"
            )
            assert len(boxes) >= 2
            assert len({tuple(box) for box in boxes}) == 1, (path, boxes)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_against_wcag_22_aa_on_any_page(
    browser: Browser, town: Town, site: str, axe: str, scheme: str
) -> None:
    person = town.enrol(site)
    found: dict[str, list[str]] = {}
    for who, paths in ((person, OWN), (None, GUEST + CITIZEN)):
        with reader(browser, site, who, java_script_enabled=True, color_scheme=scheme) as page:
            for path in paths:
                page.goto(site + path)
                found |= violations(page, axe, path)
                if scheme == "light" and path in PICTURES:
                    shot(page, path[1:].replace("/", "-"))
    assert found == {}


def test_axe_finds_nothing_on_forms_with_mistakes_and_on_the_steps_between(
    browser: Browser, town: Town, site: str, axe: str
) -> None:
    with reader(browser, site, java_script_enabled=True) as page:
        page.goto(f"{site}/mijn/meedoen?code=AAAA-BBBB-CCCC-DDDD")
        page.locator("form .pair button").click()
        found = violations(page, axe, "refused")
        page.goto(f"{site}/mijn/meedoen?code={town.code()}")
        page.locator("#adult").check()
        page.locator("form .pair button").click()
        found |= violations(page, axe, "choices")
        page.locator("#secret").fill("kort")
        page.locator("#again").fill("korter")
        page.locator("form .pair button").click()
        assert page.get_by_role("alert").count() == 1
        found |= violations(page, axe, "mistakes")
        page.locator("#district").select_option("WK034403")
        page.locator("#secret").fill(SECRET)
        page.locator("#again").fill(SECRET)
        page.locator("form .pair button").click()
        assert page.locator("h1").inner_text() == "U doet mee"
        found |= violations(page, axe, "welcome")
    assert found == {}
