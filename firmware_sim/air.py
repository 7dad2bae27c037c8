"""The virtual radio: Bumble's controllers and link, with what they lack of a real controller's behaviour.

Bumble 0.0.236 leaves out, and this module adds:

- LE_Create_Connection_Cancel ends the attempt (there it does nothing, and each later attempt fails);
- HCI_Reset drops the links, stops scanning and advertising, and the other end sees a supervision timeout (there a
  restarted gateway never finds its bands advertising again);
- a connection whose peer stopped advertising in between fails with "failed to be established";
- ACL data goes by the addresses of its connection, not by the sender's current random address (which changes);
- finding the other end takes the same time with two controllers as with a thousand, and advertisements reach only
  those that listen;
- a packet is reported as completed when the receiving controller has room for it, so that a slow gateway slows its
  bands and nothing is queued without bound; advertisements that such a gateway does not read are lost;
- the duplicate filter of a scan;
- the unit of the advertising interval, 0.625 ms (there it is taken for a millisecond, so that bands advertise 1.6 times
  as slowly as they were told), and the random delay of up to 10 ms, without which bands that began together stay so;
- ACL packets hold 251 bytes (data length extension) instead of 27.

Not modelled: distance and signal strength (RSSI is always -50 dBm), loss of single packets. Scan responses are empty.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from typing import Final, cast

from bumble import core, hci, ll
from bumble.controller import Connection, Controller, LegacyAdvertiser
from bumble.link import LocalLink

ACL_BYTES: Final = 251
SUPERVISION_TIMEOUT: Final = hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR
_NOT_ESTABLISHED: Final = hci.HCI_ErrorCode.CONNECTION_FAILED_TO_BE_ESTABLISHED_ERROR
_ACTIVE_SCAN: Final = 1
_INTERVAL_UNIT_S: Final = 0.000_625  # Core, Vol 4, Part E, 7.8.5
_DELAY_S_MAX: Final = 0.010  # advDelay: Core, Vol 6, Part B, 4.4.2.2.1
_RSSI_DBM: Final = -50
_SEEN_MAX: Final = 4096  # advertisers that the duplicate filter remembers


class AirLink(LocalLink):
    """The air between controllers."""

    controllers: set[AirController]  # type: ignore[assignment]  # only ours are let in

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._by_address: dict[hci.Address, AirController] = {}
        self._addresses: dict[AirController, hci.Address] = {}
        #: (own address, peer's address) of a connection -> the controller that holds this end.
        self._ends: dict[tuple[hci.Address, hci.Address], AirController] = {}

    def on_address_changed(self, controller: AirController) -> None:
        """Keep the index of random addresses."""
        old = self._addresses.pop(controller, None)
        if old is not None and self._by_address.get(old) is controller:
            del self._by_address[old]
        self._addresses[controller] = controller.random_address
        self._by_address[controller.random_address] = controller

    def remove_controller(self, controller: AirController) -> None:  # type: ignore[override]
        """Take a controller out of the air; its peers see a supervision timeout."""
        controller.drop_links()
        self.controllers.discard(controller)
        address = self._addresses.pop(controller, None)
        if address is not None and self._by_address.get(address) is controller:
            del self._by_address[address]

    def find_le_controller(self, address: hci.Address) -> AirController | None:
        """Who has this address now."""
        return self._by_address.get(address)

    def peer(self, connection: Connection) -> tuple[AirController, Connection] | None:
        """The other end of a connection."""
        controller = self._ends.get((connection.peer_address, connection.self_address))
        other = controller.le_connections.get(connection.self_address) if controller is not None else None
        return None if controller is None or other is None else (controller, other)

    def forget(self, connection: Connection) -> None:
        """One end of a connection is gone."""
        self._ends.pop((connection.self_address, connection.peer_address), None)

    def drop(self, controller: AirController) -> None:
        """Play the loss of all of a controller's links: both ends see a supervision timeout."""
        for connection in list(controller.le_connections.values()):
            controller.drop_peer(connection)
            controller.on_le_disconnected(connection, SUPERVISION_TIMEOUT)

    def send_acl_data(
        self,
        sender_controller: AirController,  # type: ignore[override]
        destination_address: hci.Address,
        transport: core.PhysicalTransport,
        data: bytes,
    ) -> None:
        """Hand data to the other end of the sender's connection; what nobody hears is gone."""
        connection = sender_controller.le_connections.get(destination_address)
        found = self.peer(connection) if connection is not None else None
        if connection is not None and found is not None:
            found[0].on_link_acl_data(connection.self_address, transport, data)

    def send_advertising_pdu(self, sender_controller: AirController, packet: ll.AdvertisingPdu) -> None:  # type: ignore[override]
        """Advertisements go to all who listen, a connection request to the one that it names."""
        if isinstance(packet, ll.ConnectInd):
            self._connect(sender_controller, packet)
            return
        loop = asyncio.get_running_loop()
        for controller in self.controllers:
            if controller.listening and controller is not sender_controller:
                loop.call_soon(controller.on_ll_advertising_pdu, packet)

    def send_ll_control_pdu(
        self, sender_address: hci.Address, receiver_address: hci.Address, packet: ll.ControlPdu
    ) -> None:
        """Hand a control packet to the other end; what nobody hears is gone."""
        controller = self._ends.get((receiver_address, sender_address))
        if controller is not None:
            asyncio.get_running_loop().call_soon(controller.on_ll_control_pdu, sender_address, packet)

    def _connect(self, central: AirController, packet: ll.ConnectInd) -> None:
        band = self._by_address.get(packet.advertiser_address)
        if band is not None and packet.initiator_address not in band.le_connections:
            band.on_ll_advertising_pdu(packet)
            if packet.initiator_address in band.le_connections:
                self._ends[packet.advertiser_address, packet.initiator_address] = band
                self._ends[packet.initiator_address, packet.advertiser_address] = central
                return
        asyncio.get_running_loop().call_soon(central.fail_connection, packet.advertiser_address)


