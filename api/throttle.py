"""Slows guessing down: so many failures per key, then a pause. In memory, bounded, time passed in.

A try with a claim code that is somebody's, or waits for somebody, is counted by the code alone (its keyed hash); one
with a code that is nobody's, by the address that it came from. So who holds a code is never held up by others at the
same address, such as a mobile network's, and only who holds it brings about its pause. What an address can try are
guesses at 80 random bits; what a code's holder can try are guesses at a password, and those pauses grow.
"""

from __future__ import annotations

import ipaddress
import math
import threading
from collections import OrderedDict
from typing import Final, Literal, NamedTuple

#: Failures with one claim code at one door, and with nobody's codes from one address, before a pause.
PER_CODE: Final = 5
PER_CLIENT: Final = 30
PAUSE_S: Final = 900
#: The failures with a code are forgotten so long after the first, or by a success; a pause never lasts longer.
CODE_SPAN_S: Final = 86_400

#: What a claim code is tried for. Each is counted by itself: the recovery code is the way back of who forgot the
#: password.
Door = Literal["enrol", "log-in", "recover"]


class Try(NamedTuple):
    """A claim code that is tried from an address."""

    code: str | None  # a name for it that does not tell it; None when it is nobody's
    client: str


class _Count(NamedTuple):
    failures: int
    since: float  # of the first failure, unix seconds
    until: float  # paused until then; 0 when not


class Throttle:
    """Counts failures per key over a span. Safe for threads. Each process counts for itself.

    After `failures_max` of them comes a pause, and after each further one a pause twice as long, `span_s` at most.
    """

    def __init__(
        self, *, failures_max: int, pause_s: float = PAUSE_S, span_s: float | None = None, keys_max: int = 10_000
    ) -> None:
        self._failures_max = failures_max
        self._pause_s = pause_s
        self._span_s = pause_s if span_s is None else span_s
        self._keys_max = keys_max
        self._counts: OrderedDict[str, _Count] = OrderedDict()  # the least recently failed first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._counts)

    def pause(self, key: str, now: float) -> int:
        """Whole seconds that this key must still wait at `now` (unix seconds); 0 when it may try."""
        with self._lock:
            return self._pause(key, now)

    def begin(self, key: str, now: float) -> int:
        """Count a try as failed until it succeeds; or, when this key must wait, the whole seconds, and count nothing.

        In one step, so that tries that are made at one time are no more than those made one after the other.
        """
        with self._lock:
            wait = self._pause(key, now)
            if wait == 0:
                self._fail(key, now)
        return wait

    def failed(self, key: str, now: float) -> None:
        """Count a failure. The key of the oldest failure is forgotten when there are too many."""
        with self._lock:
            self._fail(key, now)

    def succeeded(self, key: str) -> None:
        """Forget the failures of a key."""
        with self._lock:
            self._counts.pop(key, None)

    def _pause(self, key: str, now: float) -> int:
        count = self._counts.get(key)
        return 0 if count is None else max(0, math.ceil(count.until - now))

    def _fail(self, key: str, now: float) -> None:
        count = self._counts.pop(key, None)
        if count is None or now >= max(count.since + self._span_s, count.until):
            count = _Count(0, now, 0.0)
        failures = count.failures + 1
        pauses = min(failures - self._failures_max, 64)  # many may have failed at once
        until = now + min(self._pause_s * 2.0**pauses, self._span_s) if pauses >= 0 else 0.0
        self._counts[key] = _Count(failures, count.since, until)
        while len(self._counts) > self._keys_max:
            self._counts.popitem(last=False)


class Guard:
    """The two counts: of each code that exists, and of each address that tries others."""

    def __init__(self) -> None:
        self._codes = Throttle(failures_max=PER_CODE, span_s=CODE_SPAN_S)
        self._clients = Throttle(failures_max=PER_CLIENT)

    def pause(self, tried: Try, *, now: float) -> int:
        """Whole seconds to wait; 0 when the try may be made."""
        counts, key = self._of(tried)
        return counts.pause(key, now)

    def begin(self, tried: Try, *, now: float) -> int:
        """Count a try as failed until it succeeds; or whole seconds to wait."""
        counts, key = self._of(tried)
        return counts.begin(key, now)

    def failed(self, tried: Try, *, now: float) -> None:
        """Count a failed try."""
        counts, key = self._of(tried)
        counts.failed(key, now)

    def succeeded(self, tried: Try) -> None:
        """Forget a code's failures at its door."""
        counts, key = self._of(tried)
        counts.succeeded(key)

    def _of(self, tried: Try) -> tuple[Throttle, str]:
        return (self._clients, network_of(tried.client)) if tried.code is None else (self._codes, tried.code)


def network_of(client: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 that an IPv6 subscriber has."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return client
