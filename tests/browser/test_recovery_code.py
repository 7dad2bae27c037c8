"""The recovery code in a real Chromium: loaded again, printed, in a second tab, left by the back button."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page
from pypdf import PdfReader

from tests.api_volunteers import SECRET, Town
from tests.browser.reading import chromium, enter, reader, tab_to, type_into, violations

WORDS = "#herstelwoorden"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One that keeps pages for its back button, as everybody's does and a test's does not."""
    with chromium(ignore_default_args=["--disable-back-forward-cache"]) as found:
        yield found


def take_part(page: Page, town: Town, site: str) -> str:
    """Enrol; the recovery code that is shown."""
    page.goto(f"{site}/mijn/meedoen?code={town.code()}")
    page.locator("#adult").check()
    page.locator("form .pair button").click()
    page.locator("[name='district-index.heart'][value=yes]").check()
    page.locator("#district").select_option("WK034403")
    page.locator("#secret").fill(SECRET)
    page.locator("#again").fill(SECRET)
    page.locator("form .pair button").click()
    return page.locator(WORDS).inner_text()


@pytest.mark.parametrize("script", [False, True], ids=["without JavaScript", "with it"])
def test_a_reload_shows_the_code_again_without_asking_until_it_is_written_down(
    browser: Browser, town: Town, site: str, script: bool
) -> None:
    with reader(browser, site, width=320, java_script_enabled=script) as page:
        words = take_part(page, town, site)
        assert page.url == f"{site}/mijn/herstelcode"
        for _ in range(2):
            page.reload()
            assert page.locator(WORDS).inner_text() == words
        printed = "".join(sheet.extract_text() for sheet in PdfReader(io.BytesIO(page.pdf())).pages)
        assert words in printed
        second = page.context.new_page()
        second.goto(f"{site}/mijn/herstelcode")
        assert second.locator(WORDS).inner_text() == words
        tab_to(page, "form[action='/mijn/herstelcode'] button")
        enter(page)
        assert "niet meer zien" in page.locator("main").inner_text()
        page.go_back()
        assert words not in page.content()
        second.reload()
        assert words not in second.content()


def test_a_new_code_after_a_recovery_is_shown_in_the_same_way_and_to_no_other_browser(
    browser: Browser, town: Town, site: str
) -> None:
    person = town.enrol(site)
    with reader(browser, site) as page, reader(browser, site) as other:
        page.goto(f"{site}/mijn/herstel")
        for field, text in (("code", person.code), ("words", person.words), ("secret", SECRET), ("again", SECRET)):
            type_into(page, f"#{field}", text)
        enter(page)
        words = page.locator(WORDS).inner_text()
        assert words != person.words
        page.reload()
        assert page.locator(WORDS).inner_text() == words
        other.goto(f"{site}/mijn/inloggen")
        type_into(other, "#code", person.code)
        type_into(other, "#secret", SECRET)
        enter(other)
        for path in ("/mijn", "/mijn/herstelcode"):
            other.goto(site + path)
            assert other.url == site + path
            assert words not in other.content()
        assert "We laten uw herstelcode niet meer zien." in other.locator("main").inner_text()


@pytest.mark.parametrize("width", [320, 1280])
def test_axe_finds_nothing_before_and_after_and_nothing_scrolls_sideways(
    browser: Browser, town: Town, site: str, axe: str, width: int
) -> None:
    found: dict[str, list[str]] = {}
    with reader(browser, site, java_script_enabled=True, width=width) as page:
        take_part(page, town, site)
        for name in ("shown", "gone"):
            whole, seen = page.locator("html").evaluate("e => [e.scrollWidth, e.clientWidth]")
            assert whole <= seen, name
            found |= violations(page, axe, name)
            page.locator("form[action='/mijn/herstelcode'] button").click() if name == "shown" else None
            page.goto(f"{site}/mijn/herstelcode")
    assert found == {}


@pytest.mark.parametrize("script", [False, True], ids=["without JavaScript", "with it"])
def test_after_a_log_out_the_back_button_brings_no_own_page_back(
    browser: Browser, town: Town, site: str, script: bool
) -> None:
    person = town.enrol(site)
    with reader(browser, site, person, java_script_enabled=script) as page:
        asked: list[str] = []
        page.goto(f"{site}/mijn")
        page.goto(f"{site}/mijn/bewijs")
        page.on("request", lambda request: asked.append(request.method))
        page.locator("main .crumb a").first.click()
        page.wait_for_url("**/mijn")
        asked.clear()
        page.go_back(wait_until="commit")  # what is brought back loads nothing
        page.wait_for_url("**/mijn/bewijs", wait_until="commit")
        assert asked == []  # this browser does keep pages
        with page.expect_navigation():
            page.locator(".session button").click()
        page.go_back(wait_until="commit")
        page.wait_for_url("**/mijn/inloggen*")
        assert "Vingerafdruk" not in page.content()