class _Advertiser(LegacyAdvertiser):
    """Advertises as often as it was told."""

    def _on_timer_fired(self) -> None:
        self.send_advertising_data()
        delay_s = random.uniform(0, _DELAY_S_MAX)  # noqa: S311  (no secret)
        wait_s = self.advertising_interval_min * _INTERVAL_UNIT_S + delay_s
        self.timer_handle = asyncio.get_running_loop().call_later(wait_s, self._on_timer_fired)


class AirController(Controller):
    """A Bluetooth LE controller on an AirLink.

    `link` is the air, `name` is for logs. The host is set through `host` (a Bumble Host in this process, or a socket).
    """

    link: AirLink
    le_acl_data_packet_length = ACL_BYTES
    supported_max_tx_octets = ACL_BYTES
    supported_max_rx_octets = ACL_BYTES
    suggested_max_tx_octets = ACL_BYTES
    #: Legacy advertising is all that the band needs, and what BlueZ works with here (google/bumble#841).
    le_features = Controller.le_features & ~(
        hci.LeFeatureMask.LL_PRIVACY
        | hci.LeFeatureMask.LE_EXTENDED_ADVERTISING
        | hci.LeFeatureMask.LE_PERIODIC_ADVERTISING
    )

    def __init__(self, name: str, *, link: AirLink) -> None:
        super().__init__(name, link=link)
        self.le_legacy_advertiser = _Advertiser(self)
        self._handles: dict[int, Connection] = {}
        self._completed: defaultdict[int, int] = defaultdict(int)  # handle -> packets not yet reported to the host
        self._congested = False
        self._held: list[Connection] = []  # the senders' ends, once per packet that they still wait for
        self._seen: dict[hci.Address, bytes] = {}  # what the duplicate filter has let through

    @property
    def listening(self) -> bool:
        """Whether an advertisement would be noticed."""
        return self.le_scan_enable or self.pending_le_connection is not None

    # -- from the host ------------------------------------------------------------------------------------------------

    def on_packet(self, packet: bytes) -> None:
        """Take a packet of the host in; ACL data on the short way."""
        if packet[0] == hci.HCI_ACL_DATA_PACKET:
            self.on_hci_acl_data_packet(hci.HCI_AclDataPacket.from_bytes(packet))
        else:
            self.on_hci_packet(hci.HCI_Packet.from_bytes(packet))

    def on_hci_acl_data_packet(self, packet: hci.HCI_AclDataPacket) -> None:
        """Send data on, and report it as completed once the receiver has room."""
        connection = self.find_connection_by_handle(packet.connection_handle)
        if connection is None:
            return
        connection.assembler.feed_packet(packet)
        found = self.link.peer(connection)
        if found is not None and found[0]._congested:
            found[0]._held.append(connection)
        else:
            self.complete(connection.handle, 1)

    def find_connection_by_handle(self, handle: int) -> Connection | None:
        """The LE connection with this handle."""
        connection = self._handles.get(handle)
        if connection is None or self.le_connections.get(connection.peer_address) is not connection:
            connection = self.find_le_connection_by_handle(handle)
            if connection is not None:
                self._handles[handle] = connection
        return connection

    def on_hci_reset_command(self, _command: hci.HCI_Reset_Command) -> hci.HCI_StatusReturnParameters:
        """Core 5.4 vol. 4 part E, 7.3.2: back to the state after power on; links are lost without an event."""
        self.unplug()
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def on_hci_le_create_connection_cancel_command(
        self, _command: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        """Core 5.4 vol. 4 part E, 7.8.13: the attempt ends, and an event says so."""
        pending, self.pending_le_connection = self.pending_le_connection, None
        if pending is None:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        asyncio.get_running_loop().call_soon(
            self.send_hci_packet,
            hci.HCI_LE_Connection_Complete_Event(
                status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
                connection_handle=0,
                role=hci.Role.CENTRAL,
                peer_address_type=pending.peer_address.address_type,
                peer_address=pending.peer_address,
                connection_interval=0,
                peripheral_latency=0,
                supervision_timeout=0,
                central_clock_accuracy=0,
            ),
        )
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def on_hci_le_set_scan_enable_command(
        self, command: hci.HCI_LE_Set_Scan_Enable_Command
    ) -> hci.HCI_StatusReturnParameters:
        """A new scan reports everybody once more."""
        self._seen.clear()
        return super().on_hci_le_set_scan_enable_command(command)

    # -- from the air -------------------------------------------------------------------------------------------------

    def on_advertising_pdu(self, pdu: ll.AdvInd | ll.AdvExtInd) -> None:
        """Report an advertisement to a scanning host, or connect to the advertiser that is waited for."""
        # What comes of the air while the host does not read is lost: it is not kept until the host hears of the past.
        if self.le_scan_enable and not self._congested and not self._duplicate(pdu):
            self._report(hci.HCI_LE_Advertising_Report_Event.EventType.ADV_IND, pdu.advertiser_address, pdu.data)
            if self.le_scan_type == _ACTIVE_SCAN:
                self._report(hci.HCI_LE_Advertising_Report_Event.EventType.SCAN_RSP, pdu.advertiser_address, b"")
        pending = self.pending_le_connection
        if pending is not None and pending.peer_address == pdu.advertiser_address:
            self.create_le_connection(pdu.advertiser_address)

    def on_ll_control_pdu(self, sender_address: hci.Address, packet: ll.ControlPdu) -> None:
        """Heed a control packet, unless its connection is gone by now."""
        if sender_address in self.le_connections:
            super().on_ll_control_pdu(sender_address, packet)

    def on_le_disconnected(self, connection: Connection, reason: int) -> None:
        """Tell the host, and forget what the connection still owed."""
        super().on_le_disconnected(connection, reason)
        self._release_connection(connection)

    def send_hci_packet(self, packet: hci.HCI_Packet) -> None:
        """To a host in this process with the next turn of the loop, so that no call returns into itself."""
        if self.hci_sink is not None:
            asyncio.get_running_loop().call_soon(self.hci_sink.on_packet, bytes(packet))

    # -- back-pressure ------------------------------------------------------------------------------------------------

    def complete(self, handle: int, packets: int) -> None:
        """Owe the host a Number_Of_Completed_Packets event; one event tells of all packets of a turn of the loop."""
        if not self._completed:  # emptied by a lost link, a second call may be on its way; it finds nothing to say
            asyncio.get_running_loop().call_soon(self._report_completed)
        self._completed[handle] += packets

    def congested(self, congested: bool) -> None:
        """Say whether this controller's host takes packets. While it does not, senders' packets stay in flight."""
        self._congested = congested
        if not congested:
            held, self._held = self._held, []
            for connection in held:
                sender = cast("AirController", connection.controller)
                if sender.le_connections.get(connection.peer_address) is connection:
                    sender.complete(connection.handle, 1)

    def _report_completed(self) -> None:
        done = {handle: n for handle, n in self._completed.items() if self.find_connection_by_handle(handle)}
        self._completed.clear()
        if done:
            self.send_hci_packet(
                hci.HCI_Number_Of_Completed_Packets_Event(
                    connection_handles=list(done), num_completed_packets=list(done.values())
                )
            )

    # -- losing links -------------------------------------------------------------------------------------------------

    def unplug(self) -> None:
        """As if switched off and on: no links, no scan, no advertising, nothing owed."""
        self.pending_le_connection = None
        self.le_scan_enable = False
        self.le_legacy_advertiser.stop()
        self.drop_links()
        self._congested = False
        self._held.clear()
        self._completed.clear()
        self._seen.clear()

    def drop_links(self) -> None:
        """Lose all links without a word to the host; the peers see a supervision timeout."""
        for connection in list(self.le_connections.values()):
            self.drop_peer(connection)
            del self.le_connections[connection.peer_address]
            self._release_connection(connection)

    def drop_peer(self, connection: Connection) -> None:
        """Let the other end of a connection see a supervision timeout."""
        found = self.link.peer(connection)
        if found is not None:
            found[0].on_le_disconnected(found[1], SUPERVISION_TIMEOUT)

    def fail_connection(self, peer_address: hci.Address) -> None:
        """A connection that was requested never came about."""
        connection = self.le_connections.get(peer_address)
        if connection is not None:
            self.on_le_disconnected(connection, _NOT_ESTABLISHED)

    def _release_connection(self, connection: Connection) -> None:
        self.link.forget(connection)
        self._handles.pop(connection.handle, None)
        self._completed.pop(connection.handle, None)
        self._seen.pop(connection.peer_address, None)  # it was away, so it is news again

    def _report(self, event_type: int, address: hci.Address, data: bytes) -> None:
        report = hci.HCI_LE_Advertising_Report_Event.Report(
            event_type=hci.HCI_LE_Advertising_Report_Event.EventType(event_type),
            address_type=address.address_type,
            address=address,
            data=data,
            rssi=_RSSI_DBM,
        )
        self.send_hci_packet(hci.HCI_LE_Advertising_Report_Event([report]))

    def _duplicate(self, pdu: ll.AdvInd | ll.AdvExtInd) -> bool:
        if not self.filter_duplicates:
            return False
        if self._seen.get(pdu.advertiser_address) == pdu.data:
            return True
        if len(self._seen) >= _SEEN_MAX:
            self._seen.clear()
        self._seen[pdu.advertiser_address] = pdu.data
        return False
