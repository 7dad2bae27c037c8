"""Keeps the radio open, scans, and gives each band in turn a slot. Ends when told, with all minutes closed."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from contracts.ports import Clock
from gateway.bonds import LOST, Bond, BondBook, BondRefused, Order, Pairing
from gateway.desk import MinuteDesk
from gateway.link import Link, LinkLost, RadioAddress, RadioLost, Sighting
from gateway.recognition import Recognition
from gateway.rotation import BANDS_MAX, Rotation
from gateway.session import Ended, Session
from gateway.uplink import Uplink

TICK_S: Final = 0.5
#: A lost radio is opened again after 1 s, then after twice as long each time.
RETRY_S_MIN, RETRY_S_MAX = 1.0, 30.0
_log = logging.getLogger(__name__)


class Reader:
    """The radio side of a gateway."""

    def __init__(
        self,
        *,
        radio: RadioAddress,
        slots: int,
        key: bytes,
        uplink: Uplink,
        clock: Clock,
        book: BondBook | None = None,
        pairing: Pairing = Pairing.ENROLLED,
    ) -> None:
        self._radio = radio
        self._book = book if book is not None else BondBook()
        self._recognition = Recognition(
            book=self._book,
            key=key,
            pairing=pairing,
            clock=clock,
            covered=lambda token: uplink.cover(token) is not None,
            note=lambda reason: uplink.note_frames({reason: 1}),
        )
        self._uplink = uplink
        self._clock = clock
        self._desk = MinuteDesk(uplink=uplink, clock=clock)
        self._rotation = Rotation(slots=slots)
        self._sightings: dict[str, Sighting] = {}
        self._sessions: set[Session] = set()
        self._withdrawn: set[str] = set()  # tokens whose bond is to go
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Disconnect all bands, close their minutes, and return from `run`."""
        self._stopping.set()

    def consent_changed(self, token: str) -> None:
        """A wearer's consent is another now: act on it at once."""
        self._desk.consent_changed(token)
        for session in self._sessions:
            session.check_consent()
        if self._uplink.withdrawn(token):
            self._withdrawn.add(token)
        if self._uplink.cover(token) is not None:
            self._withdrawn.discard(token)
            self._rotation.may_try_again()

    async def run(self) -> None:
        """Read until stopped. A radio that is lost is opened again; one that was never there raises RadioLost."""
        wait_s, opened = RETRY_S_MIN, False
        while not self._stopping.is_set():
            try:
                async with Link(radio=self._radio, book=self._book) as link:
                    _log.info("the radio is open; listening for bands")
                    wait_s, opened = RETRY_S_MIN, True
                    await self._read(link)
            except RadioLost as fault:
                if not opened:
                    raise
                _log.error("%s; trying again in %.0f s", fault, wait_s)
                await self._pause(wait_s)
                wait_s = min(2 * wait_s, RETRY_S_MAX)
        self._desk.flush()
        self._uplink.note_bands(heard=0, connected=0, without_consent=0)

    async def _read(self, link: Link) -> None:
        """Scan and run sessions until stopped, or raise RadioLost."""
        self._sightings.clear()
        lost: list[str] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                scan = tasks.create_task(link.scan(self._heard), name="scan")
                running: set[asyncio.Task[None]] = set()
                while not self._stopping.is_set():
                    await self._keep_bonds(link)
                    self._start_sessions(link, tasks, running)
                    await self._pause(TICK_S)
                    self._desk.sweep(self._now())
                    heard, connected, without = self._rotation.counts(self._now())
                    self._uplink.note_bands(heard=heard, connected=connected, without_consent=without)
                for task in (scan, *running):
                    task.cancel()
        except* RadioLost as group:  # what is raised in here would be wrapped again
            lost += [str(fault) for fault in group.exceptions]
        if lost:
            raise RadioLost(lost[0])

    async def _keep_bonds(self, link: Link) -> None:
        """Do what a person ordered, and take out the bonds of bands whose wearers withdrew."""
        for order, token in self._book.take_orders(self._clock.now()):
            bond = self._book.of_token(token)
            if bond is not None:
                await self._unbond(link, bond, keep=order is Order.PAIR)
            self._rotation.may_try_again()
        while self._withdrawn:
            bond = self._book.of_token(self._withdrawn.pop())
            if bond is not None:
                await self._unbond(link, bond, keep=False)

    async def _unbond(self, link: Link, bond: Bond, *, keep: bool) -> None:
        """`keep` who it was, so that none but the same band takes its place."""
        try:
            await link.forget(bond.identity)
        except LinkLost as fault:
            _log.error("a bond could not be taken out of the radio's stack: %s", fault)
        if not keep:
            self._book.remove(bond.token)

    def _start_sessions(self, link: Link, tasks: asyncio.TaskGroup, running: set[asyncio.Task[None]]) -> None:
        while (address := self._rotation.next(self._now())) is not None:
            sighting = self._sightings.get(address)
            if sighting is None:  # heard on a radio that is gone
                self._rotation.ended(address, None, self._now())
                continue
            task = tasks.create_task(self._serve(link, sighting), name="band")
            running.add(task)
            task.add_done_callback(running.discard)

    async def _serve(self, link: Link, sighting: Sighting) -> None:
        """One session with one band. Its troubles are its own."""
        how: Ended | None = None
        session: Session | None = None
        try:
            async with link.connected(sighting) as band:
                session = Session(
                    band=band, recognition=self._recognition, uplink=self._uplink, desk=self._desk, clock=self._clock
                )
                self._sessions.add(session)
                how = await session.run()
        except BondRefused:
            how = Ended.BOND_LOST
            self._uplink.note_frames({LOST: 1})
        except LinkLost as fault:
            _log.debug("a band was lost: %s", fault)
        except Exception as fault:  # noqa: BLE001 (a fault of ours in one band's session must not end the others')
            _log.error("a session ended by a fault of the gateway: %s", type(fault).__name__)
            _log.debug("where", exc_info=True)
        finally:
            if session is not None:
                self._sessions.discard(session)
            self._rotation.ended(sighting.address, how, self._now())

    def _heard(self, sighting: Sighting) -> None:
        if len(self._sightings) >= BANDS_MAX and sighting.address not in self._sightings:
            self._sightings.clear()  # who is still there is heard again in a second
        self._sightings[sighting.address] = sighting
        self._rotation.heard(sighting.address, self._now())

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
