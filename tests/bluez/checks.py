"""The checks on BlueZ: their names, in the order in which they run in the guest."""

from __future__ import annotations

from typing import Final

#: With twelve bands on the air, which are read to the end.
FLEET: Final = (
    "discovery",
    "nothing_is_read_without_a_bond",
    "pairing",
    "encrypted_read",
    "bonded_reconnect",
    "another_address_same_band",
    "services_told_in_part",
    "link_loss",
    "nobody_scans_while_a_connection_is_made",
    "the_end_of_a_link_is_no_advertisement",
    "an_adapter_unplugged",
    "twelve_bands_at_once",
    "drain",
    "withdrawal_removes_the_device",
)
#: With no bands but the check's own, on a new adapter.
ALONE: Final = (
    "a_bond_that_the_band_lost",
    "strangers_leave_no_bond",
    "a_left_over_bond_is_none",
    "two_adapters",
    "a_left_over_bond_is_its_adapters",
    "bluetoothd_killed_in_a_reading",
    "a_plain_strap",
    "bonds_that_bluez_lost",
    "the_lines_of_the_how_tos",
    "a_blocked_adapter_is_told_of",
    "the_program_as_installed",
)
NAMES: Final = FLEET + ALONE
