"""An answer on the page goes the way of a band's: broker, ingest's admission, store; and back onto the page."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from api.consent_publisher import ConsentPublisher
from contracts.ports import ReadingStore
from contracts.reading import Reason
from ingest.app import Ingest, open_store
from tests.api_support import registry_for, serving
from tests.api_volunteers import Town, post
from tests.servers import Broker, until


@pytest.fixture
def publisher(tmp_path: Path, broker: Broker) -> ConsentPublisher:
    found = registry_for(tmp_path).publisher(broker.url)
    assert found is not None
    return found


def test_an_answer_is_stored_once_and_only_with_consent(
    tmp_path: Path, broker: Broker, publisher: ConsentPublisher
) -> None:
    store: ReadingStore = open_store(f"duckdb:///{tmp_path}/readings.duckdb")
    town = Town(tmp_path, publisher=publisher, own_data=store)
    town.clock.time = time.time()
    ingest = Ingest(store=store, broker=broker.url, rejects=tmp_path / "rejects.sqlite", name="web-answer-test")
    with publisher, ingest, serving(town.app) as url:
        ingest.wait_until_ready(20)
        person = town.enrol(url)
        assert publisher.wait_until_sent(20)
        until(lambda: ingest.mirror_size() >= 1)
        town.clock.time += 61
        for safe in ("3", "9"):  # two taps within a minute are one answer
            answer = post(person, "/mijn/antwoord", safe=safe, happy="7", reason="green")
            assert (answer.status_code, "Dank u wel" in answer.text) == (200, True)
        until(lambda: store.person(person.pseudonym)[1] and store.person(person.pseudonym)[1][0].report.safe == 9)
        ((district, report),) = store.person(person.pseudonym)[1]
        assert (district, report.happy, report.reason) == ("WK034403", 7, Reason.GREEN)
        # Corrected: the right marks in the place of the wrong ones, at the same time of the same district.
        corrected = post(person, "/mijn/verbeteren/antwoord", at=str(report.at), safe="2", happy="4")
        assert (corrected.status_code, "Dank u wel" in corrected.text) == (200, True)
        until(lambda: store.person(person.pseudonym)[1][0].report.safe == 2)
        ((district, again),) = store.person(person.pseudonym)[1]
        assert (district, again.at, again.happy, again.reason) == ("WK034403", report.at, 4, Reason.GREEN)
        post(person, "/mijn/stoppen", erase="yes")
        assert publisher.wait_until_sent(20)
        until(lambda: town.registry.ledger.erasures(person.pseudonym)[0].erased_at is not None)
        assert post(person, "/mijn/antwoord", safe="8", happy="7").status_code == 409
        assert store.person(person.pseudonym) == ([], [])
        assert "Alles is gewist" in person.http.get("/mijn").text
    store.close()
