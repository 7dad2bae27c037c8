"""Guessing at claim codes and passwords: stopped, on pages and API together, and never at a neighbour's cost."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from api.recoveries import WAIT_S
from tests.api_support import serving
from tests.api_volunteers import SECRET, Town

RIGHT = {"district": "WK034403", "adult": "yes", "secret": SECRET, "again": SECRET}


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


@pytest.fixture
def http(town: Town) -> Iterator[httpx.Client]:
    with serving(town.app) as url, httpx.Client(base_url=url) as found:
        yield found


def guess_until_it_pauses(http: httpx.Client) -> None:
    for number in range(15):
        guess = f"AAAA-BBBB-CCCC-{number:04}"
        assert http.post("/mijn/meedoen", data={"code": guess, "adult": "yes"}).status_code == 403
        body = {"claimCode": f"{guess}-X", "district": "WK034403", "adult": True}
        assert http.post("/v1/enrolments", json=body).status_code == 403


def test_guessing_claim_codes_is_stopped_on_pages_and_api_together(town: Town, http: httpx.Client) -> None:
    guess_until_it_pauses(http)
    for path in ("/mijn/meedoen", "/mijn/kiezen", "/mijn/inloggen", "/mijn/herstel"):
        answer = http.post(path, data=RIGHT | {"code": "AAAA-BBBB-CCCC-9999", "words": "x"})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "900"), path
        assert "Kijk of uw code precies klopt" in answer.text
    body = {"claimCode": "AAAA-BBBB-CCCC-9999", "district": "WK034403", "adult": True}
    answer = http.post("/v1/enrolments", json=body)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "900")
    town.clock.time += 901
    assert http.post("/mijn/meedoen", data={"code": "AAAA-BBBB-CCCC-9999", "adult": "yes"}).status_code == 403


def test_who_holds_a_code_is_not_held_up_by_a_guesser_at_the_same_address(town: Town, http: httpx.Client) -> None:
    """A mobile network's, say: to log in, to begin, to recover, by a printed sheet, on pages and API."""
    url = str(http.base_url)
    person, sheet_owner = town.enrol(url), town.enrol(url)
    sheet = town.app.state.parts.recoveries.print_for(sheet_owner.pseudonym)
    town.clock.time += WAIT_S
    guess_until_it_pauses(http)
    assert http.post("/mijn/inloggen", data=RIGHT | {"code": person.code}).status_code == 303
    assert http.post("/mijn/kiezen", data=RIGHT | {"code": town.code()}).status_code == 303
    assert http.post("/mijn/herstel", data=RIGHT | {"code": person.code, "words": person.words}).status_code == 303
    assert http.post("/mijn/herstel", data=RIGHT | {"code": sheet.code, "words": sheet.words}).status_code == 303
    body = {"claimCode": town.code(), "district": "WK034403", "adult": True}
    assert http.post("/v1/enrolments", json=body).status_code == 201


def test_a_stolen_code_gives_few_guesses_at_its_password_from_however_many_addresses(
    town: Town, http: httpx.Client
) -> None:
    person, statuses = town.enrol(str(http.base_url)), list[int]()

    def tried(secret: str, seen: int) -> int:
        said = {"X-Forwarded-For": f"203.0.113.{seen}"}
        return http.post("/mijn/inloggen", data={"code": person.code, "secret": secret}, headers=said).status_code

    day = 24 * 4
    for quarter in range(day):
        statuses += [tried(f"geraden {quarter} {n}", quarter % 250) for n in range(6)]
        town.clock.time += 901
    assert (statuses.count(403), statuses.count(429)) == (11, 6 * day - 11)
    assert tried(SECRET, 1) == 429  # the right one, too: it fails closed
    form = RIGHT | {"code": person.code, "words": person.words}
    assert http.post("/mijn/herstel", data=form).status_code == 303  # the way back stays open
    assert tried(SECRET, 1) == 303


def test_guesses_at_one_time_are_no_more_than_those_one_after_the_other(town: Town, http: httpx.Client) -> None:
    person = town.enrol(str(http.base_url))

    def tried(number: int) -> int:
        form = {"code": person.code, "secret": f"geraden {number}"}
        return httpx.post(f"{http.base_url}/mijn/inloggen", data=form).status_code

    with ThreadPoolExecutor(20) as pool:
        assert sorted(pool.map(tried, range(40))) == [403] * 5 + [429] * 35


def test_the_recovery_code_cannot_be_guessed_either(town: Town, http: httpx.Client) -> None:
    person = town.enrol(str(http.base_url))
    form = RIGHT | {"code": person.code}
    words = [f"AAAA-AAAA-AAAA-AAAA-AA{n:02}".replace("0", "B").replace("1", "C") for n in range(6)]
    assert [http.post("/mijn/herstel", data=form | {"words": w}).status_code for w in words] == [403] * 5 + [429]
    assert http.post("/mijn/herstel", data=form | {"words": person.words}).status_code == 429


def test_behind_a_proxy_a_client_is_the_address_that_the_proxy_saw_not_one_that_it_names(
    http: httpx.Client,
) -> None:
    def tried(number: int, seen: str) -> int:
        form = {"code": f"AAAA-BBBB-CCCC-{number:04}", "secret": SECRET}
        said = {"X-Forwarded-For": f"198.51.100.{number}, {seen}"}
        return http.post("/mijn/inloggen", data=form, headers=said).status_code

    assert {tried(number, "203.0.113.9") for number in range(30)} == {403}
    assert [tried(31, "203.0.113.9"), tried(32, "203.0.113.10")] == [429, 403]
