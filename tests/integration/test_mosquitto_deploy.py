"""deploy/mosquitto, started as it is and attacked: by a stranger, and by a gateway that somebody opened up."""

from __future__ import annotations

import contextlib
import itertools
import queue
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.consent import band_key, band_token
from contracts.ports import Fault, Holdings, SystemClock
from gateway.uplink import Uplink
from ingest.app import Ingest, open_store
from tests.api_support import BAND_KEY, CHOICES, registry_for
from tests.ingestkit.gateways import eventually
from tests.ingestkit.mosquitto import DeployedMosquitto
from tests.ingestkit.people import WEST, consent, pseudonym, reading, token

MINE, OTHER = "gw-markt", "gw-haven"
NOT_AUTHORIZED = "Not authorized"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedMosquitto]:
    server = DeployedMosquitto(tmp_path_factory.mktemp("deployed"))
    server.login("gateway", MINE)
    server.login("gateway", OTHER)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Client:
    """One connection that notes what is answered and what it hears."""

    def __init__(self, address: BrokerAddress, client_id: str) -> None:
        self.heard: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.lost = threading.Event()
        self._answers: queue.Queue[str] = queue.Queue()
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        address.secure(client)
        client.on_connect = lambda _client, _data, _flags, code, _properties: self._answers.put(str(code))
        client.on_publish = lambda _client, _data, _mid, code, _properties: self._answers.put(str(code))
        client.on_subscribe = lambda _client, _data, _mid, codes, _properties: self._answers.put(str(codes[0]))
        client.on_disconnect = lambda *_: self.lost.set()
        client.on_message = lambda _client, _data, message: self.heard.put(message)
        client.connect(address.host, address.port)
        client.loop_start()
        self.welcome = self._answers.get(timeout=10)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> str:
        """The broker's answer; that nobody listens is as good as success."""
        self._client.publish(topic, payload, qos=1, retain=retain)
        return self._answers.get(timeout=10).replace("No matching subscribers", "Success")

    def send(self, topic: str, payload: bytes) -> None:
        """Not waiting for an answer."""
        self._client.publish(topic, payload, qos=1)

    def subscribe(self, topics: str) -> str:
        self._client.subscribe(topics, qos=1)
        return self._answers.get(timeout=10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def client(address: BrokerAddress, client_id: str = "") -> Iterator[Client]:
    made = Client(address, client_id or f"test-{next(_numbers)}")
    try:
        yield made
    finally:
        made.close()


def heard_topics(listener: Client, marker: Client, topic: str) -> set[str]:
    """What was heard up to a message that must be heard: no waiting for what should not come."""
    payload = b"last %d" % next(_numbers)
    assert marker.publish(topic, payload) == "Success"
    topics: set[str] = set()
    while (message := listener.heard.get(timeout=10)).payload != payload:
        topics.add(message.topic)
    return topics


def test_readings_and_consents_and_erasures_pass_through_it_by_the_real_parts(
    mosquitto: DeployedMosquitto, tmp_path: Path
):
    registry = registry_for(tmp_path, clock=SystemClock())
    code = registry.ledger.add_band("WP-400001")
    found = registry.ledger.enrol(code, district=WEST, adult=True, language="nl", choices=CHOICES)
    person = found.record.principal_id
    band = band_token(band_key(BAND_KEY), "WP-400001")
    publisher = registry.publisher(mosquitto.url("api"))
    assert publisher is not None
    store = open_store(f"duckdb:///{tmp_path / 'readings.duckdb'}")
    now = int(SystemClock().now()) // 60 * 60 + 60
    with (
        publisher,
        Ingest(store=store, broker=mosquitto.url("ingest"), rejects=tmp_path / "rejects.sqlite") as ingest,
        Uplink(broker=mosquitto.address(MINE), gateway=MINE, district=WEST, outbox=tmp_path / "outbox") as uplink,
    ):
        assert publisher.wait_until_sent(20)
        ingest.wait_until_ready(20)
        assert uplink.wait_for_consents([band], 20)
        kept = [wire.Reading(pseudonym=person, minute=now + 60 * minute, hr=61.5) for minute in range(5)]
        assert uplink.accept(band, kept) == 5
        assert uplink.drain(20)
        eventually(lambda: store.holdings() == Holdings(5, 0))
        eventually(lambda: [status.gateway for status in publisher.gateways()] == [MINE])
        assert uplink.stop(band, 0)
        eventually(lambda: not registry.ledger.current(person).stands)
        registry.ledger.withdraw(person, erase=True)
        publisher.notify()
        eventually(lambda: registry.ledger.erasures(person)[0].erased_at is not None)
        assert store.holdings() == Holdings(0, 0)
    store.close()


@pytest.mark.parametrize(
    "topic",
    [
        wire.readings_topic(WEST, OTHER),
        wire.status_topic(OTHER),
        wire.stop_topic(OTHER),
        wire.erasure_topic(pseudonym(1)),
        f"{wire.ROOT}/workers/ingest-1-consents/marker",
        f"{wire.ROOT}/workers/{MINE}/marker",
        f"{wire.ROOT}/readings/{WEST}/{MINE}/more",
        "$SYS/broker/version",
        "anything",
    ],
)
def test_a_gateway_writes_below_its_own_name_alone(mosquitto: DeployedMosquitto, topic: str):
    with client(mosquitto.address(MINE)) as gateway, client(mosquitto.address("ingest")) as listener:
        listener.subscribe(f"{wire.ROOT}/#")
        assert gateway.publish(topic, b"{}") == NOT_AUTHORIZED
        assert topic not in heard_topics(listener, gateway, wire.readings_topic(WEST, MINE))


def test_a_consent_forged_by_a_gateway_is_neither_heard_nor_retained(mosquitto: DeployedMosquitto):
    topic = wire.consent_topic(token(7))
    with client(mosquitto.address("ingest")) as worker, client(mosquitto.address("api")) as api:
        worker.subscribe(wire.CONSENTS_FILTER)
        with client(mosquitto.address(MINE)) as gateway:
            assert gateway.publish(topic, wire.encode(consent(7, revision=9)), retain=True) == NOT_AUTHORIZED
            assert gateway.publish(topic, b"", retain=True) == NOT_AUTHORIZED
        assert topic not in heard_topics(worker, api, wire.consent_topic(token(8)))
    with client(mosquitto.address("ingest")) as late, client(mosquitto.address("api")) as api:
        late.subscribe(wire.CONSENTS_FILTER)
        assert topic not in heard_topics(late, api, wire.consent_topic(token(8)))


def test_a_gateway_that_subscribes_to_everything_hears_consents_and_its_own_status_alone(mosquitto: DeployedMosquitto):
    with (
        client(mosquitto.address(MINE)) as gateway,
        client(mosquitto.address(OTHER)) as other,
        client(mosquitto.address("api")) as api,
        client(mosquitto.address("ingest")) as ingest,
    ):
        for topics in ("#", "$SYS/#", "$share/ingest/wijkpols/v1/readings/+/+", f"{wire.ROOT}/erasures/+"):
            gateway.subscribe(topics)
        assert other.publish(wire.stop_topic(OTHER), b"{}") == "Success"
        assert other.publish(wire.readings_topic(WEST, OTHER), b"{}") == "Success"
        assert other.publish(wire.status_topic(OTHER), b"{}") == "Success"
        assert ingest.publish(wire.erasure_topic(pseudonym(1)), b"{}") == "Success"
        heard = heard_topics(gateway, api, wire.consent_topic(token(9)))
        assert [topic for topic in heard if "/consents/" not in topic] in ([], [wire.status_topic(MINE)])


@pytest.mark.parametrize(
    ("who", "topic"),
    [
        ("ingest", wire.consent_topic(token(1))),
        ("ingest", wire.readings_topic(WEST, "gw-1")),
        ("ingest", f"{wire.ROOT}/workers/somebody-else/marker"),
        ("ingest", wire.stop_topic("gw-1")),
        ("api", wire.stop_topic("gw-1")),
        ("api", wire.erasure_topic(pseudonym(1))),
        ("api", wire.readings_topic(WEST, "gw-1")),
        ("watch", wire.status_topic("gw-1")),
        ("watch", wire.consent_topic(token(1))),
    ],
)
def test_each_server_writes_only_what_is_its_task(mosquitto: DeployedMosquitto, who: str, topic: str):
    with client(mosquitto.address(who)) as server:
        assert server.publish(topic, b"{}") == NOT_AUTHORIZED


def test_the_api_and_who_watches_never_hear_a_reading(mosquitto: DeployedMosquitto):
    with client(mosquitto.address(MINE)) as gateway:
        for who in ("api", "watch"):
            with client(mosquitto.address(who)) as listener:
                listener.subscribe("#")
                assert gateway.publish(wire.readings_topic(WEST, MINE), b"{}") == "Success"
                heard = heard_topics(listener, gateway, wire.status_topic(MINE))
                assert not [topic for topic in heard if "readings" in topic]


@pytest.mark.parametrize("foreign", [OTHER, f"wijkpols-gateway-{OTHER}", "ingest-1"])
def test_a_foreign_client_id_throws_nobody_off(mosquitto: DeployedMosquitto, foreign: str):
    with (
        client(mosquitto.address(OTHER), f"wijkpols-gateway-{OTHER}") as victim,
        client(mosquitto.address("ingest"), "ingest-1") as worker,
        client(mosquitto.address(MINE), foreign) as gateway,
    ):
        assert gateway.welcome == "Success"
        assert gateway.publish(wire.readings_topic(WEST, MINE), b"{}") == "Success"
        assert victim.publish(wire.readings_topic(WEST, OTHER), b"{}") == "Success"
        worker.subscribe(wire.CONSENTS_FILTER)
        assert not victim.lost.is_set()
        assert not worker.lost.is_set()


def test_without_the_right_password_nobody_comes_in(mosquitto: DeployedMosquitto):
    right = mosquitto.address(MINE)
    for wrong in (
        right._replace(username=None, password=None),
        right._replace(password="guess"),
        right._replace(password=""),
        right._replace(username=OTHER),
        right._replace(username="ingest"),
        right._replace(port=mosquitto.servers_port),  # a gateway at the servers' door
        mosquitto.address("ingest")._replace(port=mosquitto.gateways_port),
    ):
        with client(wrong) as stranger:
            assert stranger.welcome in {NOT_AUTHORIZED, "Bad user name or password"}
            assert stranger.lost.wait(10)


def test_a_worker_with_a_wrong_password_says_so_and_ends(mosquitto: DeployedMosquitto, tmp_path: Path):
    store = open_store(f"duckdb:///{tmp_path / 'readings.duckdb'}")
    wrong = mosquitto.address("ingest")._replace(password="guess")
    with (
        pytest.raises(Fault, match="refuses us"),
        Ingest(store=store, broker=wrong, rejects=tmp_path / "rejects.sqlite") as ingest,
    ):
        ingest.wait_until_ready(20)
    store.close()


def test_without_tls_and_with_another_authority_there_is_no_connection(mosquitto: DeployedMosquitto):
    right = mosquitto.address(MINE)
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(right._replace(ca=None), "stranger")
    bare = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, reconnect_on_failure=False)
    refused, let_in = threading.Event(), threading.Event()
    bare.on_disconnect = lambda *_: refused.set()
    bare.on_connect = lambda *_: let_in.set()
    bare.username_pw_set(right.username, right.password)
    bare.connect(right.host, right.port)
    bare.loop_start()
    assert refused.wait(10)
    assert not let_in.is_set()
    bare.loop_stop()


