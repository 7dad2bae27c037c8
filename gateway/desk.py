"""The open minutes of all bands, by token. They outlive a connection: a band that comes back in a moment goes on."""

from __future__ import annotations

from typing import Final

from contracts.ports import Clock
from contracts.reading import SelfReport
from gateway.consent_gate import CONSENT_MISSING
from gateway.gatt_codec import SelfReportFrame
from gateway.minutes import AHEAD_S_MAX, BEHIND_S_MAX, CLOCK, Carried, MinuteBuilder
from gateway.uplink import Uplink

#: A band that was not heard for so long is gone: its minutes are closed.
IDLE_S_MAX: Final = 120.0
#: So many bands at once have open minutes; the one silent for longest gives way.
BANDS_MAX: Final = 2_000


class MinuteDesk:
    """Builders by band token; hands what they make to the uplink. `now_s` is a monotonic time in seconds."""

    def __init__(self, *, uplink: Uplink, clock: Clock) -> None:
        self._uplink = uplink
        self._clock = clock
        self._open: dict[str, _Open] = {}
        self._carried: dict[str, tuple[str, Carried]] = {}  # of memories: by token, with the pseudonym

    def __len__(self) -> int:
        return len(self._open)

    def builder(self, token: str, pseudonym: str, now_s: float) -> MinuteBuilder:
        """The open minutes of a band; another wearer's are forgotten first."""
        held = self._open.get(token)
        if held is not None and held.pseudonym != pseudonym:
            self.forget(token)
            held = None
        if held is None:
            while len(self._open) >= BANDS_MAX:
                self._finish(min(self._open, key=lambda one: self._open[one].heard_s))
            held = self._open[token] = _Open(MinuteBuilder(clock=self._clock), pseudonym, now_s)
        held.heard_s = now_s
        return held.builder

    def carried(self, token: str, pseudonym: str) -> Carried | None:
        """What the last reading of this wearer's memory left for the next; in memory alone."""
        whose, carried = self._carried.get(token, ("", None))
        return carried if whose == pseudonym else None

    def carry(self, token: str, pseudonym: str, carried: Carried) -> None:
        """Keep what a reading of a memory leaves for the next."""
        self._carried.pop(token, None)
        while len(self._carried) >= BANDS_MAX:
            del self._carried[next(iter(self._carried))]
        self._carried[token] = pseudonym, carried

    def deliver(self, token: str, now_s: float) -> None:
        """Hand over what was closed since, and note that the band was heard."""
        held = self._open.get(token)
        if held is None:
            return
        held.heard_s = now_s
        tables, dropped = held.builder.take()
        if dropped:
            self._uplink.note_minutes(dropped)
        for table in tables:
            self._uplink.note_minutes(table.drops())
            self._uplink.accept(token, table.readings(held.pseudonym))

    def report(self, token: str, pseudonym: str, frame: SelfReportFrame) -> str | None:
        """Hand an answer over, or say why not."""
        now = self._clock.now()
        if not now - BEHIND_S_MAX <= frame.time <= now + AHEAD_S_MAX:
            return CLOCK
        report = SelfReport(pseudonym=pseudonym, at=frame.time, safe=frame.safe, happy=frame.happy, reason=frame.reason)
        self._uplink.accept(token, (), (report,))
        return None

    def consent_changed(self, token: str) -> None:
        """Forget the open minutes of a wearer who withdrew."""
        held = self._open.get(token)
        cover = self._uplink.cover(token)
        self._carried.pop(token, None)
        if held is not None and (cover is None or cover.pseudonym != held.pseudonym):
            self.forget(token)

    def forget(self, token: str) -> None:
        """Drop a band's open minutes; what was closed and not handed over is dropped with them."""
        held = self._open.pop(token, None)
        if held is None:
            return
        held.builder.forget()
        tables, dropped = held.builder.take()
        self._uplink.note_minutes(dropped)
        for table in tables:
            self._uplink.note_minutes(table.drops())
            self._uplink.note_minutes({CONSENT_MISSING: int((table.dropped == "").sum())})

    def sweep(self, now_s: float) -> None:
        """Close the minutes of bands that are gone."""
        for token in [token for token, held in self._open.items() if now_s - held.heard_s > IDLE_S_MAX]:
            self._finish(token)

    def flush(self) -> None:
        """Close all open minutes: the gateway ends."""
        for token in list(self._open):
            self._finish(token)

    def _finish(self, token: str) -> None:
        held = self._open[token]
        held.builder.flush()
        self.deliver(token, held.heard_s)
        del self._open[token]


class _Open:
    """One band's builder, whose it is, and when the band was last heard."""

    def __init__(self, builder: MinuteBuilder, pseudonym: str, heard_s: float) -> None:
        self.builder = builder
        self.pseudonym = pseudonym
        self.heard_s = heard_s
