"""Bands that do not keep to the profile: they lie, flood, say nothing, or send random bytes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from firmware_sim import profile, record
from firmware_sim.air import AirLink
from firmware_sim.peripheral import ADVERTISING_MS, Peripheral
from firmware_sim.physiology import Samples
from firmware_sim.profile import Kind
from firmware_sim.racp import Op, Refusal, Request
from firmware_sim.record_log import MemoryMedium, RecordLog
from firmware_sim.record_server import RecordServer
from firmware_sim.recorder import Recorder

LIES: Final = ("silent", "count", "flood", "answers", "noise", "half", "refuses", "random", "keeps")
#: Instead of what was asked for.
_SAID: Final = {("count", Op.COUNT): b"\x05\x00\xff\xff\xff\xff", ("keeps", Op.DELETE): b"\x06\x00\x02\x08"}


class _RandomLog(RecordLog):
    """Its state is random bytes, mostly of the right length."""

    def state(self) -> bytes:
        length = random.choice((20, 35, 50, random.randrange(0, 80)))
        return random.randbytes(length)


class Liar(RecordServer):
    """Answers as its `lie` says."""

    lie = "silent"

    async def _answer(self, asked: Request | Refusal, peripheral: Peripheral) -> bytes | None:
        op = asked.op if isinstance(asked, Request) else None
        if (self.lie, op) in _SAID:
            return _SAID[self.lie, op]
        reports = op is Op.REPORT
        match self.lie:
            case "silent":
                return None
            case "flood" if reports:
                while peripheral.connected:
                    await peripheral.room()
                    peripheral.notify(Kind.RECORD, self.log.next_from(1) or b"")
                    await asyncio.sleep(0.002)  # as fast as a radio takes it; a virtual one would take it at once
                return None
            case "answers" if reports:
                for _ in range(100):
                    await peripheral.indicate(Kind.RACP, b"\x05\x00\x01\x00\x00\x00")
                return None
            case "noise":
                peripheral.notify(Kind.RECORD, b"\x01\xff\x00")
                return b"\x06\x01\x02"
            case "half" if reports:
                await super()._answer(asked, peripheral)
                return b"\x06\x00\x01\x08"
            case "refuses":
                return b"\x06\x00\x01\x02"
            case "random":
                for _ in range(300):
                    await peripheral.room()
                    peripheral.notify(Kind.RECORD, random.randbytes(random.randrange(0, 244)))
                return random.randbytes(random.randrange(1, 20))
        return await super()._answer(asked, peripheral)


@asynccontextmanager
async def liar(
    link: AirLink,
    serial: str,
    lie: str,
    samples: Samples,
    *,
    shows: Callable[[], int],
    advertising_ms: float | None = None,
) -> AsyncIterator[RecordServer]:
    """A band on the air whose memory holds `samples` and whose clock shows `shows()` (unix seconds)."""
    log = (_RandomLog if lie == "random" else RecordLog)(medium=MemoryMedium(), now=samples.start)
    recorder = Recorder(log)
    recorder.begin(samples)
    for tick in range(samples.start + record.RECORD_S, samples.end + 1, record.RECORD_S):
        recorder.until(tick)
    server = Liar(log=log, set_clock=lambda _at: None)
    server.lie = lie

    def read(kind: Kind) -> bytes:
        if kind is Kind.STOP:
            return profile.stop(None)
        return profile.battery_level(80) if kind is Kind.BATTERY else profile.current_time(shows())

    async with Peripheral(
        link=link, serial=serial, read=read, memory=server, advertising_ms=advertising_ms or ADVERTISING_MS
    ):
        yield server
