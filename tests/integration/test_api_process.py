"""`wijkpols api` as a process: it starts, says a fault in one line, and ends cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.api_support import BAND_KEY
from tests.servers import Broker, free_port

_START = """
import argparse, sys
from api import app
from contracts.ports import Fault, UsageFault
parser = argparse.ArgumentParser()
app.add_arguments(parser)
try:
    sys.exit(app.run(parser.parse_args()))
except Fault as fault:
    print(fault, file=sys.stderr)
    sys.exit(2 if isinstance(fault, UsageFault) else 1)
"""


def start(folder: Path, port: int, broker_url: str) -> subprocess.Popen[str]:
    environment = os.environ | {
        "WIJKPOLS_REGISTRY_URL": f"sqlite:///{folder}/registry.sqlite",
        "WIJKPOLS_BAND_KEY": BAND_KEY,
        "WIJKPOLS_BROKER_URL": broker_url,
    }
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", _START, "--port", str(port)],
        cwd=root,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_what_the_release_log_holds_and_ends_cleanly(
    tmp_path: Path, broker: Broker, how: signal.Signals
) -> None:
    port = free_port()
    with start(tmp_path, port, broker.url) as process:
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/v1/releases")
                break
            except httpx.TransportError:
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert answer.json()["releases"] == []
        assert "Er zijn nog geen cijfers" in httpx.get(f"http://127.0.0.1:{port}/wijken").text
        process.send_signal(how)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert "Traceback" not in said


def test_a_port_in_use_ends_it_with_one_line(tmp_path: Path, broker: Broker) -> None:
    with start(tmp_path, broker.port, broker.url) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.count("\n") == 1
    assert "in use" in said
