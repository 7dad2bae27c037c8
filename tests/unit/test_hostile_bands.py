"""A band that sends random bytes without end: nothing escapes, and the gateway's memory stays flat."""

from __future__ import annotations

import asyncio
import random
import struct
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.broker_url import BrokerAddress
from contracts.consent import ConsentMessage, ConsentState, Purpose, band_token
from contracts.reading import Category
from firmware_sim import record
from firmware_sim.record import Stamp
from firmware_sim.synthetic import Person
from gateway import drain, profile, record_codec
from gateway.desk import MinuteDesk
from gateway.drain import BandFaulty, Drain
from gateway.recognition import Recognised
from gateway.rotation import Ended, Rotation, Turn
from gateway.session import Session
from gateway.uplink import Uplink

KEY = b"a key of 16 bytes"
START = 1_762_502_880
MEBIBYTE = 1 << 20


class SetClock:
    def now(self) -> float:
        return START + 700.0


class Hostile:
    """A Peripheral of random bytes: the frames of each characteristic are its own, some half right."""

    def __init__(self, seed: int, *, memory: bool, frames: int) -> None:
        self.closed = asyncio.Event()
        self._chance = random.Random(seed)
        self._memory = memory
        self._frames = frames
        self._listeners: dict[str, Callable[[bytes], None]] = {}
        samples = Person(5, 3, "WK034403").samples(START, START + 600)
        self._genuine = [
            record.measurement(samples.cut(START + 10 * i, START + 10 * i + 10), Stamp(1, 1, i + 1)) for i in range(60)
        ]
        self.sent = 0

    def has(self, uuid: str) -> bool:
        # One that babbles may well say stop, too; that would end it.
        return self._memory or uuid not in (profile.RECORD, profile.LOG, profile.RACP, profile.STOP)

    async def read(self, uuid: str) -> bytes:
        if uuid == profile.SERIAL:
            return b"WP-000009"
        if uuid == profile.LOG:
            return record.log_state(log=1, boot=1, clock=1, oldest=1, newest=60, overwritten=0, ended=())
        if uuid == profile.CURRENT_TIME:
            return bytes.fromhex("e907 0b07 0813 1c05 0000")
        if uuid == profile.STOP:
            return bytes(5)
        return self._noise()

    async def write(self, uuid: str, value: bytes) -> None:
        if uuid == profile.RACP:
            asyncio.get_running_loop().call_soon(self._answer, value)

    async def subscribe(self, uuid: str, frame: Callable[[bytes], None]) -> None:
        self._listeners[uuid] = frame

    def _noise(self) -> bytes:
        if self._chance.random() < 0.3:
            genuine = bytearray(self._chance.choice(self._genuine))
            genuine[self._chance.randrange(len(genuine))] = self._chance.randrange(256)
            return bytes(genuine)
        return self._chance.randbytes(self._chance.randrange(0, 300))

    def _answer(self, request: bytes) -> None:
        if request[0] == record_codec.REPORT_RECORDS:
            for _ in range(self._frames):
                self.sent += 1
                self._listeners[profile.RECORD](self._noise())
        self._listeners[profile.RACP](b"\x05\x00\x05\x00\x00\x00")

    def babble(self) -> None:
        for _ in range(self._frames):
            for listener in self._listeners.values():
                self.sent += 1
                listener(self._noise())


class Recognises:
    """A band that proved who it is: what it sends then is no better for it."""

    async def who(self, _band: object) -> Recognised:
        return Recognised(band_token(KEY, "WP-000009"))


def uplink_of(folder: Path) -> Uplink:
    """One that never connects, with one consent."""
    uplink = Uplink(
        broker=BrokerAddress("127.0.0.1", 1), gateway="gw", district="WK034403", outbox=folder, clock=SetClock()
    )
    message = ConsentMessage(
        revision=1, issued_at=1, state=ConsentState.GIVEN, pseudonym="a" * 26, valid_until=4_000_000_000,
        purposes={Purpose.DISTRICT_INDEX: tuple(Category)},
    )  # fmt: skip
    uplink._consent_came(band_token(KEY, "WP-000009"), message)
    return uplink


