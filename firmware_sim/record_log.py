"""The band's memory: a ring of records that survives a loss of power at any byte of a write.

Layout of the file (or of the same bytes in memory): two blocks of 512 bytes for the log's own state, written in turns,
then one slot of 256 bytes for each record, the record with number `seq` in slot `seq % slots`. Block and slot end their
content with a CRC-32, so what was torn reads as nothing: of the two blocks the other one stands, of the ring all
other slots. A number whose slot was torn is not used again.

The simulation plays a loss of power that the band itself suffers. It does not call fsync: a crash of the machine that
it runs on is not the band's.
"""

from __future__ import annotations

import os
import secrets
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from firmware_sim import record
from firmware_sim.record import CLOCKS_MAX, EndedClock, Stamp

#: 64 k records: a week has 60,480.
SLOTS: Final = 65_536
SLOT_BYTES: Final = 256
BLOCK_BYTES: Final = 512
_RING_AT: Final = 2 * BLOCK_BYTES
_MAGIC: Final = b"WPL1"
#: Magic, generation, log, boot, clock, whether it was set, its first second, deleted up to, overwritten, ended clocks.
_BLOCK: Final = struct.Struct("<4sIIIIBIIIB")
_ENDED: Final = struct.Struct("<IBIII")
_CRC: Final = struct.Struct("<I")
_LENGTH: Final = struct.Struct("<H")


class LogFault(Exception):
    """A memory that cannot be used; one line that says what to do."""


class Medium(Protocol):
    """Bytes that last."""

    def read(self, at: int, size: int) -> bytes:
        """Up to `size` bytes; fewer beyond the end."""

    def write(self, at: int, data: bytes) -> None:
        """Overwrite; what lies between the old end and `at` is zero."""

    def size(self) -> int:
        """The end."""

    def close(self) -> None:
        """Let go. Repeatable."""


class MemoryMedium:
    """Bytes that last as long as the object."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)

    def read(self, at: int, size: int) -> bytes:
        """See Medium."""
        return bytes(self.content[at : at + size])

    def write(self, at: int, data: bytes) -> None:
        """See Medium."""
        self.content.extend(bytes(max(at - len(self.content), 0)))
        self.content[at : at + len(data)] = data

    def size(self) -> int:
        """See Medium."""
        return len(self.content)

    def close(self) -> None:
        """See Medium."""


class FileMedium:
    """A file."""

    def __init__(self, path: Path) -> None:
        """Open or make it. Raises LogFault."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as fault:
            raise LogFault(f"the memory {path} cannot be opened ({fault.strerror}): choose another --store") from None

    def read(self, at: int, size: int) -> bytes:
        """See Medium."""
        return os.pread(self._open, size, at)

    def write(self, at: int, data: bytes) -> None:
        """See Medium."""
        while data:
            written = os.pwrite(self._open, data, at)
            at, data = at + written, data[written:]

    def size(self) -> int:
        """See Medium."""
        return os.fstat(self._open).st_size

    def close(self) -> None:
        """See Medium."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    @property
    def _open(self) -> int:
        if self._fd is None:
            raise ValueError("the memory is closed")
        return self._fd


class ClockState(NamedTuple):
    """The band's present clock: its number, whether it was set, and its first second by itself."""

    number: int
    set_by_others: bool
    began: int


class _State(NamedTuple):
    """What a block of the log's own state says."""

    generation: int
    log: int
    boot: int
    clock: ClockState
    deleted: int
    overwritten: int
    ended: list[EndedClock]


