"""Which band is connected next: fair, and none is tried in vain too often. Pure; time is passed in (monotonic, s)."""

from __future__ import annotations

from typing import Final

from gateway.session import Ended

#: A band that was not heard for so long is not there.
HEARD_S_MAX: Final = 30.0
#: Addresses kept; bands change theirs, so old ones give way.
BANDS_MAX: Final = 5_000
#: How long a band waits after a session that ended so.
WAIT_S: Final = {
    Ended.LOST: 2.0,
    Ended.CONSENT_CHANGED: 0.0,
    Ended.DRAINED: 60.0,
    Ended.NO_CONSENT: 60.0,
    Ended.NO_SERIAL: 300.0,
    Ended.NOT_PAIRED: 300.0,  # with its button held it comes under another address
    Ended.BOND_LOST: 300.0,
}
#: After a connection that failed: twice as long each time.
FAILED_S_MIN, FAILED_S_MAX = 2.0, 300.0


class _Band:
    def __init__(self) -> None:
        self.heard_s = 0.0
        self.read_s = float("-inf")  # the end of the last session
        self.not_before_s = float("-inf")
        self.failures = 0
        self.connected = False
        self.without_consent = False
        self.refused = False  # something that may change at any moment kept it from being read


class Rotation:
    """At most `slots` bands at once; of those that wait, the longest unread one first."""

    def __init__(self, *, slots: int) -> None:
        self._slots = slots
        self._bands: dict[str, _Band] = {}

    def heard(self, address: str, now_s: float) -> None:
        """A band advertised."""
        band = self._bands.get(address)
        if band is None:
            if len(self._bands) >= BANDS_MAX:
                free = (key for key, known in self._bands.items() if not known.connected)
                del self._bands[min(free, key=lambda key: self._bands[key].heard_s)]
            band = self._bands[address] = _Band()
        band.heard_s = now_s

    def next(self, now_s: float) -> str | None:
        """The address to connect to now; it has a slot until `ended`. None when all are taken or nobody waits."""
        if sum(band.connected for band in self._bands.values()) >= self._slots:
            return None
        waiting = [
            address
            for address, band in self._bands.items()
            if not band.connected and band.not_before_s <= now_s and now_s - band.heard_s <= HEARD_S_MAX
        ]
        if not waiting:
            return None
        address = min(waiting, key=lambda one: self._bands[one].read_s)
        self._bands[address].connected = True
        return address

    def ended(self, address: str, how: Ended | None, now_s: float) -> None:
        """A session is over; None when the connection, or the reading of the serial, failed."""
        band = self._bands[address]
        band.connected = False
        band.read_s = now_s
        band.without_consent = how in (Ended.NO_CONSENT, Ended.NO_SERIAL)
        band.refused = band.without_consent or how is Ended.NOT_PAIRED
        if how is None:
            wait_s = min(FAILED_S_MIN * 2**band.failures, FAILED_S_MAX)
            band.failures = min(band.failures + 1, 16)
        else:
            wait_s = WAIT_S[how]
            band.failures = 0
        band.not_before_s = now_s + wait_s

    def may_try_again(self) -> None:
        """Some consent is new, or some band may pair now: those refused may try at once."""
        for band in self._bands.values():
            if band.refused:
                band.refused = band.without_consent = False
                band.not_before_s = float("-inf")

    def counts(self, now_s: float) -> tuple[int, int, int]:
        """Bands heard lately or connected; of those connected; of those without consent."""
        there = [b for b in self._bands.values() if b.connected or now_s - b.heard_s <= HEARD_S_MAX]
        return len(there), sum(b.connected for b in there), sum(b.without_consent for b in there)
