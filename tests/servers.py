"""Starting real servers on free ports, for fixtures of any folder."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from typing import NamedTuple

import pytest


def require_program(name: str, package: str) -> str:
    """The path of a program that a test needs; a missing one fails the test (it never skips)."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if found is None:
        pytest.fail(
            f"this test needs {name}: run 'sudo apt-get install {package}' (or 'make test-deps')", pytrace=False
        )
    return found


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], *, seconds: float = 20) -> None:
    """Return when somebody listens on the port; fail when the process ends or time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the server ended with {process.returncode} before it listened")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail(f"nothing listened on port {port} within {seconds} s")


class Broker(NamedTuple):
    """A running Mosquitto."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"mqtt://{self.host}:{self.port}"


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for what comes by itself; fails when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "time is up"
        time.sleep(0.02)
