"""The registry's database: opened by URL, with what SQLite needs to be durable and shared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError

from api import schema
from contracts.ports import Fault, UsageFault

_FORMS: Final = "use sqlite:///FILE or postgresql+pg8000://USER:PASSWORD@HOST/NAME"


def open_registry(url: str) -> Engine:
    """An engine on a registry that stands at the newest step. SQLite is brought there. Raises Fault or UsageFault."""
    engine, shown = open_engine(url), shown_url(url)
    try:
        if engine.dialect.name == "sqlite":
            if schema.standing(engine) != schema.newest():
                schema.upgrade(engine)
        else:
            schema.check(engine)
    except (OSError, SQLAlchemyError):
        engine.dispose()
        raise Fault(f"the registry {shown} cannot be opened: see that it is there and can be written") from None
    return engine


def open_engine(url: str) -> Engine:
    """An engine on a registry at whatever step it stands. Raises Fault or UsageFault."""
    parsed, shown = _parsed(url), shown_url(url)
    try:
        if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, hide_parameters=True)  # no pseudonym or hash in an error's text
    except (ImportError, NoSuchModuleError):
        raise UsageFault(f"the driver for {shown} is not installed: pip install '.[postgres]'") from None
    except OSError:
        raise Fault(f"the registry {shown} cannot be opened: see that it is there and can be written") from None
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    else:
        event.listen(engine, "handle_error", _name_lost_connection)
    return engine


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection that reads, by all of its queries, what held at the first of them: others may write meanwhile."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")  # pysqlite begins nothing for a SELECT
        else:
            connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


def shown_url(url: str) -> str:
    """The URL without its password."""
    return _parsed(url).render_as_string(hide_password=True)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UsageFault(f"the registry URL is none: {_FORMS}") from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise UsageFault(f"the registry URL {parsed.render_as_string(hide_password=True)} is not known: {_FORMS}")
    return parsed.set(drivername="postgresql+pg8000") if parsed.drivername == "postgresql" else parsed


def _name_lost_connection(context: ExceptionContext) -> Exception | None:
    """pg8000 lets the socket's own error through when a server is killed: then the connection is to be thrown away."""
    fault = context.original_exception
    if not isinstance(fault, OSError):
        return None
    context.is_disconnect = True
    return OperationalError(context.statement, None, fault, hide_parameters=True)


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
