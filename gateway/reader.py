"""Keeps the radios open, scans, and gives each band in turn a slot. Ends when told, with all minutes closed."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

from contracts.ports import Clock, Fault
from gateway.bonds import LOST, BondBook, BondRefused, Order, Pairing
from gateway.desk import MinuteDesk
from gateway.drain import BandFaulty
from gateway.link import Link, LinkLost, RadioAddress, RadioLost, Sighting
from gateway.recognition import Recognition
from gateway.rotation import BANDS_MAX, REVISIT_S, Ended, Past, Rotation, Turn
from gateway.session import Session
from gateway.uplink import Uplink

TICK_S: Final = 0.5
#: How often it is noted what a restart should know of the bands.
TURNS_EVERY_S: Final = 60.0
#: A lost radio is opened again after 1 s, then after twice as long each time.
RETRY_S_MIN, RETRY_S_MAX = 1.0, 30.0
#: A session with a band; it sets the event when the radio can make another connection, at the latest when it ends.
Serve = Callable[[Link, Sighting, asyncio.Event], Coroutine[None, None, None]]
_log = logging.getLogger(__name__)


class Reader:
    """The radio side of a gateway: `slots` bands at once on each radio that does not say otherwise."""

    def __init__(
        self,
        *,
        radios: Sequence[RadioAddress],
        slots: int,
        key: bytes,
        uplink: Uplink,
        clock: Clock,
        revisit_s: float = REVISIT_S,
        book: BondBook | None = None,
        pairing: Pairing = Pairing.ENROLLED,
    ) -> None:
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
        self._rotation = Rotation(slots={str(radio): radio.slots or slots for radio in radios}, revisit_s=revisit_s)
        self._stations = [_Station(radio, self._book, self._rotation, self._serve, uplink.past) for radio in radios]
        self._sessions: set[Session] = set()
        self._noted_s = float("-inf")
        self._ended: set[str] = set()  # tokens whose bond is to go
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Disconnect all bands, close their minutes, and return from `run`."""
        self._stopping.set()

    def consent_changed(self, token: str) -> None:
        """A wearer's consent is another now: act on it at once."""
        self._desk.consent_changed(token)
        for session in self._sessions:
            session.check_consent()
        if self._uplink.ended(token):
            self._ended.add(token)
        if self._uplink.cover(token) is not None:
            self._ended.discard(token)
            self._rotation.may_try_again()

    async def run(self) -> None:
        """Read until stopped. A radio that is lost is opened again; one that was never there raises RadioLost.

        Raises Fault when the book of bonds cannot be begun.
        """
        lost: list[RadioLost | Fault] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                for station in self._stations:
                    tasks.create_task(station.run(self._stopping), name="radio")
                while not self._stopping.is_set():
                    await _pause(self._stopping, TICK_S)
                    await self._keep_bonds()
                    self._desk.sweep(_now())
                    self._uplink.note_bands(self._rotation.counts(_now()))
                    if _now() >= self._noted_s + TURNS_EVERY_S:
                        self._note_past()
        except* (RadioLost, Fault) as group:  # what is raised in here would be wrapped again
            lost += [fault for fault in group.exceptions if isinstance(fault, RadioLost | Fault)]
        self._note_past()
        self._desk.flush()
        self._uplink.note_bands(None)
        if lost:
            raise lost[0]

    async def _keep_bonds(self) -> None:
        """Do what a person ordered, and take out the bonds of bands whose wearers said no."""
        for order, token in self._book.take_orders(self._clock.now()):
            await self._unbond(token, keep=order is Order.PAIR)
            self._rotation.may_try_again()
        while self._ended:
            await self._unbond(self._ended.pop(), keep=False)

    async def _unbond(self, token: str, *, keep: bool) -> None:
        """`keep` who it was, so that none but the same band takes its place."""
        bond = self._book.of_token(token)
        if bond is None:
            return
        for link in [station.link for station in self._stations if station.link is not None]:
            try:
                await link.forget(bond.identity)
            except LinkLost as fault:
                _log.error("a bond could not be taken out of a radio's stack: %s", fault)
        self._rotation.forget(bond.identity)
        try:
            if keep:
                self._book.drop_keys(bond.identity)
            else:
                self._book.remove(token)
        except Fault as fault:  # no reason to end: what the file still has is asked of the consents at the next start
            _log.error("a bond is taken out until the gateway ends: %s", fault)

    def _note_past(self) -> None:
        """Note those bands alone whose turns ended since the last time."""
        since_s, self._noted_s = self._noted_s, _now()
        self._uplink.note_past(self._rotation.past(self._noted_s, since_s=since_s))

    async def _serve(self, link: Link, sighting: Sighting, made: asyncio.Event) -> None:
        """One session with one band. Its troubles are its own."""
        how = Ended.FAILED
        session: Session | None = None
        try:
            async with link.connected(sighting, made.set) as band:
                turn = Turn(self._rotation, sighting.address)
                session = Session(
                    band=band,
                    recognition=self._recognition,
                    uplink=self._uplink,
                    desk=self._desk,
                    clock=self._clock,
                    turn=turn,
                )
                self._sessions.add(session)
                how = await session.run()
        except BandFaulty as fault:
            how = Ended.FAULTY
            _log.debug("a band is given up: %s", fault)
        except BondRefused:
            how = Ended.BOND_LOST
            self._uplink.note_frames({LOST: 1})
        except LinkLost as fault:
            _log.debug("a band was lost: %s", fault)
        except asyncio.CancelledError:  # the radio, or the gateway, is at its end: no fault of the band's
            how = Ended.RADIO_LOST
            raise
        except (Fault, sqlite3.Error) as fault:  # the disk is damaged, or did not take a new bond (the memory has it)
            _log.error("a session ended: %s", fault)
        except Exception as fault:  # noqa: BLE001 (a fault of ours in one band's session must not end the others')
            _log.error("a session ended by a fault of the gateway: %s", type(fault).__name__)
            _log.debug("where", exc_info=True)
        finally:
            made.set()
            if session is not None:
                self._sessions.discard(session)
            if link.lost:
                how = Ended.RADIO_LOST
            self._rotation.ended(sighting.address, how, _now())
            self._uplink.note_turn(how)


