"""Bands on a radio that one gateway reads live, whose wearers hold the button: the band's way to a withdrawal."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from firmware_sim.app import Bands, Worn
from firmware_sim.synthetic import Person, Wearing
from firmware_sim.wristband import STOP_HOLD_S, Wristband

MINUTES = 60  # of signals: longer than a measurement takes
CONNECTED_S_MAX = 240.0


class Wearers:
    """Their bands, in a thread of their own, for as long as the `with` block lasts."""

    def __init__(self, serials: Sequence[str], district: str) -> None:
        start = int(time.time()) // 60 * 60
        self._worn = [
            Worn(serial, Wearing(Person(1, number, district), start=start, minutes=MINUTES))
            for number, serial in enumerate(serials)
        ]
        self._opened: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._play()), name="wearers")
        self._bands: dict[str, Wristband] = {}
        self.radio = ""  # what the gateway opens

    def __enter__(self) -> Self:
        self._thread.start()
        self._opened.result(60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def wait_until_read(self) -> None:
        """Return when the gateway reads all of them."""
        deadline = time.monotonic() + CONNECTED_S_MAX
        while not all(band.frames_sent for band in self._bands.values()):
            assert time.monotonic() < deadline, "the gateway does not read all bands"
            time.sleep(0.1)

    def hold(self, serial: str) -> float:
        """Hold this band's button until it says stop; returns that moment, unix seconds."""
        at = time.time()
        asyncio.run_coroutine_threadsafe(self._bands[serial].hold_button(STOP_HOLD_S), self._loop).result(60)
        return at

    async def _play(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with Bands(self._worn, radio="tcp-server:127.0.0.1:0") as bands:
                self._bands = {one.serial: band for one, band in zip(self._worn, bands.wristbands, strict=True)}
                self.radio = f"bumble:{bands.radio}"
                self._opened.set_result(None)
                await self._end.wait()
        except Exception as fault:
            if not self._opened.done():
                self._opened.set_exception(fault)
            raise
