"""The pages in a real Chromium, without JavaScript, as citizens meet them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from api.app import build
from tests.api_support import ManualClock, registry_for, serving, settings_for, utrecht
from tests.browser.reading import tab_to, violations

PATHS = (
    "/", "/wijken", "/wijken?metric=wellbeing", "/wijken/WK034401", "/wijken/WK034403", "/wijken/WK034410", "/stad",
    "/uitleg", "/toestemming", "/nergens",
)  # fmt: skip


def running(folder: Path, boundaries: Path | None) -> contextlib.AbstractContextManager[str]:
    stack = contextlib.ExitStack()
    clock = ManualClock()
    settings = settings_for(folder, demo_note="De eerste weken zijn nagespeeld.", demo_note_en="Weeks were replayed.")
    registry = registry_for(folder, clock=clock)
    if boundaries is not None:
        registry.districts.import_file(boundaries, boundary_year=2013)
    app = stack.enter_context(build(settings, releases=utrecht(), clock=clock, registry=registry))
    url = stack.enter_context(serving(app))
    return _closing(stack, url)


@contextlib.contextmanager
def _closing(stack: contextlib.ExitStack, url: str) -> Iterator[str]:
    with stack:
        yield url


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Utrecht on the tile map."""
    with running(tmp_path_factory.mktemp("tiles"), None) as url:
        yield url


