"""What is on its way to the broker over one connection: the outbox's rows, oldest first, and wearers who stopped.

A bounded number is in flight. Each row is removed when its PUBACK is here, and sent again when the connection breaks
soon after (`gateway/lately.py`). A stop is said once each time that `tell` is called; what makes it heard is that it is
called again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from contracts import wire
from contracts.reading import RETENTION_DAYS
from gateway.lately import Lately
from gateway.outbox import Outbox, Row

IN_FLIGHT_MAX: Final = 200
#: After the broker refused a message (by its ACL, mostly), wait this long before the next try.
REFUSED_WAIT_S: Final = 30.0
#: MQTT 5, 3.4.2.1: thrown away, since nobody subscribes. A broker that was killed may not know ingest's session.
NO_MATCHING_SUBSCRIBERS: Final = 0x10
NOBODY_WAIT_S: Final = 1.0
EXPIRY_S: Final = RETENTION_DAYS * 86_400
#: It is said again twice a minute, by each gateway; what waits for an API that is away must not fill the broker.
STOP_EXPIRY_S: Final = 600
_FAILURE_MIN: Final = 0x80
#: Else paho's own queue is full. What it is given without a connection it keeps for the next one.
_TAKEN: Final = (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN)


class Sending:
    """The pump's; `acknowledged`, `rescan` and `forget` may be called in any thread.

    may_send(row) is asked for each row just before it goes; now() is in unix seconds; `say` is told of trouble.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        topic: str,
        stop_topic: str,
        may_send: Callable[[Row], bool],
        now: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self._outbox = outbox
        self._topic, self._stop_topic = topic, stop_topic
        self._may_send, self._now, self._say = may_send, now, say
        self._acks: deque[tuple[int, int]] = deque()  # packet id, reason code
        self._lately = Lately()
        self._room = 1
        self._rescan = False
        self._rows: dict[int, Row] = {}  # in flight, by packet id
        self._seqs: set[int] = set()  # of those
        self._to_tell: deque[wire.Stop] = deque()  # as many as there are bands at most
        self._stops: set[int] = set()  # packet ids of stops in flight
        self._cursor = 0
        self._held_back = False
        self._refused_until = 0.0

    def begin(self, receive_maximum: int | None) -> None:
        """A connection stands. Who sends more than the broker's Receive Maximum is disconnected (MQTT 5, 3.2.2.3.3)."""
        # One is for the status.
        self._room = max(1, min(IN_FLIGHT_MAX, (receive_maximum or IN_FLIGHT_MAX) - 1))

    def acknowledged(self, packet_id: int, code: int) -> None:
        """A PUBACK is here; it is settled later."""
        self._acks.append((packet_id, code))

    def rescan(self) -> None:
        """Begin again at the oldest row: what was held back may go now."""
        self._rescan = True

    def forget(self, pseudonym: str) -> None:
        """Nothing of this wearer that was acknowledged is sent again."""
        self._lately.forget(pseudonym)

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return len(self._outbox) == 0

    @property
    def idle(self) -> bool:
        """Whether what waits is held back, all of it, and nothing is on its way."""
        quiet = not self._rescan and not self._rows and not self._acks
        return quiet and self._held_back and not self._outbox.after(self._cursor, 1)

    def settle(self) -> int:
        """Remove what is acknowledged, all of it in one transaction; how many readings that were."""
        done: list[Row] = []
        while self._acks:
            packet_id, code = self._acks.popleft()
            row = self._rows.pop(packet_id, None)
            if row is not None:
                self._seqs.discard(row.seq)
            elif packet_id in self._stops:
                self._stops.discard(packet_id)
                if code >= _FAILURE_MIN:
                    self._say("the broker refuses what this gateway says of wearers who stopped: check its ACL")
                continue
            else:  # a status
                continue
            if code == NO_MATCHING_SUBSCRIBERS:
                self._not_taken("nobody takes readings from the broker: start ingest", NOBODY_WAIT_S)
            elif code >= _FAILURE_MIN:
                self._not_taken("the broker refuses this gateway's readings: check its ACL", REFUSED_WAIT_S)
            else:
                done.append(row)
        if not done:
            return 0
        self._lately.acknowledged(done, time.monotonic())
        return self._outbox.remove(done)

    def lost(self) -> None:
        """The connection is gone, and its last acknowledgement was settled, or that row would stay behind."""
        now = time.monotonic()
        self._lately.acknowledged(self._rows.values(), now)  # what was being sent again stands nowhere else
        self._lately.lost(now)
        self._rows.clear()
        self._seqs.clear()
        self._stops.clear()
        self._acks.clear()
        self._rescan = True

    def send(self, client: mqtt.Client) -> None:
        """Send what may go, as long as there is room."""
        self._tell(client)
        if time.monotonic() < self._refused_until:
            return
        if self._rescan:
            self._rescan, self._cursor, self._held_back = False, 0, False
        # What was acknowledged just before the last connection broke; whose consent is not known is kept for later.
        again = self._lately.take(max(0, self._free))
        self._lately.keep([row for row in again if not (self._goes(row) and self._publish(client, row))])
        while (room := self._free) > 0 and client.is_connected():
            rows = self._outbox.after(self._cursor, room)
            if not rows:
                return
            for row in rows:
                if row.seq not in self._seqs:
                    if not self._goes(row):
                        self._held_back = True
                    elif not self._publish(client, row):
                        return
                self._cursor = row.seq

    def tell(self, stops: Iterable[wire.Stop]) -> None:
        """These wearers stopped: it is said before any row goes. Who waits to be told of already comes first."""
        waiting = {stop.band for stop in self._to_tell}
        self._to_tell = deque(sorted(stops, key=lambda stop: stop.band not in waiting))

    def _tell(self, client: mqtt.Client) -> None:
        while self._to_tell and self._free > 0 and client.is_connected():
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = STOP_EXPIRY_S
            stop = self._to_tell.popleft()
            sent = client.publish(self._stop_topic, wire.encode(stop), qos=1, properties=properties)
            if sent.rc not in _TAKEN:
                return  # it is told again with the others
            self._stops.add(sent.mid)

    @property
    def _free(self) -> int:
        return self._room - len(self._rows) - len(self._stops)

    def _not_taken(self, why: str, wait_s: float) -> None:
        self._say(why)
        self._refused_until = time.monotonic() + wait_s
        self._rescan = True

    def _goes(self, row: Row) -> bool:
        return not row.pseudonym or self._may_send(row)

    def _publish(self, client: mqtt.Client, row: Row) -> bool:
        # After the retention no store takes it: the broker need not keep it for longer (MQTT 5, 3.3.2.3.3).
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.MessageExpiryInterval = max(1, min(row.added_at + EXPIRY_S - int(self._now()), EXPIRY_S))
        sent = client.publish(self._topic, row.payload, qos=1, properties=properties)
        if sent.rc not in _TAKEN:
            return False
        self._rows[sent.mid] = row
        self._seqs.add(row.seq)
        return True
