"""InfluxDB 1.6 loses what it acknowledged, at the second start after a crash; deploy/influxdb/mend-wal prevents it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.app import open_store
from tests.ingestkit.influxd import Influxd
from tests.ingestkit.people import stored

HALF_AN_ENTRY = bytes([1, 0, 0, 1, 0, 7, 7, 7])  # a write of 256 bytes, of which three arrived


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Influxd]:
    started = Influxd(tmp_path)
    yield started
    started.stop()


def crash(server: Influxd) -> None:
    """SIGKILL in the middle of a write."""
    server.kill()
    (log,) = server.folder.glob("wal/town/wijkpols/*/*.wal")
    with log.open("ab") as file:
        file.write(HALF_AN_ENTRY)


def kept_after_two_crashes(server: Influxd, *, mended: bool) -> int:
    """Of three points that were acknowledged: before the first crash, between the two, after the second start."""
    store = open_store(server.url("town"))
    store.write([stored(1, minute=0)], [])
    crash(server)
    server.start(mended=mended)
    store.write([stored(1, minute=1)], [])
    store.write([stored(1, minute=2)], [])
    server.kill()
    server.start(mended=mended)
    kept = store.holdings().readings
    store.close()
    return kept


def test_nothing_that_was_acknowledged_is_lost_as_deployed(server: Influxd):
    assert kept_after_two_crashes(server, mended=True) == 3


def test_without_the_mending_it_would_be(server: Influxd):
    """If this ever fails, InfluxDB was mended itself: then deploy/influxdb/mend-wal can go."""
    assert kept_after_two_crashes(server, mended=False) == 1
