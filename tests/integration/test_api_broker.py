"""Consent on a real Mosquitto: retained, withdrawn in so many words, said again to a broker that forgot."""

from __future__ import annotations

import queue
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from msgspec import structs
from paho.mqtt.enums import CallbackAPIVersion

from api.app import Registry, build
from api.citizen.page_routes import home
from api.gateways_seen import GatewaysSeen
from api.notices import LANGUAGES
from api.parts import Parts
from api.transparency import transparency
from contracts import wire
from contracts.consent import ConsentMessage, ConsentState, band_key, band_token
from tests.api_support import BAND_KEY, CHOICES, NOW, ManualClock, registry_for, settings_for, utrecht
from tests.servers import Broker, free_port, require_program, until, wait_for_port


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return registry_for(tmp_path, clock=ManualClock())


def enrol(registry: Registry, serial: str) -> tuple[str, str]:
    """A volunteer; returns pseudonym and the band's token."""
    code = registry.ledger.add_band(serial)
    found = registry.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=CHOICES)
    return found.record.principal_id, band_token(band_key(BAND_KEY), serial)


@contextmanager
def client_of(broker: Broker) -> Iterator[mqtt.Client]:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect(broker.host, broker.port)
    client.loop_start()
    until(client.is_connected)
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def retained(broker: Broker, token: str) -> ConsentMessage:
    """What a newcomer hears of a band."""
    heard: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
    with client_of(broker) as client:
        client.on_message = lambda _client, _userdata, message: heard.put(message)
        client.subscribe(wire.consent_topic(token), qos=1)
        message = heard.get(timeout=10)
    assert message.retain
    found = wire.decode_consent(bytes(message.payload))
    assert found is not None
    return found


@contextmanager
def forgetful_broker(port: int, folder: Path) -> Iterator[Broker]:
    config = folder / f"mosquitto-{port}.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    program = require_program("mosquitto", "mosquitto")
    with (folder / "log").open("ab") as log, subprocess.Popen([program, "-c", str(config)], stderr=log) as process:
        try:
            wait_for_port(port, process)
            yield Broker("127.0.0.1", port)
        finally:
            process.kill()


def test_consent_is_retained_and_a_withdrawal_is_said_with_a_higher_revision(
    registry: Registry, broker: Broker
) -> None:
    publisher = registry.publisher(broker.url)
    assert publisher is not None
    with publisher:
        pseudonym, token = enrol(registry, "WP-100001")
        publisher.notify()
        assert publisher.wait_until_sent(20)
        given = retained(broker, token)
        assert (given.state, given.pseudonym, given.district) == (ConsentState.GIVEN, pseudonym, "WK034403")
        assert given.valid_from == NOW
        registry.ledger.withdraw(pseudonym, erase=True)
        publisher.notify()
        assert publisher.wait_until_sent(20)
    taken = retained(broker, token)
    assert (taken.state, taken.erase) == (ConsentState.WITHDRAWN, True)
    assert taken.revision > given.revision


def test_a_broker_that_forgot_hears_everything_again(registry: Registry, tmp_path: Path) -> None:
    port = free_port()
    tokens = [enrol(registry, f"WP-{number:06}")[1] for number in range(450)]  # more than two pages
    publisher = registry.publisher(f"mqtt://127.0.0.1:{port}")
    assert publisher is not None
    with publisher:
        with forgetful_broker(port, tmp_path) as broker:
            assert publisher.wait_until_sent(30)
        until(lambda: not publisher.connected())
        with forgetful_broker(port, tmp_path) as broker:
            until(publisher.connected)
            assert publisher.wait_until_sent(30)
            assert all(retained(broker, token).state is ConsentState.GIVEN for token in (tokens[0], tokens[-1]))


def test_a_choice_made_while_the_broker_is_away_is_published_when_it_is_back(
    registry: Registry, tmp_path: Path
) -> None:
    port = free_port()
    publisher = registry.publisher(f"mqtt://127.0.0.1:{port}")
    assert publisher is not None
    with publisher:
        _, token = enrol(registry, "WP-000001")
        publisher.notify()
        assert not publisher.wait_until_sent(0.2)
        with forgetful_broker(port, tmp_path) as broker:
            assert publisher.wait_until_sent(30)
            assert retained(broker, token).state is ConsentState.GIVEN


def test_a_crash_between_ledger_and_broker_is_made_good_at_the_next_start(registry: Registry, broker: Broker) -> None:
    pseudonym, token = enrol(registry, "WP-100002")
    registry.ledger.withdraw(pseudonym, erase=False)  # nobody publishes: as if the process had died here
    assert not registry.outbox.empty()
    again = registry_for(Path(str(registry.engine.url.database)).parent)
    publisher = again.publisher(broker.url)
    assert publisher is not None
    with publisher:
        assert publisher.wait_until_sent(20)
    assert retained(broker, token).state is ConsentState.WITHDRAWN


