"""docs/tutorials/a-volunteers-day.md, done as a newcomer does it: its own commands, real parts, a real browser."""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page
from pypdf import PdfReader

from tests.api_volunteers import SECRET
from tests.browser.reading import reader, shot
from tests.browser.test_passkeys import device_of

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorials" / "a-volunteers-day.md"
#: A small city instead of the tutorial's: no figure of a district is looked at here.
SMALL = ("--volunteers", "6", "--days", "1", "--port", "0")
#: The minute of the yes is no whole one, so the second minute is there after three at the latest.
MINUTES_S_MAX = 240


class Step(NamedTuple):
    """A command of the tutorial, and the lines that it shows, where … stands for anything."""

    command: str
    shown: tuple[str, ...]


def steps() -> list[Step]:
    found: list[Step] = []
    fenced = False
    for line in TUTORIAL.read_text().splitlines():
        if line.startswith("```"):
            fenced = line == "```text"
        elif fenced:
            found[-1] = found[-1]._replace(shown=(*found[-1].shown, line))
        elif line.startswith("    "):
            found.append(Step(line.strip(), ()))
    return found


class Terminal:
    """Runs commands of the tutorial in a folder, as a shell in a clone of this project would."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._env = {name: text for name, text in os.environ.items() if not name.startswith("WIJKPOLS_")}
        self._env |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def words(self, command: str) -> list[str]:
        made = re.fullmatch(r'make demo ARGS="(.*)"', command)
        if made is not None:
            command = f".venv/bin/wijkpols demo {made[1]} {shlex.join(SMALL)}"
        program, *words = shlex.split(command)
        assert program == ".venv/bin/wijkpols", command
        return [sys.executable, "-m", "wijkpols", *words]

    def run(self, step: Step, *, code: int = 0) -> str:
        if step.command.startswith("sed "):
            subprocess.run(["sh", "-c", step.command], cwd=self._folder, check=True)
            return ""
        done = subprocess.run(
            self.words(step.command), cwd=self._folder, env=self._env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == code, done.stderr
        assert_shown(step, done.stdout + done.stderr)
        return done.stdout

    def start(self, step: Step) -> Program:
        log = self._folder / f"{len(list(self._folder.glob('*.log')))}.log"
        keys, screen = pty.openpty()  # somebody sits there and types
        with log.open("wb") as out:
            process = subprocess.Popen(
                self.words(step.command), cwd=self._folder, env=self._env, stdin=screen, stdout=out, stderr=out
            )
        os.close(screen)
        return Program(process, log, step, keys)


class Program(NamedTuple):
    """One that runs until Ctrl-C."""

    process: subprocess.Popen[bytes]
    log: Path
    step: Step
    keys: int

    def type(self, text: str) -> None:
        os.write(self.keys, f"{text}\n".encode())

    def told(self) -> str:
        return self.log.read_text()

    def ready(self) -> str:
        """Wait until it has shown what the tutorial says."""
        within(90, lambda: self.process.poll() is not None or shows(self.step, self.told()))
        assert_shown(self.step, self.told())
        return self.told()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            assert self.process.wait(60) in (0, 130), self.told()
        finally:
            self.process.kill()
            os.close(self.keys)


def shows(step: Step, told: str) -> bool:
    return not missing(step, told)


def assert_shown(step: Step, told: str) -> None:
    assert missing(step, told) == [], told


def missing(step: Step, told: str) -> list[str]:
    return [line for line in step.shown if not re.search(re.escape(line).replace("…", ".+"), told)]


def within(seconds: float, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "time is up"
        time.sleep(0.5)


@pytest.fixture
def started() -> Iterator[list[Program]]:
    """What was started, ended last first, whatever happens."""
    programs: list[Program] = []
    yield programs
    for program in reversed(programs):
        program.end()


def minutes_drawn(page: Page) -> int:
    page.reload()
    return page.locator("#hartslag tbody tr").count()


def says(page: Page, pattern: str) -> re.Match[str] | None:
    page.reload()
    return re.search(pattern, page.locator("main").inner_text())


def take_receipt(page: Page, site: str, file: Path) -> None:
    page.goto(f"{site}/mijn/bewijs")
    with page.expect_download() as download:
        page.get_by_role("link", name="Dit bewijs als bestand (JSON)").click()
    assert download.value.suggested_filename == "wijkpols-bewijs.json"
    download.value.save_as(file)


@pytest.mark.timeout(600)
def test_a_newcomer_is_invited_enrols_wears_withdraws_and_checks(
    browser: Browser, tmp_path: Path, started: list[Program]
) -> None:
    demo, invite, bands, verify, forge, verify_forged = steps()
    shown_later = bands.shown[-1]  # when the button is held
    bands = bands._replace(shown=bands.shown[:-1])
    terminal = Terminal(tmp_path)
    started.append(terminal.start(demo))
    ready = started[0].ready()
    within(20, lambda: "settings.env bands" in started[0].told())
    for step in (invite, bands):  # what the demonstration prints is what the tutorial says
        assert step.command.removeprefix(".venv/bin/") in started[0].told()
    site = re.search(r"Ready: (\S+)", ready)
    assert site is not None

    invited = terminal.run(invite).splitlines()[1]
    (link,) = PdfReader(tmp_path / "var" / "demo" / "leaflet.pdf").pages[0]["/Annots"]  # type: ignore[misc]
    assert link.get_object()["/A"]["/URI"] == invited
    with reader(browser, site[1], java_script_enabled=True, width=390) as page:
        say_yes(page, invited)
        started.append(terminal.start(bands))
        started[1].ready()
        log_in_by_passkey(page, site[1])
        see_the_line_grow(page, site[1])
        files = [tmp_path / "var" / "demo" / name for name in ("given.json", "withdrawn.json", "wijkpols-bewijs.json")]
        take_receipt(page, site[1], files[0])
        started[1].type("10")
        page.goto(f"{site[1]}/mijn")
        within(90, lambda: says(page, r"U bent gestopt\. .* knop van uw band tien seconden"))
        assert shown_later in started[1].told()
        take_receipt(page, site[1], files[1])
        erased = erase(page, site[1])
        assert int(erased[1]) >= 2
        assert 1 <= int(erased[2]) <= 60
        shot(page, "mijn-gewist", "section.state")
        take_receipt(page, site[1], files[2])
        page.goto(f"{site[1]}/mijn")
        assert "Metingen: 0 minuten" in page.locator("main").inner_text()
    started.pop().end()  # the band is taken off

    for file in files:
        step = verify._replace(command=verify.command.replace(files[2].name, file.name))
        told = terminal.run(step if file == files[2] else step._replace(shown=step.shown[:3]))
        assert all(line.startswith("ok ") for line in told.splitlines())
        assert len(told.splitlines()) > 25
    terminal.run(forge)
    told = terminal.run(verify_forged, code=1)
    assert [line for line in told.splitlines() if line.startswith("NOT")] == ["NOT  record.district: not so"]


def say_yes(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("#adult").check()
    with page.expect_navigation():
        page.locator("form .pair button").click()
    for kind in ("heart", "skin", "motion", "self-report"):
        page.locator(f"[name='district-index.{kind}'][value=yes]").check()
    page.locator("#district").select_option(label="Overvecht")
    page.locator("#secret").fill(SECRET)
    page.locator("#again").fill(SECRET)
    with page.expect_navigation():
        page.get_by_role("button", name="Zo doe ik mee").click()
    assert page.locator("h1").inner_text() == "U doet mee"
    assert "vijf seconden" in page.locator("main").inner_text()


def log_in_by_passkey(page: Page, site: str) -> None:
    device = device_of(page)
    page.goto(f"{site}/mijn/passkeys")
    with page.expect_navigation():
        page.locator("form[data-passkey] button").click()
    assert [kept["rpId"] for kept in device.passkeys()] == ["localhost"]
    with page.expect_navigation():
        page.locator(".session button").click()
    page.goto(f"{site}/mijn/passkey")
    page.wait_for_selector("form[data-passkey]:not([hidden])")
    with page.expect_navigation():
        page.locator("form[data-passkey] button").click()
    assert "U doet mee." in page.locator("main").inner_text()


def see_the_line_grow(page: Page, site: str) -> None:
    page.goto(f"{site}/mijn/gegevens")
    assert minutes_drawn(page) == 0
    within(MINUTES_S_MAX, lambda: minutes_drawn(page) == 1)
    assert page.locator("#hartslag circle.dot").count() == 1
    assert "Tot nu toe één minuut" in page.locator("#hartslag").inner_text()
    short = page.locator("#hartslag path.line").get_attribute("d") or ""
    within(MINUTES_S_MAX, lambda: minutes_drawn(page) == 2)
    long = page.locator("#hartslag path.line").get_attribute("d") or ""
    assert long.count("L") == short.count("L") + 2
    assert "Herlaad deze pagina" in page.locator("#hartslag").inner_text()
    shot(page, "mijn-lijn", "#hartslag")


def erase(page: Page, site: str) -> re.Match[str]:
    page.goto(f"{site}/mijn")
    with page.expect_navigation():
        page.get_by_role("button", name="Wis alles").click()
    wanted = r"gewist op .*: (\d+) minu(?:ut|ten) .* duurde (\d+) seconden?"
    within(60, lambda: says(page, wanted))
    found = says(page, wanted)
    assert found is not None
    return found
