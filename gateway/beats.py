"""When the beats of a Heart Rate Measurement happened: the frame itself carries intervals but no time."""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.gatt_codec import TICKS_PER_S, BeatTiming, HeartRate

#: A strap's own beats and the gateway's clock may differ by this before a gap is assumed: notifications come once a
#: second, up to a second late. One lost notification is about one second.
DISAGREEMENT_S_MAX: Final = 1.5


class PlacedHeart(NamedTuple):
    """A Heart Rate Measurement with its time: `beats` are (end, interval), unix seconds and seconds, rising."""

    time: float  # unix seconds
    bpm: float  # 0 is unknown
    contact: bool | None
    beats: tuple[tuple[float, float], ...]


class BandBeats:
    """For a Wijkpols band: the Beat Timing before a measurement says when its beats were."""

    def __init__(self) -> None:
        self._timing: BeatTiming | None = None

    def timing(self, frame: BeatTiming) -> str | None:
        """Remember it for the measurement that follows."""
        self._timing = frame
        return None

    def measurement(self, frame: HeartRate) -> tuple[PlacedHeart | None, str | None]:
        """The placed measurement, and why it, or its beats, could not be used."""
        timing, self._timing = self._timing, None
        if timing is None:
            return None, "no-beat-timing"
        if len(timing.offsets_1024) != len(frame.rr_1024):
            return PlacedHeart(timing.time, frame.bpm, frame.contact, ()), "beats-differ"
        beats = tuple(
            (timing.time + offset / TICKS_PER_S, rr / TICKS_PER_S)
            for offset, rr in zip(timing.offsets_1024, frame.rr_1024, strict=True)
        )
        return PlacedHeart(timing.time, frame.bpm, frame.contact, beats), None


class StrapBeats:
    """For a plain strap: each beat follows the one before by its interval, as long as that agrees with the clock.

    Arrival times jitter by a second, so they never set a beat's place but after a gap.
    """

    def __init__(self) -> None:
        self._last: float | None = None  # unix seconds, end of the last beat

    def measurement(self, frame: HeartRate, now: float) -> PlacedHeart:
        """Place a measurement that arrived at `now` (unix seconds)."""
        intervals = [rr / TICKS_PER_S for rr in frame.rr_1024 if rr]
        total = sum(intervals)
        if self._last is None or abs(self._last + total - now) > DISAGREEMENT_S_MAX:
            self._last = now - total  # a gap: the newest beat is now
        beats = []
        for interval in intervals:
            self._last += interval
            beats.append((self._last, interval))
        return PlacedHeart(now, frame.bpm, frame.contact, tuple(beats))