@pytest.fixture(scope="module")
def real_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Utrecht with its boundaries."""
    shared = Path(__file__).resolve().parents[3] / "shared" / "data" / "utrecht_wijken.geojson"
    with running(tmp_path_factory.mktemp("boundaries"), shared) as url:
        yield url


@contextlib.contextmanager
def reader(browser: Browser, *, width: int = 1280, scheme: str = "light", zoom: float = 1) -> Iterator[Page]:
    """Somebody without JavaScript."""
    context = browser.new_context(
        viewport={"width": int(width / zoom), "height": 800},
        device_scale_factor=zoom,
        color_scheme=scheme,  # type: ignore[arg-type]
        java_script_enabled=False,
    )
    try:
        yield context.new_page()
    finally:
        context.close()


def test_no_page_asks_anything_of_another_host_or_breaks_its_own_policy(
    browser: Browser, site: str, real_site: str
) -> None:
    addresses = [site + (f"/en{path}" if path != "/" else "/en") for path in PATHS]
    addresses += [site + path for path in PATHS] + [f"{real_site}/wijken"]
    asked: list[str] = []
    said: list[str] = []
    with reader(browser) as page:
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        for address in addresses:
            page.goto(address)
            assert page.locator("script").count() == 0
        assert page.context.cookies() == []
    assert len(asked) >= len(addresses)
    assert [url for url in asked if not url.startswith((site, real_site, "data:"))] == []
    assert [text for text in said if "Content Security Policy" in text] == []


@pytest.mark.parametrize(("width", "zoom"), [(320, 1), (1280, 2), (768, 1)])
def test_no_page_scrolls_sideways(browser: Browser, site: str, real_site: str, width: int, zoom: float) -> None:
    with reader(browser, width=width, zoom=zoom) as page:
        for address in [site + path for path in PATHS] + [f"{site}/en/wijken", f"{real_site}/wijken"]:
            page.goto(address)
            whole, seen = page.locator("html").evaluate("e => [e.scrollWidth, e.clientWidth]")
            assert whole <= seen, address


def test_released_and_withheld_districts_are_both_there_to_see_and_say_why(browser: Browser, site: str) -> None:
    with reader(browser) as page:
        page.goto(f"{site}/wijken")
        assert page.locator("svg.map a").count() == 10
        assert page.locator("svg.map .shape.withheld").count() == 1
        assert page.locator("svg.map .shape.empty").count() == 1
        rows = page.locator(".rows li")
        assert rows.count() == 10
        names = rows.locator(".who a").all_inner_texts()
        assert names[0] == "West"
        assert names[-1] == "Vleuten-De Meern"  # by code, never by figure
        overvecht = rows.filter(has_text="Overvecht").inner_text()
        assert "65,4 ± 6,5" in overvecht
        assert "elke dag" in overvecht
        assert "22 november 2026" in overvecht
        zuidwest = rows.filter(has_text="Zuidwest").inner_text()
        assert "Niet getoond" in zuidwest
        assert "Te weinig mensen deden mee" in zuidwest
        assert "samen met Oost" in rows.filter(has_text="Noordoost").first.inner_text()


def test_the_reader_goes_by_links_alone_from_home_to_a_districts_course(browser: Browser, site: str) -> None:
    with reader(browser) as page:
        page.goto(site)
        assert "De eerste weken zijn nagespeeld." in page.locator(".demo").inner_text()
        page.get_by_role("link", name="Bekijk alle wijken").click()
        page.get_by_role("link", name="Rust in het lichaam").click()
        assert "is geen gevoel" in page.locator("main").inner_text()
        page.locator(".rows").get_by_role("link", name="Overvecht").click()
        assert page.locator("h1").inner_text() == "Overvecht"
        assert page.locator(".course svg[role=img]").count() == 5
        assert "Stop nooit bij het cijfer" in page.locator("main").inner_text()
        page.locator("summary", has_text="Dit verloop als tabel").first.click()
        assert page.locator("details[open] tbody tr").count() == 21
        page.get_by_role("link", name="English").click()
        assert page.locator("html").get_attribute("lang") == "en"
        assert page.url.endswith("/en/wijken/WK034403")
        assert "Never stop at the number" in page.locator("main").inner_text()


def test_the_other_language_keeps_the_chosen_figure(browser: Browser, site: str) -> None:
    with reader(browser) as page:
        page.goto(f"{site}/wijken?metric=calm")
        page.get_by_role("link", name="English").click()
        assert "metric=calm" in page.url
        assert "51.3 ± 3.1" in page.locator(".rows").inner_text()


def test_the_keyboard_reaches_the_content_first_and_every_district(browser: Browser, site: str) -> None:
    with reader(browser) as page:
        page.goto(f"{site}/wijken")
        page.keyboard.press("Tab")
        skip = page.locator(":focus")
        assert skip.inner_text() == "Naar de inhoud"
        assert (skip.bounding_box() or {"x": -1})["x"] >= 0
        page.keyboard.press("Enter")
        seen = []
        for _ in range(22):
            page.keyboard.press("Tab")
            seen.append(page.locator(":focus").get_attribute("href") or "")
        assert [href for href in seen if href.startswith("/wijken/WK")][:10] == [
            f"/wijken/WK0344{n:02}" for n in range(1, 11)
        ]


@pytest.mark.parametrize("language", ["", "/en"])
def test_on_a_phone_the_head_leaves_the_screen_to_the_page_and_opens_by_keyboard(
    browser: Browser, site: str, language: str
) -> None:
    links, note = "header nav a", ".demo p"
    with reader(browser, width=320) as page:
        page.goto(f"{site}{language}/wijken")
        assert (page.locator("main").bounding_box() or {"y": 999})["y"] <= 110
        assert not page.locator(links).first.is_visible()
        for part, hidden in ((".demo", note), ("header", links)):
            tab_to(page, f"{part} summary")
            page.keyboard.press("Enter")
            assert page.locator(hidden).first.is_visible()
        assert page.locator(links).count() == 5
        tab_to(page, f"header nav a[href='{language}/mijn']")
    with reader(browser, width=1200) as page:
        page.goto(f"{site}{language}/wijken")
        assert page.locator(links).last.is_visible()
        assert page.locator(note).is_visible()
        assert not page.locator(".fold").first.is_visible()


def test_each_page_has_one_heading_of_the_first_rank_and_tables_have_captions(browser: Browser, site: str) -> None:
    with reader(browser) as page:
        for path in PATHS:
            page.goto(site + path)
            assert page.locator("h1").count() == 1, path
            assert page.locator("main").count() == 1
            assert page.locator("table").count() == page.locator("table > caption").count()
            assert page.locator("img:not([alt])").count() == 0
            labels = page.locator("svg[role=img], svg[role=group]")
            assert all(labels.nth(i).get_attribute("aria-label") for i in range(labels.count()))
            identifiers = page.locator("[id]").evaluate_all("all => all.map(e => e.id)")
            assert len(identifiers) == len(set(identifiers)), path


def test_words_on_the_map_stay_inside_their_tiles_on_a_phone(browser: Browser, site: str) -> None:
    with reader(browser, width=320) as page:
        page.goto(f"{site}/wijken")
        drawing = page.locator("svg.map").bounding_box()
        assert drawing is not None
        texts = page.locator("svg.map text")
        for i in range(texts.count()):
            box = texts.nth(i).bounding_box()
            assert box is not None
            assert drawing["x"] - 1 <= box["x"]
            assert box["x"] + box["width"] <= drawing["x"] + drawing["width"] + 1
            assert box["width"] < 60 or not page.locator(".note", has_text="Elk vierkant").count()


def test_each_label_of_the_real_map_lies_in_its_own_district(browser: Browser, real_site: str) -> None:
    with reader(browser) as page:
        page.goto(f"{real_site}/wijken")
        found = page.evaluate(
            """() => [...document.querySelectorAll("svg.map a")].map((link, i) => {
                const box = document.querySelectorAll("svg.map g.label")[i].getBoundingClientRect();
                const under = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
                return [link.getAttribute("href"), under.closest("a")?.getAttribute("href")];
            })"""
        )
    assert len(found) == 10
    assert [pair for pair in found if pair[0] != pair[1]] == []


def test_dark_light_and_print_all_show_the_map(browser: Browser, site: str) -> None:
    grounds = set()
    for scheme in ("light", "dark"):
        with reader(browser, scheme=scheme) as page:
            page.goto(f"{site}/wijken")
            grounds.add(page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor"))
            page.emulate_media(media="print")
            assert page.locator("svg.map").is_visible()
    assert len(grounds) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_against_wcag_22_aa(browser: Browser, site: str, axe: str, scheme: str) -> None:
    found: dict[str, list[str]] = {}
    context = browser.new_context(color_scheme=scheme)  # type: ignore[arg-type]
    with contextlib.closing(context):
        page = context.new_page()
        for path in PATHS + tuple(f"/en{path}" for path in PATHS if path != "/"):
            page.goto(site + path)
            found |= violations(page, axe, path)
    assert found == {}


def test_a_reader_goes_from_a_figure_to_its_formula_its_code_and_its_evidence(browser: Browser, site: str) -> None:
    with reader(browser) as page:
        page.goto(f"{site}/wijken/WK034403")
        page.locator("#calm").get_by_role("link", name="Hoe goed is dit cijfer?").click()
        assert page.url.endswith("/uitleg#calm")
        part = page.locator("#calm")
        assert "rust = 100 × Φ(−A)" in part.inner_text()
        for told in ("0,881", "0,872", "0,460", "Waar gaat het mis?", "wijkpols evaluate"):
            assert told in part.inner_text()
        part.get_by_role("link", name="analytics/rises.py").click()
        assert "def heart_rise(" in page.locator("body").inner_text()


def test_a_district_shows_why_and_at_what_hour_and_what_it_withholds(browser: Browser, site: str) -> None:
    with reader(browser) as page:
        page.goto(f"{site}/wijken/WK034403")
        why, hours = page.locator("#redenen"), page.locator("#uren")
        assert why.locator("li").count() == 4
        assert "week 47" in why.inner_text()
        assert "ongeveer 43 mensen (± 10)" in why.inner_text()
        assert "Niet getoond, want te weinig mensen gaven deze reden: licht, " in why.inner_text()
        assert hours.locator("li .who").all_inner_texts() == [
            f"{hour} tot {hour + 3} uur" for hour in (9, 12, 15, 18, 21)
        ]
        assert "+9,4 ± 2,6" in hours.inner_text()
        assert "−7,4 ± 2,6" in hours.inner_text()
        page.goto(f"{site}/wijken/WK034401")
        assert "Te weinig mensen deden mee" in page.locator("#uren").inner_text()
        assert page.locator("#uren li").count() == 0
        page.goto(f"{site}/wijken/WK034408")
        assert "Deze week tonen we geen enkele reden" in page.locator("#redenen").inner_text()
        assert page.locator("#redenen li").count() == 0
        page.goto(f"{site}/wijken/WK034402")  # weekly: reasons, and no hours
        assert page.locator("#redenen").count() == 1
        assert page.locator("#uren").count() == 0


def test_the_citys_week_says_what_is_in_it(browser: Browser, site: str) -> None:
    with reader(browser) as page:
        page.goto(f"{site}/wijken")
        page.get_by_role("link", name="De hele stad, per week").click()
        text = page.locator("main").inner_text()
        assert "72,2 ± 1,9" in text
        assert "In de nieuwste week: West, Overvecht, " in text
        assert "Niet: Noordwest" in text
        assert page.locator("table tbody tr").count() == 2


def test_a_reader_finds_what_made_a_figure_change_and_an_estimate_beside_it(browser: Browser, site: str) -> None:
    with reader(browser) as page:
        page.goto(f"{site}/wijken/WK034403")
        page.locator("#verandering summary").click()
        assert "We kennen 21 van de 56 dagen" in page.locator("#safe").inner_text()
        text = page.locator("#verandering").inner_text()
        assert "Het kan dus toeval zijn" in text
        assert page.locator("#verandering tbody tr").count() == 4
        page.goto(f"{site}/wijken")
        page.locator("#tabel summary").click()
        assert "Samen geschat" in page.locator("#tabel thead").inner_text()
        page.goto(f"{site}/wijken?metric=wellbeing")
        assert "Samen geschat" not in page.locator("#tabel").inner_text()
