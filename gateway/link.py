"""The radio, by bleak: find bands, connect to one, read and subscribe. The same code on BlueZ and on Bumble."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar

from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakError, BleakGATTProtocolError
from bleak_retry_connector import establish_connection

from contracts.ports import UsageFault
from gateway.bonds import BondBook, BondRefused, Paired
from gateway.profile import ADVERTISED

if TYPE_CHECKING:
    from gateway.bluez_bonds import BluezBonds
    from gateway.bumble_backend import BumbleAdapter

T = TypeVar("T")
CONNECT_S_MAX: Final = 20.0
#: One read or subscription.
ANSWER_S_MAX: Final = 10.0
PAIR_S_MAX: Final = 20.0
#: At BlueZ, which fails now and then for reasons of its own; bleak-retry-connector knows which. On Bumble a band that
#: does not answer is gone: to wait four seconds and try again, as it does, would keep the radio from the others.
ATTEMPTS: Final = 2
#: The scan is begun anew this often: an adapter that fell silent is found out, and the tables of the addresses that
#: went by (bands change theirs) do not grow without end.
SCAN_S_MAX: Final = 300.0
SLOTS_MAX: Final = 64
#: As bleak and BlueZ write them, in D-Bus paths too.
_ADDRESS: Final = re.compile(r"(?:[0-9A-Fa-f]{2}[:_-]){5}[0-9A-Fa-f]{2}")
_EXAMPLE: Final = "use bluez, bluez:hci1, bumble:tcp-client:127.0.0.1:PORT or bumble:unix-client:PATH"


class _Unaddressed(Exception):
    """Its text goes to a log: a band's address in what the stack says of it is left out."""

    def __init__(self, text: str = "") -> None:
        super().__init__(_ADDRESS.sub("…", text))


class LinkLost(_Unaddressed):
    """A band does not answer (any more); the text says why."""


class Refused(LinkLost):
    """A band answers that it does not do this, or not on this link."""


class RadioLost(_Unaddressed):
    """The adapter, or the process behind it, is gone; the text says why."""


class RadioAddress(NamedTuple):
    """Which radio: the BlueZ adapter, or the Bumble transport; and how many bands it reads at once (0: as set)."""

    kind: str
    target: str
    slots: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}"

    @classmethod
    def parse(cls, text: str) -> RadioAddress:
        """One radio, as `bluez:hci0` or, with slots of its own, `bluez:hci0=3`. Raises UsageFault."""
        name, _, slots = text.strip().partition("=")
        kind, _, target = name.partition(":")
        number = int(slots) if slots.isdecimal() else 0
        if "=" in text and not 1 <= number <= SLOTS_MAX:
            raise UsageFault(f"{text!r}: the slots of a radio are 1 to {SLOTS_MAX}, as in bluez:hci1=3")
        if kind == "bluez" and (not target or target.startswith("hci")):
            return cls(kind, target or "hci0", number)
        if kind == "bumble" and target.partition(":")[0] in ("tcp-client", "unix-client") and target.partition(":")[2]:
            return cls(kind, target, number)
        raise UsageFault(f"{text!r} is no radio: {_EXAMPLE}")

    @classmethod
    def parse_all(cls, text: str) -> list[RadioAddress]:
        """Radios with commas between them, each once. Raises UsageFault."""
        radios = [cls.parse(one) for one in text.split(",")]
        if len({str(radio) for radio in radios}) < len(radios):
            raise UsageFault(f"{text!r} names a radio twice: name each adapter once")
        return radios


class Sighting(NamedTuple):
    """A band that was heard. `address` is its identity address if we are bonded, else one that changes."""

    address: str
    device: BLEDevice


