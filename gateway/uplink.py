"""Consent gate, outbox and publisher as one object: what both the radio and the demo's fast path hand readings to."""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.consent import STOP_CLOCK_S, ConsentMessage, ConsentMirror, ConsentState, Cover
from contracts.ports import Clock, SystemClock
from contracts.reading import RETENTION_DAYS, Reading, SelfReport
from gateway.consent_gate import admit
from gateway.outbox import BYTES_MAX, ROWS_MAX, Drained, Outbox, Row
from gateway.publisher import Publisher
from gateway.rotation import Counts, Ended, Past
from gateway.stops import Stops

#: How a reading can leave the outbox other than to the broker. It was counted as made before.
OUTBOX_FULL: Final = "outbox-full"
OUTBOX_WITHDRAWN: Final = "outbox-withdrawn"
OUTBOX_EXPIRED: Final = "outbox-expired"
#: The disk did not take it.
OUTBOX_FAILED: Final = "outbox-failed"
_log = logging.getLogger(__name__)


class Uplink:
    """Takes readings with their band's token; keeps what consent covers; carries it to the broker, whatever happens.

    A context manager: entering begins to connect, leaving says the last status. Thread-safe. Raises Fault when the
    outbox cannot be opened. `on_consent(token)` is called in another thread after each change of a band's consent; it
    must not block.
    """

    def __init__(
        self,
        *,
        broker: BrokerAddress,
        gateway: str,
        district: str,
        outbox: Path,
        clock: Clock | None = None,
        slots: int = 0,
        version: str = "",
        versions: Mapping[str, str] | None = None,
        on_consent: Callable[[str], None] | None = None,
        quiet_s: float = 5.0,
        rows_max: int = ROWS_MAX,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        self._clock = clock or SystemClock()
        self._tell_consent = on_consent or (lambda _token: None)
        self._lock = threading.Condition(threading.RLock())
        self._mirror = ConsentMirror()
        self._tokens: set[str] = set()
        #: Consents, by pseudonym, by which the outbox could not be purged yet: the disk refused.
        self._unapplied: dict[str, ConsentMessage] = {}
        self._ready = False
        self._status = wire.GatewayStatus(
            gateway=gateway,
            district=district,
            online=True,
            slots=slots,
            version=version,
            versions=dict(versions or {}),
        )
        self._made = self._reports_made = self._published = 0
        self._dropped: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._turns: Counter[str] = Counter()
        self._records = self._corrected = self._clocks_set = self._overwritten = 0
        self._outbox = Outbox(folder=outbox, rows_max=rows_max, bytes_max=bytes_max)
        self._stops = Stops(self._outbox)
        self._publisher = Publisher(
            broker=broker,
            gateway=gateway,
            district=district,
            outbox=self._outbox,
            may_send=self._may_send,
            stops=self._who_stopped,
            on_consent=self._consent_came,
            on_synced=self._consents_read,
            on_published=self._count_published,
            housekeep=self._housekeep,
            status=self.status,
            now=self._clock.now,
            quiet_s=quiet_s,
        )

    def __enter__(self) -> Self:
        self._publisher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._status = msgspec.structs.replace(self._status, online=False, bands_connected=0)
        self._publisher.stop()
        self._outbox.close()

    def accept(self, token: str, readings: Sequence[Reading], reports: Sequence[SelfReport] = ()) -> int:
        """Put what the band's consent covers into the outbox; count the rest. Returns how many readings went in."""
        return self._take(token, readings, reports, None) or 0

    def store(self, drained: Drained, readings: Sequence[Reading], reports: Sequence[SelfReport] = ()) -> bool:
        """As `accept`, of a band's memory, with how far it was read by now: all of it is kept, or (False) nothing."""
        return self._take(drained.token, readings, reports, drained) is not None

    def drained(self, token: str, log: int) -> Drained:
        """How far this memory of a band was read."""
        return self._outbox.drained(token, log)

    def sync(self) -> None:
        """Make what was stored safe from a power cut."""
        self._outbox.sync()

    def past(self, band: str) -> Past | None:
        """What was known of a band before a restart, by its identity or address."""
        try:
            return self._outbox.past(band, self._clock.now())
        except sqlite3.Error:  # the next write tells of it
            return None

    def _take(
        self, token: str, readings: Sequence[Reading], reports: Sequence[SelfReport], drained: Drained | None
    ) -> int | None:
        """How many readings went into the outbox; None when the disk, or consent, took nothing."""
        with self._lock:
            cover = self.cover(token)
            kept = admit(cover, readings, reports)
            self._dropped.update(kept.readings_dropped)
            self._rejected.update({f"self-report:{reason}": n for reason, n in kept.reports_dropped.items()})
            if cover is None:
                return None
            if drained is None and not (kept.readings or kept.reports):
                return 0
            try:
                crowded_out = self._outbox.add(
                    cover.pseudonym, kept.readings, kept.reports, now=self._clock.now(), drained=drained
                )
            except sqlite3.Error as fault:
                self._count(OUTBOX_FAILED, len(kept.readings))
                _log.error("the outbox does not take readings (%s): is the disk full?", fault)
                return None
            self._made += len(kept.readings)
            self._reports_made += len(kept.reports)
            self._count(OUTBOX_FULL, crowded_out)
        self._publisher.wake()
        return len(kept.readings)

    def cover(self, token: str) -> Cover | None:
        """What the wearer of this band consents to now; None is nothing."""
        with self._lock:
            if self._stops.ends(token, self._mirror.message(token)):
                return None
            return self._mirror.by_token(token, self._clock.now())

    def stop(self, token: str, age_s: float, press: int = 0) -> bool:
        """The wearer held the band's button, so long ago at least: from now on nothing of them is read or sent.

        `press` is that press's number. False: their choice came after it. Where our clock says that the choice is yet
        to come, one of the clocks is wrong, and the stop is taken for as new as that choice: it holds here, and in the
        ledger.
        """
        with self._lock:
            message, now = self._mirror.message(token), self._clock.now()
            if message is None or message.state is not ConsentState.GIVEN:
                return True
            pressed_at = math.ceil(now - age_s)
            if max(message.valid_from, message.choice_at) > now + STOP_CLOCK_S:
                pressed_at = max(pressed_at, message.choice_at)
            if not message.ended_by(pressed_at, press):
                return False
            self._count(OUTBOX_WITHDRAWN, self._stops.add(token, message, pressed_at, press))
            self._publisher.forget(message.pseudonym)
        self._publisher.tell_stops()
        self._tell_consent(token)
        return True

    def _who_stopped(self) -> list[wire.Stop]:
        with self._lock:
            return list(self._stops)

    def ended(self, token: str) -> bool:
        """Whether the wearer of this band said no, or was asked again in vain for as long as readings are kept."""
        with self._lock:
            message = self._mirror.message(token)
            if message is None or message.state is ConsentState.GIVEN:
                return False
            asked_s = self._clock.now() - message.issued_at
            return message.state is ConsentState.WITHDRAWN or asked_s >= RETENTION_DAYS * 86_400

    def wait_for_consents(self, wanted: Collection[str] | int, timeout_s: float) -> bool:
        """Wait until these tokens are covered, or so many consents are known (0: all that the broker had); or False."""

        def there() -> bool:
            if isinstance(wanted, int):
                return self._ready and len(self._mirror) >= wanted
            return all(self.cover(token) is not None for token in wanted)

        with self._lock:
            return self._lock.wait_for(there, timeout_s)

    def drain(self, timeout_s: float) -> bool:
        """Wait until the broker has acknowledged all that may be sent; False when time is up first."""
        return self._publisher.wait_idle(timeout_s)

    def note_minutes(self, dropped: Mapping[str, int]) -> None:
        """Count minutes of which no reading was made, by reason. What `accept` takes or drops is counted there."""
        with self._lock:
            self._dropped.update(dropped)

    def note_frames(self, rejected: Mapping[str, int]) -> None:
        """Count frames of a band that could not be used, by `frame:reason`."""
        with self._lock:
            self._rejected.update(rejected)

    def note_records(self, *, read: int = 0, corrected: int = 0, clocks_set: int = 0, overwritten: int = 0) -> None:
        """Count stored records: read, of those with a corrected time, overwritten unread; and clocks that were set."""
        with self._lock:
            self._records += read
            self._corrected += corrected
            self._clocks_set += clocks_set
            self._overwritten += overwritten

    def note_bands(self, counts: Counts | None) -> None:
        """How many bands are there now; None when no radio listens."""
        now = counts or Counts(0, 0, 0, 0, 0)
        with self._lock:
            self._status = msgspec.structs.replace(
                self._status,
                bands_heard=now.heard,
                bands_connected=now.connected,
                bands_waiting=now.waiting,
                bands_read=now.read,
                bands_without_consent=now.without_consent,
            )

    def note_turn(self, how: Ended) -> None:
        """A band's turn is over."""
        with self._lock:
            self._turns[how.name.lower().replace("_", "-")] += 1

    def note_past(self, past: Mapping[str, Past]) -> None:
        """What a restart should know of these bands."""
        try:
            self._outbox.note_past(past, self._clock.now())
        except sqlite3.Error as fault:
            _log.warning("the bands' turns could not be noted (%s): is the disk full?", fault)

    def status(self) -> wire.GatewayStatus:
        """The counters, as they go out in the status message."""
        with self._lock:
            return msgspec.structs.replace(
                self._status,
                at=int(self._clock.now()),
                minutes_made=self._made,
                minutes_dropped=dict(self._dropped),
                frames_rejected=dict(self._rejected),
                reports_made=self._reports_made,
                records_read=self._records,
                records_corrected=self._corrected,
                records_overwritten=self._overwritten,
                clocks_set=self._clocks_set,
                turns=dict(self._turns),
                published=self._published,
                outbox_rows=len(self._outbox),
                outbox_since=self._waiting_since(),
            )

    def _waiting_since(self) -> int:
        try:
            return self._outbox.oldest()
        except sqlite3.Error:  # the next write tells of it
            return 0

    def _count(self, reason: str, minutes: int) -> None:
        if minutes:
            self._dropped[reason] += minutes

    def _may_send(self, row: Row) -> bool:
        """Whether all that is in it is consented to: it may have been read, or left, from before a narrower choice."""
        with self._lock:
            if any(self._mirror.whose(token) == row.pseudonym for token in self._stops.tokens()):
                return False
            cover = self._mirror.by_pseudonym(row.pseudonym, self._clock.now())
            if cover is None:
                return False
            try:
                message = wire.decode_readings(row.payload)
            except wire.Malformed:  # damaged on the disk
                return False
            return _covered(message, cover) == message

    def _count_published(self, readings: int) -> None:
        with self._lock:
            self._published += readings

    def _housekeep(self) -> None:
        self._apply_the_rest()
        self._outbox.sync()
        gone = self._outbox.expire(self._clock.now() - RETENTION_DAYS * 86_400)  # without our lock: it can take long
        with self._lock:
            self._count(OUTBOX_EXPIRED, gone)

    def _consent_came(self, token: str, message: ConsentMessage | None) -> None:
        with self._lock:
            before = self._mirror.message(token)
            try:
                changed = self._mirror.apply(token, message)
            except OverflowError as fault:
                _log.error("a consent was not taken in: %s", fault)
                return
            if not changed:
                return
            if message is not None:  # a cleared consent is unknown, as after a broker lost it: it only holds back
                for known in (before, message):
                    if known is not None:
                        self._publisher.forget(known.pseudonym)
            if message is None:
                self._tokens.discard(token)
            else:
                self._tokens.add(token)
                self._stops.settle(token, message)
                self._apply_to_outbox(before, message)
            self._lock.notify_all()
        self._publisher.rescan()
        self._tell_consent(token)

    def _apply_to_outbox(self, before: ConsentMessage | None, message: ConsentMessage) -> None:
        """What waits to be sent must be covered by the newest consent. A cleared one is unknown: it only holds back."""
        if self._unapplied.pop(message.pseudonym, None) is not None:
            before = None
        if len(self._outbox) == 0:
            return
        cover = self._mirror.by_pseudonym(message.pseudonym, self._clock.now())
        same = before and before.purposes == message.purposes and before.valid_from >= message.valid_from
        if message.state is ConsentState.GIVEN and (cover is None or same):
            return
        try:
            if cover is None:
                gone = self._outbox.purge(message.pseudonym)
            else:
                gone = self._outbox.narrow(message.pseudonym, lambda waiting: _covered(waiting, cover))
        except sqlite3.Error as fault:  # what is not covered stays unsent
            self._unapplied[message.pseudonym] = message
            _log.error("the outbox could not be purged (%s), and will be: is the disk full?", fault)
            return
        self._count(OUTBOX_WITHDRAWN, gone)

    def _apply_the_rest(self) -> None:
        with self._lock:
            left = list(self._unapplied.values())
            for message in left:
                self._apply_to_outbox(None, message)
        if left:
            self._publisher.rescan()

    def _consents_read(self, seen: Callable[[str], bool]) -> None:
        """All retained consents are read: a band whose message is gone is covered by nothing."""
        with self._lock:
            self._ready = True
            for token in [token for token in self._tokens if not seen(token)]:
                self._consent_came(token, None)
            self._lock.notify_all()


def _covered(message: wire.ReadingsMessage, cover: Cover) -> wire.ReadingsMessage | None:
    """What of it is consented to; None: nothing."""
    kept = admit(cover, message.readings, message.reports)
    if not kept.readings and not kept.reports:
        return None
    return msgspec.structs.replace(message, readings=tuple(kept.readings), reports=tuple(kept.reports))
