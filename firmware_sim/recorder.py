"""Signals into the memory, as the band measures them: a record at each ten seconds of the band's own clock."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from firmware_sim import record
from firmware_sim.physiology import Samples
from firmware_sim.record import HEART, MOTION, RECORD_S, SKIN
from firmware_sim.record_log import RecordLog


class Recorder:
    """Writes to a RecordLog. Times are the band's own."""

    def __init__(self, log: RecordLog, sensors: Callable[[], int] = lambda: HEART | SKIN | MOTION) -> None:
        """`sensors` tells which of them run, as bits of Record Contents; with none there are no records."""
        self._log = log
        self._sensors = sensors
        self._samples: Samples | None = None
        self._start = 0
        self._told = 0  # answers before this second are stored
        self._from = 0

    def begin(self, samples: Samples) -> None:
        """What is measured from now on."""
        self._samples = samples
        self._start = self._told = max(samples.start, self._from)

    def only_from(self, tick: int) -> None:
        """Nothing of before `tick` is to be stored."""
        self._from = self._start = self._told = tick

    def until(self, tick: int) -> None:
        """All before `tick` has been measured: a band with nobody to tell comes by once for each record."""
        samples = self._samples
        if samples is None:
            return
        for answer in samples.reports:
            if self._told <= answer.at < tick:
                self._log.append(partial(record.self_report, answer))
        self._told = max(self._told, tick)
        if tick % RECORD_S == 0 or tick == samples.end:
            self.close(tick)

    def close(self, tick: int) -> None:
        """End the record that is being measured, if there is one, with the second before `tick`."""
        samples = self._samples
        if samples is not None and self._start < tick <= samples.end:
            sensors = self._sensors()
            if sensors:
                self._log.append(partial(record.measurement, samples.cut(self._start, tick), sensors=sensors))
            self._start = tick
