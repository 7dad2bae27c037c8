"""A lamp post and the people around it: bands on one adapter, a gateway, a broker, and whatever goes wrong.

Bands, radio, gateway and its outbox are the real ones, in virtual time; the broker is a real Mosquitto, in its own. A
killed gateway leaves what a `kill -9` leaves: the outbox's files as they are at that moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from contracts.broker_url import BrokerAddress
from contracts.reading import MINUTE_S
from firmware_sim.adapter import Adapter, open_adapter
from firmware_sim.synthetic import Person, Wearing
from gateway.bonds import BondBook
from gateway.link import RadioAddress
from gateway.reader import Reader
from gateway.uplink import Uplink
from tests.fieldkit.air import FieldAir
from tests.fieldkit.bands import ADVERTISING_MS, START, FieldBand
from tests.fieldkit.liars import LIES, liar
from tests.fieldkit.outcome import Outcome, count, unread_s_max
from tests.fieldkit.town import CountingTown
from tests.fieldkit.virtual_time import VirtualClock
from tests.integration.gateway_parts import DISTRICT, KEY, wearer

#: How often something goes wrong, on average; virtual seconds. Where no band is connected no link can be lost and no
#: address can change in a connection: some of those moments pass without a fault.
FAULTS: Final = {"link": 7.0, "address": 10.0, "reboot": 600.0, "radio": 1_800.0, "gateway": 1_500.0}
#: How long after their last sample all bands must have been read.
PATIENCE_S: Final = 4 * 3_600


class Field:
    """`async with Field(…) as field: outcome = await field.play()`; in a VirtualTimeLoop."""

    def __init__(
        self,
        folder: Path,
        broker: BrokerAddress,
        town: CountingTown,
        *,
        name: str,
        bands: int,
        slots: int,
        minutes: int,
        seed: int,
        liars: int,
        faults: Mapping[str, float] = FAULTS,
    ) -> None:
        self._folder, self._broker, self._town, self._name = folder, broker, town, name
        self._slots, self._minutes = slots, minutes
        self._chance = random.Random(seed)
        self._air = FieldAir()
        self._clock = VirtualClock(START, asyncio.get_running_loop())
        self._liars = liars
        self._rates = faults
        self._end = START + MINUTE_S * minutes
        self.faults: Counter[str] = Counter()
        self._turns: Counter[str] = Counter()
        self._power = asyncio.Lock()
        self._resident = (0, 0)
        self.bands = [FieldBand(self._air, number, minutes) for number in range(1, bands + 1)]
        self._radio = f"unix-server:{folder / 'hci'}"
        self._adapter: Adapter | None = None
        self._lives = 0  # of the gateway
        self._uplink: Uplink | None = None
        self._reader: tuple[Reader, asyncio.Task[None]] | None = None
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Field:
        for band in self.bands:
            self._town.give(band.token, band.pseudonym, band.categories)
        for band in self.bands[:: max(len(self.bands) // 10, 1)]:
            self._town.watched[band.pseudonym] = {}
        self._adapter = await open_adapter(self._radio, link=self._air)
        for number in range(self._liars):
            serial = 500_000 + number
            token, pseudonym = wearer(serial)
            self._town.give(token, pseudonym)
            self._town.ignored.add(pseudonym)
            samples = Wearing(Person(7, serial, DISTRICT), start=START - 600, minutes=10).samples(START - 600, START)
            lie = liar(
                self._air,
                f"WP-{serial:06d}",
                LIES[number % len(LIES)],
                samples,
                shows=lambda: int(self._clock.now()),
                advertising_ms=ADVERTISING_MS,
            )
            await self._stack.enter_async_context(lie)
        for band in self.bands:
            await band.switch_on()
        self._switch_on_gateway()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end_gateway(kill=True)
        for band in self.bands:
            await band.switch_off()
        await self._stack.aclose()
        if self._adapter is not None:
            await self._adapter.close()

    async def play(self) -> Outcome:
        """Until every band has played to its end and was read."""
        makers = {
            "link": self._lose_link,
            "address": self._change_address,
            "reboot": self._reboot_band,
            "radio": self._kill_radio,
            "gateway": self._kill_gateway,
        }
        async with asyncio.TaskGroup() as tasks:
            making = [tasks.create_task(self._keep(name, make)) for name, make in makers.items()]
            while not all(band.done for band in self.bands) and self._clock.now() < self._end + PATIENCE_S:
                await asyncio.sleep(60)
                self._weigh()
            for task in making:
                task.cancel()
        await self._end_gateway(kill=False)
        return self._outcome()

    # -- what goes wrong ----------------------------------------------------------------------------------------------

    async def _keep(self, name: str, make: Callable[[], Awaitable[bool]]) -> None:
        """Make a fault now and then, until the bands have played to their ends."""
        every_s = self._rates[name]
        while every_s:
            await asyncio.sleep(self._chance.expovariate(1 / every_s))
            if self._late:
                return
            self.faults[name] += await make()

    @property
    def _late(self) -> bool:
        return self._clock.now() > self._end - 300

    def _connected(self) -> FieldBand | None:
        """A band in a connection, if there is one.

        At this moment: who waits for the next connection to be made hits every connection of a quiet hour.
        """
        there = [band for band in self.bands if band.connected and band.emptied_at]
        return self._chance.choice(there) if there else None

    async def _settled(self) -> bool:
        """Wait until a memory is being read, and no band bonds for the first time; False when it is late by then.

        A bond that only one of the two has needs the wearer, who holds the button: docs/adr/0007.
        """
        while not self._late:
            there = [band for band in self.bands if band.connected]
            if any(band.draining for band in there) and all(band.emptied_at for band in there):
                return True
            await asyncio.sleep(0.05)
        return False

    async def _lose_link(self) -> bool:
        band = self._connected()
        if band is not None:
            band.drop_link()
        return band is not None

    async def _change_address(self) -> bool:
        band = self._connected()
        if band is not None:
            await band.change_address()
        return band is not None

    async def _reboot_band(self) -> bool:
        return await self._chance.choice(self.bands).reboot(self._chance.randrange(5, 120), self._clock)

    async def _kill_radio(self) -> bool:
        async with self._power:
            if self._adapter is None or not await self._settled():
                return False
            await self._adapter.close()
            self._air.remove_controller(self._adapter.controller)
            await asyncio.sleep(self._chance.uniform(1, 40))
            self._adapter = await open_adapter(self._radio, link=self._air)
        return True

    async def _kill_gateway(self) -> bool:
        async with self._power:
            if not await self._settled():
                return False
            await self._end_gateway(kill=True)
            await asyncio.sleep(self._chance.uniform(1, 60))
            self._switch_on_gateway()
        return True

    # -- the gateway --------------------------------------------------------------------------------------------------

    def _switch_on_gateway(self) -> None:
        uplink = Uplink(
            broker=self._broker,
            gateway=self._name,
            district=DISTRICT,
            outbox=self._folder / f"life-{self._lives}",
            clock=self._clock,
            slots=self._slots,
        )
        self._uplink = uplink.__enter__()
        if not uplink.wait_for_consents(len(self.bands), 30):
            raise RuntimeError("the broker did not give the consents")
        reader = Reader(
            radios=[RadioAddress.parse(f"bumble:{self._radio.replace('server', 'client')}")],
            slots=self._slots,
            key=KEY,
            uplink=uplink,
            clock=self._clock,
            book=BondBook(self._folder / f"life-{self._lives}"),
        )
        self._reader = reader, asyncio.create_task(reader.run(), name="gateway")

    async def _end_gateway(self, *, kill: bool) -> None:
        if self._reader is None or self._uplink is None:
            return
        (reader, task), uplink = self._reader, self._uplink
        self._reader = self._uplink = None
        if kill:
            self._turns.update(uplink.status().turns)
            folder = self._folder / f"life-{self._lives}"
            self._lives += 1
            shutil.copytree(folder, self._folder / f"life-{self._lives}")
            if self._adapter is not None and self._adapter._client is not None:
                self._adapter._client.transport.abort()  # nothing that it wrote counts any more
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        else:
            reader.stop()
            await task
            uplink.drain(60)
            self._turns.update(uplink.status().turns)
        uplink.__exit__(None, None, None)

    # -- what came of it ----------------------------------------------------------------------------------------------

    def _weigh(self) -> None:
        if self._clock.now() < START + 15 * self._minutes:
            return
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
        self._resident = (self._resident[0] or resident, max(self._resident[1], resident))

    def _outcome(self) -> Outcome:
        counts = count(self.bands, self._town, self._end)
        return Outcome(
            bands=len(self.bands),
            expected=counts["expected"],
            arrived=counts["arrived"],
            missing=counts["missing"],
            surplus=counts["surplus"] + self._town.strays,
            doubles=self._town.doubles,
            answers_wrong=counts["answers_wrong"],
            values_wrong=counts["values_wrong"],
            compared=counts["compared"],
            unread_s_max=unread_s_max(self.bands, MINUTE_S * self._minutes, self._clock.now() - START),
            redelivered=self._town.redelivered,
            grown_bytes=self._resident[1] - self._resident[0],
            faults=dict(self.faults),
            turns=dict(self._turns),
        )
