"""The registry's database of a test: SQLite, or a database of a real PostgreSQL that is started when it is asked for.

`url_of(folder)` is the registry of a folder, whichever database the test runs on.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from api import schema
from api.registry import open_engine
from tests.servers import free_port, wait_for_port

KINDS = ("sqlite", "postgresql")
_TEMPLATE = "wijkpols_template"
_kind = ["sqlite"]


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test on each database; `pytestmark = pytest.mark.usefixtures("database")` does so for a module."""
    _kind[0] = request.param
    yield request.param
    _kind[0] = "sqlite"


def url_of(folder: Path) -> str:
    """The registry of this folder. On PostgreSQL a database of its own, at the newest step."""
    if _kind[0] == "sqlite":
        return f"sqlite:///{folder}/registry.sqlite"
    return postgres_url(folder, template=_TEMPLATE)


def postgres_url(folder: Path, *, template: str = "template0") -> str:
    """A database on PostgreSQL, named by the folder; an empty one when no template is named."""
    server = _server()
    name = "t" + hashlib.sha256(str(folder).encode()).hexdigest()[:20]
    with create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT").connect() as connection:
        if connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}) is None:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    return f"{server}/{name}"


def without_guards(engine_name: str) -> str:
    """What lets a test edit behind the ledger's back: foreign keys are not looked at until the transaction ends."""
    return "PRAGMA defer_foreign_keys=ON" if engine_name == "sqlite" else "SET session_replication_role = replica"


@functools.cache
def _server() -> str:
    """A PostgreSQL of this test run, with a migrated template. It forgets fsync; nothing else is unusual."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="wijkpols-postgres-"))
    # PostgreSQL does not run as root; Debian's package brings a user for it.
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    shutil.chown(folder, user)
    run = {"cwd": folder, "user": user, "group": pwd.getpwnam(user).pw_gid} if os.geteuid() == 0 else {"cwd": folder}
    data = folder / "data"
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "tests", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
        check=True,
        capture_output=True,
        **run,  # type: ignore[call-overload]
    )
    port = free_port()
    options = {"fsync": "off", "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": ""}
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    log = (folder / "log").open("wb")
    process = subprocess.Popen([programs / "postgres", "-D", data, *words], stderr=log, **run)  # type: ignore[call-overload]

    def stop() -> None:
        process.terminate()
        process.wait(20)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    wait_for_port(port, process)
    server = f"postgresql+pg8000://tests@127.0.0.1:{port}"
    _create_template(server)
    engine = open_engine(f"{server}/{_TEMPLATE}")
    schema.upgrade(engine)
    engine.dispose()  # a template can be copied while nobody is in it
    return server


def _create_template(server: str) -> None:
    """It listens a moment before it answers."""
    deadline = time.monotonic() + 20
    engine = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    while True:
        try:
            with engine.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {_TEMPLATE}"))
        except DBAPIError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    other = shutil.which("initdb")
    if other is None:
        pytest.fail("this test needs PostgreSQL: run 'sudo apt-get install postgresql' (or 'make test-deps')")
    return Path(other).parent
