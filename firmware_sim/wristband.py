"""The band as a state machine: it waits for its gateway, plays its source by its own clock, says goodbye.

    waiting -> playing <-> between two spans -> finishing -> off

A band with a memory waits for nobody: it plays from the start by its own clock (which may drift, and can be set),
stores records, and at the end stays on the air until its records were read and deleted.

*Waiting*: the clock stands at the first second until a central has subscribed to something personal, and 0.3 s (1 s at
a speed above 1) have passed without another subscription. *Playing*: at each second of the band's clock it sends the
frames of the second that ended. Without a link the clock goes on and what would have been sent is lost; at the link's
own pace (speed None) there is no clock without a link, so the band waits for the next one. *Finishing*: the last
frames, a Current Time past the last sample, and when all is delivered the band hangs up and leaves the air.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from pathlib import Path
from typing import Final

from firmware_sim import profile
from firmware_sim.air import AirLink
from firmware_sim.band_clock import BandClock
from firmware_sim.battery import Battery
from firmware_sim.frames import PART_S, SLOW_S, FrameEncoder
from firmware_sim.peripheral import ADVERTISING_MS, Peripheral
from firmware_sim.physiology import Source, minutes_touched
from firmware_sim.profile import PERSONAL, Kind
from firmware_sim.record import HEART, MOTION, RECORD_S, SKIN
from firmware_sim.record_log import RecordLog
from firmware_sim.record_server import RecordServer
from firmware_sim.recorder import Recorder
from firmware_sim.security import ADDRESS_S, Security
from firmware_sim.stop import Stop

#: A band waits so long for another subscription before it begins; in a hurry longer, for each second lost then is many
#: of its own, and its central may be busy with other bands.
SETTLE_S: Final = 0.3
SETTLE_HURRIED_S: Final = 3.0
#: Signals are taken from the source and encoded in parts of so many seconds, to bound memory.
ENCODED_S: Final = 60 * PART_S
#: Unconfirmed answers are kept for the next link, so many at most.
ANSWERS_MAX: Final = 16
#: What is not sent live when its sensor is off, for want of charge.
_OF_SENSOR: Final = {
    Kind.HEART_RATE: HEART,
    Kind.BEAT_TIMING: HEART,
    Kind.EDA: SKIN,
    Kind.TEMPERATURE: SKIN,
    Kind.MOTION: MOTION,
}
#: How long the button is held: to open the band to a new gateway, and to stop.
OPEN_HOLD_S: Final = 5.0
STOP_HOLD_S: Final = 10.0
_NEVER: Final = 1 << 40
#: How long a band whose time is the link's own pace is worn on after its last sample, so that its last minute is over.
AFTERWARDS_S: Final = 120


class Wristband:
    """One simulated band.

    `speed`: seconds of the band's clock per second of the world; None for as fast as the link takes it.
    `log`: the memory of a band that stores its records. `drift_ppm`: of its clock; above 0 it runs fast. `charge`: of
    its battery at the start, percent; where that is little its sensors stop one after the other.
    `security` and `address_s`: see Peripheral. `stop_file`: where it keeps that its wearer said stop.
    """

    def __init__(
        self,
        *,
        link: AirLink,
        serial: str,
        source: Source,
        speed: float | None = 1.0,
        log: RecordLog | None = None,
        drift_ppm: float = 0.0,
        advertising_ms: float = ADVERTISING_MS,
        charge: float = 100.0,
        security: Security | None = None,
        address_s: float = ADDRESS_S,
        stop_file: Path | None = None,
    ) -> None:
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
        self._battery = Battery(charge=charge)
        self._told_level = self._battery.level
        self._spent_at = self._now
        self._packets_spent = 0
        self._advertising_ms = advertising_ms
        self._answers: deque[bytes] = deque(maxlen=ANSWERS_MAX)
        self._began: float | None = None  # loop time at which the band's clock stood at _start
        self._log = log
        self._clock = BandClock(
            at=self._start, shows=self._start if log is None else log.starts_at, drift_ppm=drift_ppm
        )
        self._recorder = Recorder(log, lambda: self._battery.sensors) if log is not None else None
        self._server = RecordServer(log=log, set_clock=self._set_clock) if log is not None else None
        self.peripheral = Peripheral(
            link=link,
            serial=serial,
            read=self._read,
            write={Kind.STOP: self._write_stop},
            hurried=hurried,
            memory=self._server,
            advertising_ms=advertising_ms,
            security=security,
            address_s=address_s,
        )
        self._set_at: int | None = None  # when the clock was set, until `_play` has seen it
        self.frames_sent = 0
        self._measures_from = 0  # by its own clock
        self._stop = Stop(stop_file, lambda: self._moment(self._speed))
        if self._stop.said:  # power may have been lost before all was forgotten
            self._forget_all()

    @property
    def now(self) -> int:
        """The moment that the band plays, unix seconds; its own clock may show another."""
        return self._now

    @property
    def minutes(self) -> int:
        """How many UTC minutes the band measures in."""
        return sum(minutes_touched(start, end) for start, end in self._spans)

    @property
    def records_held(self) -> int:
        """How many records the memory holds; 0 without a memory."""
        return self._log.count() if self._log is not None else 0

    @property
    def stopped(self) -> bool:
        """Whether the wearer said stop."""
        return self._stop.said

    async def hold_button(self, seconds: float) -> None:
        """The wearer holds the button for so long, and lets go: five seconds open the band, ten stop it."""
        if seconds >= STOP_HOLD_S:
            self._stop.say()
            self._forget_all()
            if await self.peripheral.indicate(Kind.STOP, self._stop.value()):
                self._stop.told = True
                self.frames_sent += 1
        elif seconds >= OPEN_HOLD_S:
            await self.peripheral.hold_button()

    async def run(self) -> None:
        """Play the source to its end; the peripheral must be on the air."""
        if self._log is None:
            await self._settled()
        self._began = asyncio.get_running_loop().time()
        for start, end in self._spans:
            await self._idle_until(start)
            await self._play(start, end)
        if self._log is not None and self._server is not None:
            await self._until_read(self._log, self._server)
        await self.peripheral.turn_off(deliver=True)

    async def close(self) -> None:
        """Let go of the memory. Repeatable."""
        if self._server is not None:
            await self._server.close()
        if self._log is not None:
            self._log.close()

    async def _until_read(self, log: RecordLog, server: RecordServer) -> None:
        if self._speed is None:
            self._now += AFTERWARDS_S
        while log.oldest or (self._stop.said and not self._stop.told):
            await server.wait_deleted(1.0 if self._speed is None else RECORD_S / self._speed)
            if self._speed is not None:
                self._now = max(self._now, int(self._moment(self._speed)))

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
            ahead = self._clock.ahead(part_start)
            part_end = min(((part_start + ahead) // ENCODED_S + 1) * ENCODED_S - ahead, end)
            samples = self._source.samples(part_start, part_end).shifted(ahead)
            encoder: FrameEncoder | None = None
            if self._recorder is not None:
                self._recorder.begin(samples)
            tick = part_start
            while tick < part_end:
                before = tick
                alone = self._recorder is not None and not self.peripheral.personal_subscriptions
                # With nobody to tell, the next moment of interest is the record's end.
                tick = min(tick + RECORD_S - (tick + ahead) % RECORD_S, part_end) if alone else tick + 1
                await self._reach(tick)
                set_at, self._set_at = self._set_at, None
                if self._clock.ahead(tick - 1) != ahead:  # it was set, or has drifted by a second: begin anew
                    part_start = tick - 1 if set_at is None else max(before, min(set_at, tick - 1))
                    if self._recorder is not None and set_at is None:  # else it was closed when the clock was set
                        self._recorder.close(part_start + ahead)
                    break
                if alone:
                    self._measured(tick + ahead)
                    continue
                encoder = encoder or FrameEncoder(samples)
                await self._send(encoder, tick + ahead, final=tick == end)
            else:
                part_start = part_end
        self._notify(Kind.CURRENT_TIME, profile.current_time(self._clock.shows(end)))

    async def _idle_until(self, start: int) -> None:
        """The time between two spans: nothing is measured, only the clock is told; the band is on its charger."""
        if self._speed is None:
            self._now = start
        while self._now < start:
            await self._reach(min((self._now // SLOW_S + 1) * SLOW_S, start))
            self._notify(Kind.CURRENT_TIME, profile.current_time(self._clock.shows(self._now)))
        self._battery.charge(max(self._now - self._spent_at, 0))
        self._spent_at = self._now
        self._tell_battery()

    async def _reach(self, tick: int) -> None:
        """Until the band's clock shows this second, and there is room to send."""
        if self._speed is None:
            if self._log is not None:
                await asyncio.sleep(0)
            elif not self.peripheral.personal_subscriptions:
                await self._settled()
        elif self._began is not None:
            due = self._began + (tick - self._start) / self._speed
            delay = due - asyncio.get_running_loop().time()
            if delay > 0:
                await asyncio.sleep(delay)
        await self.peripheral.room()
        self._now = tick

    async def _send(self, encoder: FrameEncoder, tick: int, *, final: bool) -> None:
        for kind, value in encoder.at(tick, payload_bytes=self.peripheral.payload_bytes, final=final):
            if kind in PERSONAL and tick <= self._measures_from:
                continue
            if kind is Kind.SELF_REPORT:
                if self._recorder is None:
                    self._answers.append(value)
                continue
            if (sensor := _OF_SENSOR.get(kind)) is not None and not self._battery.sensors & sensor:
                continue
            if kind is Kind.TEMPERATURE:
                self._temperature = value
            self._notify(kind, value)
        self._measured(tick)
        while self._answers and await self.peripheral.indicate(Kind.SELF_REPORT, self._answers[0]):
            if self._answers:  # the wearer may have said stop meanwhile
                self._answers.popleft()
            self.frames_sent += 1

    def _measured(self, tick: int) -> None:
        """All before this second of the band's own clock."""
        if self._recorder is not None:
            self._recorder.until(tick)
        self._drain_battery()

    def _notify(self, kind: Kind, value: bytes) -> None:
        if self.peripheral.notify(kind, value):
            self.frames_sent += 1

    def _drain_battery(self) -> None:
        passed, self._spent_at = max(self._now - self._spent_at, 0), self._now
        sent = self.frames_sent + (self._server.records_sent if self._server is not None else 0)
        packets, self._packets_spent = sent - self._packets_spent, sent
        self._battery.spend(
            passed,
            sensors=self._battery.sensors,
            connected=self.peripheral.connected,
            advertising_ms=self._advertising_ms,
            packets=packets,
        )
        self._tell_battery()

    def _tell_battery(self) -> None:
        if self._battery.level != self._told_level:
            self._told_level = self._battery.level
            self._notify(Kind.BATTERY, profile.battery_level(self._told_level))

    def _read(self, kind: Kind) -> bytes:
        if kind is Kind.CURRENT_TIME:
            return profile.current_time(self._clock.shows(self._moment(self._speed)))
        if kind is Kind.STOP:
            return self._stop.read()
        return self._temperature if kind is Kind.TEMPERATURE else profile.battery_level(self._battery.level)

    def _write_stop(self, value: bytes) -> None:
        """A gateway says that a choice came after the stop: the band measures again."""
        if self._stop.write(value):
            self._measure_again()

    def _forget_all(self) -> None:
        """The wearer said stop: what is not told yet is never told, and nothing is measured."""
        self._measure_from(_NEVER)
        self._answers.clear()
        self._temperature = profile.temperature(profile.TEMPERATURE_UNKNOWN)
        if self._log is not None:
            self._log.wipe()

    def _measure_again(self) -> None:
        """From the next ten seconds on."""
        self._measure_from((self._clock.shows(self._moment(self._speed)) // RECORD_S + 1) * RECORD_S)

    def _measure_from(self, second: int) -> None:
        self._measures_from = second
        if self._recorder is not None:
            self._recorder.only_from(second)

    def _moment(self, speed: float | None) -> float:
        """The moment of the world that is now: up to a second after `_now` while it plays."""
        if speed is None or self._began is None:
            return self._now
        return max(self._start + (asyncio.get_running_loop().time() - self._began) * speed, self._now)

    def _set_clock(self, to: float) -> None:
        """The gateway writes the time. What was measured so far belongs to the clock as it was."""
        moment = self._moment(self._speed)
        self._set_at = math.floor(moment)
        shown = self._clock.shows(self._set_at)
        if self._recorder is not None and self._log is not None:
            self._recorder.close(shown)
            self._log.clock_set(shown=shown, to=int(to))
        self._clock.set(moment, to)
        if shown < self._measures_from < _NEVER:  # that was said by the clock as it was
            self._measure_again()
        elif self._clock.shows(self._set_at) < self._measures_from < _NEVER:  # it was put back behind that
            self._measure_from(self._clock.shows(self._set_at))
