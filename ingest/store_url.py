"""`WIJKPOLS_STORE_URL`: which store, and where. No I/O.

duckdb:///wijkpols.duckdb          a file in the working folder (three slashes, as SQLAlchemy counts them)
duckdb:////var/lib/wijkpols/r.db   a file by its full path (four)
influxdb://USER:PASSWORD@HOST:8086/DATABASE     influxdbs:// for TLS; for 2.x the password is a token, ?org=NAME
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from contracts.ports import UsageFault
from ingest.influx_client import InfluxAddress

KNOWN: Final = "use duckdb:///FILE, influxdb://USER:PASSWORD@HOST:8086/DATABASE or influxdbs://…"
_DATABASE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def parse_store_url(url: str) -> Path | InfluxAddress:
    """A DuckDB file's path, or an InfluxDB address. Raises UsageFault, whose text never holds a password."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageFault(f"the store's URL has no valid host and port: {KNOWN}") from None
    match parts.scheme:
        case "duckdb":
            if parts.netloc:
                raise UsageFault("a DuckDB URL has three slashes before a file's name, and four before a full path")
            path = unquote(parts.path.removeprefix("/"))
            if not path or path.endswith("/") or parts.query or parts.fragment:
                raise UsageFault("the store's URL names no file: use duckdb:///FILE, or duckdb:////FULL/PATH")
            return Path(path)
        case "influxdb" | "influxdbs":
            database = unquote(parts.path.strip("/"))
            if not host:
                raise UsageFault(f"the store's URL names no host: {KNOWN}")
            if not _DATABASE.fullmatch(database):
                raise UsageFault(f"the store's URL names no database of letters, digits, '_', '.' and '-': {KNOWN}")
            options = parse_qs(parts.query)
            if set(options) - {"org"} or parts.fragment:
                raise UsageFault("the store's URL takes no option but ?org=NAME")
            return InfluxAddress(
                host=host,
                port=port or 8086,
                database=database,
                tls=parts.scheme == "influxdbs",
                username=unquote(parts.username or ""),
                password=unquote(parts.password or ""),
                org=options.get("org", [""])[0],
            )
        case _:
            raise UsageFault(f"the store's URL begins with no known scheme: {KNOWN}")
