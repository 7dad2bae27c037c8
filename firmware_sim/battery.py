"""The band's charge: what each thing that it does takes, after "Battery" in the band's profile. Pure.

The currents are those of parts that such a band would be built from; the page names their sources, and which are
assumptions. Seconds are the band's own.
"""

from __future__ import annotations

from typing import Final

from firmware_sim.record import HEART, MOTION, SKIN

#: mAh.
CAPACITY: Final = 100.0
#: µA for as long as it runs.
SLEEP: Final = 2.0
SENSORS: Final = {HEART: 900.0, SKIN: 103.0, MOTION: 11.0}
#: µA while connected, and µC for each packet, advertising event and stored record.
CONNECTED: Final = 107.0
PACKET: Final = 11.5
ADVERTISING_EVENT: Final = 8.0
RECORD: Final = 2.0
#: A charger fills it at this rate, mA.
CHARGER: Final = 50.0
#: At or below so many percent a sensor stops; those after it go on. Records are handed over to the end.
STOPS: Final = {HEART: 15, SKIN: 8, MOTION: 3}
_UC_PER_MAH: Final = 3.6e6


class Battery:
    """Charge in percent. `charge`: at the start."""

    def __init__(self, *, charge: float = 100.0) -> None:
        if not 0 <= charge <= 100:
            raise ValueError("a charge is 0 to 100 percent")
        self._left_uc = charge / 100 * CAPACITY * _UC_PER_MAH

    @property
    def level(self) -> int:
        """What Battery Level says: percent, rounded up, so that 0 is empty."""
        return -int(-self._left_uc // (CAPACITY * _UC_PER_MAH / 100))

    @property
    def sensors(self) -> int:
        """Which sensors run, as bits of Record Contents."""
        return sum(bit for bit, stops_at in STOPS.items() if self.level > stops_at)

    def spend(
        self,
        seconds: float,
        *,
        sensors: int = 0,
        connected: bool = False,
        advertising_ms: float = 0.0,
        packets: int = 0,
    ) -> None:
        """So many seconds pass: with these sensors, a link or advertisements, and packets sent in all."""
        current = SLEEP + sum(ua for bit, ua in SENSORS.items() if sensors & bit)
        if connected:
            current += CONNECTED
        elif advertising_ms:
            current += ADVERTISING_EVENT * 1000 / advertising_ms
        if sensors:
            current += RECORD / 10  # a record each ten seconds
        self._left_uc = max(self._left_uc - current * seconds - PACKET * packets, 0.0)

    def charge(self, seconds: float) -> None:
        """On the charger for so long."""
        self._left_uc = min(self._left_uc + CHARGER * 1000 * seconds, CAPACITY * _UC_PER_MAH)
