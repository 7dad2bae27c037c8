"""Which band is connected next, and by which radio: fair, and none is tried in vain too often.

Pure; time is passed in (monotonic, s). A band is known by a key: its identity where the radio can tell it, else its
address of the moment. The order, and why: docs/adr/0008-rotation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from itertools import islice, takewhile
from typing import Final, NamedTuple

#: A band that was not heard for so long is not there.
HEARD_S_MAX: Final = 30.0
#: Keys kept; addresses change, so old ones give way, so many at once that room is seldom looked for.
BANDS_MAX: Final = 5_000
_GIVE_WAY: Final = 100
#: What is still known of a band that was not heard since, and had no turn, s.
PAST_S_MAX: Final = 86_400
#: A band whose memory was read is left alone for so long: each connection costs it charge.
REVISIT_S: Final = 600.0
#: A band with little charge, or with much in its memory, waits as if it had waited so many times as long.
URGENT: Final = 4.0
#: Bands that waited at least this share of the longest wait are taken in the order in which they can be connected.
NEARLY: Final = 0.75
#: How often a band advertises: never more often, and, while it is not known, as seldom (Core, Vol 6, Part B, 4.4.2.2).
ADVERTISING_S_MIN: Final = 0.02
ADVERTISING_S_MAX: Final = 10.24
#: A radio takes so long to begin to listen for one band; what is due sooner is missed.
READY_S: Final = 0.1
#: "Little charge" (percent) and "much in its memory" (share of a week).
BATTERY_LOW: Final = 15
FILLED_HIGH: Final = 0.5
#: Bands read within so long count as read.
READ_S_MAX: Final = 7_200.0


class Ended(Enum):
    """Why a session is over."""

    LOST = "the link is gone"
    DRAINED = "its memory is read"
    MORE = "its turn is over, and its memory holds more"
    TURN_OVER = "others wait for its slot"
    NO_SERIAL = "the band has no serial number"
    NO_CONSENT = "nothing of it may be read"
    STOPPED = "its wearer stopped by its button"
    NOT_PAIRED = "it has no bond with us, and lets us have none"
    BOND_LOST = "it does not take the key of our bond"
    CONSENT_CHANGED = "other things may be read now"
    FAULTY = "the band does not keep to the profile"
    FAILED = "it could not be connected, or stopped answering"
    RADIO_LOST = "the gateway's own radio is gone, or the gateway ends"


#: How long a band waits after a session that ended so; the first of two is doubled each time, up to the second.
_WAIT_S: Final[Mapping[Ended, tuple[float, float]]] = {
    Ended.LOST: (2.0, 2.0),
    Ended.MORE: (0.0, 0.0),
    Ended.TURN_OVER: (2.0, 2.0),
    Ended.NO_SERIAL: (2.0, 300.0),  # BlueZ may have told of some of its services only
    Ended.NO_CONSENT: (60.0, 60.0),
    Ended.STOPPED: (60.0, 60.0),
    Ended.NOT_PAIRED: (300.0, 300.0),  # with its button held it comes under another address
    Ended.BOND_LOST: (300.0, 300.0),
    Ended.CONSENT_CHANGED: (0.0, 0.0),
    Ended.FAULTY: (60.0, 3_600.0),
    Ended.FAILED: (2.0, 300.0),
    Ended.RADIO_LOST: (0.0, 0.0),
}
_FAILURES: Final = (Ended.FAULTY, Ended.FAILED, Ended.NO_SERIAL)
#: After a lost link or a failure a band keeps its place, so often in a row; then it goes to the back.
STRIKES_MAX: Final = 2
_READ: Final = (Ended.DRAINED, Ended.MORE, Ended.TURN_OVER)


class Counts(NamedTuple):
    """How many bands: heard lately or connected; of those connected, waiting for a slot, read lately, refused."""

    heard: int
    connected: int
    waiting: int
    read: int
    without_consent: int


class Past(NamedTuple):
    """What a restart should know of a band that had a turn.

    Its place, so that no band is read first again and again; and what it was spared. Not what it is refused for, for
    the consents are read anew, nor how it failed: that may have been the gateway's own fault, and a restart its repair.
    """

    turn_s: float  # since the end of its last turn
    read_s: float = float("inf")  # since it was last read
    rest_s: float = 0.0  # for how long it is left alone yet, because its memory is read


class _Band:
    def __init__(self, now_s: float, past: Past | None, revisit_s: float) -> None:
        self.met = past is not None  # had a turn; without a bond its address, and its wait, begins anew each 15 minutes
        self.heard_s: dict[str, float] = {}  # by radio
        self.seen_s = now_s  # when it was last heard, or its last turn ended
        self.every_s = ADVERTISING_S_MAX  # between its last two advertisements that one radio heard
        past = past or Past(0.0)
        self.turn_s = now_s - past.turn_s  # the end of its last turn; before the first one, when it was first heard
        self.read_s = now_s - past.read_s
        self.rest_s = now_s + min(past.rest_s, revisit_s)  # until when it is left alone because its memory is read
        self.not_before_s = self.rest_s
        self.failures = 0
        self.strikes = 0
        self.radio: str | None = None  # the one that has it connected
        self.without_consent = False
        self.refused = False  # something that may change at any moment kept it from being read
        self.again = False  # it changed during this turn, which may have begun by what held before
        self.live: bool | None = None  # read as it measures; None: not known yet
        self.battery_low = False
        self.full = False
        self.token = ""
        self.identity: str | None = None  # proven by a bond: from its next advertisement on it is heard by this name

    @property
    def urgent(self) -> bool:
        return self.battery_low or self.full

    def heard(self, radio: str, now_s: float) -> None:
        gap_s = now_s - self.heard_s.get(radio, now_s)
        if gap_s >= ADVERTISING_S_MIN:
            self.every_s = gap_s  # or several times as long, if some were missed: it advertises at those moments, too
        self.heard_s[radio] = self.seen_s = now_s

    def waited_s(self, now_s: float) -> float:
        return (now_s - self.turn_s) * (URGENT if self.urgent else 1.0)

    def due_s(self, now_s: float, radio: str) -> float:
        """When it can be connected, s after the radio is ready; an interval later for each that was not heard."""
        missed, since_s = divmod(now_s + READY_S - self.heard_s[radio], self.every_s)
        return (missed + 1) * self.every_s - since_s

    def try_again(self) -> None:
        if self.refused:
            self.refused = self.without_consent = False
            self.not_before_s = float("-inf")

    def there(self, now_s: float, radio: str | None = None) -> bool:
        times = self.heard_s.values() if radio is None else (self.heard_s.get(radio, float("-inf")),)
        return any(now_s - heard_s <= HEARD_S_MAX for heard_s in times)

    def waits(self, now_s: float, radio: str | None = None) -> bool:
        return self.radio is None and self.not_before_s <= now_s and self.there(now_s, radio)


class Rotation:
    """Gives turns: at most `slots[radio]` bands at once on each radio; of those that wait the longest waiting first."""

    def __init__(self, *, slots: Mapping[str, int], revisit_s: float = REVISIT_S) -> None:
        self._slots = dict(slots)
        self._revisit_s = revisit_s
        self._bands: dict[str, _Band] = {}  # who was seen last is the last
        self._new_had_turn = dict.fromkeys(slots, False)  # by radio: whether the last turn was one's never met before

    def heard(
        self, key: str, radio: str, now_s: float, *, past: Callable[[str], Past | None] = lambda _key: None
    ) -> None:
        """A band advertised. `past` tells of one that is new what was known of it before a restart."""
        band = self._bands.pop(key, None)
        if band is None:
            if len(self._bands) >= BANDS_MAX:
                self._make_room()
            band = _Band(now_s, past(key), self._revisit_s)
        self._bands[key] = band
        band.heard(radio, now_s)

    def next(self, radio: str, now_s: float) -> str | None:
        """The band to connect to now by this radio; it has a slot until `ended`. None: no slot, or nobody waits."""
        self._forget_old(now_s)
        free = self._slots[radio] - sum(band.radio == radio for band in self._bands.values())
        if free <= 0:
            return None
        # Who is read live keeps its slot for long: the last one is for those that come and go.
        keep_last = free == 1 < self._slots[radio] and self._memories_heard(radio, now_s)
        waiting = [
            (key, band)
            for key, band in self._bands.items()
            if band.waits(now_s, radio) and not (keep_last and band.live)
        ]
        if not waiting:
            return None
        if not self._new_had_turn[radio]:  # every other turn is for one that was never met, if there is any
            waiting = [one for one in waiting if not one[1].met] or waiting
        longest_s = max(band.waited_s(now_s) for _, band in waiting)
        nearly = [one for one in waiting if one[1].waited_s(now_s) >= NEARLY * longest_s]
        key, band = min(nearly, key=lambda one: one[1].due_s(now_s, radio))
        self._new_had_turn[radio] = not band.met
        band.radio = radio
        return key

    def identified(self, key: str, token: str, identity: str | None = None) -> None:
        """A connected band said who it is: what was known of it under another address is its history.

        `identity`: the key by which it is heard from now on, if a bond proves it.
        """
        band = self._bands[key]
        band.token, band.identity = token, identity
        for other, known in list(self._bands.items()):
            if other != key and known.token == token and known.radio is None:
                band.read_s = max(band.read_s, known.read_s)
                band.failures = max(band.failures, known.failures)
                del self._bands[other]

    def noted(
        self, key: str, *, live: bool | None = None, battery: int | None = None, filled: float | None = None
    ) -> None:
        """What a session found: how the band is read, its charge (percent), its memory's fill (share of a week)."""
        band = self._bands[key]
        if live is not None:
            band.live = live
        if battery is not None:
            band.battery_low = battery <= BATTERY_LOW
        if filled is not None:
            band.full = filled > FILLED_HIGH

    def ended(self, key: str, how: Ended, now_s: float) -> None:
        """A turn is over."""
        band = self._bands[key] = self._bands.pop(key)
        band.radio, band.seen_s = None, now_s
        band.heard_s.clear()  # it must be heard again: it may be gone, or have another address by now
        if how is Ended.RADIO_LOST:  # no fault of the band's: its place, and what it is known for, stay
            return
        band.met = True
        band.strikes = band.strikes + 1 if how in (Ended.LOST, Ended.FAILED) else 0
        if not 0 < band.strikes <= STRIKES_MAX:
            band.turn_s = now_s
        band.without_consent = how in (Ended.NO_CONSENT, Ended.NO_SERIAL, Ended.STOPPED)
        band.refused = band.without_consent or how is Ended.NOT_PAIRED
        if how in _READ:
            band.read_s = now_s
        if how is Ended.DRAINED:
            wait_s = self._revisit_s / (URGENT if band.urgent else 1.0)
            band.rest_s = now_s + wait_s
        else:
            first_s, most_s = _WAIT_S[how]
            wait_s = min(first_s * 2**band.failures, most_s)
        band.failures = min(band.failures + 1, 16) if how in _FAILURES else 0
        band.not_before_s = now_s + wait_s
        if band.again:
            band.again = False
            band.try_again()
        if band.identity is not None and self._idle(band.identity):  # it bonded in this turn
            del self._bands[key]
            self._bands.pop(band.identity, None)
            self._bands[band.identity] = band

    def past(self, now_s: float, *, since_s: float = float("-inf")) -> dict[str, Past]:
        """What a restart should know of each band that had a turn, and changed since."""
        return {
            key: Past(now_s - band.turn_s, now_s - band.read_s, max(band.rest_s - now_s, 0.0))
            for key, band in self._bands.items()
            if band.met and max(band.turn_s, band.read_s) >= since_s
        }

    def forget(self, key: str) -> None:
        """The bond with this band is gone: it will not be heard by this name any more."""
        if self._idle(key):
            self._bands.pop(key, None)

    def may_try_again(self) -> None:
        """Some consent is new, or some band may pair now: those refused may try at once."""
        for band in self._bands.values():
            band.again = band.radio is not None
            band.try_again()

    def pressed(self, key: str, now_s: float) -> bool:
        """Whether somebody waits for the slot that this band has."""
        radio = self._bands[key].radio
        if radio is None or sum(band.radio == radio for band in self._bands.values()) < self._slots[radio]:
            return False
        return any(band.waits(now_s, radio) for band in self._bands.values())

    def counts(self, now_s: float) -> Counts:
        """See Counts."""
        there = [b for b in self._bands.values() if b.radio is not None or b.there(now_s)]
        return Counts(
            heard=len(there),
            connected=sum(b.radio is not None for b in there),
            waiting=sum(b.waits(now_s) for b in there),
            read=sum(now_s - b.read_s <= READ_S_MAX for b in there),
            without_consent=sum(b.without_consent for b in there),
        )

    def _forget_old(self, now_s: float) -> None:
        old = takewhile(lambda one: now_s - one[1].seen_s > PAST_S_MAX, self._bands.items())
        for key in [key for key, band in old if band.radio is None]:
            del self._bands[key]

    def _make_room(self) -> None:
        """Those seen longest ago give way: of the never met, or, if these are more, of those that had a turn.

        So new addresses without end push out no band that is known, unless these fill half of the table; and those
        that had a turn, be it in vain, leave the other half to bands that have yet to come to theirs.
        """
        met = 2 * sum(band.met for band in self._bands.values()) > len(self._bands)
        free = (key for key, band in self._bands.items() if band.met is met and band.radio is None)
        for key in list(islice(free, _GIVE_WAY)):
            del self._bands[key]

    def _idle(self, key: str) -> bool:
        return key not in self._bands or self._bands[key].radio is None

    def _memories_heard(self, radio: str, now_s: float) -> bool:
        return any(band.live is False and band.there(now_s, radio) for band in self._bands.values())


class Turn(NamedTuple):
    """One band's turn, as its session sees it."""

    rotation: Rotation
    key: str

    def identified(self, token: str, identity: str | None) -> None:
        """See Rotation."""
        self.rotation.identified(self.key, token, identity)

    def noted(self, *, live: bool | None = None, battery: int | None = None, filled: float | None = None) -> None:
        """See Rotation."""
        self.rotation.noted(self.key, live=live, battery=battery, filled=filled)

    def pressed(self, now_s: float) -> bool:
        """See Rotation."""
        return self.rotation.pressed(self.key, now_s)