class RecordLog:
    """Records by number, `slots` at most; the oldest gives way. Opening it is a start of the band: `boot` rises.

    `now`: the time that the band's clock shows when the memory is new (set at the issuing desk). A band that starts
    again has lost its clock: it goes on from the end of the newest record, and that is a new clock. Bounded: the slots,
    and 14 ended clocks.
    """

    def __init__(self, *, medium: Medium, now: int, slots: int = SLOTS) -> None:
        self._medium = medium
        self._slots = slots
        self._generation = 0
        self._held = bytearray(slots)  # 1 where a slot holds the record that belongs there now
        self._newest = self._deleted = self._overwritten = 0
        self._ended: list[EndedClock] = []
        self.id, self.boot = 0, 0
        self.clock = ClockState(1, set_by_others=True, began=now)
        #: What the clock shows when the band starts.
        self.starts_at = now
        self._load()

    @property
    def oldest(self) -> int:
        """The lowest number held, or 0."""
        return next(self._numbers(1), 0)

    @property
    def newest(self) -> int:
        """The highest number given so far, or 0."""
        return self._newest

    @property
    def overwritten(self) -> int:
        """How many records gave way before they were deleted."""
        return self._overwritten + max(self._newest - self._slots - self._deleted, 0)

    @property
    def ended(self) -> list[EndedClock]:
        """The last clocks that have ended, oldest first."""
        return list(self._ended)

    def count(self, first: int = 1) -> int:
        """How many records there are from this number on."""
        return sum(1 for _ in self._numbers(first))

    def append(self, make: Callable[[Stamp], bytes]) -> int:
        """Store what `make` gives for the next number. Returns the number."""
        seq = self._newest + 1
        content = make(Stamp(self.boot, self.clock.number, seq))
        if len(content) > record.RECORD_BYTES_MAX:
            raise ValueError(f"a record has at most {record.RECORD_BYTES_MAX} bytes, not {len(content)}")
        body = _LENGTH.pack(len(content)) + content
        self._held[seq % self._slots] = 0  # the record that was there is gone with the first byte
        self._medium.write(self._at(seq), body + _CRC.pack(zlib.crc32(body)))
        self._newest = seq
        self._held[seq % self._slots] = 1
        return seq

    def next_from(self, first: int) -> bytes | None:
        """The first record with this number or a higher one."""
        for seq in self._numbers(first):
            content = self._read(seq)
            if content is not None:
                return content
        return None

    def delete(self, up_to: int) -> int:
        """Forget the records up to this number. Returns how many there were."""
        up_to = min(up_to, self._newest)
        gone = sum(1 for seq in self._numbers(1) if seq <= up_to)
        if up_to > self._deleted:
            self._overwritten = self.overwritten
            self._deleted = max(up_to, self._newest - self._slots)
            self._save()
        return gone

    def wipe(self) -> None:
        """Overwrite all records and forget the ended clocks: a new log, in which nothing older is found."""
        empty = bytes(SLOT_BYTES)
        for at in range(_RING_AT, self._medium.size(), SLOT_BYTES):
            self._medium.write(at, empty)
        self.id = secrets.randbits(32)
        self._held = bytearray(self._slots)
        self._newest = self._deleted = self._overwritten = 0
        self._ended = []
        for _ in range(2):  # both blocks: the one before this names the log, and the clocks, that are gone
            self._save()

    def clock_set(self, *, shown: int, to: int) -> None:
        """The clock showed `shown` and was set to `to`: a new clock begins."""
        self._end_clock(shown, to)
        self.clock = ClockState(self.clock.number + 1, set_by_others=True, began=to)
        self._save()

    def state(self) -> bytes:
        """The value of the characteristic Log."""
        return record.log_state(
            log=self.id,
            boot=self.boot,
            clock=self.clock.number,
            oldest=self.oldest,
            newest=self._newest,
            overwritten=self.overwritten,
            ended=self._ended,
        )

    def close(self) -> None:
        """Let go of the medium. Repeatable."""
        self._medium.close()

    def _numbers(self, first: int) -> Iterator[int]:
        lowest = max(first, self._deleted + 1, self._newest - self._slots + 1, 1)
        return (seq for seq in range(lowest, self._newest + 1) if self._held[seq % self._slots])

    def _at(self, seq: int) -> int:
        return _RING_AT + seq % self._slots * SLOT_BYTES

    def _read(self, seq: int) -> bytes | None:
        content = _slot_content(self._medium.read(self._at(seq), SLOT_BYTES))
        return content if content is not None and record.seq_of(content) == seq else None

    def _load(self) -> None:
        blocks = [self._medium.read(i * BLOCK_BYTES, BLOCK_BYTES) for i in range(2)]
        states = [state for block in blocks if (state := _block_state(block)) is not None]
        if not states:  # new, or beyond repair: the numbers begin anew, and so does the log
            self.boot = 1
            self.wipe()
            return
        state = max(states, key=lambda one: one.generation)
        self._generation, self.id, self.boot = state.generation, state.log, state.boot + 1
        self._deleted, self._overwritten, self._ended = state.deleted, state.overwritten, state.ended
        self.clock = state.clock
        self._find_records()
        newest = self._read(self._newest)
        self.starts_at = max(record.end_of(newest) if newest is not None else 0, self.clock.began)
        self._end_clock(self.starts_at, None)
        self.clock = ClockState(self.clock.number + 1, set_by_others=False, began=self.starts_at)
        self._save()

    def _find_records(self) -> None:
        """Which slots hold what; torn slots right after the newest record have had their numbers."""
        found: dict[int, int] = {}  # slot -> number
        slots_there = -(-(self._medium.size() - _RING_AT) // SLOT_BYTES)
        for slot in range(min(max(slots_there, 0), self._slots)):
            content = _slot_content(self._medium.read(_RING_AT + slot * SLOT_BYTES, SLOT_BYTES))
            if content is not None and (seq := record.seq_of(content)) % self._slots == slot:
                found[slot] = seq
        self._newest = max(self._deleted, *found.values()) if found else self._deleted
        for slot, seq in found.items():
            self._held[slot] = seq > self._newest - self._slots
        for _ in range(self._slots):  # power may have been lost in several writes, one after the other
            torn = (self._newest + 1) % self._slots
            if torn in found or not any(self._medium.read(self._at(torn), SLOT_BYTES)):
                break
            self._newest += 1
            self._held[torn] = 0

    def _end_clock(self, ended: int, after: int | None) -> None:
        clock = self.clock
        self._ended.append(EndedClock(clock.number, clock.set_by_others, clock.began, max(ended, clock.began), after))
        del self._ended[:-CLOCKS_MAX]

    def _save(self) -> None:
        self._generation += 1
        body = _BLOCK.pack(
            _MAGIC,
            self._generation,
            self.id,
            self.boot,
            self.clock.number,
            self.clock.set_by_others,
            self.clock.began,
            self._deleted,
            self._overwritten,
            len(self._ended),
        )
        for one in self._ended:
            how = int(one.set_by_others) | int(one.next is not None) << 1
            body += _ENDED.pack(one.number, how, one.began, one.ended, one.next or 0)
        self._medium.write(self._generation % 2 * BLOCK_BYTES, body + _CRC.pack(zlib.crc32(body)))


def _slot_content(slot: bytes) -> bytes | None:
    """The record of a slot; None when it is empty or torn."""
    if len(slot) < _LENGTH.size + _CRC.size:
        return None
    (length,) = _LENGTH.unpack_from(slot)
    end = _LENGTH.size + length
    if not 15 < length <= record.RECORD_BYTES_MAX or len(slot) < end + _CRC.size:
        return None
    (crc,) = _CRC.unpack_from(slot, end)
    return slot[_LENGTH.size : end] if crc == zlib.crc32(slot[:end]) else None


def _block_state(block: bytes) -> _State | None:
    """What a block says; None when it is empty or torn."""
    if len(block) < _BLOCK.size + _CRC.size or block[:4] != _MAGIC:
        return None
    _, generation, log, boot, number, was_set, began, deleted, overwritten, n = _BLOCK.unpack_from(block)
    end = _BLOCK.size + n * _ENDED.size
    if n > CLOCKS_MAX or len(block) < end + _CRC.size or _CRC.unpack_from(block, end)[0] != zlib.crc32(block[:end]):
        return None
    ended = [
        EndedClock(which, bool(how & 1), first, last, after if how & 2 else None)
        for which, how, first, last, after in _ENDED.iter_unpack(block[_BLOCK.size : end])
    ]
    clock = ClockState(number, set_by_others=bool(was_set), began=began)
    return _State(generation, log, boot, clock, deleted, overwritten, ended)
