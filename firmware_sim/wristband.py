"""The band as a state machine: it waits for its gateway, plays its source by its own clock, says goodbye.

    waiting -> playing <-> between two spans -> finishing -> off

*Waiting*: the clock stands at the first second until a central has subscribed to something personal, and 0.3 s (1 s at
a speed above 1) have passed without another subscription. *Playing*: at each second of the band's clock it sends the
frames of the second that ended. Without a link the clock goes on and what would have been sent is lost; at the link's
own pace (speed None) there is no clock without a link, so the band waits for the next one. *Finishing*: the last
frames, a Current Time past the last sample, and when all is delivered the band hangs up and leaves the air.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from firmware_sim import profile
from firmware_sim.air import AirLink
from firmware_sim.frames import PART_S, SLOW_S, FrameEncoder
from firmware_sim.peripheral import Peripheral
from firmware_sim.physiology import Source, minutes_touched
from firmware_sim.profile import Kind

#: A band waits so long for another subscription before it begins; in a hurry longer, for each second lost then is many
#: of its own, and its central may be busy with other bands.
SETTLE_S: Final = 0.3
SETTLE_HURRIED_S: Final = 1.0
#: Signals are taken from the source and encoded in parts of so many seconds, to bound memory.
ENCODED_S: Final = 60 * PART_S
#: Unconfirmed answers are kept for the next link, so many at most.
ANSWERS_MAX: Final = 16
BATTERY_FULL: Final = 100
BATTERY_DRAIN_S: Final = 3600  # one per cent of the battery: four days in all


class Wristband:
    """One simulated band.

    `speed`: seconds of the band's clock per second of the world; None for as fast as the link takes it.
    """

    def __init__(self, *, link: AirLink, serial: str, source: Source, speed: float | None = 1.0) -> None:
        if speed is not None and speed <= 0:
            raise ValueError("a band's speed is above 0, or None")
        self._source = source
        self._spans = list(source.spans())
        if not self._spans:
            raise ValueError("a band needs a span to play")
        self._speed = speed
        hurried = speed is None or speed > 1
        self._settle_s = SETTLE_HURRIED_S if hurried else SETTLE_S
        self._start = self._now = self._spans[0][0]
        self._temperature = profile.temperature(profile.TEMPERATURE_UNKNOWN)
        self._battery = BATTERY_FULL
        self._answers: deque[bytes] = deque(maxlen=ANSWERS_MAX)
        self._began = 0.0  # loop time at which the band's clock stood at _start
        self.peripheral = Peripheral(link=link, serial=serial, read=self._read, hurried=hurried)
        self.frames_sent = 0

    @property
    def now(self) -> int:
        """The band's clock, unix seconds."""
        return self._now

    @property
    def minutes(self) -> int:
        """How many UTC minutes the band measures in."""
        return sum(minutes_touched(start, end) for start, end in self._spans)

    async def run(self) -> None:
        """Play the source to its end; the peripheral must be on the air."""
        await self._settled()
        self._began = asyncio.get_running_loop().time()
        for start, end in self._spans:
            await self._idle_until(start)
            await self._play(start, end)
        await self.peripheral.turn_off(deliver=True)

    async def _settled(self) -> None:
        """Until a central has subscribed to something personal, and seems to have all that it wants."""
        peripheral = self.peripheral
        while True:
            while not peripheral.personal_subscriptions:
                await peripheral.changed()
            while await peripheral.changed(within_s=self._settle_s):
                pass
            if peripheral.personal_subscriptions:
                return

    async def _play(self, start: int, end: int) -> None:
        part_start = start
        while part_start < end:
            part_end = min((part_start // ENCODED_S + 1) * ENCODED_S, end)
            encoder = FrameEncoder(self._source.samples(part_start, part_end))
            for tick in range(part_start + 1, part_end + 1):
                await self._reach(tick)
                await self._send(encoder, tick, final=tick == end)
            part_start = part_end
        self._notify(Kind.CURRENT_TIME, profile.current_time(end))

    async def _idle_until(self, start: int) -> None:
        """The time between two spans: nothing is measured, only the clock is told."""
        if self._speed is None:
            self._now = start
        while self._now < start:
            await self._reach(min((self._now // SLOW_S + 1) * SLOW_S, start))
            self._notify(Kind.CURRENT_TIME, profile.current_time(self._now))

    async def _reach(self, tick: int) -> None:
        """Until the band's clock shows this second, and there is room to send."""
        if self._speed is None:
            if not self.peripheral.personal_subscriptions:
                await self._settled()
        else:
            due = self._began + (tick - self._start) / self._speed
            delay = due - asyncio.get_running_loop().time()
            if delay > 0:
                await asyncio.sleep(delay)
        await self.peripheral.room()
        self._now = tick

    async def _send(self, encoder: FrameEncoder, tick: int, *, final: bool) -> None:
        for kind, value in encoder.at(tick, payload_bytes=self.peripheral.payload_bytes, final=final):
            if kind is Kind.SELF_REPORT:
                self._answers.append(value)
                continue
            if kind is Kind.TEMPERATURE:
                self._temperature = value
            self._notify(kind, value)
        while self._answers and await self.peripheral.indicate(Kind.SELF_REPORT, self._answers[0]):
            self._answers.popleft()
            self.frames_sent += 1
        self._drain_battery()

    def _notify(self, kind: Kind, value: bytes) -> None:
        if self.peripheral.notify(kind, value):
            self.frames_sent += 1

    def _drain_battery(self) -> None:
        level = max(BATTERY_FULL - (self._now - self._start) // BATTERY_DRAIN_S, 1)
        if level != self._battery:
            self._battery = level
            self._notify(Kind.BATTERY, profile.battery_level(level))

    def _read(self, kind: Kind) -> bytes:
        if kind is Kind.CURRENT_TIME:
            return profile.current_time(self._now)
        return self._temperature if kind is Kind.TEMPERATURE else profile.battery_level(self._battery)
