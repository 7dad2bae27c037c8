"""Bands whose wearers stopped by the button, until the consent says so too, or a choice came after it.

Kept on disk in the outbox: a gateway that hears of a stop while the broker is away tells of it weeks later, and till
then reads nothing of that band. Not thread-safe: its owner has a lock.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection, Iterator

from contracts import wire
from contracts.consent import ConsentMessage
from gateway.outbox import Outbox

_log = logging.getLogger(__name__)


class Stops:
    """Which bands were stopped, and when."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._told = outbox.stops()  # until when the button was held (unix seconds), and which press; by token

    def add(self, token: str, message: ConsentMessage, pressed_at: int, press: int) -> int:
        """A wearer stopped: nothing that waits of them is sent. Returns how many readings went."""
        # Told with a clock that was put back, it is still the later one that counts.
        pressed_at = max(pressed_at, self._told.get(token, (0, 0))[0])
        self._told[token] = (pressed_at, press)
        try:
            return self._outbox.stop(token, pressed_at, press, message.pseudonym)
        except sqlite3.Error as fault:  # the band itself keeps it, too
            _log.error("a stop could not be written down (%s): is the disk full?", fault)
            return 0

    def ends(self, token: str, message: ConsentMessage | None) -> bool:
        """Whether this consent of a band is ended by its button."""
        told = self._told.get(token)
        return told is not None and (message is None or message.ended_by(*told))

    def settle(self, token: str, message: ConsentMessage) -> None:
        """The newest consent of a band: when it says stop too, or came after it, there is nothing left to tell."""
        told = self._told.get(token)
        if told is None or message.ended_by(*told):
            return
        del self._told[token]
        try:
            self._outbox.forget_stop(token)
        except sqlite3.Error as fault:  # after the next start it is settled once more
            _log.error("a stop could not be crossed out (%s): is the disk full?", fault)

    def tokens(self) -> Collection[str]:
        """The bands."""
        return self._told.keys()

    def __iter__(self) -> Iterator[wire.Stop]:
        return iter([wire.Stop(band=token, pressed_at=at, press=press) for token, (at, press) in self._told.items()])
