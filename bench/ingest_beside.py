"""Mosquitto, InfluxDB and our workers beside Node-RED with node-red-contrib-influxdb, on one machine, by one command.

Everything is queued in the broker before a consumer is let in, and its pace is read off InfluxDB's own counters of
points (/debug/vars), from the first to the last. CPU and memory are those of the consumer's processes from then on, as
the kernel counts them. Node-RED is given its best case: MQTT 5, QoS 1, a session that is kept, one write for each
message.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.ingest import DISTRICT, made_readings, mosquitto, publish
from bench.node_red import flow, installed, node_red
from contracts.ports import StoredReading
from ingest.app import open_store
from ingest.line_protocol import reading_lines
from tests.ingestkit.influxd import PASSWORD, USER, Influxd

TICK_S = 0.02
QUIET_S = 5.0
STARTS_S_MAX = 30.0
PAGE = os.sysconf("SC_PAGE_SIZE")
CLOCK = os.sysconf("SC_CLK_TCK")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "wijkpols-bench"


class Drained(NamedTuple):
    """How a consumer did."""

    readings_per_s: float
    cpu_s_per_million: float
    memory_mb: float
    lost: int


class Servers:
    """A broker and a database of one measurement."""

    def __init__(self, folder: Path, broker_port: int, influxd: Influxd) -> None:
        self.folder, self.broker_port, self.influxd = folder, broker_port, influxd
        self.store_url = influxd.url("bench")
        open_store(self.store_url).close()

    def points(self) -> int:
        """How many the server has written since its start; costs it nothing."""
        connection = http.client.HTTPConnection("127.0.0.1", self.influxd.port, timeout=20)
        try:
            connection.request("GET", "/debug/vars", headers=login())
            found = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return sum(part["values"]["writePointsOk"] for name, part in found.items() if name.startswith("shard"))

    def stored(self) -> int:
        answer = json.loads(self.influxd.query('SELECT count(hr) FROM "wijkpols".reading', "bench"))
        series = answer["results"][0].get("series")
        return int(series[0]["values"][0][1]) if series else 0


def login() -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()}


@contextmanager
def servers() -> Iterator[Servers]:
    with tempfile.TemporaryDirectory() as name, mosquitto(Path(name)) as port:
        influxd = Influxd(Path(name))
        try:
            yield Servers(Path(name), port, influxd)
        finally:
            influxd.stop()


def family(process: int) -> list[int]:
    """A process and those that it started."""
    with contextlib.suppress(FileNotFoundError):
        started = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return [process, *(each for child in started for each in family(int(child)))]
    return []


def cpu_s(processes: list[int]) -> float:
    ticks = 0
    for process in processes:
        with contextlib.suppress(FileNotFoundError):
            fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / CLOCK


def memory_mb(processes: list[int]) -> float:
    pages = 0
    for process in processes:
        with contextlib.suppress(FileNotFoundError):
            pages += int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * PAGE / 1e6


@contextmanager
def ours(at: Servers, workers: int) -> Iterator[subprocess.Popen[bytes]]:
    settings = {
        "WIJKPOLS_BROKER_URL": f"mqtt://127.0.0.1:{at.broker_port}",
        "WIJKPOLS_STORE_URL": at.store_url,
        "WIJKPOLS_INGEST_REJECTS": str(at.folder / "rejects.sqlite"),
    }
    words = [sys.executable, "-m", "wijkpols", "ingest", "run", "--workers", str(workers)]
    with subprocess.Popen(
        words, env={**os.environ, **settings}, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            for _ in range(workers):
                assert b"ready" in process.stdout.readline()
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def theirs(at: Servers, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    nodes = flow(
        broker_port=at.broker_port, influx_port=at.influxd.port, user=USER, password=PASSWORD, database="bench"
    )
    with node_red(folder, at.folder / "node-red", nodes) as process:
        time.sleep(2)  # to subscribe: it tells nobody
        yield process


Consumer = Callable[[Servers], contextlib.AbstractContextManager["subprocess.Popen[bytes]"]]


def send(at: Servers, readings: int, a_message: int) -> None:
    """All of it, acknowledged by the broker."""
    done = multiprocessing.Event()
    sender = multiprocessing.Process(target=publish, args=(at.broker_port, readings, a_message, done))
    sender.start()
    sender.join()
    if not done.is_set():
        raise SystemExit("the broker did not take all messages")


def drained(consumer: Consumer, readings: int, a_message: int) -> Drained:
    with servers() as at:
        with consumer(at):
            pass  # makes the session in which all will queue
        send(at, readings, a_message)
        before = at.points()
        samples = [(time.perf_counter(), 0)]
        started = time.perf_counter()
        with consumer(at) as process:
            began_with = cpu_s(family(process.pid))
            while samples[-1][1] < readings and time.perf_counter() - samples[-1][0] < QUIET_S:
                time.sleep(TICK_S)
                count = at.points() - before
                if count == 0 and time.perf_counter() - started < STARTS_S_MAX:
                    samples = [(time.perf_counter(), 0)]  # not begun
                elif count != samples[-1][1]:
                    samples.append((time.perf_counter(), count))
            members = family(process.pid)
            spent, memory = cpu_s(members) - began_with, memory_mb(members)
        lost = readings - at.stored()
    (begun, first), (ended, last) = samples[0], samples[-1]
    return Drained((last - first) / (ended - begun), spent / readings * 1e6, memory, lost)


def lost_by_a_kill(consumer: Consumer, readings: int) -> int:
    """PUBACKed less stored, after one SIGKILL in the middle and a new start."""
    with servers() as at:
        with consumer(at):
            pass
        send(at, readings, 10)
        with consumer(at) as process:
            while at.points() < readings // 3:
                time.sleep(TICK_S)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        with consumer(at):
            held, since = at.stored(), time.monotonic()
            while held < readings and time.monotonic() - since < QUIET_S:
                time.sleep(0.2)
                now = at.stored()
                if now != held:
                    held, since = now, time.monotonic()
        return readings - held


def servers_limit(readings: int, batch: int = 5_000) -> float:
    """Points a second of bytes that were built before, from four threads, each with a connection of its own."""
    rows = [StoredReading(DISTRICT, reading) for reading in made_readings(readings)]
    bodies = ["\n".join(reading_lines(rows[at : at + batch])).encode() for at in range(0, readings, batch)]
    with servers() as at:

        def write(mine: list[bytes]) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", at.influxd.port, timeout=60)
            for body in mine:
                connection.request("POST", "/write?db=bench&rp=wijkpols&precision=s", body, login())
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 204
            connection.close()

        begun = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(write, [bodies[number::4] for number in range(4)]))
        return readings / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readings", type=int, default=200_000, help="at 10 and 50 a message; a fifth of it at 1")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--without-node-red", action="store_true", help="where there is no npm")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    consumers: dict[str, Consumer] = {"wijkpols": lambda at: ours(at, args.workers)}
    if not args.without_node_red:
        folder = installed(CACHE)
        consumers["node-red"] = lambda at: theirs(at, folder)
    figures: dict[str, object] = {"workers": args.workers, "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    figures["server's limit, readings/s"] = round(servers_limit(args.readings))
    for name, consumer in consumers.items():
        for a_message in (1, 10, 50):
            count = args.readings if a_message > 1 else args.readings // 5
            found = drained(consumer, count, a_message)
            figures[f"{name}, {a_message} a message"] = {key: round(n, 1) for key, n in found._asdict().items()}
        figures[f"{name}, lost by one kill -9"] = lost_by_a_kill(consumer, args.readings // 2)
    if args.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        text = value if not isinstance(value, dict) else "  ".join(f"{key} {n:>10,}" for key, n in value.items())
        print(f"{name:<32} {text}")


if __name__ == "__main__":
    main()
