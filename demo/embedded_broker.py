"""The embedded broker: rumqttd (by iotcore) in a child process, for the demo and for laptops.

Nothing survives its restart: no session, no retained consent, no unacknowledged reading. What must last belongs on
Mosquitto.

Measured on iotcore 0.4: with QoS 1 a wildcard subscription is given the first 100 retained messages and never the
rest; with QoS 0 it is given as many as `max_outgoing_packet_count`. So the mirrors of consent read what is retained
with QoS 0 first (see docs/adr/0004-embedded-defaults.md), and the count here bounds how many bands a demo can have.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from iotcore import Broker

from contracts.ports import Fault

log = logging.getLogger(__name__)

RETAINED_MAX: Final = 100_000
USER: Final = "wijkpols"

_CONFIG = """\
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = {retained_max}
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "wijkpols"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 65536
max_inflight_count = 100
[v5.1.connections.auth]
{user} = "{password}"
"""


class EmbeddedBroker:
    """A broker on a free port of 127.0.0.1 with a password of its own, for as long as the `with` block lasts."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="wijkpols-broker-")
        self._password = secrets.token_urlsafe(24)
        self._port = _free_port()
        config = Path(self._folder.name) / "rumqttd.toml"
        config.touch(mode=0o600)  # before the password is in it
        config.write_text(
            _CONFIG.format(retained_max=RETAINED_MAX, port=self._port, user=USER, password=self._password)
        )
        self._broker = Broker(config_path=str(config))

    @property
    def url(self) -> str:
        """Where it listens, user and password included: not for a log."""
        return f"mqtt://{USER}:{self._password}@127.0.0.1:{self._port}"

    @property
    def is_running(self) -> bool:
        """Whether the child process lives."""
        return bool(self._broker.is_running)

    def __enter__(self) -> Self:
        try:
            with _deaf_to_ctrl_c():
                self._broker.start()
        except (OSError, RuntimeError) as fault:
            self._folder.cleanup()
            raise Fault(f"the embedded broker did not start ({fault}): try again, or set WIJKPOLS_BROKER_URL") from None
        log.warning("embedded broker on 127.0.0.1:%d: nothing that it holds survives its restart", self._port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._broker.stop()
        self._folder.cleanup()


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """What is started here does not hear Ctrl-C, which a terminal sends to every process: the broker ends last."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
