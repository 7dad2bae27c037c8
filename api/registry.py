"""The registry's database: opened by URL, with what SQLite needs to be durable and shared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from api.tables import METADATA
from contracts.ports import Fault, UsageFault


def open_registry(url: str) -> Engine:
    """An engine on the registry, its tables made where they are absent. Raises Fault or UsageFault."""
    try:
        parsed = make_url(url)
        shown = parsed.render_as_string(hide_password=True)
    except ArgumentError:
        raise UsageFault(
            "the registry URL is none: use sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
        ) from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise UsageFault(f"the registry URL {shown} is not known: use sqlite:///FILE or postgresql+psycopg://…")
    try:
        if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, hide_parameters=True)  # no pseudonym or hash in an error's text
        if parsed.get_backend_name() == "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
        METADATA.create_all(engine)
    except (ImportError, NoSuchModuleError):
        raise UsageFault(f"the driver for {shown} is not installed: pip install psycopg") from None
    except (OSError, SQLAlchemyError):
        raise Fault(f"the registry {shown} cannot be opened: see that it is there and can be written") from None
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",  # readers do not wait for the writer
        "synchronous=FULL",  # a withdrawal that was answered survives a power cut
        "foreign_keys=ON",
        "busy_timeout=10000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
