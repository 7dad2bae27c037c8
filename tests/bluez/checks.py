"""The checks on BlueZ: their names, in the order in which they run in the guest."""

from __future__ import annotations

from typing import Final

NAMES: Final = (
    "discovery",
    "nothing_is_read_without_a_bond",
    "pairing",
    "encrypted_read",
    "bonded_reconnect",
    "another_address_same_band",
    "link_loss",
    "twelve_bands_at_once",
    "drain",
    "withdrawal_removes_the_device",
)
