"""Real stores for the tests of ingest."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ingestkit.influxd import Influxd

_numbers = itertools.count()


@pytest.fixture(scope="module")
def influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    """A real InfluxDB, of a module's own, since some tests kill or freeze it."""
    server = Influxd(tmp_path_factory.mktemp("influxdb"))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["duckdb", "influxdb"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store: a database of its own for each test."""
    if request.param == "duckdb":
        return f"duckdb:///{tmp_path / 'readings.duckdb'}"
    return request.getfixturevalue("influxd").url(f"integration{next(_numbers)}")
