"""Who goes on with another band is stored all along: real broker, real ingest. A broker of its own, for it retains."""

from __future__ import annotations

import time
from pathlib import Path

from contracts.ports import ReadingStore
from ingest.app import Ingest, open_store
from tests.api_support import registry_for, serving
from tests.api_volunteers import Town, post
from tests.servers import Broker, until


def test_who_goes_on_with_another_band_is_stored_all_along(tmp_path: Path, broker: Broker) -> None:
    publisher = registry_for(tmp_path).publisher(broker.url)
    assert publisher is not None
    store: ReadingStore = open_store(f"duckdb:///{tmp_path}/readings.duckdb")
    town = Town(tmp_path, publisher=publisher, own_data=store)
    town.clock.time = time.time()
    ingest = Ingest(store=store, broker=broker.url, rejects=tmp_path / "rejects.sqlite", name="next-band-test")
    with publisher, ingest, serving(town.app) as url:
        ingest.wait_until_ready(20)
        person = town.enrol(url)
        assert publisher.wait_until_sent(20)
        until(lambda: ingest.mirror_size() == 1)
        town.clock.time += 5
        assert post(person, "/mijn/band", code=town.code()).status_code == 200
        assert publisher.wait_until_sent(20)
        until(lambda: ingest.mirror_size() == 2)  # the old band is told withdrawn, and the person is not
        town.clock.time += 61
        assert post(person, "/mijn/antwoord", safe="6", happy="7").status_code == 200
        until(lambda: store.person(person.pseudonym)[1])
    store.close()
