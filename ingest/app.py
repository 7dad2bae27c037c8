"""Ingest as a part: the one place that builds its concrete stores, clients and files."""

from __future__ import annotations

from pathlib import Path

from contracts.ports import ReadingStore
from ingest.duckdb_store import DuckDBStore
from ingest.influx_store import InfluxStore
from ingest.store_url import parse_store_url


def open_store(url: str) -> ReadingStore:
    """The store of a URL (see `ingest.store_url`). Raises UsageFault for a URL, Fault for a store that cannot open."""
    address = parse_store_url(url)
    return DuckDBStore(address) if isinstance(address, Path) else InfluxStore(address)
