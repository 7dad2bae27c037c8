"""Batches that were judged and may not be in the store yet, of all workers that share a folder.

An erasure is true only when no worker can still store what it judged before it heard of the withdrawal. So each worker
notes when it begins a batch, before it asks for the consents of then (`ingest.consent_feed`), and when it is stored.
A batch that is begun after somebody heard of a withdrawal is judged by it; those that were at hand then have to end.

A file for each worker holds the number of its batch at hand (0: none) and when the store last left it without an
answer. The worker holds a lock on it as long as it lives, so that one that was killed is known by its file without a
lock. What was sent to a server and not answered may yet be written: by InfluxDB 1.6.7, frozen with a write under way,
44 ms after an erasure that had looked that nothing was left. So both a kill in the middle of a batch and a missing
answer leave a doubt for `DOUBT_S`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from contracts.ports import Clock, Fault, StillThere, StoreUnavailable

#: Seconds in which a server is done with a request that nobody waits for any more (InfluxDB's own limit of a write).
DOUBT_S: Final = 10.0
_STATE: Final = struct.Struct("<qd")  # number of the batch at hand, unix seconds of the last doubt


class AtHand(NamedTuple):
    """What is not known to be in the store at some moment."""

    batches: frozenset[tuple[str, int]]  # (file, number)
    doubt: bool  # something that was sent may yet be written

    def still(self, now: AtHand) -> AtHand:
        """What is left of it, seen `now`."""
        return AtHand(self.batches & now.batches, now.doubt)


NOTHING: Final = AtHand(frozenset(), doubt=False)


class Batches:
    """One worker's file among those of all. For one thread, the writer's."""

    def __init__(self, folder: Path, name: str, *, clock: Clock) -> None:
        """`name` is the worker's. Raises Fault for a folder that cannot be used."""
        self._clock = clock
        self._begun = self._number = 0
        self._doubt_at = float("-inf")
        self._unanswered = False
        try:
            folder.mkdir(exist_ok=True)
            self._descriptor, self._path = _own_file(folder, name)
        except OSError as fault:
            raise Fault(
                f"{folder} cannot be used for notes of batches ({fault.strerror}):"
                " see to its folder, or name a file elsewhere in WIJKPOLS_INGEST_REJECTS"
            ) from None
        self._write()

    def begin(self) -> None:
        """From now on the consents of a batch are asked for, or are asked for anew."""
        self._begun += 1
        self._number = self._begun
        self._write()

    def end(self) -> None:
        """All of it is stored."""
        self._number = 0
        self._write()

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Around each change of the store: what it did not answer is in doubt until a while after an answer."""
        try:
            yield
        except StillThere:  # that is an answer
            raise
        except StoreUnavailable:
            self._unanswered = True
            self._doubt()
            raise
        if self._unanswered:
            self._unanswered = False
            self._doubt()

    def at_hand(self) -> AtHand:
        """Of all workers, now."""
        batches, doubt = set(), False
        for path in self._path.parent.iterdir():
            with contextlib.suppress(FileNotFoundError):  # its worker has ended meanwhile
                number, doubtful = self._seen(path)
                doubt |= doubtful
                if number:
                    batches.add((path.name, number))
        return AtHand(frozenset(batches), doubt)

    def close(self) -> None:
        """The worker ends. What it leaves in doubt is found as that of one that was killed. Repeatable."""
        if self._descriptor < 0:
            return
        if not self._number and not self._is_doubtful(self._doubt_at):
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1

    def _seen(self, path: Path) -> tuple[int, bool]:
        """(batch at hand, doubt) of one worker; tidies up after one that was killed."""
        with path.open("r+b", buffering=0) as file:
            state = file.read(_STATE.size)
            number, doubt_at = _STATE.unpack(state) if len(state) == _STATE.size else (0, float("-inf"))
            if path != self._path and _locked(file.fileno()):  # nobody lives behind it
                if number:
                    number, doubt_at = 0, self._clock.now()
                    os.pwrite(file.fileno(), _STATE.pack(number, doubt_at), 0)
                elif not self._is_doubtful(doubt_at):
                    path.unlink()
            return number, self._is_doubtful(doubt_at)

    def _doubt(self) -> None:
        self._doubt_at = self._clock.now()
        self._write()

    def _is_doubtful(self, doubt_at: float) -> bool:
        return abs(self._clock.now() - doubt_at) < DOUBT_S  # also when the clock was set back

    def _write(self) -> None:
        os.pwrite(self._descriptor, _STATE.pack(self._number, self._doubt_at), 0)


def _own_file(folder: Path, name: str) -> tuple[int, Path]:
    """A new file, locked until it is closed or we are killed."""
    while True:
        descriptor, path = tempfile.mkstemp(prefix=f"{name}.", dir=folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(path)
        os.close(descriptor)  # another worker took it for one of a dead one, before it was locked


def _locked(descriptor: int) -> bool:
    """Whether we could lock it: nobody else has."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
