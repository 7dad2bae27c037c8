"""Ingest as a part: the one place that builds its concrete stores, clients and files."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from contracts.broker_url import BrokerAddress
from contracts.ports import Clock, Fault, ReadingStore, StoreUnavailable, SystemClock, UsageFault
from contracts.wire import valid_gateway_name
from ingest.batches import Batches
from ingest.consent_feed import ConsentFeed, Withdrawal
from ingest.duckdb_compact import compact
from ingest.duckdb_store import DuckDBStore
from ingest.erasure import Erasures
from ingest.influx_store import InfluxStore
from ingest.rejects import RejectLog
from ingest.sequences import SequenceLog
from ingest.sessions import Sessions
from ingest.settings import IngestSettings
from ingest.store_url import parse_store_url
from ingest.subscriber import LeavingSubscriber, ReadingsSubscriber
from ingest.workers import WORKERS_MAX, Stop, run_processes, worker_names
from ingest.writer import Counters, Writer

_POLL_S: Final = 0.1
_SHOWN: Final = 50


def open_store(url: str, *, clock: Clock | None = None) -> ReadingStore:
    """The store of a URL (see `ingest.store_url`); what is past its retention at `clock` is gone when it is open.

    Raises UsageFault for a URL that cannot be used, Fault for a store that cannot be opened.
    """
    address = parse_store_url(url)
    if not isinstance(address, Path):
        return InfluxStore(address)  # the server itself forgets
    store = DuckDBStore(address)
    try:
        store.expire((clock or SystemClock()).now())
    except StoreUnavailable as fault:
        store.close()
        raise Fault(f"{address} cannot be written ({fault}): make room on its disk, or name another file") from None
    return store


class Ingest:
    """MQTT into a store, in threads of its own for as long as the `with` block lasts. The store stays its owner's."""

    def __init__(
        self,
        *,
        store: ReadingStore,
        broker: BrokerAddress | str,
        rejects: Path,
        clock: Clock | None = None,
        name: str = "ingest-1",
        given_up: bool = False,
    ) -> None:
        """`rejects` is the SQLite file of what was not kept; `name` is unique among the workers of a broker.

        With `given_up` it takes only what waits in the session of this name, which ends with the block.
        Raises UsageFault for a broker's URL or a name, Fault for a file, that cannot be used.
        """
        if not valid_gateway_name(name):
            raise UsageFault(f"{name!r} cannot name a worker: use lower case, digits and hyphens, 64 at most")
        address = BrokerAddress.parse(broker) if isinstance(broker, str) else broker
        self._clock = clock or SystemClock()
        self._rejects = RejectLog(rejects)
        self._sequences = SequenceLog(rejects)
        self._feed = ConsentFeed(
            address, f"{name}-consents", on_withdrawal=self._withdrawn, on_malformed=self._malformed
        )
        self._batches = Batches(Path(f"{rejects}-batches"), name, clock=self._clock)
        self._erasures = Erasures(
            store=store,
            notes=rejects,
            batches=self._batches,
            tell=self._feed.tell,
            covered=self._covered,
            clock=self._clock,
        )
        self._subscriber = (LeavingSubscriber if given_up else ReadingsSubscriber)(address, name)
        self._writer = Writer(
            subscriber=self._subscriber,
            feed=self._feed,
            store=store,
            rejects=self._rejects,
            erasures=self._erasures,
            batches=self._batches,
            sequences=self._sequences,
            clock=self._clock,
        )
        self._thread = threading.Thread(target=self._writer.run, name=f"{name}-writer")

    def __enter__(self) -> Self:
        self._feed.start()
        self._subscriber.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.stop()
        self._thread.join()  # before the clients go: the batch at hand is still acknowledged
        self._subscriber.stop()
        self._feed.stop()
        self._batches.close()
        self._erasures.close()
        self._rejects.close()
        self._sequences.close()

    def wait_until_ready(self, timeout_s: float) -> None:
        """Return when all retained consents are read and the subscription stands. Raises Fault, with the reason."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.check()
            if self.is_ready():
                return
        raise Fault(
            f"the broker was not ready within {timeout_s:.0f} s ({self._feed.state}):"
            " start it, or mend WIJKPOLS_BROKER_URL"
        )

    def is_ready(self) -> bool:
        """Whether all retained consents are read and the subscription stands; looks for a moment."""
        return self._feed.passed(self._feed.barrier(), _POLL_S) and self._subscriber.wait_granted(_POLL_S)

    def is_empty(self) -> bool:
        """Whether all is stored that waited in a session that is given up."""
        return isinstance(self._subscriber, LeavingSubscriber) and self._subscriber.is_empty()

    def check(self) -> None:
        """Raise Fault when the broker refuses us, or the writer has died."""
        self._feed.check()
        self._subscriber.check()
        if not self._thread.is_alive():
            raise Fault("ingest has stopped writing: see its log, and start it again")

    def counters(self) -> Counters:
        """What this run did so far."""
        return self._writer.counters()

    def mirror_size(self) -> int:
        """How many bands' consents are known."""
        return self._feed.size()

    def _withdrawn(self, withdrawal: Withdrawal) -> None:
        self._erasures.ask(withdrawal)
        self._subscriber.wake()

    def _malformed(self, topic: str, payload: bytes, reason: str) -> None:
        self._rejects.malformed([(topic, payload, reason)], self._clock.now())

    def _covered(self, pseudonym: str) -> bool:
        return bool(self._feed.covers([pseudonym], self._clock.now()))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`wijkpols ingest run`, `compact` and `rejects`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    take = actions.add_parser("run", help="take readings from the broker into the store, until stopped")
    take.add_argument(
        "--workers",
        type=_workers,
        default=1,
        metavar="N",
        help="workers that share the readings (1); InfluxDB: processes",
    )
    actions.add_parser("compact", help="write a DuckDB file anew, so that no byte of who was erased is left in it")
    actions.add_parser("gaps", help="print which gateways' messages never came")
    rejects = actions.add_parser("rejects", help="print what was not kept, and why")
    rejects.add_argument("--newest", type=int, default=_SHOWN, metavar="N", help=f"malformed messages ({_SHOWN})")


