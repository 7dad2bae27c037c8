"""Bands on a virtual radio and a gateway that reads them over Bluetooth: two processes, as in the street."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from contracts.ports import Fault
from demo.children import Child

GATEWAY: Final = "radio-1"
_READY_S_MAX: Final = 30.0
#: A band at speed that says nothing new for so long is stuck.
_SILENCE_S_MAX: Final = 120.0
_POLL_S: Final = 0.5


class RadioPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Which bands are on the air, where the gateway hangs, and how fast the bands' clocks run."""

    district: str
    words: list[str]  # options of `wijkpols bands`
    bands: int
    speed: float
    slots: int


class Radio:
    """The two processes for as long as the `with` block lasts; at its end the gateway has sent all it holds."""

    def __init__(self, plan: RadioPlan, *, broker_url: str, band_key: str, folder: Path, logs: Path) -> None:
        self._plan = plan
        self._bands = Child(
            "bands",
            ["bands", "--radio", "tcp-server:127.0.0.1:0", "--speed", f"{plan.speed:g}", "--exit-when-done"]
            + plan.words,
            env={},
            logs=logs,
        )
        self._settings = {
            "WIJKPOLS_BROKER_URL": broker_url,
            "WIJKPOLS_BAND_KEY": band_key,
            "WIJKPOLS_GATEWAY_NAME": GATEWAY,
            "WIJKPOLS_GATEWAY_DISTRICT": plan.district,
            "WIJKPOLS_GATEWAY_OUTBOX": str(folder / f"{GATEWAY}.sqlite"),
            "WIJKPOLS_GATEWAY_SLOTS": str(plan.slots),
        }
        self._logs = logs
        self._gateway: Child | None = None
        self.recorded = 0  # minutes that the bands say they played

    def __enter__(self) -> Self:
        self._bands.__enter__()
        try:
            radio = self._await("radio", _READY_S_MAX)["radio"]
            env = {**self._settings, "WIJKPOLS_GATEWAY_RADIO": f"bumble:{radio}"}
            self._gateway = Child("gateway", ["gateway", "run"], env=env, logs=self._logs)
            self._gateway.__enter__()
        except BaseException:
            self._bands.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # The gateway first: it flushes its open minutes and drains its outbox while the broker still runs.
        if self._gateway is not None:
            self._gateway.end()
        self._bands.end()

    def wait_until_done(self, progress: Callable[[int], None]) -> None:
        """Return when every band has played to its end; `progress` is told the bands that are done."""
        silent_since = time.monotonic()
        done = 0
        while done < self._plan.bands:
            if self._gateway is None or not self._gateway.running:
                raise Fault("the gateway ended before its bands did; see gateway.log in the data folder")
            event = self._bands.event(_POLL_S)
            if event is None:
                if time.monotonic() - silent_since > _SILENCE_S_MAX:
                    raise Fault(
                        f"{self._plan.bands - done} bands are stuck on the radio; see bands.log and gateway.log"
                    )
                continue
            silent_since = time.monotonic()
            if event.get("event") == "band-done":
                done += 1
                progress(done)
            elif event.get("event") == "done":
                self.recorded = int(event["minutes"])
                return

    def _await(self, key: str, timeout: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            event = self._bands.event(_POLL_S)
            if event is not None and key in event:
                return event
        raise Fault("the bands did not get on the air; see bands.log in the data folder")
