"""The whole way of a stop: button, radio, gateway, broker, ledger, consent, and back to all who keep anything."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

from firmware_central import until as soon
from firmware_central import within
from gateway_parts import Gateway

from api.receipt_check import check
from api.receipts import Receipts
from contracts.broker_url import BrokerAddress
from contracts.consent import band_key, band_token
from contracts.ports import Holdings
from contracts.reading import Reading
from firmware_sim.app import IN_MEMORY, Bands, Worn
from firmware_sim.synthetic import Person, Wearing
from gateway.uplink import Uplink
from ingest.app import Ingest, open_store
from tests.api_support import BAND_KEY, ManualClock, registry_for, serving
from tests.api_volunteers import Town, post
from tests.servers import Broker, until

WEST = "WK034403"
TOKEN = band_token(band_key(BAND_KEY), "WP-000001")
NOW = int(time.time()) // 60 * 60


def test_who_holds_the_button_is_withdrawn_everywhere_and_can_have_all_erased(tmp_path: Path, broker: Broker) -> None:
    clock = ManualClock(NOW + 60)
    address = BrokerAddress("127.0.0.1", broker.port)
    registry = registry_for(tmp_path, clock=clock)
    publisher = registry.publisher(broker.url)
    assert publisher is not None
    store = open_store(f"duckdb:///{tmp_path}/readings.duckdb")
    town = Town(tmp_path, publisher=publisher, own_data=store)
    town.clock.time = NOW - 1_200
    other = Uplink(broker=address, gateway="gw-other", district=WEST, outbox=tmp_path / "other")
    ingest = Ingest(store=store, broker=broker.url, rejects=tmp_path / "rejects.sqlite", name="stop-test")
    with publisher, ingest, other, serving(town.app) as url:
        ingest.wait_until_ready(20)
        person = town.enrol(url)
        assert other.wait_for_consents([TOKEN], 20)
        kept = [Reading(pseudonym=person.pseudonym, minute=NOW - 60 * i, hr=60.0) for i in range(1, 6)]
        assert other.accept(TOKEN, kept) == 5
        until(lambda: store.holdings() == Holdings(5, 0))

        hold_the_button(address, tmp_path)

        until(lambda: not registry.ledger.current(person.pseudonym).stands)
        until(lambda: other.ended(TOKEN))
        assert other.accept(TOKEN, [Reading(pseudonym=person.pseudonym, minute=NOW, hr=60.0)]) == 0
        assert store.holdings() == Holdings(5, 0)  # what was stored stays, until the wearer says otherwise
        page = person.http.get("/mijn").text
        assert "U bent gestopt." in page
        assert "de knop van uw band tien seconden ingedrukt" in page

        town.clock.time = NOW + 60
        assert post(person, "/mijn/stoppen", erase="yes").status_code == 200
        until(lambda: registry.ledger.erasures(person.pseudonym)[0].erased_at is not None)
        assert store.holdings() == Holdings(0, 0)
        receipts = Receipts(registry.engine, clock=town.clock)
        receipt = receipts.last(person.pseudonym)
        assert all(statement.holds for statement in check(receipt, engine=registry.engine, receipts=receipts))
    store.close()


def hold_the_button(address: BrokerAddress, folder: Path) -> None:
    """The wearer's band near another gateway, which hears of it by the radio."""
    gateway = Gateway(address, SimpleNamespace(name="gw-near"), folder / "near", at=time.time(), key=band_key(BAND_KEY))

    async def run() -> None:
        worn = Worn("WP-000001", Wearing(Person(1, 1, WEST), start=NOW - 600, minutes=5))
        async with Bands([worn], radio="tcp-server:127.0.0.1:0", speed=None, store=IN_MEMORY) as bands:
            (band,) = bands.wristbands
            await soon(lambda: band.records_held > 20)
            await band.hold_button(10)
            async with gateway.on(f"bumble:{bands.radio}"):
                await bands.done()
                await soon(lambda: gateway.uplink.ended(TOKEN))
        assert gateway.uplink.status().minutes_made == 0

    within(run(), 40)