def test_an_erasure_told_while_the_api_was_away_becomes_a_receipt(registry: Registry, broker: Broker) -> None:
    pseudonym, _ = enrol(registry, "WP-100003")
    publisher = registry.publisher(broker.url)
    assert publisher is not None
    with publisher:
        registry.ledger.withdraw(pseudonym, erase=True)
        assert publisher.wait_until_sent(20)
    (asked,) = registry.ledger.erasures(pseudonym)
    told = wire.Erasure(revision=asked.revision, readings=7, reports=2, asked_at=NOW, erased_at=NOW + 3.0)
    with client_of(broker) as store:
        store.publish(wire.erasure_topic("a" * 26), b"not json", qos=1).wait_for_publish(10)
        store.publish(wire.erasure_topic(pseudonym), wire.encode(told), qos=1).wait_for_publish(10)
    later = registry.publisher(broker.url)
    assert later is not None
    with later:
        until(lambda: registry.ledger.erasures(pseudonym)[0].erased_at is not None)
    assert registry.ledger.erasures(pseudonym)[0].readings == 7
    assert registry.ledger.verify() is None


def test_a_gateways_status_is_seen_and_a_broken_one_is_passed_over(registry: Registry, broker: Broker) -> None:
    publisher = registry.publisher(broker.url)
    assert publisher is not None
    status = wire.GatewayStatus(gateway="api-test", district="WK034403", online=True, at=NOW, bands_heard=17)
    topic = wire.status_topic("api-test")
    with publisher, client_of(broker) as gateway:
        until(publisher.connected)
        gateway.publish(wire.status_topic("api-broken"), b"{}", qos=1)
        gateway.publish(topic, wire.encode(status), qos=1, retain=True)
        until(lambda: status in publisher.gateways())
        gateway.publish(topic, wire.encode(structs.replace(status, gateway="api-other")), qos=1)  # of another one
        gateway.publish(topic, b"", qos=1, retain=True).wait_for_publish(10)
        until(lambda: publisher.gateways() == [])  # taken away: it is no more


def test_of_a_gateway_that_fell_silent_is_told_when_it_last_was_at_work(
    tmp_path: Path, registry: Registry, broker: Broker
) -> None:
    settings = settings_for(tmp_path, broker_url=broker.url)
    with build(settings, releases=utrecht(), clock=ManualClock(), registry=registry) as app, client_of(broker) as it:
        parts: Parts = app.state.parts
        assert parts.publisher is not None
        publisher = parts.publisher
        until(publisher.connected)
        for name, at in (("b-silent", NOW), ("c-unknown", 0), ("d-works", NOW)):
            status = wire.GatewayStatus(gateway=name, district="WK034403", online=at > 0, at=at, version="1.2")
            it.publish(wire.status_topic(name), wire.encode(status), qos=1)
        will = wire.GatewayStatus(gateway="b-silent", district="WK034403", online=False)
        it.publish(wire.status_topic("b-silent"), wire.encode(will), qos=1)
        until(lambda: [status.online for status in publisher.gateways()] == [False, False, True])
        told = transparency(parts).gateways
        pages = [bytes(home(parts, language).body).decode() for language in LANGUAGES]
    assert [gateway.gateway for gateway in told] == ["d-works", "b-silent", "c-unknown"]
    assert [gateway.at and gateway.at.timestamp() for gateway in told] == [NOW, NOW, None]
    assert "Nu werkt er 1: Overvecht (d-works)." in pages[0]
    assert "Niet aan het werk: b-silent (sinds 23 november 2026) en c-unknown." in pages[0]
    assert "1 is at work now: Overvecht (d-works)." in pages[1]
    assert "1970" not in "".join(pages)


@pytest.mark.parametrize("away", [False, True], ids=["the API heard its will", "the API was away then"])
def test_since_when_a_gateway_is_silent_survives_a_restart_of_the_api(
    registry: Registry, broker: Broker, away: bool
) -> None:
    name = f"e-silent-{away}".lower()
    working = wire.GatewayStatus(gateway=name, district="WK034403", online=True, at=NOW, version="1.2")
    later, will = structs.replace(working, at=NOW + 60), structs.replace(working, online=False, at=0, version="")
    since = NOW if away else NOW + 60  # to the hour while it works, to the second by its will
    first = registry.publisher(broker.url)
    assert first is not None
    with client_of(broker) as it:

        def say(*statuses: wire.GatewayStatus) -> None:
            for status in statuses:
                it.publish(wire.status_topic(name), wire.encode(status), qos=1, retain=True).wait_for_publish(10)

        with first:
            until(first.connected)
            say(working)
            until(lambda: GatewaysSeen(registry.engine).at(name) == NOW)
            say(later, *(() if away else (will,)))
            until(lambda: GatewaysSeen(registry.engine).at(name) == since)
        say(will)
        second = registry.publisher(broker.url)
        assert second is not None
        with second:
            until(lambda: [(s.online, s.at) for s in second.gateways() if s.gateway == name] == [(False, since)])
        it.publish(wire.status_topic(name), b"", qos=1, retain=True).wait_for_publish(10)


def test_gateways_that_were_heard_are_bounded(registry: Registry) -> None:
    seen = GatewaysSeen(registry.engine)
    for begin in (0, 600):
        statuses = [
            wire.GatewayStatus(gateway=f"g-{n}", district="WK034403", online=True, at=NOW + n)
            for n in range(begin, begin + 600)
        ]
        seen.note(statuses)
    again = GatewaysSeen(registry.engine)
    assert [again.at(f"g-{n}") for n in (0, 199, 200, 1199)] == [0, 0, NOW + 200, NOW + 1199]


def test_a_gateway_that_names_an_impossible_time_is_not_heeded() -> None:
    status = wire.GatewayStatus(gateway="g", district="WK034403", online=True, at=10**18)
    with pytest.raises(wire.Malformed):
        wire.decode_status(wire.encode(status))
