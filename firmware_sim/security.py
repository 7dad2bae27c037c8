"""What a band keeps to itself and of its gateways: its identity, its bonds, and when it lets a new gateway bond.

LE Secure Connections with bonding, Just Works: a band has neither a display nor keys. So that not everybody who comes
by can bond, a band accepts a new bond only before its first one, and for two minutes after its button was held.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bumble import att, gatt, hci
from bumble.device import Connection
from bumble.gatt import Characteristic
from bumble.gatt_server import Server
from bumble.keys import KeyStore, PairingKeys
from bumble.pairing import PairingConfig, PairingDelegate

#: The button opens the band to a new gateway for so long.
WINDOW_S: Final = 120.0
#: So many gateways; another one takes the place of the one that bonded first.
BONDS_MAX: Final = 8
#: What the band's addresses are changed after, as of Core 5.4, vol. 3 part C, appendix A (TGAP(private_addr_int)).
ADDRESS_S: Final = 900.0


class BondFault(Exception):
    """A file of bonds that cannot be used; one line that says what to do."""


class Security(KeyStore):
    """A band's identity and bonds, in `file` or (None) as long as the object. Raises BondFault.

    `clock` counts seconds.
    """

    def __init__(self, file: Path | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._open_until = float("-inf")
        kept = self._load()
        #: Never on the air as such: told to a gateway alone, on an encrypted link.
        self.identity = hci.Address(kept["identity"])
        self.irk = bytes.fromhex(kept["irk"])
        self._bonds: dict[str, dict[str, Any]] = kept["bonds"]
        self._issued: bool = kept["issued"]  # whether it ever had a bond

    @property
    def bonds(self) -> int:
        """How many gateways the band is bonded with."""
        return len(self._bonds)

    @property
    def open(self) -> bool:
        """Whether the band would bond with a new gateway, and tells everybody its serial."""
        return not self._issued or self._clock() < self._open_until

    def hold_button(self) -> None:
        """Open the band to a new gateway."""
        self._open_until = self._clock() + WINDOW_S

    def forget(self) -> None:
        """Lose the bonds, as worn-out flash does. It stays the same band, and opens to nobody."""
        self._bonds.clear()
        self._save()

    # -- for Bumble ---------------------------------------------------------------------------------------------------

    def pairing(self, _connection: Connection) -> PairingConfig:
        """How the band pairs."""
        return PairingConfig(
            sc=True,
            mitm=False,
            bonding=True,
            delegate=_Delegate(self),
            identity_address_type=PairingConfig.AddressType.RANDOM,
        )

    async def get(self, name: str) -> PairingKeys | None:
        """The keys of a gateway."""
        kept = self._bonds.get(name)
        return None if kept is None else PairingKeys.from_dict(kept)

    async def get_all(self) -> list[tuple[str, PairingKeys]]:
        """The keys of all gateways."""
        return [(name, PairingKeys.from_dict(kept)) for name, kept in self._bonds.items()]

    async def update(self, name: str, keys: PairingKeys) -> None:
        """Keep a bond; one of the older kind of pairing, which can be listened in on, is none."""
        if keys.ltk is None:
            return
        self._bonds.pop(name, None)
        while len(self._bonds) >= BONDS_MAX:
            del self._bonds[next(iter(self._bonds))]
        self._bonds[name] = keys.to_dict()
        self._issued, self._open_until = True, float("-inf")
        self._save()

    async def delete(self, name: str) -> None:
        """Forget one bond."""
        self._bonds.pop(name, None)
        self._save()

    def _load(self) -> dict[str, Any]:
        if self._file is not None and self._file.exists():
            try:
                return dict(json.loads(self._file.read_text(encoding="ascii")))
            except (OSError, ValueError):
                raise BondFault(
                    f"the bonds in {self._file} cannot be read: remove it, and pair the band anew"
                ) from None
        identity = hci.Address.generate_static_address().to_string(False)
        return {"identity": identity, "irk": secrets.token_hex(16), "bonds": {}, "issued": False}

    def _save(self) -> None:
        if self._file is None:
            return
        content = {
            "identity": self.identity.to_string(False),
            "irk": self.irk.hex(),
            "bonds": self._bonds,
            "issued": self._issued,
        }
        fresh = self._file.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as out:
            json.dump(content, out)
        fresh.replace(self._file)


class _Delegate(PairingDelegate):
    """Nobody is asked: the button was the answer."""

    def __init__(self, security: Security) -> None:
        super().__init__(PairingDelegate.IoCapability.NO_OUTPUT_NO_INPUT)
        self._security = security

    async def accept(self) -> bool:
        """Whether a pairing may begin."""
        return self._security.open


def guard(server: Server, characteristics: list[Characteristic[Any]]) -> None:
    """Let these be read, written and subscribed to on an encrypted link alone: ATT error 0x0F (Core, vol. 3 part F)."""
    for characteristic in characteristics:
        characteristic.permissions |= Characteristic.READ_REQUIRES_ENCRYPTION | Characteristic.WRITE_REQUIRES_ENCRYPTION
        for attribute in server.attributes[characteristic.handle :]:  # those after it: handles begin at 1
            if attribute.handle > characteristic.end_group_handle:
                break
            if attribute.type == gatt.GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR:
                attribute.permissions |= att.Attribute.WRITE_REQUIRES_ENCRYPTION


def serial_value(serial: str, security: Security) -> gatt.CharacteristicValue[bytes]:
    """The serial number: an open band tells it to all, so that its gateway knows whom it bonds with."""

    def read(connection: Connection) -> bytes:
        if not (connection.encryption or security.open):
            raise att.ATT_Error(att.ErrorCode.INSUFFICIENT_ENCRYPTION)
        return serial.encode()

    return gatt.CharacteristicValue(read=read)
