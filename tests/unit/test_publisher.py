"""What the publisher makes of the broker's answers, in the orders in which they can come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import DisconnectFlags
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.reading import Reading
from gateway.outbox import Outbox, Row
from gateway.publisher import Publisher
from tests.ingestkit.people import pseudonym
from tests.servers import free_port

NOW = 1_762_502_880


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(folder=tmp_path) as opened:
        opened.add(pseudonym(1), [Reading(pseudonym=pseudonym(1), minute=NOW, hr=60.0)], [], now=NOW)
        yield opened


@pytest.fixture
def publisher(outbox: Outbox) -> Iterator[Publisher]:
    found = Publisher(
        broker=BrokerAddress("127.0.0.1", free_port()),
        gateway="gw",
        district="WK034403",
        outbox=outbox,
        may_send=lambda _row: True,
        stops=list,
        on_consent=lambda *_: None,
        on_synced=lambda _seen: None,
        on_published=lambda _readings: None,
        housekeep=lambda: None,
        status=lambda: wire.GatewayStatus(gateway="gw", district="WK034403", online=True),
        now=lambda: NOW,
    )
    found._connected = True
    yield found
    found._client.loop_stop()


def in_flight(publisher: Publisher, outbox: Outbox) -> Row:
    (row,) = outbox.after(0, 9)
    publisher._sending._rows[1] = row
    return row


def answer(publisher: Publisher, name: str) -> None:
    publisher._acknowledged(publisher._client, None, 1, ReasonCode(PacketTypes.PUBACK, name), None)


def lose(publisher: Publisher) -> None:
    code = ReasonCode(PacketTypes.DISCONNECT, "Unspecified error")
    publisher._disconnected(publisher._client, None, DisconnectFlags(False), code, None)
    publisher._renew()


def test_an_acknowledgement_that_is_not_settled_when_the_broker_dies_is_not_taken_for_good(publisher, outbox):
    row = in_flight(publisher, outbox)
    answer(publisher, "Success")
    lose(publisher)
    assert len(outbox) == 0
    assert publisher._sending._lately.take(9) == [row]


def test_what_was_being_sent_again_when_the_broker_dies_once_more_is_due_again(publisher, outbox):
    row = in_flight(publisher, outbox)
    outbox.remove([row])
    lose(publisher)
    assert publisher._sending._lately.take(9) == [row]


def test_a_consent_that_comes_while_those_that_are_gone_are_counted_is_not_gone(publisher):
    asked: list[bool] = []

    def count(seen: Callable[[str], bool]) -> None:
        publisher._seen.add("token")  # paho's thread hands one on
        asked.append(seen("token"))

    publisher._on_synced = count
    publisher._subscribed = publisher._returned = publisher._connections = 1
    publisher._note_sync()
    assert asked == [True]


def test_what_nobody_took_stays(publisher, outbox, caplog: pytest.LogCaptureFixture):
    in_flight(publisher, outbox)
    answer(publisher, "No matching subscribers")
    publisher._settle()
    assert len(outbox) == 1
    assert "nobody takes readings from the broker: start ingest" in caplog.text
