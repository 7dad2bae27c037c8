"""One connected band: its serial, its wearer's consent, and only what that covers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from contracts.consent import Cover
from contracts.ports import Clock
from contracts.reading import Category
from gateway import gatt_codec as codec
from gateway import profile
from gateway.beats import BandBeats, StrapBeats
from gateway.desk import MinuteDesk
from gateway.drain import BandFaulty, Drain
from gateway.gatt_codec import HeartRate, MalformedFrame
from gateway.link import LinkLost, Peripheral
from gateway.minutes import MinuteBuilder
from gateway.recognition import NO_CONSENT, NO_SERIAL, NOT_PAIRED, NotRecognised, Recognition
from gateway.rotation import Ended, Turn
from gateway.uplink import Uplink

T = TypeVar("T")
_log = logging.getLogger(__name__)
#: Why a frame was lost that was the gateway's own fault.
INTERNAL: Final = "internal"
#: A consent may expire without a message, and a band fall silent without a lost link.
CHECK_S: Final = 30.0
#: A band says something once in ten seconds at least, a strap every second; a silent one must not keep its slot.
SILENT_S_MAX: Final = 60.0
#: A band that is read live keeps its slot for so long at least; then it goes when others wait.
LIVE_S_MIN: Final = 300.0


_STOP_UNREADABLE: Final = "whether its wearer said stop cannot be read"
_REFUSED: Final = {NO_SERIAL: Ended.NO_SERIAL, NO_CONSENT: Ended.NO_CONSENT, NOT_PAIRED: Ended.NOT_PAIRED}


class Session:
    """Reads one band until the link, the consent or the gateway ends."""

    def __init__(
        self, *, band: Peripheral, recognition: Recognition, uplink: Uplink, desk: MinuteDesk, clock: Clock, turn: Turn
    ) -> None:
        self._turn = turn
        self._band = band
        self._recognition = recognition
        self._uplink = uplink
        self._desk = desk
        self._clock = clock
        self._over = asyncio.Event()
        self._token = ""
        self._cover: Cover | None = None
        self._subscriptions = 0  # to something personal
        self._heard_s = 0.0
        self._stopped = self._stop_garbled = False

    async def run(self) -> Ended:
        """Recognise the band; without consent nothing but the serial is read. Raises LinkLost."""
        try:
            who = await self._recognition.who(self._band)
        except NotRecognised as refused:
            return _REFUSED[refused.reason]
        self._token = who.token
        self._turn.identified(who.token, who.identity)
        self._cover = self._uplink.cover(self._token)
        if self._cover is None:
            return Ended.NO_CONSENT
        await self._ask_for_stop()
        if self._stopped:
            return Ended.STOPPED
        await self._note_battery()
        if all(self._band.has(uuid) for uuid in profile.MEMORY):
            self._turn.noted(live=False)
            return await self._drain(self._cover)
        self._turn.noted(live=True)
        loop = asyncio.get_running_loop()
        await self._subscribe(self._cover, loop)
        if not self._subscriptions:
            return Ended.NO_CONSENT
        begun_s = self._heard_s = loop.time()
        turn_over = False
        waits = [asyncio.ensure_future(event.wait()) for event in (self._band.closed, self._over)]
        try:
            while not (self._band.closed.is_set() or self._over.is_set()):
                await asyncio.wait(waits, timeout=CHECK_S, return_when=asyncio.FIRST_COMPLETED)
                self.check_consent()
                if loop.time() - self._heard_s > SILENT_S_MAX:
                    break
                turn_over = loop.time() - begun_s >= LIVE_S_MIN and self._turn.pressed(loop.time())
                if turn_over:
                    break
        finally:
            for wait in waits:
                wait.cancel()
        return Ended.TURN_OVER if turn_over else self._why_ended()

    async def _ask_for_stop(self) -> None:
        """Whether the wearer held the band's button; and be told when they do. A choice since lets the band go on."""
        if not self._band.has(profile.STOP):
            return
        await self._band.subscribe(profile.STOP, self._stop_came)
        try:
            press = codec.stop(await self._band.read(profile.STOP))
        except MalformedFrame as bad:
            self._uplink.note_frames({f"{bad.frame}:{bad.reason}": 1})
            raise BandFaulty(_STOP_UNREADABLE) from None
        if press is not None:
            self._take_stop(press)
            if not self._stopped:  # nor told of one since it was read
                await self._band.write(profile.STOP, codec.GO_ON)

    def _stop_came(self, data: bytes) -> None:
        if self._stopped:
            return
        try:
            press = codec.stop(data)
        except MalformedFrame as bad:  # it may have been a stop, so nothing more is read
            self._uplink.note_frames({f"{bad.frame}:{bad.reason}": 1})
            self._stop_garbled = True
            self._over.set()
            return
        if press is not None:
            self._take_stop(press)

    def _take_stop(self, press: codec.Press) -> None:
        """Act on it, unless the wearer's choice came after it."""
        if self._uplink.stop(self._token, press.age_s, press.number):
            self._stopped = True
            self._over.set()

    async def _note_battery(self) -> None:
        if self._band.has(profile.BATTERY):
            try:
                self._turn.noted(battery=codec.battery_level(await self._band.read(profile.BATTERY)))
            except MalformedFrame as bad:
                self._uplink.note_frames({f"{bad.frame}:{bad.reason}": 1})

    async def _drain(self, cover: Cover) -> Ended:
        """Read the band's memory. A change of consent ends it at once: only what is stored by then counts."""
        drain = Drain(
            band=self._band,
            token=self._token,
            cover=cover,
            uplink=self._uplink,
            clock=self._clock,
            carried=self._desk.carried(self._token, cover.pseudonym),
        )
        work = asyncio.ensure_future(drain.run())
        waits = [asyncio.ensure_future(event.wait()) for event in (self._band.closed, self._over)]
        try:
            while not (work.done() or self._band.closed.is_set() or self._over.is_set()):
                await asyncio.wait((work, *waits), timeout=CHECK_S, return_when=asyncio.FIRST_COMPLETED)
                self.check_consent()
        finally:
            for task in (work, *waits):
                task.cancel()
            await asyncio.gather(work, return_exceptions=True)
            self._turn.noted(filled=drain.filled)
        try:
            ended = Ended.DRAINED if work.result() else Ended.MORE
        except (LinkLost, asyncio.CancelledError) as fault:
            if self._over.is_set():
                return self._why_ended()
            if isinstance(fault, BandFaulty):
                raise
            if not drain.keep():
                raise LinkLost("the link is gone, and nothing was read") from None
            ended = Ended.LOST
        if drain.carried is not None:
            self._desk.carry(self._token, cover.pseudonym, drain.carried)
        return ended

    def _why_ended(self) -> Ended:
        if self._stopped:
            return Ended.STOPPED
        if self._stop_garbled:
            raise BandFaulty(_STOP_UNREADABLE)
        if not self._over.is_set():
            return Ended.LOST
        return Ended.NO_CONSENT if self._uplink.cover(self._token) is None else Ended.CONSENT_CHANGED

    def check_consent(self) -> None:
        """End the session when the wearer's consent is no longer the one it began with."""
        if self._cover is None:
            return
        cover = self._uplink.cover(self._token)
        if cover is None or (cover.pseudonym, cover.categories) != (self._cover.pseudonym, self._cover.categories):
            self._over.set()

    async def _subscribe(self, cover: Cover, loop: asyncio.AbstractEventLoop) -> None:
        builder = self._desk.builder(self._token, cover.pseudonym, loop.time())
        await self._listen(profile.CURRENT_TIME, "current-time", codec.current_time, builder.time)
        if Category.HEART in cover.categories:
            await self._subscribe_heart(builder)
        if Category.SKIN in cover.categories:
            await self._listen(profile.EDA, "eda", codec.eda, builder.eda)
            await self._listen(profile.TEMPERATURE, "temperature", codec.temperature, builder.temperature)
        if Category.MOTION in cover.categories:
            await self._listen(profile.MOTION, "motion", codec.motion, builder.motion)
        if Category.SELF_REPORT in cover.categories:
            report = partial(self._desk.report, self._token, cover.pseudonym)
            await self._listen(profile.SELF_REPORT, "self-report", codec.self_report, report)

    async def _subscribe_heart(self, builder: MinuteBuilder) -> None:
        if not self._band.has(profile.BEAT_TIMING):  # a plain strap: its beats are placed by when they arrive
            strap = StrapBeats()
            await self._listen(
                profile.HEART_RATE,
                "heart-rate",
                codec.heart_rate_measurement,
                lambda frame: builder.heart(strap.measurement(frame, self._clock.now())),
            )
            return
        beats = BandBeats()

        def measured(frame: HeartRate) -> str | None:
            placed, fault = beats.measurement(frame)
            return fault if placed is None else builder.heart(placed) or fault

        # The timing first: a measurement says nothing without the one before it.
        await self._listen(profile.BEAT_TIMING, "beat-timing", codec.beat_timing, beats.timing)
        await self._listen(profile.HEART_RATE, "heart-rate", codec.heart_rate_measurement, measured)

    async def _listen(self, uuid: str, name: str, decode: Callable[[bytes], T], use: Callable[[T], str | None]) -> None:
        """Subscribe, if the band has it. `use` returns why a decoded frame is of no use, or None."""
        if not self._band.has(uuid):
            return
        loop = asyncio.get_running_loop()

        def frame(data: bytes) -> None:
            if self._over.is_set():
                return
            try:
                fault = use(decode(data))
            except MalformedFrame as bad:
                fault = bad.reason
            except Exception as error:  # noqa: BLE001 (the radio's stack would swallow a fault of ours; so it shows)
                _log.error("a frame was lost by a fault of the gateway: %s", type(error).__name__)
                fault = INTERNAL
            if fault is not None:
                self._uplink.note_frames({f"{name}:{fault}": 1})
            self._heard_s = loop.time()
            self._desk.deliver(self._token, self._heard_s)

        await self._band.subscribe(uuid, frame)
        self._subscriptions += uuid != profile.CURRENT_TIME