class Link:
    """One radio. A context manager; entering opens it or raises RadioLost."""

    def __init__(self, *, radio: RadioAddress, book: BondBook) -> None:
        self._radio = radio
        self._book = book
        self._adapter: BumbleAdapter | None = None
        self._bluez: BluezBonds | None = None
        self._linked: set[Any] = set()  # D-Bus paths
        self._connecting = 0
        self._busy, self._free = asyncio.Event(), asyncio.Event()  # whether a connection is being made
        self._free.set()

    async def __aenter__(self) -> Self:
        if self._radio.kind == "bumble":
            try:
                from gateway.bumble_backend import BumbleAdapter
            except ImportError:
                raise UsageFault("the bumble radio is not installed: run pip install '.[band]'") from None
            try:
                self._adapter = await BumbleAdapter.open(self._radio.target, self._book)
            except (OSError, BleakError) as fault:
                raise RadioLost(f"the radio {self._radio} cannot be opened ({fault})") from None
            return self
        from gateway.bluez_bonds import BluezBonds  # D-Bus is there on Linux alone

        try:
            self._bluez = await BluezBonds.open(self._radio.target)
            await self._bluez.forget_strangers(self._book)
        except (OSError, BleakError) as fault:
            if self._bluez is not None:
                self._bluez.close()
            why = "does BlueZ run, or does rfkill block it?"
            raise RadioLost(f"the radio {self._radio} cannot be opened ({fault}): {why}") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._adapter is not None:
            await self._adapter.close()
        if self._bluez is not None:
            self._bluez.close()

    @property
    def _bonds(self) -> BumbleAdapter | BluezBonds:
        bonds = self._adapter or self._bluez
        if bonds is None:
            raise RuntimeError("the radio is not open")
        return bonds

    async def scan(self, seen: Callable[[Sighting], None]) -> None:
        """Call `seen` for each advertisement of a band, until cancelled. Raises RadioLost.

        On BlueZ not while a connection is made: that waits for an advertisement, and one that the scan has reported is
        not reported again before the next scan, after ten seconds (the controller's duplicate filter).
        """

        def heard(device: BLEDevice, _data: AdvertisementData) -> None:
            # bleak hands on each change that BlueZ tells of a device as if it advertised: the end of its link, too.
            if self._bluez is None or device.details["path"] not in self._linked:
                seen(Sighting(device.address, device))

        while True:
            try:
                async with BleakScanner(heard, list(ADVERTISED), **self._scanner_options()):
                    await self._listen()
                await self._free.wait()
            except (BleakError, OSError, EOFError) as fault:
                raise RadioLost(f"the radio {self._radio} is lost ({fault})") from None

    async def forget(self, identity: str) -> None:
        """Take a bond out of the stack; the book is its owner's. Raises LinkLost."""
        await _answer(self._bonds.forget(identity), ANSWER_S_MAX)

    @asynccontextmanager
    async def connected(self, sighting: Sighting, made: Callable[[], None] = lambda: None) -> AsyncIterator[Peripheral]:
        """A connection to a band, closed at the end; encrypted if we are bonded. Raises LinkLost and BondRefused.

        An adapter makes one connection at a time. `made` is called when it can make the next one: on Bumble before this
        band's link is encrypted and its services are known; on BlueZ after, for its Connect is both.
        """
        closed = asyncio.Event()
        client: BleakClient | None = None
        try:
            with self._making(sighting.device) if self._bluez is not None else contextlib.nullcontext():
                client = await self._connect(sighting.device, closed, made)
            made()
            if self._bluez is not None and not _has_services(client, sighting.device):
                raise LinkLost("the band's services were not found")
            yield Peripheral(client, closed, self._bonds, sighting.device)
        finally:
            # However a connection ends, the slot of the adapter must be free again.
            await asyncio.shield(self._leave(client, sighting.device))

    @property
    def lost(self) -> bool:
        """Whether the radio is known to be gone."""
        return self._bonds.lost.is_set()

    async def _connect(self, device: BLEDevice, closed: asyncio.Event, made: Callable[[], None]) -> BleakClient:
        if self._bluez is None:
            client = BleakClient(device, lambda _client: closed.set(), timeout=CONNECT_S_MAX, **self._on_bumble(made))
            await _answer(client.connect(), CONNECT_S_MAX + ANSWER_S_MAX)
            return client
        connecting = establish_connection(
            BleakClient,
            device,
            "a band",
            lambda _client: closed.set(),
            max_attempts=ATTEMPTS,
            use_services_cache=False,  # bleak keeps them as BlueZ told them, now and then in part
            timeout=CONNECT_S_MAX,
        )
        work = asyncio.ensure_future(_answer(connecting, (CONNECT_S_MAX + ANSWER_S_MAX) * ATTEMPTS))
        try:
            async with self._bluez.refusals(device) as refused:
                waiting = asyncio.ensure_future(refused.wait())
                try:
                    await asyncio.wait((work, waiting), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waiting.cancel()
                if refused.is_set():
                    raise BondRefused
                return await work
        except BleakError as fault:
            raise LinkLost(str(fault)) from None
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _leave(self, client: BleakClient | None, device: BLEDevice) -> None:
        if client is not None:
            await _close(client)
        if self._bluez is None:
            return
        if not self.lost:
            with contextlib.suppress(LinkLost):  # BlueZ has let go of the device, and it had no bond
                await _answer(self._bluez.forget_stranger(device, self._book), ANSWER_S_MAX)
        self._linked.discard(device.details["path"])

    async def _listen(self) -> None:
        """Until it is time for another scan, or a connection."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._bonds.lost, self._busy)]
        try:
            await asyncio.wait(waits, timeout=SCAN_S_MAX, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self.lost:
            raise BleakError("its process is gone")

    @contextlib.contextmanager
    def _making(self, device: BLEDevice) -> Iterator[None]:
        self._linked.add(device.details["path"])
        self._connecting += 1
        self._busy.set()
        self._free.clear()
        try:
            yield
        finally:
            self._connecting -= 1
            if not self._connecting:
                self._busy.clear()
                self._free.set()

    def _scanner_options(self) -> dict[str, Any]:
        if self._adapter is None:
            return {"bluez": {"adapter": self._radio.target}}
        from gateway.bumble_backend import BleakScannerBumble

        return {"backend": BleakScannerBumble, "radio": self._adapter}

    def _on_bumble(self, made: Callable[[], None]) -> dict[str, Any]:
        from gateway.bumble_backend import BleakClientBumble

        return {"backend": BleakClientBumble, "radio": self._adapter, "made": made}


class Peripheral:
    """A connected band. `closed` is set when the link is gone."""

    def __init__(
        self, client: BleakClient, closed: asyncio.Event, bonds: BumbleAdapter | BluezBonds, device: BLEDevice
    ) -> None:
        self._client = client
        self.closed = closed
        self._bonds = bonds
        self._device = device
        self._characteristics: dict[str, BleakGATTCharacteristic] = {}
        for service in client.services:
            for characteristic in service.characteristics:
                self._characteristics.setdefault(characteristic.uuid, characteristic)

    def has(self, uuid: str) -> bool:
        """Whether the band has this characteristic."""
        return uuid in self._characteristics

    async def read(self, uuid: str) -> bytes:
        """Read a value. Raises LinkLost, also when the band has no such characteristic."""
        if uuid not in self._characteristics:
            raise LinkLost("the band lacks a characteristic")
        return bytes(await _answer(self._client.read_gatt_char(self._characteristics[uuid]), ANSWER_S_MAX))

    async def write(self, uuid: str, value: bytes) -> None:
        """Write a value, and have it acknowledged. Raises LinkLost."""
        characteristic = self._characteristics[uuid]
        await _answer(self._client.write_gatt_char(characteristic, value, response=True), ANSWER_S_MAX)

    async def subscribe(self, uuid: str, frame: Callable[[bytes], None]) -> None:
        """Call `frame` for each notification or indication. Raises LinkLost."""

        def notified(_characteristic: BleakGATTCharacteristic, data: bytearray) -> None:
            frame(bytes(data))

        await _answer(self._client.start_notify(self._characteristics[uuid], notified), ANSWER_S_MAX)

    async def secured(self) -> str | None:
        """The identity of the bond that the link is encrypted by; None without one. Raises LinkLost."""
        return await _answer(self._bonds.secured(self._device), ANSWER_S_MAX)

    async def pair(self) -> Paired:
        """Bond; nothing is kept in the book yet. Raises LinkLost."""
        return await _answer(self._bonds.pair(self._device), PAIR_S_MAX)


async def _answer(work: Awaitable[T], timeout_s: float) -> T:
    try:
        async with asyncio.timeout(timeout_s):
            return await work
    except TimeoutError:
        raise LinkLost("the band does not answer") from None
    except BleakGATTProtocolError as fault:
        raise Refused(str(fault)) from None
    except (BleakError, OSError, EOFError) as fault:
        raise LinkLost(str(fault)) from None


def _has_services(client: BleakClient, device: BLEDevice) -> bool:
    """Whether BlueZ found all that was advertised: now and then it tells of some services only, or of none."""
    advertised = set(device.details["props"].get("UUIDs", ())) & set(ADVERTISED)
    try:
        found = {service.uuid for service in client.services}
    except BleakError:  # the link is lost again
        return False
    return bool(found) and advertised <= found


async def _close(client: BleakClient) -> None:
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            await client.disconnect()
    except (BleakError, OSError, EOFError, TimeoutError):
        return  # the adapter is gone, and the link with it
