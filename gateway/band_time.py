"""From a band's own times to the world's: by what is known of its clocks that have ended. Pure."""

from __future__ import annotations

from typing import Final

from gateway.record_codec import LogState

#: A set clock that was further off at its end than this share of its life, and a little, did not drift: it was wrong.
DRIFT_MAX: Final = 1e-3
DRIFT_S_MIN: Final = 2.0


class BandTime:
    """Corrections for the records of one log; its present clock is right, for the gateway has seen to that."""

    def __init__(self, state: LogState) -> None:
        self._present = state.clock
        self._ended = {one.clock: one for one in state.ended}

    def correction(self, clock: int, time: int) -> float | None:
        """Seconds to be added to `time` of a clock; None when nobody can know.

        A clock that drifted was right when it was set: its error has grown evenly. One that began after a loss of power
        was wrong by the same all the while. One that ended by a loss of power cannot be corrected: it stands if it had
        been set.
        """
        if clock == self._present:
            return 0.0
        ended = self._ended.get(clock)
        if ended is None:
            return None
        if ended.next is None:
            return 0.0 if ended.was_set else None
        error, life = float(ended.next - ended.ended), ended.ended - ended.began
        if not ended.was_set or life <= 0 or abs(error) > DRIFT_MAX * life + DRIFT_S_MIN:
            return error
        return error * min(max((time - ended.began) / life, 0.0), 1.0)
