"""A paho client that reads what the socket holds at once, instead of a packet's three parts by a system call each.

paho 2.1 asks the socket for one byte, then the length, then the rest, and goes through `select` between two messages:
71 µs of CPU a message of ten readings, against 36 µs with this (docs/explanation/what-bounds-ingest.md). It takes a
socket with `pending()`, as TLS sockets have, not to wait while bytes are there; this is one.
"""

from __future__ import annotations

import socket
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode

CHUNK_BYTES: Final = 1 << 16
#: Packets of one turn: acknowledgements and keep-alives are never behind more than these.
_PACKETS_MAX: Final = 256


class BufferedSocket:
    """A connected socket, plain or TLS, whose `recv` is served from a chunk that was read before."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._chunk = b""
        self._at = 0

    def recv(self, buffer_size: int) -> bytes:
        """At most so many bytes; raises what the socket raises when it has none."""
        if self._at >= len(self._chunk):
            self._chunk, self._at = self._socket.recv(CHUNK_BYTES), 0
        found = self._chunk[self._at : self._at + buffer_size]
        self._at += len(found)
        return found

    def pending(self) -> int:
        """How many bytes can be had without asking the kernel, which `select` cannot know of."""
        inside: Any = getattr(self._socket, "pending", None)  # of a TLS socket: decrypted, and not read yet
        return len(self._chunk) - self._at + (inside() if inside is not None else 0)

    def close(self) -> None:
        """Close the socket; what was read and not taken is gone with it."""
        self._chunk, self._at = b"", 0
        self._socket.close()

    def __getattr__(self, name: str) -> Any:
        """All the rest is the socket's own: `send`, `fileno`, `setblocking`."""
        return getattr(self._socket, name)


class BufferedClient(paho.Client):
    """paho's client on a `BufferedSocket`."""

    # paho has no public way to wrap its socket; tests/integration/test_subscriber.py notices when this one is gone.
    def _create_socket(self) -> Any:
        return BufferedSocket(super()._create_socket())  # type: ignore[arg-type]

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Read the packets that are there, up to a bound. paho's loop calls this when the socket has something."""
        code = MQTTErrorCode.MQTT_ERR_SUCCESS
        for _ in range(_PACKETS_MAX):
            code = super().loop_read(max_packets)
            connected: Any = self.socket()
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS or connected is None or not connected.pending():
                break
        return code
