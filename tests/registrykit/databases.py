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
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from api import schema
from api.registry import open_engine
from tests.servers import free_port, wait_for_port

KINDS = ("sqlite", "postgresql")
TEMPLATE = "wijkpols_template"
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
    return postgres_url(folder, template=TEMPLATE)


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


class Postgres:
    """A PostgreSQL server on a free port, killed and started again on the same files."""

    def __init__(self, *, durable: bool = False) -> None:
        """Without `durable` it forgets fsync, which only a power cut would notice."""
        self._programs = _programs()
        self._folder = Path(tempfile.mkdtemp(prefix="wijkpols-postgres-"))
        # PostgreSQL does not run as root; Debian's package brings a user for it.
        user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        shutil.chown(self._folder, user)
        self._run: dict[str, Any] = {"cwd": self._folder}
        if os.geteuid() == 0:
            self._run |= {"user": user, "group": pwd.getpwnam(user).pw_gid}
        self._data = self._folder / "data"
        words = ["-U", "tests", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        initdb = [self._programs / "initdb", "-D", self._data, *words]
        subprocess.run(initdb, check=True, capture_output=True, **self._run)
        self._port = free_port()
        self._durable = durable
        self.url = f"postgresql+pg8000://tests@127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        """Returns when it answers."""
        options = {
            "fsync": "on" if self._durable else "off",
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": "",
        }
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *words], stderr=log, **self._run
            )
        wait_for_port(self._port, self._process)
        self._wait_until_it_answers()

    def kill(self) -> None:
        """SIGKILL; its children notice and end."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it, and leave nothing."""
        self._process.send_signal(signal.SIGINT)  # does not wait for clients that still hold a connection
        self._process.wait(20)
        shutil.rmtree(self._folder, ignore_errors=True)

    def template(self) -> None:
        """Make the database that others are copied from, at the newest step."""
        with create_engine(f"{self.url}/postgres", isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text(f"CREATE DATABASE {TEMPLATE}"))
        engine = open_engine(f"{self.url}/{TEMPLATE}")
        schema.upgrade(engine)
        engine.dispose()  # a template can be copied while nobody is in it

    def _wait_until_it_answers(self) -> None:
        """It listens a moment before it answers."""
        deadline = time.monotonic() + 20
        engine = create_engine(f"{self.url}/postgres")
        while True:
            try:
                with engine.connect():
                    break
            except DBAPIError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        engine.dispose()


@functools.cache
def _server() -> str:
    """A PostgreSQL of this test run, with a migrated template."""
    server = Postgres()
    atexit.register(server.stop)
    server.template()
    return server.url


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    other = shutil.which("initdb")
    if other is None:
        pytest.fail("this test needs PostgreSQL: run 'sudo apt-get install postgresql' (or 'make test-deps')")
    return Path(other).parent
