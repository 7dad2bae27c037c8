"""How the browser tests read a page: by keyboard, without JavaScript, at some width, and as axe-core sees it."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, FloatRect, Page, sync_playwright

from tests.api_volunteers import Person
from tests.servers import require_program

_WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
#: The pictures of the docs go here when it is named (WIJKPOLS_SCREENSHOTS=docs/images); tests compare none.
SHOTS = os.environ.get("WIJKPOLS_SCREENSHOTS", "")
_MARGIN = 16
_COLOURS = 64  # our pages have few; a third of the bytes


@contextlib.contextmanager
def chromium(**options: Any) -> Iterator[Browser]:
    """The real one of this machine."""
    program = require_program("chromium", "chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            **options,
        )
        yield found
        found.close()


@contextlib.contextmanager
def reader(
    browser: Browser, site: str, person: Person | None = None, *, width: int = 1280, zoom: float = 1, **options: Any
) -> Iterator[Page]:
    """Somebody without JavaScript, unless told otherwise; logged in as a person, if there is one."""
    context: BrowserContext = browser.new_context(
        viewport={"width": int(width / zoom), "height": 800},
        device_scale_factor=zoom,
        **{"java_script_enabled": False, **options},
    )
    try:
        if person is not None:
            context.add_cookies([{"name": "wijkpols", "value": person.http.cookies["wijkpols"], "url": site}])
        yield context.new_page()
    finally:
        context.close()


def tab_to(page: Page, selector: str) -> None:
    """Go by Tab until this is focused, as somebody without a mouse does; the focus is always to be seen."""
    for _ in range(120):
        page.keyboard.press("Tab")
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            return
    pytest.fail(f"the keyboard does not reach {selector} on {page.url}")


def enter(page: Page) -> None:
    """Press what has the focus, and wait for the next page."""
    with page.expect_navigation():
        page.keyboard.press("Enter")


def type_into(page: Page, selector: str, text: str) -> None:
    tab_to(page, selector)
    page.keyboard.type(text)


def shot(page: Page, name: str, part: str = "") -> None:
    """A picture of the whole page, or of the part that a selector names, with the page's margin around it."""
    if SHOTS:
        taken = page.screenshot(full_page=True, clip=_around(page, part) if part else None)
        small = Image.open(io.BytesIO(taken)).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
        small.save(Path(SHOTS) / f"{name}.png", optimize=True)


def _around(page: Page, part: str) -> FloatRect:
    box = page.locator(part).evaluate("e => e.getBoundingClientRect().toJSON()")
    left, top = max(0, box["left"] - _MARGIN), max(0, box["top"] + page.evaluate("scrollY") - _MARGIN)
    return {"x": left, "y": top, "width": box["right"] + _MARGIN - left, "height": box["height"] + 2 * _MARGIN}


def violations(page: Page, axe: str, name: str) -> dict[str, list[str]]:
    """What axe-core says of the page, by name; none when it says nothing."""
    page.evaluate(axe)
    result = page.evaluate("tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})", _WCAG)
    assert result["passes"], "axe has looked at nothing"
    said = [f"{v['id']}: {json.dumps([n['target'] for n in v['nodes']])}" for v in result["violations"]]
    return {name: said} if said else {}