class _Station:
    """One radio: its scan, and the sessions on it."""

    def __init__(
        self,
        radio: RadioAddress,
        book: BondBook,
        rotation: Rotation,
        serve: Serve,
        past: Callable[[str], Past | None],
    ) -> None:
        self.link: Link | None = None  # while it is open
        self._book = book
        self._past = past
        self._radio = radio
        self._name = str(radio)
        self._rotation = rotation
        self._serve = serve
        self._sightings: OrderedDict[str, Sighting] = OrderedDict()  # who was heard last is the last

    async def run(self, stopping: asyncio.Event) -> None:
        """Read until stopped; see Reader."""
        wait_s, opened = RETRY_S_MIN, False
        while not stopping.is_set():
            try:
                async with Link(radio=self._radio, book=self._book) as link:
                    self.link = link
                    _log.info("the radio %s is open; listening for bands", self._name)
                    wait_s, opened = RETRY_S_MIN, True
                    await self._read(link, stopping)
            except RadioLost as fault:
                task = asyncio.current_task()
                if task is not None and task.cancelling():  # a task group that fails at that moment forgets it
                    raise asyncio.CancelledError from None
                if not opened:
                    raise
                _log.error("%s; trying again in %.0f s", fault, wait_s)
                await _pause(stopping, wait_s)
                wait_s = min(2 * wait_s, RETRY_S_MAX)
            finally:
                self.link = None

    async def _read(self, link: Link, stopping: asyncio.Event) -> None:
        """Scan and run sessions until stopped, or raise RadioLost."""
        self._sightings.clear()
        lost: list[str] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                running: set[asyncio.Task[None]] = set()

                def start(work: Coroutine[None, None, None], name: str) -> None:
                    task = tasks.create_task(work, name=name)
                    running.add(task)
                    task.add_done_callback(running.discard)

                start(link.scan(self._heard), "scan")
                start(self._give_turns(link, start), "turns")
                await stopping.wait()
                for task in running:
                    task.cancel()
        except* RadioLost as group:  # what is raised in here would be wrapped again
            lost += [str(fault) for fault in group.exceptions]
        if lost:
            raise RadioLost(lost[0])

    async def _give_turns(self, link: Link, start: Callable[[Coroutine[None, None, None], str], None]) -> None:
        """Start sessions, one connection at a time: who is next is asked when the radio is free, not before."""
        while True:
            key = None if link.lost else self._rotation.next(self._name, _now())
            if key is None:
                await asyncio.sleep(TICK_S)
                continue
            sighting = self._sightings.get(key)
            if sighting is None:  # heard before this radio was opened again
                self._rotation.ended(key, Ended.RADIO_LOST, _now())
                continue
            made = asyncio.Event()
            start(self._serve(link, sighting, made), "band")
            await made.wait()

    def _heard(self, sighting: Sighting) -> None:
        self._sightings[sighting.address] = sighting
        self._sightings.move_to_end(sighting.address)
        if len(self._sightings) > BANDS_MAX:  # one at a time: who is due a turn should have one
            self._sightings.popitem(last=False)
        self._rotation.heard(sighting.address, self._name, _now(), past=self._past)


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return
