"""The gateway's book of bonds: which band is behind an identity. Its file is for the gateway's user alone.

A bond's keys are here when the radio is Bumble; BlueZ keeps them itself. An *order* is a file that `wijkpols gateway
pair` or `unpair` leaves for the running gateway.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from contracts.ports import Fault

_log = logging.getLogger(__name__)
#: Bands that one gateway can be bonded with; then the one that bonded first gives way.
BONDS_MAX: Final = 5_000
#: An order to pair holds for so long.
ORDER_S: Final = 600.0

#: Why a band is not read, as its gateway's status counts it.
LOST: Final = "bond:lost"  # it does not know our key (any more), or is not who it says
MISSING: Final = "bond:missing"  # says that it is a Wijkpols band, and has no bond with us
OTHER: Final = "bond:other"  # has the serial of a band that we know by another identity
FAILED: Final = "bond:failed"  # did not finish pairing


class BondRefused(Exception):
    """A band does not take the key of its identity."""


class Paired(NamedTuple):
    """Who paired just now: its identity address, and what Bumble needs of it."""

    identity: str
    keys: dict[str, Any] | None


class Bond(msgspec.Struct, frozen=True, kw_only=True):
    """One band: `identity` is its identity address, `token` its band token, `keys` what Bumble needs."""

    identity: str
    token: str
    paired_at: float  # unix seconds
    keys: dict[str, Any] | None = None


class _Book(msgspec.Struct):
    address: str = ""  # the gateway's own, on Bumble
    irk: str = ""
    bonds: dict[str, Bond] = {}  # by identity


class Pairing(StrEnum):
    """Whom a gateway bonds with for the first time."""

    ENROLLED = "enrolled"  # every band whose wearer consents
    ORDERED = "ordered"  # those that were named to `wijkpols gateway pair`


class Order(StrEnum):
    """What a person asks for a band."""

    PAIR = "pair"
    UNPAIR = "unpair"


class Ordered(NamedTuple):
    """An order, and the token of its band."""

    order: Order
    token: str


class BondBook:
    """In `folder`, or (None) as long as the object. Each change is on the disk when the call returns. Raises Fault."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file = None if folder is None else folder / "bonds.json"
        self._orders = None if folder is None else folder / "orders"
        self._book = _Book()
        self.revision = 0  # another one after each change: who made something of the bonds looks again
        self._told = ""  # the last trouble with the orders
        self._renewing: dict[str, float] = {}  # token -> until when it may pair, unix seconds
        if self._file is not None and self._orders is not None:
            try:
                # By the gateway, at its start: what root would make with the first order the gateway could not read.
                self._orders.mkdir(mode=0o700, parents=True, exist_ok=True)
                list(self._orders.iterdir())
                self._book = msgspec.json.decode(self._file.read_bytes(), type=_Book)
            except FileNotFoundError:
                pass  # the first bond makes it
            except OSError as fault:
                raise Fault(
                    f"{fault.filename} cannot be read ({fault.strerror}): be the gateway's own user, as by"
                    " sudo -u wijkpols; an orders folder that another user made may be removed"
                ) from None
            except msgspec.MsgspecError:
                raise Fault(f"{self._file} is damaged: move it away, and pair the bands anew") from None

    def __len__(self) -> int:
        return len(self._book.bonds)

    def __iter__(self) -> Iterator[Bond]:
        return iter(list(self._book.bonds.values()))

    def own(self, address: str, irk: str) -> tuple[str, str]:
        """The gateway's own address and IRK on Bumble; these when it has none yet."""
        if not self._book.address:
            self._book.address, self._book.irk = address, irk
            self._save()
        return self._book.address, self._book.irk

    def of(self, identity: str) -> Bond | None:
        """The band behind an identity."""
        return self._book.bonds.get(identity)

    def of_token(self, token: str) -> Bond | None:
        """The identity behind a band."""
        return next((bond for bond in self._book.bonds.values() if bond.token == token), None)

    def add(self, bond: Bond) -> None:
        """Keep a bond, in place of an older one of this band; its order is fulfilled."""
        self.remove(bond.token, save=False)
        while len(self._book.bonds) >= BONDS_MAX:
            del self._book.bonds[next(iter(self._book.bonds))]
        self._book.bonds[bond.identity] = bond
        self._renewing.pop(bond.token, None)
        self._save()

    def remove(self, token: str, *, save: bool = True) -> None:
        """Forget a band."""
        bond = self.of_token(token)
        if bond is not None:
            del self._book.bonds[bond.identity]
            if save:
                self._save()

    def drop_keys(self, identity: str) -> None:
        """Forget the keys, not who it is: a new bond with this band must have the same identity."""
        bond = self._book.bonds.get(identity)
        if bond is not None:
            self._book.bonds[identity] = msgspec.structs.replace(bond, keys=None)
            self._save()

    # -- orders -------------------------------------------------------------------------------------------------------

    def leave(self, order: Order, token: str) -> None:
        """Leave an order for the running gateway. Raises OSError."""
        if self._orders is None:
            raise ValueError("orders need a folder")
        (self._orders / f"{order}-{token}").touch()

    def take_orders(self, now: float) -> list[Ordered]:
        """The orders that were left since; a pairing is allowed from now on. `now` in unix seconds."""
        found = []
        for path in self._left():
            order, _, token = path.name.partition("-")
            try:
                path.unlink(missing_ok=True)
            except OSError as fault:  # what stays would be done again and again
                self._tell(f"an order in {self._orders} cannot be taken ({fault.strerror}): it is not done")
                continue
            if order in set(Order) and token:
                found.append(Ordered(Order(order), token))
        for ordered in found:
            if ordered.order is Order.PAIR:
                self._renewing[ordered.token] = now + ORDER_S
        return found

    def _left(self) -> list[Path]:
        if self._orders is None:
            return []
        try:
            self._orders.mkdir(mode=0o700, parents=True, exist_ok=True)  # it may be removed
            return sorted(self._orders.iterdir())
        except OSError as fault:
            self._tell(f"the orders in {self._orders} cannot be read ({fault.strerror}): none is done")
            return []

    def _tell(self, trouble: str) -> None:
        if trouble != self._told:  # once, not at each look
            self._told = trouble
            _log.error("%s", trouble)

    def may_renew(self, token: str, now: float) -> bool:
        """Whether a person asked for this band to be paired (again)."""
        return now < self._renewing.get(token, float("-inf"))

    def _save(self) -> None:
        self.revision += 1
        if self._file is None:
            return
        fresh = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(msgspec.json.encode(self._book))
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(self._file)
            folder = os.open(self._file.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # or a power cut brings the old one back
            finally:
                os.close(folder)
        except OSError as fault:
            raise Fault(f"{self._file} cannot be written ({fault.strerror}): is the disk full?") from None
