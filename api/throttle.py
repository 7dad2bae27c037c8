"""Slows guessing down: so many failures per key, then a pause. In memory, bounded, time passed in.

A key is a claim code's keyed hash or a client's address, never a person. Only who holds a claim code can bring about
its pause, so that nobody can lock somebody else out.
"""

from __future__ import annotations

import ipaddress
import math
import threading
from collections import OrderedDict
from typing import Final, NamedTuple

#: Of one claim code, and of one client: several people may share an address.
PER_CODE: Final = 5
PER_CLIENT: Final = 30
PAUSE_S: Final = 900


class _Count(NamedTuple):
    failures: int
    since: float  # of the first failure, unix seconds
    until: float  # paused until then; 0 when not


class Throttle:
    """Counts failures per key over a span. Safe for threads. Each process counts for itself."""

    def __init__(self, *, failures_max: int, pause_s: float = PAUSE_S, keys_max: int = 10_000) -> None:
        self._failures_max = failures_max
        self._pause_s = pause_s
        self._keys_max = keys_max
        self._counts: OrderedDict[str, _Count] = OrderedDict()  # the least recently failed first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._counts)

    def pause(self, key: str, now: float) -> int:
        """Whole seconds that this key must still wait at `now` (unix seconds); 0 when it may try."""
        with self._lock:
            count = self._counts.get(key)
        return 0 if count is None else max(0, math.ceil(count.until - now))

    def failed(self, key: str, now: float) -> None:
        """Count a failure. The key of the oldest failure is forgotten when there are too many."""
        with self._lock:
            count = self._counts.pop(key, None)
            if count is None or now - count.since > self._pause_s or 0 < count.until <= now:
                count = _Count(0, now, 0.0)
            failures = count.failures + 1
            until = now + self._pause_s if failures >= self._failures_max else 0.0
            self._counts[key] = _Count(failures, count.since, until)
            while len(self._counts) > self._keys_max:
                self._counts.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the failures of a key."""
        with self._lock:
            self._counts.pop(key, None)


class Guard:
    """The two counts together: a try is refused while its code or its client is paused."""

    def __init__(self, *, per_code: int = PER_CODE, per_client: int = PER_CLIENT, pause_s: float = PAUSE_S) -> None:
        self._codes = Throttle(failures_max=per_code, pause_s=pause_s)
        self._clients = Throttle(failures_max=per_client, pause_s=pause_s)

    def pause(self, *, code: str, client: str, now: float) -> int:
        """Whole seconds to wait; 0 when the try may be made. `code` is the code's keyed hash."""
        return max(self._codes.pause(code, now), self._clients.pause(network_of(client), now))

    def failed(self, *, code: str, client: str, now: float) -> None:
        """Count a failed try."""
        self._codes.failed(code, now)
        self._clients.failed(network_of(client), now)

    def succeeded(self, *, code: str) -> None:
        """Forget a code's failures. The client's stay: an own code must not pay for guesses at others."""
        self._codes.succeeded(code)


def network_of(client: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 that an IPv6 subscriber has."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return client
