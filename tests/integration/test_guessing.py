"""Guessing at claim codes: stopped on pages and API together, by the address that asks."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.api_support import serving
from tests.api_volunteers import SECRET, Town


def test_guessing_claim_codes_is_stopped_on_pages_and_api_together(tmp_path: Path) -> None:
    town = Town(tmp_path)
    with serving(town.app) as url, httpx.Client(base_url=url) as http:
        for number in range(15):
            guess = f"AAAA-BBBB-CCCC-{number:04}"
            assert http.post("/mijn/meedoen", data={"code": guess, "adult": "yes"}).status_code == 403
            body = {"claimCode": f"{guess}-X", "district": "WK034403", "adult": True}
            assert http.post("/v1/enrolments", json=body).status_code == 403
        good = town.code()
        assert http.post("/mijn/meedoen", data={"code": good, "adult": "yes"}).status_code == 429
        answer = http.post("/v1/enrolments", json={"claimCode": good, "district": "WK034403", "adult": True})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "900")
        town.clock.time += 901
        assert http.post("/mijn/meedoen", data={"code": good, "adult": "yes"}).status_code == 200


def test_behind_a_proxy_a_client_is_the_address_that_the_proxy_saw_and_not_one_that_it_names(tmp_path: Path) -> None:
    town = Town(tmp_path)
    with serving(town.app) as url, httpx.Client(base_url=url) as http:

        def tried(number: int, seen: str) -> int:
            form = {"code": f"AAAA-BBBB-CCCC-{number:04}", "secret": SECRET}
            said = {"X-Forwarded-For": f"198.51.100.{number}, {seen}"}
            return http.post("/mijn/inloggen", data=form, headers=said).status_code

        assert {tried(number, "203.0.113.9") for number in range(30)} == {403}
        assert [tried(31, "203.0.113.9"), tried(32, "203.0.113.10")] == [429, 403]
