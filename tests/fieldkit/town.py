"""What a town's readings come to: who heard which minute in which message, in a few bytes each."""

from __future__ import annotations

from array import array
from collections import Counter

import paho.mqtt.client as mqtt

from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.reading import MINUTE_S, Reading
from tests.integration.gateway_parts import Town


class CountingTown(Town):
    """Counts minutes by pseudonym in [start, start + 60 * minutes), instead of keeping them.

    A message that the broker hands over twice has the same number, and is a redelivery; a minute or an answer in two
    messages is a double. The readings of `watched` pseudonyms are kept whole, those of `ignored` ones not counted.
    """

    def __init__(self, broker: BrokerAddress, name: str, *, start: int, minutes: int) -> None:
        self._start, self._minutes = start, minutes
        self._seqs: dict[str, array[int]] = {}
        self._answers: dict[tuple[str, int], int] = {}
        self.watched: dict[str, dict[int, Reading]] = {}
        self.ignored: set[str] = set()
        self.doubles = self.strays = self.redelivered = 0
        self.heard = 0
        super().__init__(broker, name)

    def _heard(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic.endswith("/status"):
            return
        decoded = wire.decode_readings(message.payload)
        for reading in decoded.readings:
            if reading.pseudonym not in self.ignored:
                self._reading(decoded.seq, reading)
        for report in decoded.reports:
            before = self._answers.setdefault((report.pseudonym, report.at), decoded.seq)
            self.doubles += before != decoded.seq

    def _reading(self, seq: int, reading: Reading) -> None:
        seqs = self._seqs.setdefault(reading.pseudonym, array("L", bytes(8 * self._minutes)))
        minute = (reading.minute - self._start) // MINUTE_S
        if not 0 <= minute < self._minutes:
            self.strays += 1
        elif not seqs[minute]:
            seqs[minute] = seq
            self.heard += 1
            if reading.pseudonym in self.watched:
                self.watched[reading.pseudonym][reading.minute] = reading
        elif seqs[minute] == seq:
            self.redelivered += 1
        else:
            self.doubles += 1

    def minutes_of(self, pseudonym: str) -> set[int]:
        """The minutes heard of a wearer, unix seconds."""
        seqs = self._seqs.get(pseudonym, array("L"))
        return {self._start + MINUTE_S * i for i, seq in enumerate(seqs) if seq}

    def answers_of(self, pseudonym: str) -> Counter[int]:
        """The moments of a wearer's answers."""
        return Counter(at for whose, at in self._answers if whose == pseudonym)
