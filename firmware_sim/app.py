"""The simulated bands as a program (`wijkpols bands`) and as a part that tests run in their own process."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from firmware_sim.adapter import Adapter, RadioFault, RadioUsageFault, open_adapter
from firmware_sim.air import AirLink
from firmware_sim.peripheral import ADVERTISING_MS
from firmware_sim.physiology import MINUTE_S, Source
from firmware_sim.profile import serial_number
from firmware_sim.record_log import FileMedium, LogFault, MemoryMedium, RecordLog
from firmware_sim.recording import Recording, RecordingFault, load_folder
from firmware_sim.security import ADDRESS_S, BondFault, Security
from firmware_sim.settings import BandSettings
from firmware_sim.synthetic import Person, Wearing
from firmware_sim.wristband import OPEN_HOLD_S, STOP_HOLD_S, Wristband

EXIT_FAULT: Final = 1
EXIT_USAGE: Final = 2
#: A memory that lasts as long as the band.
IN_MEMORY: Final = "memory"


class Worn(NamedTuple):
    """A band to be: its serial, and whose signals it plays."""

    serial: str
    source: Source


class Bands:
    """Bands on the air, and an adapter for the gateway: `async with Bands(…) as bands: … await bands.done()`.

    `radio` says where the adapter listens (see `Adapter.listen`); None opens none, for a central that is
    put on `link` directly. `store`: the bands have a memory, each a file in this folder, or (IN_MEMORY) none
    that outlasts them, and so with their bonds; `drift_ppm` is that of their clocks; each changes its address after
    `address_s` seconds, and advertises every `advertising_ms`. Raises RadioFault, LogFault and BondFault.
    """

    def __init__(
        self,
        worn: Iterable[Worn],
        *,
        radio: str | None = None,
        speed: float | None = 1.0,
        store: Path | str | None = None,
        drift_ppm: float = 0.0,
        address_s: float = ADDRESS_S,
        advertising_ms: float = ADVERTISING_MS,
    ) -> None:
        self.link = AirLink()
        self.wristbands = [
            Wristband(
                link=self.link,
                serial=serial,
                source=source,
                speed=speed,
                log=_log(store, serial, source) if store is not None else None,
                drift_ppm=drift_ppm,
                security=Security(_file(store, f"{serial}.bonds.json")),
                address_s=address_s,
                advertising_ms=advertising_ms,
                stop_file=_file(store, f"{serial}.stop"),
            )
            for serial, source in worn
        ]
        self._spec = radio
        self._adapter: Adapter | None = None
        self._stack = contextlib.AsyncExitStack()
        self._playing: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Bands:
        async with contextlib.AsyncExitStack() as stack:
            if self._spec is not None:
                self._adapter = await open_adapter(self._spec, link=self.link)
                stack.push_async_callback(self._adapter.close)
            for band in self.wristbands:
                stack.push_async_callback(band.close)
                await stack.enter_async_context(band.peripheral)
            stack.push_async_callback(self._stop)
            self._playing = [
                asyncio.create_task(band.run(), name=f"band {i}") for i, band in enumerate(self.wristbands)
            ]
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    @property
    def radio(self) -> str:
        """What the gateway opens, as `tcp-client:127.0.0.1:9000`; empty without an adapter."""
        return self._adapter.radio if self._adapter is not None else ""

    @property
    def minutes(self) -> int:
        """How many UTC minutes all bands together measure in."""
        return sum(band.minutes for band in self.wristbands)

    async def done(self) -> None:
        """Wait until every band has played its source to the end and left the air."""
        await asyncio.gather(*self._playing)

    async def _stop(self) -> None:
        for task in self._playing:
            task.cancel()
        await asyncio.gather(*self._playing, return_exceptions=True)


def _log(store: Path | str, serial: str, source: Source) -> RecordLog:
    medium = MemoryMedium() if store == IN_MEMORY else FileMedium(Path(store) / f"{serial}.log")
    return RecordLog(medium=medium, now=source.spans()[0][0])


def _file(store: Path | str | None, name: str) -> Path | None:
    return None if store is None or store == IN_MEMORY else Path(store) / name


def sources(settings: BandSettings, *, now: float) -> list[Source]:
    """Whose signals the settings ask for: the recordings, then the synthetic people. Raises RecordingFault."""
    found: list[Source] = []
    if settings.replay is not None:
        found += _placed(load_folder(settings.replay), settings.start, now)
    start = int(now) // MINUTE_S * MINUTE_S if settings.start is None else settings.start
    for _ in range(settings.synthetic):
        person = Person(settings.seed, settings.first_serial + len(found), settings.district)
        found.append(Wearing(person, start=start, minutes=settings.minutes))
    return found


def _placed(recordings: Sequence[Recording], start: int | None, now: float) -> list[Recording]:
    if start is None:
        longest = max(recording.minutes for recording in recordings)
        start = (int(now) // MINUTE_S - longest) * MINUTE_S
    return [recording.placed(start) for recording in recordings]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `wijkpols bands`; what is not given comes from the settings."""
    for name, field in BandSettings.model_fields.items():
        option = "--" + name.replace("_", "-")
        if field.annotation is bool:
            parser.add_argument(option, action="store_const", const=True, help=field.description)
        else:
            default = "" if field.default is None or name == "start" else f" (default: {field.default})"
            parser.add_argument(option, metavar=name.upper(), help=f"{field.description}{default}")


