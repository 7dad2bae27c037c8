"""An HCI adapter on a socket or below the kernel: the gateway's end of the virtual radio, as it would reach a real one.

Bumble's own `tcp-server` and `unix-server` transports serve one client and go silent at the second: the first one's
end takes the second one's socket away, half a packet of the first stays in the parser, and nothing tells when the
client reads too slowly. Here the newest client gets the adapter; it finds it as after power on, and its bands
advertising again; and an adapter whose client does not read slows its bands down.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import struct
from pathlib import Path
from typing import Final, Protocol, cast

from bumble import core, hci
from bumble.transport import open_transport
from bumble.transport.common import PacketParser, Transport

from firmware_sim.air import AirController, AirLink

#: What a host's bytes can make Bumble raise; the host is told off by closing its connection.
_BAD_BYTES: Final = (core.BaseBumbleError, ValueError, LookupError, struct.error, TypeError, AttributeError)
_CLOSE_S: Final = 5.0
_EXAMPLE: Final = "write tcp-server:127.0.0.1:PORT, unix-server:PATH or vhci"


class RadioFault(Exception):
    """A radio that cannot be opened; one line that says what to do."""


class RadioUsageFault(RadioFault):
    """The name of a radio that cannot be understood."""


class AdapterController(AirController):
    """A controller whose host sits behind a socket: packets are written at once, in order."""

    def send_hci_packet(self, packet: hci.HCI_Packet) -> None:
        """Hand a packet to the socket."""
        if self.hci_sink is not None:
            self.hci_sink.on_packet(bytes(packet))


class Adapter:
    """One adapter, open for one client at a time. Use `open_adapter`."""

    def __init__(self, *, name: str, link: AirLink) -> None:
        self.controller = AdapterController(name, link=link)
        self.controller.host = self
        self.radio = ""  # what a client opens, as `tcp-client:127.0.0.1:9000`
        self._client: _Host | None = None
        self._kernel: Transport | None = None
        self._server: asyncio.Server | None = None
        self._path: Path | None = None

    async def listen(self, spec: str) -> None:
        """Open `tcp-server:HOST:PORT` (port 0: a free one), `unix-server:PATH` or `vhci`. Raises RadioFault.

        `vhci`: the machine's own Bluetooth gets this adapter (as root, with the module hci_vhci), so BlueZ finds it.
        """
        kind, _, where = spec.partition(":")
        loop = asyncio.get_running_loop()
        try:
            if kind == "tcp-server":
                host, _, port = where.rpartition(":")
                if not host or not port.isdecimal() or int(port) > 0xFFFF:
                    raise RadioUsageFault(f"radio {spec!r}: {_EXAMPLE}")
                self._server = await loop.create_server(lambda: _Client(self), host, int(port))
                self.radio = f"tcp-client:{host}:{self._server.sockets[0].getsockname()[1]}"
            elif kind == "unix-server" and where:
                self._server = await loop.create_unix_server(lambda: _Client(self), where)
                self._path = Path(where)
                self.radio = f"unix-client:{where}"
            elif spec == "vhci":
                # The kernel would have no address of its own, and pair by another one than it connected with.
                self.controller.public_address = hci.Address(secrets.token_bytes(6), hci.Address.PUBLIC_DEVICE_ADDRESS)
                self._kernel = await open_transport("vhci")
                self._client = _Kernel(self._kernel, self.controller)
                self.radio = spec
            else:
                raise RadioUsageFault(f"radio {spec!r}: {_EXAMPLE}")
        except OSError as fault:
            raise RadioFault(
                f"radio {spec!r} cannot be opened ({fault.strerror or fault}): choose another one"
            ) from None

    async def close(self) -> None:
        """Hang up, let what was written go out, and stop listening. Repeatable."""
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            self._client = None
            await kernel.close()
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        client = self._client
        if isinstance(client, _Client):
            client.transport.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await client.gone.wait()
            client.transport.abort()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def on_packet(self, packet: bytes) -> None:
        """Take a packet of the controller for the client; without one it is gone."""
        if self._client is not None:
            self._client.write(packet)

    def attach(self, client: _Client) -> None:
        """A client has come: it gets the adapter, as after power on; one that was there is cut off."""
        before, self._client = self._client, client
        if isinstance(before, _Client):
            before.transport.abort()
        self.controller.unplug()

    def detach(self, client: _Client) -> None:
        """A client has gone: its links are lost, unless a newer client has taken over."""
        if self._client is client:
            self._client = None
            self.controller.unplug()

    def congested(self, client: _Client, congested: bool) -> None:
        """Pass on whether the client reads."""
        if self._client is client:
            self.controller.congested(congested)


class _Host(Protocol):
    """Who has the adapter."""

    def write(self, packet: bytes) -> None:
        """Send a packet to the host."""


class _Kernel:
    """The kernel as host, through /dev/vhci: it takes each packet at once, and sends nothing that is none."""

    def __init__(self, transport: Transport, controller: AirController) -> None:
        self._sink = transport.sink
        transport.source.set_packet_sink(controller)

    def write(self, packet: bytes) -> None:
        self._sink.on_packet(packet)


class _Client(asyncio.Protocol):
    """One connection of a host, with a parser of its own."""

    transport: asyncio.Transport

    def __init__(self, adapter: Adapter) -> None:
        self.gone = asyncio.Event()
        self._adapter = adapter
        self._parser = PacketParser(self)
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # a stream socket's transport is one
        self._adapter.attach(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.gone.set()
        self._adapter.detach(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except core.InvalidPacketError:
            self.transport.abort()

    def on_packet(self, packet: bytes) -> None:
        """A whole packet of the host, from the parser."""
        try:
            self._adapter.controller.on_packet(packet)
        except _BAD_BYTES:
            self.transport.abort()

    def write(self, packet: bytes) -> None:
        """Send a packet with all others of this turn of the loop: one system call for many."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(packet)

    def _flush(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"".join(self._out))
        self._out.clear()

    def pause_writing(self) -> None:
        self._adapter.congested(self, True)

    def resume_writing(self) -> None:
        self._adapter.congested(self, False)


async def open_adapter(spec: str, *, link: AirLink, name: str = "adapter") -> Adapter:
    """An adapter in the air of `link` that listens at `spec`. Raises RadioFault."""
    adapter = Adapter(name=name, link=link)
    await adapter.listen(spec)
    return adapter
