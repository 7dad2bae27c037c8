"""A band in the field: it loses its power and comes back, and notes when its memory was emptied."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final, NamedTuple

from contracts.reading import Category
from firmware_sim.physiology import Samples, Source
from firmware_sim.profile import Kind
from firmware_sim.record_log import MemoryMedium, RecordLog
from firmware_sim.security import Security
from firmware_sim.synthetic import Person, Wearing
from firmware_sim.wristband import Wristband
from tests.fieldkit.air import FieldAir
from tests.fieldkit.virtual_time import VirtualClock
from tests.integration.gateway_parts import DISTRICT, wearer

START: Final = 1_762_502_880 // 7200 * 7200
#: A band in the field advertises every ten seconds, the slowest that there is (Core, Vol 6, Part B, 4.4.2.2).
ADVERTISING_MS: Final = 10_240.0
SLOTS_OF_LOG: Final = 1_536  # of ten seconds: four hours
#: By number: what its wearer consents to.
CONSENTS: Final = (
    tuple(Category),
    (Category.MOTION,),
    (Category.MOTION, Category.SELF_REPORT),
    (Category.SKIN,),
    (Category.MOTION,),
)


class _Log(RecordLog):
    """Tells when it was emptied but for the minute that is still open."""

    emptied_at: list[float]

    def delete(self, up_to: int) -> int:
        gone = super().delete(up_to)
        if self.newest - up_to <= 8:
            self.emptied_at.append(asyncio.get_running_loop().time())
        return gone


class _From(NamedTuple):
    """A source from a later second on: a band that was off."""

    whole: Source
    start: int

    def spans(self) -> list[tuple[int, int]]:
        return [(max(start, self.start), end) for start, end in self.whole.spans()]

    def samples(self, start: int, end: int) -> Samples:
        return self.whole.samples(start, end)


class FieldBand:
    """A band that can lose its power and come back."""

    def __init__(self, air: FieldAir, number: int, minutes: int) -> None:
        self.number = number
        self.token, self.pseudonym = wearer(number)
        self.categories: Collection[Category] = CONSENTS[number % len(CONSENTS)]
        self.source = Wearing(Person(7, number, DISTRICT), start=START, minutes=minutes)
        self.security = Security(clock=asyncio.get_running_loop().time)
        self.medium = MemoryMedium(bytes(1024 + 256 * SLOTS_OF_LOG))
        self.emptied_at: list[float] = []
        self.off: list[tuple[int, int]] = []  # seconds without power
        self.done = False
        self._air = air
        self._task: asyncio.Task[None] | None = None
        self._band: Wristband | None = None

    async def switch_on(self, start: int = START) -> None:
        log = _Log(medium=self.medium, now=start, slots=SLOTS_OF_LOG)
        log.emptied_at = self.emptied_at
        self._band = Wristband(
            link=self._air,
            serial=f"WP-{self.number:06d}",
            source=_From(self.source, start),
            log=log,
            advertising_ms=ADVERTISING_MS,
            security=self.security,
        )
        await self._band.peripheral.__aenter__()
        self._task = asyncio.create_task(self._run(self._band), name=f"band {self.number}")

    async def _run(self, band: Wristband) -> None:
        await band.run()
        self.done = True

    @property
    def connected(self) -> bool:
        return self._band is not None and self._band.peripheral.connected

    @property
    def draining(self) -> bool:
        return self._band is not None and self._band.peripheral.subscribed(Kind.RECORD)

    def drop_link(self) -> None:
        if self._band is not None:
            self._band.peripheral.drop_link()

    async def change_address(self) -> None:
        """As the rotation of a private address, in the middle of a connection."""
        if self._band is not None:
            await self._band.peripheral.change_address()

    async def reboot(self, off_s: int, clock: VirtualClock) -> bool:
        """Lose power now, and be back after a while.

        Not twice without being read in between: nobody could know when the records of the first time were made.
        """
        now = int(clock.now())
        if self._task is None or (self.off and max(self.emptied_at, default=0) + START < self.off[-1][1]):
            return False
        await self.switch_off()
        back = now + off_s
        self.off.append((now - 1, back))
        await asyncio.sleep(back - clock.now())
        await self.switch_on(back)
        return True

    async def switch_off(self) -> None:
        task, self._task = self._task, None
        band, self._band = self._band, None
        if task is None or band is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        band.peripheral.drop_link()
        await band.peripheral.turn_off()
        await band.close()
