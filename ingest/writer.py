"""The one thread that judges, stores and then acknowledges. It writes whatever is queued and never waits for more."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, Protocol, TypeVar, runtime_checkable

import msgspec

from contracts.ports import Clock, Holdings, ReadingStore, StoreUnavailable
from contracts.wire import Malformed, decode_readings, parse_readings_topic
from ingest.admission import Admitted, Heard, admit, pseudonyms
from ingest.batches import Batches
from ingest.consent_feed import ConsentFeed
from ingest.erasure import Erasures
from ingest.rejects import RejectLog
from ingest.sequences import SequenceLog, Span
from ingest.storing import Refused, store_all
from ingest.subscriber import Delivery, ReadingsSubscriber

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Many small messages share one barrier and one sync of the store's disk; the subscriber bounds their bytes.
MESSAGES_MAX: Final = 2_000
STORE_REFUSED: Final = "store-refused"
_IDLE_S: Final = 1.0
_ERASING_S: Final = 0.02
_RETRY_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
_EXPIRE_EVERY_S: Final = 3600
#: A gateway keeps its topic.
_place: Final = lru_cache(4096)(parse_readings_topic)


@runtime_checkable
class Expiring(Protocol):
    """A store that has to be told to forget; a server's retention policy forgets by itself."""

    def expire(self, now: float) -> Holdings:
        """Delete what is older than the retention."""


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """What this run did. A message that was delivered twice counts twice: the store's `holdings()` are exact."""

    messages: int = 0
    malformed: int = 0  # messages
    readings: int = 0  # stored
    reports: int = 0  # stored
    rejected: dict[str, int] = {}  # reason -> readings
    reports_rejected: dict[str, int] = {}  # reason -> reports
    fields_stripped: int = 0  # of stored readings, for want of consent to their category
    erasures: int = 0  # done and told


class Writer:
    """Takes from the subscriber, asks the consents, gives to the store. `run` is the body of one thread."""

    def __init__(
        self,
        *,
        subscriber: ReadingsSubscriber,
        feed: ConsentFeed,
        store: ReadingStore,
        rejects: RejectLog,
        erasures: Erasures,
        batches: Batches,
        sequences: SequenceLog,
        clock: Clock,
    ) -> None:
        self._sequences, self._batches = sequences, batches
        self._subscriber, self._feed, self._store = subscriber, feed, store
        self._rejects, self._erasures, self._clock = rejects, erasures, clock
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # guards the counts
        self._counts: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._reports_rejected: Counter[str] = Counter()
        self._expired_at = float("-inf")

    def counters(self) -> Counters:
        """What this run did so far."""
        with self._lock:
            return Counters(
                messages=self._counts["messages"],
                malformed=self._counts["malformed"],
                readings=self._counts["readings"],
                reports=self._counts["reports"],
                rejected=dict(self._rejected),
                reports_rejected=dict(self._reports_rejected),
                fields_stripped=self._counts["fields_stripped"],
                erasures=self._erasures.done,
            )

    def stop(self) -> None:
        """Let `run` return after the batch at hand."""
        self._stopping.set()
        self._subscriber.wake()

    def run(self) -> None:
        """Until `stop`: erase who asked for it, then take, judge, store, acknowledge."""
        while not self._stopping.is_set():
            erasing: int | None = 0
            # Only with all consents read: a retained withdrawal may be older than a consent by another band.
            if self._feed.is_live():
                erasing = self._persist(self._erasures.work)
            self._expire()
            deliveries = self._subscriber.take(MESSAGES_MAX, _ERASING_S if erasing else _IDLE_S)
            if deliveries:
                self._handle(deliveries)

    def _handle(self, deliveries: list[Delivery]) -> None:
        self._batches.begin()
        barrier = self._feed.barrier()
        malformed: list[tuple[str, bytes, str]] = []
        spans: list[Span] = []
        heard = list(_decoded(deliveries, malformed, spans))
        while not self._feed.passed(barrier, _IDLE_S):
            if self._stopping.is_set():
                self._batches.end()
                return  # unacknowledged: the broker keeps it
            self._batches.begin()
            barrier = self._feed.barrier()
        now = self._clock.now()
        admitted = admit(heard, self._feed.covers(pseudonyms(heard), now), now)
        refused = self._persist(lambda: self._stored(admitted))
        if refused is None:
            return
        self._batches.end()
        if refused.readings:
            admitted.readings_rejected[STORE_REFUSED] += refused.readings
        if refused.reports:
            admitted.reports_rejected[STORE_REFUSED] += refused.reports
        self._rejects.malformed(malformed, now)
        self._rejects.refused(admitted.readings_rejected, admitted.reports_rejected, now)
        self._sequences.heard(spans)
        # Counted before it is acknowledged: who sees a message as delivered sees it counted.
        self._count(len(deliveries), len(malformed), admitted, refused)
        self._subscriber.acknowledge(deliveries)

    def _stored(self, admitted: Admitted) -> Refused:
        with self._batches.asking():
            return store_all(self._store, admitted.readings, admitted.reports)

    def _persist(self, act: Callable[[], T]) -> T | None:
        """Do it, again and again while the store (or, for an erasure, the broker) is away; None when we are to stop."""
        failures = 0
        while True:
            try:
                done = act()
            except StoreUnavailable as fault:
                if not failures:
                    log.warning("holding back, nothing is acknowledged meanwhile: %s", fault)
                pause = _RETRY_S[min(failures, len(_RETRY_S) - 1)]
                failures += 1
                if self._stopping.wait(pause):
                    return None
            else:
                if failures:
                    log.warning("going on")
                return done

    def _expire(self) -> None:
        now, store = self._clock.now(), self._store
        if isinstance(store, Expiring) and now >= self._expired_at + _EXPIRE_EVERY_S:
            self._expired_at = now
            self._persist(lambda: store.expire(now))

    def _count(self, messages: int, malformed: int, admitted: Admitted, refused: Refused) -> None:
        with self._lock:
            self._counts["messages"] += messages
            self._counts["malformed"] += malformed
            self._counts["readings"] += len(admitted.readings) - refused.readings
            self._counts["reports"] += len(admitted.reports) - refused.reports
            self._counts["fields_stripped"] += admitted.fields_stripped
            self._rejected.update(admitted.readings_rejected)
            self._reports_rejected.update(admitted.reports_rejected)


def _decoded(deliveries: list[Delivery], malformed: list[tuple[str, bytes, str]], spans: list[Span]) -> Iterator[Heard]:
    """The messages that can be read, and their numbers into `spans`; `malformed`: topic, payload, reason of others."""
    for delivery in deliveries:
        try:
            place, message = _place(delivery.topic), decode_readings(delivery.payload)
            spans.append(Span(place.gateway, message.outbox, message.void_from or message.seq, message.seq))
            yield Heard(place.district, message)
        except Malformed as fault:
            malformed.append((delivery.topic, delivery.payload, str(fault)))
