"""Every store that there is, each real."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from contracts.ports import ReadingStore
from ingest.app import open_store
from tests.ingestkit.influxd import Influxd

_numbers = itertools.count()


@pytest.fixture(scope="session")
def influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    """A real InfluxDB (Debian's 1.6.7), shared by the session: each test has a database of its own."""
    server = Influxd(tmp_path_factory.mktemp("influxdb"))
    try:
        yield server
    finally:
        server.stop()


#: Any server one has, such as influxdb://:TOKEN@HOST:8086/DATABASE: the whole suite runs on it too, each test in a
#: database of its own beside the named one.
NAMED = os.environ.get("WIJKPOLS_TEST_INFLUX_URL", "")
_RUN = f"{os.getpid():x}{int(time.time()):x}"


@pytest.fixture(params=["duckdb", "influxdb", *(["named"] if NAMED else [])])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    if request.param == "duckdb":
        return f"duckdb:///{tmp_path / 'readings.duckdb'}"
    if request.param == "named":
        parts = urlsplit(NAMED)
        return urlunsplit(parts._replace(path=f"{parts.path}-{_RUN}-{next(_numbers)}"))
    return request.getfixturevalue("influxd").url(f"contract{next(_numbers)}")


@pytest.fixture
def opened(store_url: str) -> Iterator[Callable[[], ReadingStore]]:
    """Opens the store of this test; what was opened is closed at the end."""
    stores: list[ReadingStore] = []

    def open_it() -> ReadingStore:
        stores.append(open_store(store_url))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Callable[[], ReadingStore]) -> ReadingStore:
    """An empty, open store."""
    return opened()
