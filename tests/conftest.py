"""Real parts for the tests: each fixture starts a real server on a free port, or fails with what to install."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.servers import Broker, free_port, require_program, wait_for_port

# A shell that starts the tests in the background makes them deaf to Ctrl-C, and all they start with them.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is slow, not wrong: how long an example takes is no property of the code.
hypothesis.settings.register_profile("wijkpols", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("wijkpols")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real Mosquitto on a free port, shared by the tests of a module: what one module retains is not another's."""
    program = require_program("mosquitto", "mosquitto")
    folder = tmp_path_factory.mktemp("mosquitto")
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
        "max_queued_messages 1000000\nmax_inflight_messages 6000\n"
    )
    with (folder / "log").open("wb") as log, subprocess.Popen([program, "-c", str(config)], stderr=log) as process:
        try:
            wait_for_port(port, process)
            yield Broker("127.0.0.1", port)
        finally:
            process.terminate()


@pytest.fixture
def shared_data() -> Path:
    """The real recordings beside the project; they are not part of it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.fail("this test needs the recordings in ../shared/data beside the project", pytrace=False)
    return folder
