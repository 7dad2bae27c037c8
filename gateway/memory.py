"""What is made of a band's memory: minutes and answers out of its records, stored with how far it was read.

A record that lasts from one minute into the next gives each its seconds once, also when another session, or another
gateway, reads the rest.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from contracts.consent import Cover
from contracts.ports import Clock
from contracts.reading import MINUTE_S, SelfReport
from gateway import record_codec
from gateway.band_time import BandTime
from gateway.beats import PlacedHeart
from gateway.gatt_codec import TICKS_PER_S, Eda, MalformedFrame, Motion
from gateway.minutes import AHEAD_S_MAX, BEHIND_S_MAX, CLOCK, LATE, Carried, MinuteBuilder
from gateway.outbox import Drained
from gateway.record_codec import LogState, MeasurementRecord, RecordHeart, ReportRecord
from gateway.uplink import Uplink

#: So many records at most are read before their minutes are stored: an hour.
STORE_EVERY: Final = 360
#: A memory holds what it said; a few more may come meanwhile.
NEWER_MAX: Final = 1_000
#: Why a record is not used, besides the reasons of the codec and of `minutes`.
ORDER, RANGE = "order", "range"


class Memory:
    """What is made of the records of one session. Not thread-safe."""

    def __init__(
        self,
        *,
        token: str,
        cover: Cover,
        uplink: Uplink,
        clock: Clock,
        state: LogState,
        carried: Carried | None = None,
    ) -> None:
        drained = uplink.drained(token, state.log)
        self._token, self._log, self._newest = token, state.log, state.newest
        self._uplink = uplink
        self._clock = clock
        self._pseudonym = cover.pseudonym
        self._times = BandTime(state)
        self._overwritten = state.overwritten
        self._overwritten_before = drained.overwritten
        self._builder = MinuteBuilder(clock=clock, before=carried)
        self.carried = carried
        self._made_before = drained.minute  # minutes before this one were made
        self._begins_torn = state.oldest > drained.seq + 1  # somebody else read what came before, or it is lost
        self._last = self.stored = self.stored_before = drained.seq
        self._open: deque[tuple[int, int]] = deque()  # records (number, end) of minutes that may still be open
        self._reports: list[tuple[int, SelfReport]] = []  # with their records' numbers
        self._since_stored = 0
        self._faults: Counter[str] = Counter()
        self._corrected = 0
        self.frames = 0
        self.useless = 0
        self.failed = False

    @property
    def first(self) -> int:
        """The number of the first record that is wanted."""
        return self._last + 1

    def take(self, data: bytes) -> None:
        """A notification of Record."""
        self.frames += 1
        try:
            record = record_codec.record(data)
        except MalformedFrame as bad:
            self._refuse(bad.reason)
            return
        if record.seq <= self._last:
            self._refuse(ORDER)
            return
        if record.seq > self._newest + NEWER_MAX:
            self._refuse(RANGE)
            return
        self._last = record.seq
        fault = self._report(record) if isinstance(record, ReportRecord) else self._measurement(record)
        if fault is not None:
            self._faults[fault] += 1
        self._since_stored += 1
        if self._since_stored >= STORE_EVERY:
            self.store()

    def finish(self, asked_at: float | None) -> None:
        """The report is over. `asked_at`: when it was asked for, if it was complete: minutes over by then are whole."""
        if asked_at is not None:
            self._builder.over(asked_at)
        self.store()

    def tell(self) -> None:
        """Count what came since the last time."""
        self._uplink.note_frames({f"record:{reason}": n for reason, n in self._faults.items()})
        self._uplink.note_records(read=self._since_stored, corrected=self._corrected)
        self._faults.clear()
        self._since_stored = self._corrected = 0

    def store(self) -> None:
        """Store the minutes that are whole, and how far the memory was read for them."""
        tables, dropped = self._builder.take()
        drops = Counter(dropped)
        readings = []
        for table in tables:
            drops.update(table.drops())
            readings += table.readings(self._pseudonym)
        made_before = max(self._made_before, self._builder.closed_before)
        while self._open and self._open[0][1] <= made_before:
            self._open.popleft()
        upto = self._open[0][0] - 1 if self._open else self._last
        self.tell()
        # An answer after the first record of an open minute comes again with it.
        reports = [report for seq, report in self._reports if seq <= upto]
        if self._uplink.store(Drained(self._token, self._log, upto, made_before, self._overwritten), readings, reports):
            self.stored, self._made_before = upto, made_before
            self._uplink.note_minutes(drops)  # only now: what was not stored comes again
            if self._overwritten > self._overwritten_before:
                self._uplink.note_records(overwritten=self._overwritten - self._overwritten_before)
            self._overwritten_before = self._overwritten
            if self._builder.closed_before:
                self.carried = self._builder.carried
            self._reports = [(seq, report) for seq, report in self._reports if seq > upto]
        else:
            self.failed = True

    def _refuse(self, reason: str) -> None:
        self._faults[reason] += 1
        self.useless += 1

    def _corrected_time(self, clock: int, time: int) -> int | None:
        correction = self._times.correction(clock, time)
        if correction is None:
            return None
        self._corrected += round(correction) != 0
        return time + round(correction)

    def _report(self, record: ReportRecord) -> str | None:
        at = self._corrected_time(record.clock, record.report.time)
        now = self._clock.now()
        if at is None or not now - BEHIND_S_MAX <= at <= now + AHEAD_S_MAX:
            return CLOCK
        said = record.report
        report = SelfReport(pseudonym=self._pseudonym, at=at, safe=said.safe, happy=said.happy, reason=said.reason)
        self._reports.append((record.seq, report))
        return None

    def _measurement(self, record: MeasurementRecord) -> str | None:
        start = self._corrected_time(record.clock, record.time)
        if start is None:
            return CLOCK
        if self._begins_torn:  # the minute in which it begins was made of the records before it, or is lost with them
            self._made_before = max(self._made_before, -(-start // MINUTE_S) * MINUTE_S)
            self._begins_torn = False
        made = max(self._made_before, self._builder.closed_before, start) - start  # seconds of minutes that are made
        if made >= record.seconds:
            return LATE
        fault = self._feed(record, start, made)
        if fault is None:
            self._open.append((record.seq, start + record.seconds))
        return fault

    def _feed(self, record: MeasurementRecord, start: int, made: int) -> str | None:
        """The record from its second `made` on. The first reason why something of it was of no use, or None."""
        builder, left = self._builder, record.seconds - made
        faults: list[str | None] = []
        if record.heart is not None:
            faults += [builder.heart(one) for one in _seconds(record.heart, start)[made:]]
        if record.skin is not None:
            skin = record.skin
            samples = skin.nano_siemens[made * skin.rate :]
            faults.append(builder.eda(Eda(time=start + made, rate=skin.rate, nano_siemens=samples)))
        if record.motion is not None:
            # The record's mean and SD, in each of its seconds: pooled over the minute they give what its samples would.
            mean, sd = record.motion
            same = Motion(time=start + made, rate=1, mean_mg=(mean,) * left, sd_mg=(sd,) * left)
            faults.append(builder.motion(same))
        if record.skin is not None:
            builder.temperature(record.skin.celsius)
            faults.append(builder.time(start + record.seconds))
        return next((fault for fault in faults if fault is not None), None)


def _seconds(heart: RecordHeart, start: int) -> list[PlacedHeart]:
    """A heart section as the measurements of its seconds."""
    beats: list[list[tuple[float, float]]] = [[] for _ in heart.contact]
    for end, rr in heart.beats:
        beats[end // TICKS_PER_S].append((start + end / TICKS_PER_S, rr / TICKS_PER_S))
    return [
        PlacedHeart(start + i, (heart.bpm or 0.0) if contact else 0.0, contact, tuple(beats[i]))
        for i, contact in enumerate(heart.contact)
    ]
