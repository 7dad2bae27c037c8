"""Reads a band's memory: sets the clock, asks for what is new, stores the minutes made of it, and then lets it go.

Exactly once: with the minutes goes, in one transaction, how far the memory was read. Records of a minute that is
still open are not counted as read; they are asked for again next time. The band is told to delete only what the outbox
has on disk.

A band is not trusted: it may send what was not asked for, count wrongly, send without end, or nothing. Each wait has a
limit, and so have the number of frames and the turn: a long memory is read in several, so that others are not kept
waiting.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Final

from contracts.consent import Cover
from contracts.ports import Clock
from contracts.reading import Category, SelfReport
from gateway import gatt_codec as codec
from gateway import profile, record_codec
from gateway.band_time import BandTime
from gateway.beats import PlacedHeart
from gateway.gatt_codec import TICKS_PER_S, Eda, MalformedFrame, Motion
from gateway.link import LinkLost, Peripheral
from gateway.minutes import AHEAD_S_MAX, BEHIND_S_MAX, CLOCK, LATE, Carried, MinuteBuilder
from gateway.outbox import Drained
from gateway.record_codec import LogState, MeasurementRecord, RacpCount, RacpResponse, RecordHeart, ReportRecord
from gateway.uplink import Uplink

#: A band's clock that is off by this is set; after that it may be off by the other.
CLOCK_S_MAX: Final = 2.0
SET_CLOCK_S_MAX: Final = 30.0
#: Without a record or an answer for so long the band is given up.
SILENT_S_MAX: Final = 10.0
#: After so long a report is aborted, and the rest left for the next turn: a week's records take five minutes.
TURN_S_MAX: Final = 120.0
#: A band that does not end its report then is given up.
DRAIN_S_MAX: Final = 180.0
#: A memory holds 65,536; a few more may come meanwhile.
FRAMES_MAX: Final = 70_000
NEWER_MAX: Final = 1_000
#: So many frames that are no records, or not the next ones, and the band is given up.
USELESS_MAX: Final = 500
#: A week of records: what a memory holds at least.
WEEK_RECORDS: Final = 60_480
#: So many records at most are read before their minutes are stored: an hour.
STORE_EVERY: Final = 360
#: Answers that wait to be read; a band that sends more is out of order.
ANSWERS_MAX: Final = 8

#: Why a record is not used, besides the reasons of the codec and of `minutes`.
ORDER, RANGE, COUNT, UNASKED, KEPT = "order", "range", "count", "unasked", "kept"

_CONTENTS: Final = {
    Category.HEART: record_codec.HEART,
    Category.SKIN: record_codec.SKIN,
    Category.MOTION: record_codec.MOTION,
    Category.SELF_REPORT: record_codec.ANSWER,
}


class BandFaulty(LinkLost):
    """The band answers, but does not keep to the profile."""


class Drain:
    """One reading of one band's memory, for one turn.

    `carried` is what the last reading left (MinuteDesk), and afterwards what this one leaves; `filled` is the share of
    a week that the memory held before it, once it is known.
    """

    def __init__(
        self,
        *,
        band: Peripheral,
        token: str,
        cover: Cover,
        uplink: Uplink,
        clock: Clock,
        carried: Carried | None = None,
    ) -> None:
        self.carried = carried
        self.filled: float | None = None
        self._band = band
        self._token = token
        self._cover = cover
        self._uplink = uplink
        self._clock = clock
        self._answers: asyncio.Queue[RacpCount | RacpResponse] = asyncio.Queue(ANSWERS_MAX)
        self._heard = asyncio.Event()
        self._memory: _Memory | None = None  # once it is known what it holds
        self._reporting = False
        self._frames = 0
        self._broken = ""

    async def run(self) -> bool:
        """Read what is new; whether all of it was. Raises LinkLost, or BandFaulty."""
        try:
            async with asyncio.timeout(DRAIN_S_MAX):
                return await self._run()
        except TimeoutError:
            raise BandFaulty("the band's memory takes too long to read") from None
        except MalformedFrame as bad:
            self._uplink.note_frames({f"{bad.frame}:{bad.reason}": 1})
            raise BandFaulty("the band's memory cannot be read") from None
        finally:
            self._reporting = False
            if self._memory is not None:
                self._memory.tell()

    def keep(self) -> bool:
        """After a lost link: store the minutes that came whole. Whether anything of this turn is stored.

        A link that never lasts for STORE_EVERY records would empty no memory else.
        """
        memory = self._memory
        if memory is None:
            return False
        if not memory.failed:
            memory.store()
        self.carried = memory.carried
        return memory.stored > memory.stored_before

    async def _run(self) -> bool:
        await self._see_to_clock()
        state = record_codec.log_state(await self._band.read(profile.LOG))
        self.filled = (state.newest - state.oldest + 1) / WEEK_RECORDS if state.oldest else 0.0
        contents = sum(bit for category, bit in _CONTENTS.items() if category in self._cover.categories)
        await self._band.write(profile.RECORD_CONTENTS, bytes((contents,)))
        await self._band.subscribe(profile.RACP, self._answered)
        await self._band.subscribe(profile.RECORD, self._recorded)
        memory = self._memory = _Memory(
            token=self._token,
            cover=self._cover,
            uplink=self._uplink,
            clock=self._clock,
            state=state,
            carried=self.carried,
        )
        if state.newest < memory.stored:
            self._uplink.note_frames({f"log:{RANGE}": 1})
        expected = await self._ask(record_codec.count_from(memory.first))
        self._reporting = True
        asked_at = self._clock.now()
        response = await self._ask(record_codec.report_from(memory.first), turn_s=TURN_S_MAX)
        self._reporting = False
        reported = isinstance(response, RacpResponse) and response.request == record_codec.REPORT_RECORDS
        more = isinstance(response, RacpResponse) and response.request == record_codec.ABORT
        if not isinstance(response, RacpResponse) or not (reported or more):
            raise BandFaulty("the band answers another question")
        complete = reported and response.code in (record_codec.SUCCESS, record_codec.NO_RECORDS_FOUND)
        memory.finish(asked_at if complete else None)
        self.carried = memory.carried
        if isinstance(expected, RacpCount) and memory.frames > expected.records + NEWER_MAX:
            self._uplink.note_frames({f"record:{COUNT}": 1})
        if memory.failed:
            raise LinkLost("the outbox does not take the band's records")
        if memory.stored >= max(state.oldest, 1):
            self._uplink.sync()
            deleted = await self._ask(record_codec.delete_up_to(memory.stored))
            if deleted != RacpResponse(record_codec.DELETE_RECORDS, record_codec.SUCCESS):
                self._uplink.note_frames({f"racp:{KEPT}": 1})
        if not (complete or more):
            raise BandFaulty("the band could not report its records")
        return complete

    async def _see_to_clock(self) -> None:
        off = codec.current_time(await self._band.read(profile.CURRENT_TIME)) - self._clock.now()
        if abs(off) < CLOCK_S_MAX:
            return
        await self._band.write(profile.CURRENT_TIME, codec.current_time_at(self._clock.now()))
        off = codec.current_time(await self._band.read(profile.CURRENT_TIME)) - self._clock.now()
        if abs(off) > SET_CLOCK_S_MAX:
            raise BandFaulty("the band's clock cannot be set")
        self._uplink.note_records(clocks_set=1)

    async def _ask(self, request: bytes, *, turn_s: float | None = None) -> RacpCount | RacpResponse:
        """Write a request, and wait for its answer as long as something comes; after `turn_s` abort what was asked."""
        loop = asyncio.get_running_loop()
        abort_at = None if turn_s is None else loop.time() + turn_s
        while not self._answers.empty():
            self._answers.get_nowait()
            self._uplink.note_frames({f"racp:{UNASKED}": 1})
        await self._band.write(profile.RACP, request)
        while True:
            self._heard.clear()
            if self._broken:
                raise BandFaulty(self._broken)
            if not self._answers.empty():
                return self._answers.get_nowait()
            if abort_at is not None and loop.time() >= abort_at:
                abort_at = None
                await self._band.write(profile.RACP, record_codec.abort())
                continue
            try:
                async with asyncio.timeout(SILENT_S_MAX):
                    await self._heard.wait()
            except TimeoutError:
                raise LinkLost("the band does not answer") from None

    def _answered(self, data: bytes) -> None:
        if not self._within_bounds():
            return
        try:
            self._answers.put_nowait(record_codec.racp_answer(data))
        except MalformedFrame as bad:
            self._uplink.note_frames({f"{bad.frame}:{bad.reason}": 1})
        except asyncio.QueueFull:
            self._broken = "the band answers without being asked"

    def _recorded(self, data: bytes) -> None:
        if not self._within_bounds():
            return
        if self._memory is None or not self._reporting:
            self._uplink.note_frames({f"record:{UNASKED}": 1})
            return
        self._memory.take(data)
        if self._memory.failed or self._memory.useless > USELESS_MAX:
            self._broken = "the band's records are not taken: no use, or no room"

    def _within_bounds(self) -> bool:
        self._frames += 1
        if self._frames > FRAMES_MAX:
            self._broken = "the band sends without end"
        self._heard.set()
        return not self._broken


class _Memory:
    """What is made of the records of one session."""

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
        self._uplink.note_minutes(dropped)
        readings = []
        for table in tables:
            self._uplink.note_minutes(table.drops())
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
        made = max(
            self._made_before - start, self._builder.closed_before - start, 0
        )  # seconds of minutes that are made
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
