"""What arrives at the passkey pages and is no passkey: refused alike, counted, and never an error of ours."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from api.passkeys import CHALLENGE_S, CREDENTIAL_LETTERS_MAX
from api.tables import PASSKEY_CHALLENGES
from tests.api_support import serving
from tests.api_volunteers import Town, csrf_in
from tests.registrykit.databases import database

__all__ = ["database"]


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path, public_url="https://wijkpols.example")


@pytest.fixture
def http(town: Town) -> Iterator[httpx.Client]:
    with serving(town.app) as url, httpx.Client(base_url=url) as found:
        yield found


def coded(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def credential(**changes: object) -> dict[str, object]:
    """One that has the form, and answers a question that nobody put."""
    data = {"type": "webauthn.get", "challenge": "A" * 43, "origin": "https://wijkpols.example", "crossOrigin": False}
    response = {"clientDataJSON": coded(data), "authenticatorData": "A" * 50, "signature": "A" * 90}
    return {"id": "A" * 22, "rawId": "A" * 22, "type": "public-key", "response": response} | changes


JUNK = [
    "", "null", "[]", "7", '"x"', "{", "{}", "[" * 3000, '{"response": null}', '{"response": {"clientDataJSON": 7}}',
    '{"response": {"clientDataJSON": "%%%"}}', '{"response": {"clientDataJSON": "AAAA"}}', "x" * 5000,
    json.dumps(credential()), json.dumps(credential(id=None)), json.dumps(credential(id={"$ne": 1})),
    json.dumps(credential(id="' OR 1=1 --")), json.dumps(credential(response=[])), json.dumps(credential(rawId="é")),
    json.dumps(credential(more="x" * CREDENTIAL_LETTERS_MAX)),
    json.dumps(credential(response={"clientDataJSON": coded({"challenge": 1})})),
    json.dumps(credential(response={"clientDataJSON": coded([])})), "\x00\x01", "NaN", "1e999", '{"id": Infinity}',
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(JUNK)))
def test_junk_is_refused_like_any_other_and_logs_nobody_in(town: Town, http: httpx.Client, number: int) -> None:
    answer = http.post("/mijn/passkey", data={"credential": JUNK[number]})
    assert answer.status_code == 403
    assert "Deze passkey past hier niet" in answer.text
    assert not answer.cookies
    person = town.enrol(str(http.base_url))
    http.cookies.set("__Host-wijkpols", town.accounts.open(person.pseudonym))
    page = http.get("/mijn/passkeys")
    kept = http.post("/mijn/passkeys", data={"csrf": csrf_in(page.text), "credential": JUNK[number]})
    assert (kept.status_code, town.app.state.parts.passkeys.of(person.pseudonym)) == (400, [])


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("name", ["A\0", "\ud800", "A" * 1401])
def test_a_name_that_no_passkey_has_is_refused_by_every_registry(tmp_path: Path, name: str) -> None:
    town = Town(tmp_path, public_url="https://wijkpols.example")
    with serving(town.app) as url:
        asked = re.search(r'data-options="([^"]+)"', httpx.get(f"{url}/mijn/passkey").text)
        assert asked is not None
        challenge = json.loads(html.unescape(asked[1]))["challenge"]
        data = {"type": "webauthn.get", "challenge": challenge, "origin": "https://wijkpols.example"}
        response = {"clientDataJSON": coded(data), "authenticatorData": "A" * 50, "signature": "A" * 90}
        sent = json.dumps(credential(id=name, rawId=name, response=response))
        assert httpx.post(f"{url}/mijn/passkey", data={"credential": sent}).status_code == 403


def test_a_body_without_end_is_cut_off(http: httpx.Client) -> None:
    assert http.post("/mijn/passkey", data={"credential": "x" * 20_000}).status_code == 413


def test_a_client_that_only_asks_questions_is_paused_and_the_table_stays_small(town: Town, http: httpx.Client) -> None:
    statuses = [http.get("/mijn/passkey").text.count("data-options") for _ in range(310)]
    assert statuses == [1] * 300 + [0] * 10
    assert http.post("/mijn/passkey", data={"credential": "{}"}).status_code == 429
    with town.registry.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(PASSKEY_CHALLENGES)) == 300
    town.clock.time += CHALLENGE_S + 1
    assert http.get("/mijn/passkey").text.count("data-options") == 1
    with town.registry.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(PASSKEY_CHALLENGES)) == 1


@pytest.mark.parametrize("address", ["http://127.0.0.1:8000", "http://[::1]:8000", "http://wijkpols.example"])
def test_where_browsers_make_no_passkeys_the_page_says_so(tmp_path: Path, address: str) -> None:
    town = Town(tmp_path, public_url=address)
    with serving(town.app) as url:
        page = httpx.get(f"{url}/mijn/passkey").text
        assert "Op dit adres kan dat nu niet" in page
        assert "passkey.js" not in page
