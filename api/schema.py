"""The registry's schema: which step it stands at, and the way to the newest. SQLite goes there by itself.

PostgreSQL is somebody's server: it is changed only by `wijkpols registry upgrade`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from contracts.ports import Fault

_FOLDER: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x57696A6B  # of our own among PostgreSQL's advisory locks


@cache
def newest() -> str:
    """The newest step."""
    found = ScriptDirectory(str(_FOLDER)).get_current_head()
    return str(found)


def standing(engine: Engine) -> str | None:
    """The step that a registry stands at; None when it has no tables, or is older than the first step."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine) -> tuple[str | None, str]:
    """Bring a registry to the newest step, in one transaction; (step before, step now). Repeatable.

    Two processes may do it at once: the second one waits, and finds nothing left to do.
    """
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # pysqlite begins no transaction for DDL; one that was begun by hand holds it all.
            with connection.execution_options(isolation_level="AUTOCOMMIT") as plain:
                plain.exec_driver_sql("BEGIN IMMEDIATE")
                try:
                    steps = _upgrade(plain)
                except BaseException:
                    plain.exec_driver_sql("ROLLBACK")
                    raise
                plain.exec_driver_sql("COMMIT")
            return steps
        with connection.begin():
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            return _upgrade(connection)


def check(engine: Engine) -> None:
    """Raise Fault when a registry stands at another step than the newest."""
    step = standing(engine)
    if step == newest():
        return
    _refuse_newer(step)
    raise Fault(
        f"the registry stands at step {step or 'none'}, this program needs {newest()}: run 'wijkpols registry upgrade'"
    )


def _upgrade(connection: Connection) -> tuple[str | None, str]:
    before = MigrationContext.configure(connection).get_current_revision()
    _refuse_newer(before)
    if before != newest():
        config = Config()
        config.set_main_option("script_location", str(_FOLDER))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return before, newest()


def _refuse_newer(step: str | None) -> None:
    known = {script.revision for script in ScriptDirectory(str(_FOLDER)).walk_revisions()}
    if step is not None and step not in known:
        raise Fault(f"the registry stands at step {step}, which a newer version made: upgrade this program")
