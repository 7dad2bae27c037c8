"""Presses, choices, losses of power and messages in any order: the newest word counts, and a stop never gets lost."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

from bumble import att
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from api.band_stops import BandStops
from api.ledger import LedgerRefusal
from api.moves import Moves
from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.consent import STOP_CLOCK_S, ConsentMessage, band_key, band_token
from contracts.reading import Reading
from firmware_sim.stop import Stop
from gateway import gatt_codec as codec
from gateway import profile
from gateway.desk import MinuteDesk
from gateway.link import LinkLost
from gateway.outbox import Row
from gateway.recognition import Recognised
from gateway.rotation import Ended, Rotation, Turn
from gateway.session import Session
from gateway.uplink import Uplink
from tests.api_support import BAND_KEY, CHOICES, NOW, ManualClock, registry_for

#: Of a gateway's clock and of the API's, each against the world's.
SKEW_S = 2.0
SETTLED_IN = 6  # rounds of everybody telling everybody
PRESSED = "pressed"
CHOSEN = "chosen"
WITHDRAWN = "withdrawn"

_numbers = count(1)
_clock = ManualClock()
_folder = tempfile.TemporaryDirectory()
_registry = registry_for(Path(_folder.name), clock=_clock)
_registry.renewals.hold_texts()


class World:
    """What the band and each gateway tell the time by."""

    def __init__(self) -> None:
        self.at = max(_clock.time, float(NOW)) + 86_400  # later than all that other examples left in the registry


class GatewayClock:
    def __init__(self, world: World, skew_s: float) -> None:
        self._world = world
        self.skew_s = skew_s

    def now(self) -> float:
        return self._world.at + self.skew_s


class Linked:
    """The band on a link: its real Stop. The button may be held in the middle, and the link be lost with it."""

    def __init__(self, stop: Stop, *, after_read: Callable[[], None], before_write: Callable[[], None]) -> None:
        self.closed = asyncio.Event()
        self._stop, self._after_read, self._before_write = stop, after_read, before_write
        self._told: Callable[[bytes], None] | None = None

    def has(self, uuid: str) -> bool:
        return uuid == profile.STOP

    async def subscribe(self, _uuid: str, frame: Callable[[bytes], None]) -> None:
        self._told = frame

    async def read(self, _uuid: str) -> bytes:
        value = self._stop.read()
        self._after_read()
        if not self._stop.told and self._told is not None:  # the button was held: an indication
            self._told(self._stop.value())
        return value

    async def write(self, _uuid: str, value: bytes) -> None:
        self._before_write()
        try:
            self._stop.write(value)
        except att.ATT_Error as refused:
            raise LinkLost(str(refused)) from None


class Recognises:
    def __init__(self, token: str) -> None:
        self._token = token

    async def who(self, _band: object) -> Recognised:
        return Recognised(self._token)


class Gateway:
    """One whose program can be killed; what it says goes to a list, and what it hears comes out of one."""

    def __init__(self, world: World, folder: Path, skew_s: float) -> None:
        self.clock = GatewayClock(world, skew_s)
        self._folder = folder
        self.told_of = 0  # the number of the press that it heard last
        self.start()

    def start(self) -> None:
        self.uplink = Uplink(
            broker=BrokerAddress("127.0.0.1", 1),
            gateway="gw",
            district="WK034403",
            outbox=self._folder,
            clock=self.clock,
        )

    def kill(self) -> None:
        self.uplink._outbox.close()
        self.start()

    def link(self, token: str, band: Linked) -> Ended | None:
        rotation = Rotation(slots={"hci0": 1})
        rotation.heard("A", "hci0", 0)
        rotation.next("hci0", 0)
        session = Session(
            band=band,  # type: ignore[arg-type]
            recognition=Recognises(token),  # type: ignore[arg-type]
            uplink=self.uplink,
            desk=MinuteDesk(uplink=self.uplink, clock=self.clock),
            clock=self.clock,
            turn=Turn(rotation, "A"),
        )
        with suppress(LinkLost):
            return asyncio.run(session.run())
        return None


class Orders(RuleBasedStateMachine):
    """One volunteer with a band, two gateways and the ledger; the world's clock is the model's.

    Clocks are off by SKEW_S at most. The model keeps the last word, and by when at the latest the press was, as far as
    the band can know: a loss of power makes it younger.
    """

    skews = st.floats(-SKEW_S, SKEW_S)

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.world = World()
        self.folder = tempfile.TemporaryDirectory()
        self.api_skew = data.draw(st.floats(-SKEW_S, SKEW_S), "the API's clock")
        folder = Path(self.folder.name)
        self.gateways = [Gateway(self.world, folder / f"gw{i}", data.draw(self.skews, f"clock {i}")) for i in range(2)]
        self.stop = Stop(folder / "stop", lambda: self.world.at)
        serial = f"WP-{next(_numbers):06d}"
        self.token = band_token(band_key(BAND_KEY), serial)
        self.api_now()
        code = _registry.ledger.add_band(serial)
        person = _registry.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=CHOICES)
        self.person = person.record.principal_id
        later = Reading(pseudonym=self.person, minute=4_102_444_800, hr=60.0)  # than any choice
        self.waiting = Row(1, self.person, 1, wire.encode(wire.ReadingsMessage(seq=1, outbox=1, readings=(later,))))
        self.stops = BandStops(_registry.ledger, clock=_clock)
        self.moves = Moves(_registry.ledger, clock=_clock)
        self.word, self.presses = CHOSEN, 0
        self.chosen_at = self.world.at
        self.pressed_at = self.pressed_by = 0.0
        self.number, self.known = 0, False  # of the last press; whether the ledger had it before the last choice
        self.taken: set[int] = set()  # presses that ended a choice in the ledger
        self.retained: list[ConsentMessage | None] = [None]
        self.on_the_way: list[bytes] = []
        self.publish()
        for which in range(2):
            self.hear(which)

    def teardown(self) -> None:
        if not hasattr(self, "gateways"):
            return
        try:
            self.settle()
        finally:
            for gateway in self.gateways:
                gateway.uplink._outbox.close()
            self.folder.cleanup()

    def api_now(self) -> None:
        _clock.time = self.world.at + self.api_skew

    # The wearer

    @rule()
    def press(self) -> None:
        self.stop.say()
        self.word, self.presses = PRESSED, self.presses + 1
        self.pressed_at = self.pressed_by = self.world.at
        said = codec.stop(self.stop.value())
        assert said is not None
        self.number = said.number

    @rule()
    def choose(self) -> None:
        self.api_now()
        try:
            _registry.ledger.change(self.person, CHOICES)
        except LedgerRefusal:  # a yes too many within an hour
            return
        self.word, self.chosen_at = CHOSEN, self.world.at
        self.known = self.number in self.taken

    @rule()
    def withdraw(self) -> None:
        self.api_now()
        _registry.ledger.withdraw(self.person, erase=False)
        self.word = WITHDRAWN

    @rule(district=st.sampled_from(["WK034403", "WK034404"]))
    def move(self, district: str) -> None:
        self.api_now()
        with suppress(LedgerRefusal):
            self.moves.to_district(self.person, district)

    @rule(seconds=st.sampled_from([0.3, 2.0, 7.0, 60.0, 3_600.0, 86_400.0]))
    def wait(self, seconds: float) -> None:
        self.world.at += seconds

    @rule()
    def lose_power(self) -> None:
        self.stop = Stop(Path(self.folder.name) / "stop", lambda: self.world.at)
        if self.stop.said:
            self.pressed_by = self.world.at

    # The gateways

    @rule(which=st.integers(0, 1), held=st.sampled_from(["not", "not", "after read", "before write"]))
    def link(self, which: int, held: str = "not") -> None:
        gateway = self.gateways[which]
        press: dict[bool, Callable[[], None]] = {True: self.press, False: lambda: None}
        band = Linked(self.stop, after_read=press[held == "after read"], before_write=press[held == "before write"])
        if gateway.link(self.token, band) is Ended.STOPPED:
            gateway.told_of = self.presses

    @rule(which=st.integers(0, 1), held=st.sampled_from(["not", "after read", "before write"]))
    def say_yes_and_come_near(self, which: int, held: str) -> None:
        self.wait(3_600.0)
        self.choose()
        self.publish()
        self.hear(which)
        self.link(which, held)

    @rule(which=st.integers(0, 1))
    def say_yes_while_the_band_is_flat(self, which: int) -> None:
        """After a stop that was heard."""
        self.press()
        self.link(which)
        self.tell(which)
        self.take_all_in()
        self.wait(3_600.0)
        self.choose()
        self.wait(3_600.0)
        self.lose_power()

    @rule(which=st.integers(0, 1), back=st.sampled_from([0, 0, 1]))
    def kill(self, which: int, back: int) -> None:
        """It starts again, and reads the retained consent first of all."""
        self.gateways[which].kill()
        self.hear(which, back)

    @rule(which=st.integers(0, 1))
    def tell(self, which: int) -> None:
        self.on_the_way += [wire.encode(stop) for stop in self.gateways[which].uplink._who_stopped()]

    @rule(which=st.integers(0, 1), back=st.sampled_from([0, 0, 0, 1, 2]))
    def hear(self, which: int, back: int = 0) -> None:
        """The retained consent; of a broker that went back to an old backup, an old one."""
        message = self.retained[-1 - back] if back < len(self.retained) else None
        self.gateways[which].uplink._consent_came(self.token, message)

    @rule(which=st.integers(0, 1))
    def measure(self, which: int) -> None:
        """A minute of just now; not from the band, if that was stopped: from anywhere."""
        minute = math.ceil(self.gateways[which].clock.now() / 60) * 60
        self.gateways[which].uplink.accept(self.token, [Reading(pseudonym=self.person, minute=minute, hr=60.0)])

    # The ledger

    @rule()
    def publish(self) -> None:
        self.retained.append(_registry.outbox.message_for(self.token))

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data(), again=st.booleans())
    def take_in(self, data: st.DataObject, again: bool) -> None:
        self.api_now()
        at = data.draw(st.integers(0, len(self.on_the_way) - 1))
        self.hear_stop(self.on_the_way[at])
        if not again:
            del self.on_the_way[at]

    def take_all_in(self) -> None:
        self.api_now()
        while self.on_the_way:
            self.hear_stop(self.on_the_way.pop())

    def hear_stop(self, payload: bytes) -> None:
        stop = wire.decode_stop(payload)
        if self.stops.heard(stop):
            self.taken.add(stop.press)

    # What holds at any time

    @invariant()
    def a_band_that_was_stopped_last_measures_nothing(self) -> None:
        if getattr(self, "word", None) == PRESSED:
            assert self.stop.said

    @invariant()
    def a_gateway_that_heard_it_takes_and_sends_nothing(self) -> None:
        if getattr(self, "word", None) != PRESSED:
            return
        for gateway in self.gateways:
            if gateway.told_of == self.presses:
                assert gateway.uplink.cover(self.token) is None
                assert not gateway.uplink._may_send(self.waiting)
                assert all(not row.readings for row in gateway.uplink._outbox.after(0, 1_000))

    # And in the end

    def settle(self) -> None:
        for _ in range(SETTLED_IN):
            self.publish()
            for which in range(2):
                self.hear(which)
                self.link(which)
                self.tell(which)
            self.take_all_in()
            self.a_band_that_was_stopped_last_measures_nothing()
        stands = _registry.ledger.current(self.person).stands
        if self.word != CHOSEN:
            assert not stands
        elif self.chosen_at > (self.pressed_at if self.known else self.pressed_by) + self.in_doubt_s():
            assert stands
            assert not self.stop.said
            assert all(gateway.uplink.cover(self.token) is not None for gateway in self.gateways)
        assert not any(list(gateway.uplink._who_stopped()) for gateway in self.gateways)

    def in_doubt_s(self) -> float:
        """A choice so soon after a press may be taken for one of before it: clocks, seconds, and the band's counter."""
        return STOP_CLOCK_S + 2 * SKEW_S + 2 + 0.001 * (self.world.at - self.pressed_at)


class GatewaysAhead(Orders):
    """By clocks that are hours ahead a stop is never lost; a choice may be."""

    skews = st.sampled_from([0.0, 3_600.0, 90_000.0])

    def in_doubt_s(self) -> float:
        return math.inf


def test_in_any_order_the_newest_word_counts_and_a_stop_holds() -> None:
    run_state_machine_as_test(Orders, settings=settings(max_examples=100, stateful_step_count=30))


def test_a_gateway_whose_clock_is_hours_ahead_loses_no_stop() -> None:
    run_state_machine_as_test(GatewaysAhead, settings=settings(max_examples=40, stateful_step_count=30))
