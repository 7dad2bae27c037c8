"""A wearer who held the band's button for ten seconds has withdrawn: what gateways say of it, in the ledger.

Gateways say it again and again, until the consent does; several of them may, and one may come with it weeks late. So
it counts only where it is the newest word. Nothing stored is erased by it: the button is easily held by mistake, and
an erasure is for good. The page has that, one tap away.
"""

from __future__ import annotations

import logging
import math

import msgspec
from sqlalchemy import Connection

from api import chain, last_words, records
from api.ledger import Ledger
from contracts import wire
from contracts.ports import Clock

_LOG = logging.getLogger(__name__)


class BandStops:
    """Takes in what gateways say. Safe for threads: each call is one transaction of the ledger."""

    def __init__(self, ledger: Ledger, *, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    def heard(self, stop: wire.Stop) -> bool:
        """Withdraw for who wears this band, unless they chose since; whether that changed a thing."""
        now = math.ceil(self._clock.now())
        pressed_at = min(stop.pressed_at, now)  # by a gateway whose clock is ahead
        with self._ledger.engine.connect() as connection:  # most say nothing new: they must not queue with who writes
            if _ended(connection, stop, pressed_at) is None:
                return False
        with self._ledger.engine.begin() as connection:
            link = chain.next_link(connection)
            current = _ended(connection, stop, pressed_at)
            if current is None:
                return False
            at = max(now, current.at)
            ended = records.withdrawn(current, at=at, pressed_at=pressed_at, press=stop.press)
            last_words.write(connection, link, ended)
        return True


def _ended(connection: Connection, stop: wire.Stop, pressed_at: int) -> records.ConsentRecord | None:
    """The choice of who wears this band, if it is ended by its button held until `pressed_at`."""
    pseudonym = last_words.wearer(connection, stop.band)
    if pseudonym is None:
        return None
    try:
        current = last_words.current(connection, pseudonym)
    except (LookupError, msgspec.DecodeError):  # one spoilt event must not hold up others' stops
        _LOG.error("a stop could not be taken in: run 'wijkpols consent verify'")
        return None
    return current if records.message_of(current, 0).ended_by(pressed_at, stop.press) else None
