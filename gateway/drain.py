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
from typing import Final

from contracts.consent import Cover
from contracts.ports import Clock
from contracts.reading import Category
from gateway import gatt_codec as codec
from gateway import profile, record_codec
from gateway.gatt_codec import MalformedFrame
from gateway.link import LinkLost, Peripheral
from gateway.memory import NEWER_MAX, RANGE, Memory
from gateway.minutes import Carried
from gateway.record_codec import RacpCount, RacpResponse
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
#: So many frames that are no records, or not the next ones, and the band is given up.
USELESS_MAX: Final = 500
#: A week of records: what a memory holds at least.
WEEK_RECORDS: Final = 60_480
#: Answers that wait to be read; a band that sends more is out of order.
ANSWERS_MAX: Final = 8

#: What is counted of a band that answers other than it should.
COUNT, UNASKED, KEPT = "count", "unasked", "kept"

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
        self._memory: Memory | None = None  # once it is known what it holds
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
        memory = self._memory = Memory(
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
