"""The band's own clock: it drifts, it is set, and after a loss of power it goes on from where it stood. Pure."""

from __future__ import annotations

import math


class BandClock:
    """What the band shows at a moment of the world. Times are unix seconds; `drift_ppm` above 0 runs fast."""

    def __init__(self, *, at: float, shows: float, drift_ppm: float = 0.0) -> None:
        self._drift = drift_ppm * 1e-6
        self.set(at, shows)

    def set(self, at: float, shows: float) -> None:
        """From `at` on the clock runs from `shows`."""
        self._at, self._offset = at, shows - at

    def shows(self, at: float) -> int:
        """The second that the clock shows."""
        return math.floor(at + self._offset + self._drift * (at - self._at))

    def ahead(self, tick: int) -> int:
        """By how many whole seconds the clock is ahead at a whole second of the world."""
        return self.shows(tick) - tick