def test_a_packet_beyond_our_largest_ends_the_connection_and_reaches_nobody(mosquitto: DeployedMosquitto):
    topic = wire.readings_topic(WEST, MINE)
    with client(mosquitto.address(MINE)) as gateway, client(mosquitto.address("ingest")) as worker:
        worker.subscribe(wire.READINGS_FILTER)
        assert gateway.publish(topic, bytes(wire.PAYLOAD_BYTES_MAX)) == "Success"
        assert worker.heard.get(timeout=10).payload == bytes(wire.PAYLOAD_BYTES_MAX)
        gateway.send(topic, bytes(20_992))
        assert gateway.lost.wait(10)
        with client(mosquitto.address(MINE)) as again:
            assert again.publish(topic, b"small") == "Success"
        assert worker.heard.get(timeout=10).payload == b"small"
    with contextlib.ExitStack() as stack:
        huge = mosquitto.address(MINE)
        context = ssl.create_default_context(cafile=str(mosquitto.ca))
        bare = stack.enter_context(socket.create_connection((huge.host, huge.port), timeout=10))
        secure = stack.enter_context(context.wrap_socket(bare, server_hostname="127.0.0.1"))
        secure.sendall(b"\x10\xff\xff\xff\x7f")  # CONNECT, 256 MB to come
        assert secure.recv(1) in {b"", b"\xe0"}  # closed, or DISCONNECT


