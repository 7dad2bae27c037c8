"""The shared subscription on a real broker: an acknowledgement counts for its own connection, or not at all."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from contracts.broker_url import BrokerAddress
from ingest.buffered import BufferedSocket
from ingest.consent_feed import marker_topic
from ingest.subscriber import Delivery, ReadingsSubscriber
from tests.ingestkit.gateways import Town, eventually, forget_session
from tests.ingestkit.people import reading
from tests.servers import Broker

NAME = "subscriber-alone"


@pytest.fixture
def town(broker: Broker) -> Iterator[Town]:
    with Town(broker, "subscriber-town") as publishing:
        yield publishing
    forget_session(broker, NAME)


def connected(broker: Broker, *, receive_maximum: int = 1000) -> ReadingsSubscriber:
    subscriber = ReadingsSubscriber(BrokerAddress.parse(broker.url), NAME, receive_maximum=receive_maximum)
    subscriber.start()
    assert subscriber.wait_granted(20)
    return subscriber


def take(subscriber: ReadingsSubscriber, count: int) -> list[Delivery]:
    taken: list[Delivery] = []
    eventually(lambda: len(taken) >= count or taken.extend(subscriber.take(100, 0.05)))
    return taken


def test_an_acknowledgement_of_a_dead_connection_is_not_used_on_the_next(broker: Broker, town: Town):
    subscriber = connected(broker)
    for minute in range(10):
        town.send(reading(1, minute))
    stale = take(subscriber, 10)
    subscriber._link.client.socket().shutdown(socket.SHUT_RDWR)
    again = take(subscriber, 10)
    assert {delivery.connection for delivery in again} != {delivery.connection for delivery in stale}
    subscriber.acknowledge(stale)
    subscriber.stop()
    after = connected(broker)
    assert [delivery.payload for delivery in take(after, 10)] == [delivery.payload for delivery in stale]
    after.stop()


def test_what_was_acknowledged_does_not_come_again(broker: Broker, town: Town):
    subscriber = connected(broker)
    for minute in range(10):
        town.send(reading(1, minute))
    taken = take(subscriber, 10)
    subscriber.acknowledge(taken[:7])
    # Answered after what came before it: else the next connection may take over before a busy broker has read all.
    subscriber._link.client.publish(marker_topic(NAME), b"", qos=1).wait_for_publish(20)
    subscriber.stop()
    after = connected(broker)
    assert [delivery.payload for delivery in take(after, 3)] == [delivery.payload for delivery in taken[7:]]
    assert after.take(100, 0.2) == []
    after.stop()


def test_the_broker_sends_no_more_than_may_be_unacknowledged(broker: Broker, town: Town):
    subscriber = connected(broker, receive_maximum=5)
    for minute in range(20):
        town.send(reading(1, minute))
    town.acknowledged()
    taken = take(subscriber, 5)
    assert subscriber.take(100, 0.2) == []
    subscriber.acknowledge(taken)
    payloads = [delivery.payload for delivery in taken]
    while len(payloads) < 20:
        taken = take(subscriber, 1)
        assert len(taken) <= 5
        subscriber.acknowledge(taken)
        payloads += [delivery.payload for delivery in taken]
    assert len(set(payloads)) == 20
    subscriber.stop()


def test_a_wake_ends_the_waiting(broker: Broker, town: Town):
    subscriber = connected(broker)
    subscriber.wake()
    assert subscriber.take(10, 60) == []
    town.send(reading(1))
    assert len(take(subscriber, 1)) == 1
    subscriber.stop()


def test_paho_reads_from_the_socket_that_reads_ahead(broker: Broker, town: Town):
    subscriber = connected(broker)
    assert isinstance(subscriber._link.client.socket(), BufferedSocket)
    for minute in range(600):  # more than one turn of the loop takes
        town.send(reading(1, minute))
    taken = take(subscriber, 600)
    assert [delivery.topic for delivery in taken] == [taken[0].topic] * 600
    assert len({delivery.payload for delivery in taken}) == 600
    subscriber.acknowledge(taken)
    subscriber.stop()
