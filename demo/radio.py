"""Bands on a virtual radio and a gateway that reads them over Bluetooth: two processes, as in the street."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from contracts.ports import Fault
from demo.children import Child
from gateway.bonds import BondBook

GATEWAY: Final = "radio-1"
_READY_S_MAX: Final = 30.0
#: More bands than this wait for their turn: their clocks stand still until they are heard.
SLOTS_MAX: Final = 64
#: What connecting, and a machine that is busy, may add to the time that the bands' clocks take.
_SLACK_S: Final = 120.0
_SLOWER: Final = 4.0
_POLL_S: Final = 0.5


class RadioPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Which bands are on the air, where the gateway hangs, and how fast the bands' clocks run."""

    district: str
    words: list[str]  # options of `wijkpols bands`
    bands: int
    speed: float
    seconds: float  # of the world, that the longest band plays


def gateway(
    name: str,
    *,
    radio: str,
    broker_url: str,
    band_key: str,
    district: str,
    folder: Path,
    logs: Path,
    slots: int,
    revisit_s: float = 600.0,
) -> Child:
    """A gateway that hangs in a district and opens `radio` (as `tcp-client:HOST:PORT`), to be entered."""
    settings = {
        "WIJKPOLS_BROKER_URL": broker_url,
        "WIJKPOLS_BAND_KEY": band_key,
        "WIJKPOLS_GATEWAY_NAME": name,
        "WIJKPOLS_GATEWAY_DISTRICT": district,
        "WIJKPOLS_GATEWAY_OUTBOX": str(folder / name),
        "WIJKPOLS_GATEWAY_RADIO": f"bumble:{radio}",
        "WIJKPOLS_GATEWAY_SLOTS": str(slots),
        "WIJKPOLS_GATEWAY_REVISIT_S": f"{revisit_s:g}",
    }
    return Child("gateway" if name == GATEWAY else name, ["gateway", "run"], env=settings, logs=logs)


class Radio:
    """The two processes for as long as the `with` block lasts; at its end the gateway has sent all it holds."""

    def __init__(self, plan: RadioPlan, *, broker_url: str, band_key: str, folder: Path, logs: Path) -> None:
        self._plan = plan
        words = ["bands", "--radio", "tcp-server:127.0.0.1:0", "--speed", f"{plan.speed:g}"]
        self._bands = Child("bands", [*words, *plan.words], env={}, logs=logs)
        self._folder = folder / GATEWAY
        self._gateway_of = partial(
            gateway,
            GATEWAY,
            broker_url=broker_url,
            band_key=band_key,
            district=plan.district,
            folder=folder,
            logs=logs,
            slots=min(plan.bands, SLOTS_MAX),
        )
        self._gateway: Child | None = None

    def __enter__(self) -> Self:
        # New bands each time, with the serials of the last ones: to a gateway that knew those they would be impostors.
        book = BondBook(self._folder)
        for bond in book:
            book.remove(bond.token)
        self._bands.__enter__()
        try:
            radio = self._hear("radio", _READY_S_MAX)["radio"]
            self._gateway = self._gateway_of(radio=radio).__enter__()
        except BaseException:
            self._bands.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # The gateway first: it flushes its open minutes and drains its outbox while the broker still runs.
        if self._gateway is not None:
            self._gateway.end()
        self._bands.end()

    def wait_until_done(self) -> int:
        """Wait until every band has played to its end; returns the minutes that they recorded. Raises Fault."""
        minutes = self._hear("minutes", _READY_S_MAX)["minutes"]
        deadline = time.monotonic() + self._plan.seconds * _SLOWER + _SLACK_S
        while time.monotonic() < deadline:
            self.check()
            event = self._bands.event(_POLL_S)
            if event is not None and event.get("event") == "done":
                return int(minutes)
        raise Fault("bands are stuck on the radio: bands.log and gateway.log in the data folder (--data) tell more")

    def check(self) -> None:
        """Raise Fault when a process has ended."""
        for child in (self._gateway, self._bands):
            if child is not None and not child.running:
                child.event(0)  # says how it ended

    def _hear(self, key: str, timeout: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            event = self._bands.event(_POLL_S)
            if event is not None and key in event:
                return event
        raise Fault("the bands did not get on the air: bands.log in the data folder (--data) tells more")