def test_a_flood_at_the_gateways_door_leaves_the_servers_and_who_is_in_alone(mosquitto: DeployedMosquitto):
    with client(mosquitto.address(MINE)) as gateway, contextlib.ExitStack() as flood:
        connected = 0
        for _ in range(700):  # more than max_connections
            attacker = flood.enter_context(socket.socket())
            attacker.settimeout(5)
            with contextlib.suppress(OSError):
                attacker.connect(("127.0.0.1", mosquitto.gateways_port))
                connected += 1
        assert connected >= 600
        with client(mosquitto.address("ingest")) as worker:
            assert worker.welcome == "Success"
            worker.subscribe(wire.READINGS_FILTER)
            assert gateway.publish(wire.readings_topic(WEST, MINE), b"through") == "Success"
            assert worker.heard.get(timeout=10).payload == b"through"
    with client(mosquitto.address(OTHER)) as after:
        assert after.welcome == "Success"


def test_what_was_queued_for_a_worker_that_is_away_survives_the_brokers_kill(tmp_path: Path):
    mosquitto = DeployedMosquitto(tmp_path)
    mosquitto.login("gateway", MINE)
    mosquitto.start()
    store = open_store(f"duckdb:///{tmp_path / 'readings.duckdb'}")
    rejects = tmp_path / "rejects.sqlite"
    try:
        with client(mosquitto.address("api")) as api:
            assert api.publish(wire.consent_topic(token(1)), wire.encode(consent(1)), retain=True) == "Success"
        with Ingest(store=store, broker=mosquitto.url("ingest"), rejects=rejects) as ingest:
            ingest.wait_until_ready(20)
        saved = tmp_path / "data" / "mosquitto.db"
        with client(mosquitto.address(MINE)) as gateway:
            for minute in range(200):
                message = wire.ReadingsMessage(seq=minute, readings=(reading(1, minute),))
                assert gateway.publish(wire.readings_topic(WEST, MINE), wire.encode(message)) == "Success"
        before = saved.stat().st_mtime_ns if saved.exists() else 0
        eventually(lambda: saved.exists() and saved.stat().st_mtime_ns > before)  # autosave_interval
        mosquitto.kill()
        mosquitto.start()
        with Ingest(store=store, broker=mosquitto.url("ingest"), rejects=rejects) as ingest:
            ingest.wait_until_ready(20)
            eventually(lambda: store.holdings() == Holdings(200, 0))
    finally:
        mosquitto.stop()
        store.close()


def test_a_new_login_works_after_a_reload(mosquitto: DeployedMosquitto):
    address = mosquitto.login("gateway", "gw-nieuw")
    worker = mosquitto.login("worker", "ingest-9")
    mosquitto.reload()

    def let_in() -> bool:
        with client(address) as gateway, client(worker) as ingest:
            return gateway.welcome == ingest.welcome == "Success"

    eventually(let_in)
    with client(address) as gateway, client(worker) as ingest:
        ingest.subscribe(wire.READINGS_FILTER)
        assert gateway.publish(wire.readings_topic(WEST, "gw-nieuw"), b"here") == "Success"
        assert ingest.heard.get(timeout=10).payload == b"here"
    assert address.password not in mosquitto.log
