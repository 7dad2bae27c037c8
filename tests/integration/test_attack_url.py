"""`wijkpols attack --url`: the attacks on an API that runs as a process of its own, with figures in its registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import httpx
import pytest

from attacks.city import City
from attacks.published import averaging, timestamps
from contracts.ports import Fault
from tests.servers import free_port, wait_for_port

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    with City(tmp_path) as made:
        made.live(range(2))
        made.run_after(2)
        yield made


@pytest.fixture
def elsewhere(city: City) -> Iterator[str]:
    """The API on the city's registry, started as an operator does."""
    port = free_port()
    environment = os.environ | {
        "WIJKPOLS_REGISTRY_URL": city.settings.registry_url,
        "WIJKPOLS_BAND_KEY": city.settings.band_key.get_secret_value(),
        "WIJKPOLS_BROKER_URL": "",
    }
    command = [sys.executable, "-m", "wijkpols", "api", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_port(port, process, seconds=60)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_a_running_api_holds_off_the_attacks_that_need_only_the_api(city: City, elsewhere: str):
    assert len(httpx.get(f"{elsewhere}/v1/releases", trust_env=False).json()["releases"]) > 10
    for verdict in (averaging(city, 40, url=elsewhere), timestamps(city, url=elsewhere)):
        assert (verdict.passed, verdict.mutant_caught) == (True, True)


def test_a_running_api_that_draws_again_is_caught(city: City):
    drawn = count()

    class Broken(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code = next(iter(city.people.values()))
            cell = {
                "area": code, "metric": "safe", "window": "2026-11-02", "method": "3", "status": "published",
                "value": 70.0 + next(drawn), "margin": 4.0, "participants": 82.0,
            }  # fmt: skip
            body = json.dumps({"districts": [{"code": code}], "releases": [cell]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Last-Modified", "Mon, 02 Nov 2026 12:34:56 GMT")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            assert not averaging(city, 30, url=url).passed
            assert not timestamps(city, url=url).passed
        finally:
            server.shutdown()


def test_an_address_where_nothing_answers_says_what_to_do(city: City):
    with pytest.raises(Fault, match="check --url"):
        averaging(city, 30, url=f"http://127.0.0.1:{free_port()}")
