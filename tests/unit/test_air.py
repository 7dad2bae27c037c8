"""The virtual radio keeps the time that a real one would."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from bumble import ll

from firmware_sim.air import AirController, AirLink
from firmware_sim.peripheral import Peripheral
from tests.fieldkit.virtual_time import run_virtually


class Ear(AirController):
    """Notes when it hears an advertisement."""

    def __init__(self, link: AirLink) -> None:
        super().__init__("ear", link=link)
        self.le_scan_enable = True
        self.heard_at: list[float] = []

    def on_advertising_pdu(self, _pdu: ll.AdvInd | ll.AdvExtInd) -> None:
        self.heard_at.append(asyncio.get_running_loop().time())


def test_what_is_advertised_while_the_host_does_not_read_is_lost_and_not_told_later():
    async def listen() -> tuple[int, int]:
        told: list[bytes] = []
        link = AirLink()
        adapter = AirController("adapter", link=link)
        adapter.host = type("Host", (), {"on_packet": staticmethod(told.append)})()
        adapter.le_scan_enable = adapter.filter_duplicates = True
        adapter.congested(True)
        async with Peripheral(link=link, serial="WP-000001", read=lambda _kind: b"", advertising_ms=100.0):
            await asyncio.sleep(5)
            while_busy = len(told)
            adapter.congested(False)
            await asyncio.sleep(5)
        return while_busy, len(told)

    assert run_virtually(listen()) == (0, 1)  # one of the fifty that came later: its duplicates are left out


@pytest.mark.parametrize("interval_ms", [100.0, 10_240.0])
def test_a_band_advertises_as_often_as_it_was_told_and_up_to_ten_milliseconds_later(interval_ms: float):
    async def listen() -> list[float]:
        link = AirLink()
        ear = Ear(link)
        async with Peripheral(link=link, serial="WP-000001", read=lambda _kind: b"", advertising_ms=interval_ms):
            await asyncio.sleep(50 * interval_ms / 1000)
        return ear.heard_at

    heard_at = run_virtually(listen())
    late_ms = [1000 * (after - before) - interval_ms for before, after in pairwise(heard_at)]
    assert len(late_ms) > 40
    assert min(late_ms) >= -1e-6
    assert max(late_ms) <= 10 + 1e-6
    assert max(late_ms) - min(late_ms) > 5  # two that began together do not stay together