def _workers(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= WORKERS_MAX:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {WORKERS_MAX}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run one action. Raises Fault and UsageFault."""
    settings = IngestSettings()
    if args.action == "rejects":
        return _print_rejects(settings.ingest_rejects, args.newest)
    if args.action == "gaps":
        return _print_gaps(settings.ingest_rejects)
    if args.action == "compact":
        return _compact(settings.store_url)
    return _run(settings, args.workers)


def _run(settings: IngestSettings, workers: int) -> int:
    names = worker_names(settings.ingest_name, workers)
    os.umask(0o077)  # what is stored is about persons: for the eyes of this user alone
    BrokerAddress.parse(settings.broker_url)  # what cannot be used is said once, not by each worker
    if not _leave(names, settings):
        return 0
    one_process = isinstance(parse_store_url(settings.store_url), Path)  # that has the file, for all its threads
    if workers == 1 or one_process:
        _work(names, settings, Stop())
    else:
        run_processes(names, partial(_work_alone, settings))
    return 0


def _leave(names: Sequence[str], settings: IngestSettings) -> bool:
    """Empty the sessions of names that are no longer used, before the workers begin. False: told to end meanwhile."""
    with contextlib.closing(Sessions(settings.ingest_rejects)) as sessions:
        given_up = sessions.begin(names)
        if not given_up:
            return True
        stop = Stop()
        with contextlib.closing(open_store(settings.store_url)) as store:
            for name in given_up:
                with Ingest(
                    store=store, broker=settings.broker_url, rejects=settings.ingest_rejects, name=name, given_up=True
                ) as leaving:
                    while not leaving.is_empty():
                        leaving.check()
                        if stop.wait():
                            return False
                sessions.end(name)
                sys.stdout.write(f"{name}: no longer used; the readings that waited for it are stored\n")
    return True


def _work_alone(settings: IngestSettings, name: str, stop: Stop) -> None:
    _work([name], settings, stop)


def _work(names: Sequence[str], settings: IngestSettings, stop: Stop) -> None:
    """Workers on one store, until `stop`."""
    clock = SystemClock()
    store = open_store(settings.store_url, clock=clock)
    address, rejects, out = BrokerAddress.parse(settings.broker_url), settings.ingest_rejects, sys.stdout
    with contextlib.closing(store), contextlib.ExitStack() as stack:
        running = {
            name: stack.enter_context(Ingest(store=store, broker=address, rejects=rejects, clock=clock, name=name))
            for name in names
        }
        for name, ingest in running.items():
            while not stop.asked() and not ingest.is_ready():
                ingest.check()
            if not stop.asked():
                out.write(f"{name}: ready, consents of {ingest.mirror_size()} bands are known\n")
                out.flush()
        while not stop.wait():
            for ingest in running.values():
                ingest.check()
        stack.close()
        for name, ingest in running.items():
            counters = ingest.counters()
            out.write(f"{name}: stopped after {counters.messages} messages, {counters.readings} readings stored\n")
        out.flush()


def _compact(store_url: str) -> int:
    path = parse_store_url(store_url)
    if not isinstance(path, Path):
        raise UsageFault(
            "only a DuckDB file can be written anew; InfluxDB does so by itself (docs/reference/ingest.md)"
        )
    sizes = compact(path)
    sys.stdout.write(f"{path} is written anew: {sizes.before} bytes before, {sizes.after} now\n")
    return 0


def _print_gaps(path: Path) -> int:
    _needs(path)
    with contextlib.closing(SequenceLog(path)) as sequences:
        sys.stdout.write(
            "gateway, its outbox, the highest number that came, numbers that never came, in how many gaps\n"
        )
        for one in sequences.gaps():
            sys.stdout.write(f"  {one.gateway:<24}  {one.outbox:>10}  {one.last:>9}  {one.missing:>9}  {one.gaps:>5}\n")
    return 0


def _needs(path: Path) -> None:
    if not path.exists():
        raise Fault(f"{path} is not there: nothing came yet, or WIJKPOLS_INGEST_REJECTS names another file")


def _print_rejects(path: Path, newest: int) -> int:
    _needs(path)
    rejects = RejectLog(path)
    try:
        out = sys.stdout
        out.write("refused, by day (UTC)\n")
        for refused in rejects.refused_by_day():
            out.write(f"  {refused.day}  {refused.times:>9}  {refused.kind:<7}  {refused.reason}\n")
        out.write("malformed messages, newest first\n")
        for found in rejects.newest_malformed(newest):
            at = datetime.fromtimestamp(found.at, UTC).isoformat(timespec="seconds")
            out.write(f"  {at}  {found.reason:<12}  {found.bytes:>6} bytes  {found.sha256[:16]}  {found.topic}\n")
    finally:
        rejects.close()
    return 0