class SaysStop(Hostile):
    """Was stopped long ago, before the choice; and says something of it while it is asked, a thousand times."""

    def __init__(self, frame: bytes) -> None:
        super().__init__(1, memory=False, frames=0)
        self._frame = frame
        self.written: list[bytes] = []

    def has(self, uuid: str) -> bool:
        return uuid in (profile.STOP, profile.HEART_RATE)

    async def read(self, uuid: str) -> bytes:
        for _ in range(1_000):
            self._listeners[uuid](self._frame)
        return profile_stop(age_s=0xFFFFFFFF)

    async def write(self, _uuid: str, value: bytes) -> None:
        self.written.append(value)


def profile_stop(*, age_s: int) -> bytes:
    return struct.pack("<BII", 1, age_s, 42)


def grown(work: Callable[[], None]) -> int:
    """How many bytes `work` leaves behind at most, while it runs and after."""
    work()  # what is made once and kept is there now
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - before


def session_of(band: Hostile, uplink: Uplink, desk: MinuteDesk) -> Session:
    rotation = Rotation(slots={"hci0": 1})
    rotation.heard("A", "hci0", 0)
    rotation.next("hci0", 0)
    return Session(
        band=band,  # type: ignore[arg-type]
        recognition=Recognises(),  # type: ignore[arg-type]
        uplink=uplink,
        desk=desk,
        clock=SetClock(),
        turn=Turn(rotation, "A"),
    )


def test_a_stop_that_is_said_while_an_older_one_is_read_is_heard_once_and_not_answered(tmp_path: Path):
    uplink = uplink_of(tmp_path)
    band = SaysStop(profile_stop(age_s=0))
    desk = MinuteDesk(uplink=uplink, clock=SetClock())
    before = uplink._outbox._db.total_changes
    assert asyncio.run(session_of(band, uplink, desk).run()) is Ended.STOPPED
    assert band.written == []
    assert len(uplink._who_stopped()) == 1
    assert uplink._outbox._db.total_changes == before + 1
    uplink._outbox.close()


def test_what_may_have_been_a_stop_and_cannot_be_read_ends_the_session(tmp_path: Path):
    uplink = uplink_of(tmp_path)
    band = SaysStop(b"\1\0")
    desk = MinuteDesk(uplink=uplink, clock=SetClock())
    with pytest.raises(BandFaulty):
        asyncio.run(session_of(band, uplink, desk).run())
    assert uplink._who_stopped() == []
    assert len(uplink.status().frames_rejected) == 1
    uplink._outbox.close()


def test_a_memory_of_random_bytes_is_given_up_soon_and_keeps_no_memory(tmp_path: Path):
    uplink = uplink_of(tmp_path)
    seeds = iter(range(100))
    ends: Counter[str] = Counter()

    async def read_it() -> None:
        band = Hostile(next(seeds), memory=True, frames=30_000)
        cover = uplink.cover(band_token(KEY, "WP-000009"))
        assert cover is not None
        reading = Drain(band=band, token="t", cover=cover, uplink=uplink, clock=SetClock())  # type: ignore[arg-type]
        try:
            await reading.run()
        except BandFaulty as fault:
            ends[str(fault)] += 1

    assert grown(lambda: asyncio.run(read_it())) < 4 * MEBIBYTE
    assert sum(ends.values()) == 2
    useless = sum(n for reason, n in uplink.status().frames_rejected.items() if reason.startswith("record:"))
    assert useless <= 2 * (drain.USELESS_MAX + 61)
    uplink._outbox.close()


def test_live_frames_of_random_bytes_keep_no_memory_and_end_nothing(tmp_path: Path):
    uplink = uplink_of(tmp_path)
    desk = MinuteDesk(uplink=uplink, clock=SetClock())
    seeds = iter(range(100))

    async def listen() -> None:
        band = Hostile(next(seeds), memory=False, frames=3_000)
        running = asyncio.create_task(session_of(band, uplink, desk).run())
        for _ in range(200):  # turns of the loop, in which it subscribes
            await asyncio.sleep(0)
        assert len(band._listeners) == 7
        band.babble()
        assert band.sent > 18_000
        band.closed.set()
        assert await running is Ended.LOST

    assert grown(lambda: asyncio.run(listen())) < 4 * MEBIBYTE
    assert len(uplink.status().frames_rejected) < 60  # reasons are few, whatever comes
    uplink._outbox.close()
