"""The mirror of all consents, kept by a connection of its own, and the proof that it is up to date.

**Barrier.** A worker reads consents and readings over two connections, so that a queue of readings never holds up a
withdrawal. But then nothing says which of two messages came first: on a loopback Mosquitto, of 300 withdrawals
that were published before a reading, 164 were received after it. So before a batch is judged, a numbered marker is
published to a private topic on the consents' connection, and the batch waits for its return. Brokers keep the order
of what they send to one client: what was published before the batch was received is in the mirror by then. The
same marker tells when the retained consents have all been read. Without it nothing is admitted.

**Retained with QoS 0 first.** rumqttd gives a QoS 1 subscription only the first 100 retained messages
(docs/adr/0004-embedded-defaults.md), so each connection subscribes with QoS 0, reads all that is retained, and then
raises the subscription to QoS 1 without having it all sent again (MQTT 5, 3.8.3.1, retain handling 2).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Any, Final, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from contracts.broker_url import BrokerAddress
from contracts.consent import ConsentMessage, ConsentMirror, Cover
from contracts.ports import EVERYTHING, Extent
from contracts.wire import CONSENTS_FILTER, ROOT, Malformed, decode_consent, last_part
from ingest.mqtt import Link, topic_of

log = logging.getLogger(__name__)

EVENT_TIMEOUT_S: Final = 5.0
_NO_RETAINED: Final = 2  # retain handling: do not send retained messages


def marker_topic(client_id: str) -> str:
    """The topic by which a worker talks to itself; nobody else may write or read it."""
    return f"{ROOT}/workers/{client_id}/marker"


class Withdrawal(NamedTuple):
    """Somebody who asked to have something erased, or everything."""

    pseudonym: str
    revision: int
    asked_at: int  # unix seconds
    extent: Extent = EVERYTHING


class _Phase(Enum):
    DOWN = auto()
    RETAINED = auto()  # subscribed with QoS 0, reading what is retained
    RAISING = auto()  # all is read; subscribing with QoS 1
    LIVE = auto()


class ConsentFeed:
    """Mirrors the consents topic. Its callbacks run in a network thread; the methods may be called from any."""

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        *,
        on_withdrawal: Callable[[Withdrawal], None],
        on_malformed: Callable[[str, bytes, str], None],
    ) -> None:
        """`on_withdrawal` is told of each consent with an erasure; `on_malformed` of topic, payload and reason."""
        self._link = Link(address, client_id, on_up=self._up, on_down=self._down)
        self._link.client.on_message = self._message
        self._link.client.on_subscribe = self._subscribed
        self._link.client.on_publish = self._published
        self._marker = marker_topic(client_id)
        self._on_withdrawal, self._on_malformed = on_withdrawal, on_malformed
        self._changed = threading.Condition()  # guards all below
        self._mirror = ConsentMirror()
        self._known: set[str] = set()  # band tokens in the mirror
        self._seen: set[str] = set()  # band tokens sent on this connection
        self._phase = _Phase.DOWN
        self._phase_marker: int | None = None  # whose return ends the phase; None until it is sent
        self._sent = 0
        self._returned = 0

    def start(self) -> None:
        """Connect and begin to mirror."""
        self._link.start()

    def stop(self) -> None:
        """Disconnect; waiting calls return."""
        self._link.stop()

    def size(self) -> int:
        """How many bands are in the mirror."""
        with self._changed:
            return len(self._mirror)

    @property
    def state(self) -> str:
        """What the connection is doing, in words."""
        return self._link.state

    def check(self) -> None:
        """Raise Fault when the broker refuses us."""
        self._link.check()

    def covers(self, pseudonyms: Iterable[str], now: float) -> dict[str, Cover]:
        """What is covered at `now` (unix seconds) of those who are covered at all."""
        with self._changed:
            found = ((pseudonym, self._mirror.by_pseudonym(pseudonym, now)) for pseudonym in pseudonyms)
            return {pseudonym: cover for pseudonym, cover in found if cover is not None}

    def barrier(self) -> int:
        """Send a marker out; give its number to `passed`."""
        with self._changed:
            self._sent += 1
            number, live = self._sent, self._phase is _Phase.LIVE
        if live:  # otherwise the phases send markers of their own, with higher numbers
            self._publish_marker(number)
        return number

    def passed(self, number: int, timeout_s: float) -> bool:
        """Wait until all that was published before `barrier()` gave this number is in the mirror."""
        with self._changed:
            return self._changed.wait_for(lambda: self._phase is _Phase.LIVE and self._returned >= number, timeout_s)

    def is_live(self) -> bool:
        """Whether all retained consents were read on the connection that stands."""
        return self.passed(0, 0)

    def tell(self, topic: str, payload: bytes) -> bool:
        """Publish an event with QoS 1; whether the broker acknowledged it in time."""
        if not self._link.client.is_connected():
            return False
        try:
            info = self._link.client.publish(topic, payload, qos=1)
            info.wait_for_publish(EVENT_TIMEOUT_S)
            return info.is_published()
        except (RuntimeError, ValueError):  # paho: not connected any more, or its queue is full
            return False

    def _up(self) -> None:
        with self._changed:
            self._phase, self._phase_marker = _Phase.RETAINED, None
            self._seen = set()
        self._subscribe(SubscribeOptions(qos=0))

    def _down(self) -> None:
        with self._changed:
            self._phase = _Phase.DOWN

    def _subscribe(self, options: SubscribeOptions) -> None:
        self._link.client.subscribe([(CONSENTS_FILTER, options), (self._marker, options)])

    def _subscribed(self, _client: paho.Client, _data: Any, _mid: int, codes: list[ReasonCode], _props: Any) -> None:
        if not self._link.granted(codes):
            return
        with self._changed:
            self._sent += 1
            self._phase_marker = number = self._sent
        self._publish_marker(number)

    def _publish_marker(self, number: int) -> None:
        self._link.client.publish(self._marker, b"%d" % number, qos=1)

    def _published(self, _client: paho.Client, _data: Any, _mid: int, code: ReasonCode, _props: Any) -> None:
        if code.is_failure:
            log.error("the broker does not let us publish (%s): see to the ACL of markers and erasures", code)

    def _message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        topic, payload = topic_of(message), bytes(message.payload)
        if topic == self._marker:
            if payload.isdigit() and len(payload) < 20:  # whatever else comes here is not ours
                self._marker_returned(int(payload))
            return
        try:
            token = last_part(topic)
        except Malformed as fault:
            self._on_malformed(topic, payload, str(fault))
            return
        try:
            consent = decode_consent(payload)
        except Malformed as fault:
            self._on_malformed(topic, payload, str(fault))
            consent = None  # a consent that cannot be read covers nothing
        self._apply(token, consent)

    def _apply(self, token: str, consent: ConsentMessage | None) -> None:
        with self._changed:
            try:
                new = self._mirror.apply(token, consent)
            except OverflowError as fault:
                log.warning("consents: %s", fault)  # a band that is not in the mirror is covered for nothing
                return
            if consent is None:
                self._known.discard(token)
            else:
                self._known.add(token)
                self._seen.add(token)
        if new and consent is not None and consent.erase:
            extent = Extent(frozenset(consent.keep), consent.erase_before or None)
            self._on_withdrawal(Withdrawal(consent.pseudonym, consent.revision, consent.issued_at, extent))

    def _marker_returned(self, number: int) -> None:
        raise_it = behind = False
        with self._changed:
            if number > self._sent:
                return  # not one of ours
            self._returned = max(self._returned, number)
            if self._phase_marker is not None and number >= self._phase_marker:
                self._phase_marker = None
                if self._phase is _Phase.RETAINED:
                    self._phase = _Phase.RAISING
                    self._forget_unseen()
                    raise_it = True
                elif self._phase is _Phase.RAISING:
                    self._phase = _Phase.LIVE
                    behind = self._sent > number
            newest = self._sent
            self._changed.notify_all()
        if raise_it:
            self._subscribe(SubscribeOptions(qos=1, retainHandling=_NO_RETAINED))
        if behind:  # a barrier was asked for while no marker could be sent
            self._publish_marker(newest)

    def _forget_unseen(self) -> None:
        """What was cleared while we were away is not sent again: it covers nothing any more."""
        for token in self._known - self._seen:
            self._mirror.apply(token, None)
        self._known &= self._seen