def run(args: argparse.Namespace) -> int:
    """Put the bands on the air until they are done, or until SIGTERM or Ctrl-C; the exit code."""
    given = {name: value for name in BandSettings.model_fields if (value := getattr(args, name, None)) is not None}
    try:
        settings = BandSettings(**given)
        worn = [
            Worn(serial_number(settings.first_serial + i), source)
            for i, source in enumerate(sources(settings, now=time.time()))
        ]
        if not worn:
            return _refuse("no band to simulate: name --replay DIR or --synthetic N", EXIT_USAGE)
        asyncio.run(_serve(settings, worn))
    except ValidationError as fault:
        first = fault.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        return _refuse(f"{option}: {first['msg'].lower().removeprefix('value error, ')}; see --help", EXIT_USAGE)
    except RadioUsageFault as fault:
        return _refuse(str(fault), EXIT_USAGE)
    except (RadioFault, RecordingFault, LogFault, BondFault) as fault:
        return _refuse(str(fault), EXIT_FAULT)
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass
    return 0


async def _serve(settings: BandSettings, worn: list[Worn]) -> None:
    # What Bumble says of single packets and links is of use to its developers only.
    logging.getLogger("bumble").setLevel(logging.CRITICAL)
    if (task := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    fleet = Bands(
        worn,
        radio=settings.radio,
        speed=settings.speed,
        store=settings.store,
        drift_ppm=settings.drift_ppm,
        address_s=settings.address_seconds,
        advertising_ms=settings.advertising_ms,
    )
    async with fleet as bands:
        _say(radio=bands.radio)
        loop, pressing = asyncio.get_running_loop(), set[asyncio.Task[None]]()

        def press(held_s: float) -> None:
            _say(event="button", held_s=held_s)
            tasks = [loop.create_task(band.hold_button(held_s), name="button") for band in bands.wristbands]
            pressing.update(tasks)
            for task in tasks:
                task.add_done_callback(pressing.discard)

        loop.add_signal_handler(signal.SIGUSR1, press, OPEN_HOLD_S)
        loop.add_signal_handler(signal.SIGUSR2, press, STOP_HOLD_S)
        if sys.stdin is not None and sys.stdin.isatty():  # somebody sits here
            sys.stderr.write("To hold the button: type the seconds (5 or 10), then Enter.\n")
            signal.signal(signal.SIGTTIN, signal.SIG_IGN)  # in the background it is told so, and not stopped
            loop.add_reader(sys.stdin, _read_button, press)
        _say(event="ready", bands=len(worn), minutes=bands.minutes)
        await bands.done()
        _say(event="done", bands=len(worn), minutes=bands.minutes)
        if not settings.exit_when_done:
            await asyncio.Event().wait()


def _read_button(press: Callable[[float], None]) -> None:
    try:
        typed = sys.stdin.readline()
    except OSError:  # this program went into the background
        typed = ""
    if not typed:  # or Ctrl-D
        asyncio.get_running_loop().remove_reader(sys.stdin)
    elif typed.strip() in ("5", "10"):
        press(float(typed))


def _say(**milestone: Any) -> None:
    sys.stdout.write(json.dumps(milestone) + "\n")
    sys.stdout.flush()


def _refuse(text: str, code: int) -> int:
    sys.stderr.write(f"wijkpols bands: {text}\n")
    return code
