"""What a gateway takes: `python bench/gateway_scale.py [--bands 100 500 1000] [--seconds 20] [--only live] [--json]`.

Idle (a broker, a radio, no band); N bands that are read live, each sending two notifications a second (heart rate and
beat timing); N bands with a memory that are heard and wait; and one memory of a day drained over one connection. Bands
advertise once a second: real air would not take five thousand advertisements a second, the simulated one does. Bands
and the broker run in processes of their own; CPU is that of the gateway's process, all its threads.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from contracts.ports import SystemClock
from contracts.reading import Category
from gateway.bonds import BondBook
from gateway.link import RadioAddress
from gateway.reader import Reader
from gateway.uplink import Uplink
from tests.integration.gateway_parts import DISTRICT, KEY, Mosquitto, Town, wearer

ROOT = Path(__file__).resolve().parents[1]
#: A packet of 251 bytes and its acknowledgement, with two gaps of 150 µs (Core, Vol 6, Part B, 2.1 and 4.1).
PACKET_US = {"1M": 2_120 + 80 + 300, "2M": 1_064 + 44 + 300}
#: What the spike measured: bands -> percent of a core, MB.
SPIKE = {500: (12, 97), 1000: (21, 153)}
DAY_MINUTES = 1_440


@asynccontextmanager
async def bands(*words: str) -> AsyncIterator[str]:
    """Simulated bands in a process of their own; where their adapter listens."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "firmware_sim", "--advertising-ms", "1000", *words),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        radio = json.loads(await process.stdout.readline())["radio"]
        await process.stdout.readline()
        yield radio
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def gateway(broker: Mosquitto, folder: Path, radio: str, slots: int) -> AsyncIterator[tuple[Uplink, Reader]]:
    """A gateway in this process."""
    uplink = Uplink(broker=broker.address, gateway="scale", district=DISTRICT, outbox=folder, slots=slots)
    with uplink:
        await asyncio.to_thread(uplink.wait_for_consents, 0, 30)
        reader = Reader(
            radios=[RadioAddress.parse(f"bumble:{radio}")],
            slots=slots,
            key=KEY,
            uplink=uplink,
            clock=SystemClock(),
            book=BondBook(folder),
        )
        task = asyncio.create_task(reader.run())
        try:
            yield uplink, reader
        finally:
            reader.stop()
            await task


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


async def until(happened: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not happened() and time.monotonic() < deadline:  # noqa: ASYNC110 - what is waited for sets no event
        await asyncio.sleep(0.02)
    return happened()


async def cpu_share(seconds: float) -> float:
    """Percent of a core in the next seconds."""
    cpu, wall = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    return 100 * (time.process_time() - cpu) / (time.monotonic() - wall)


async def live(broker: Mosquitto, folder: Path, number: int, seconds: float) -> dict[str, object]:
    async with bands("--synthetic", str(number), "--minutes", "600") as radio:
        begun = time.monotonic()
        async with gateway(broker, folder, radio, slots=number) as (_, reader):
            await until(lambda: len(reader._sessions) >= number, 500)
            connected_s = time.monotonic() - begun
            await asyncio.sleep(5)
            share = await cpu_share(seconds)
            connected = len(reader._sessions)
    spike = SPIKE.get(number)
    return {
        "what": f"{number} bands read live",
        "connected": connected,
        "connected_s": round(connected_s),
        "cpu_percent": round(share, 1),
        "resident_mb": round(resident_mb()),
        "spike": f"{spike[0]} %, {spike[1]} MB at 1 notification a second" if spike else "not measured",
    }


async def waiting(broker: Mosquitto, folder: Path, number: int, seconds: float) -> dict[str, object]:
    words = ("--synthetic", str(number), "--minutes", "600", "--store", "memory", "--first-serial", "400000")
    async with bands(*words) as radio, gateway(broker, folder, radio, slots=5) as (uplink, _):
        await until(lambda: uplink.status().bands_heard >= number, 60)
        share = await cpu_share(seconds)
        return {
            "what": f"{number} bands heard once a second, 5 slots",
            "turns": sum(uplink.status().turns.values()),
            "cpu_percent": round(share, 1),
            "resident_mb": round(resident_mb()),
        }


async def idle(broker: Mosquitto, folder: Path, seconds: float) -> dict[str, object]:
    words = ("--synthetic", "1", "--minutes", "1", "--speed", "max", "--first-serial", "500000")
    async with bands(*words) as radio, gateway(broker, folder, radio, slots=5):
        await asyncio.sleep(3)
        return {
            "what": "idle: one band without consent in the air",
            "cpu_percent": round(await cpu_share(seconds), 2),
            "resident_mb": round(resident_mb()),
        }


async def drained(broker: Mosquitto, folder: Path) -> dict[str, object]:
    start = str(int(time.time()) // 60 * 60 - 60 * DAY_MINUTES - 600)
    words = ("--synthetic", "1", "--minutes", str(DAY_MINUTES), "--start", start, "--speed", "max", "--store", "memory")
    async with bands(*words) as radio:
        await asyncio.sleep(20)  # it measures its day first
        async with gateway(broker, folder, radio, slots=1) as (uplink, _):
            await until(lambda: uplink.status().records_read > 0, 60)
            begun, first, cpu = time.monotonic(), uplink.status().records_read, time.process_time()
            await until(lambda: uplink.status().turns.get("drained", 0) > 0, 300)
            took, cpu = time.monotonic() - begun, time.process_time() - cpu
            read = uplink.status().records_read - first
    limits = ", ".join(f"{1e6 / us:.0f}/s on {phy}" for phy, us in PACKET_US.items())
    return {
        "what": f"a day's memory over one connection, MTU 247 ({read} records)",
        "records_per_s": round(read / took),
        "cpu_us_per_record": round(1e6 * cpu / max(read, 1)),
        "att_limit": f"one record a notification of 244 bytes; the air takes {limits}",
    }


async def measure(
    sizes: Sequence[int], seconds: float, only: str | None, tell: Callable[[dict[str, object]], None]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Mosquitto(folder)
        broker.start()
        town = Town(broker.address, "scale")
        try:
            for number in range(1, max([*sizes, 1]) + 1):
                token, pseudonym = wearer(number)
                town.give(token, pseudonym, [Category.HEART])
            if only in (None, "idle"):
                tell(await idle(broker, folder / "idle", seconds))
            if only in (None, "drained"):
                tell(await drained(broker, folder / "drained"))
            for number in sizes:
                if only in (None, "waiting"):
                    tell(await waiting(broker, folder / f"waiting-{number}", number, seconds))
                if only in (None, "live"):
                    tell(await live(broker, folder / f"live-{number}", number, seconds))
        finally:
            town.close()
            broker.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bands", type=int, nargs="*", default=[100, 500, 1000])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", choices=["idle", "drained", "waiting", "live"])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    logging.getLogger().setLevel(logging.CRITICAL)

    def tell(figures: dict[str, object]) -> None:
        if args.json:
            sys.stdout.write(json.dumps(figures) + "\n")
        else:
            sys.stdout.write(", ".join(f"{name}: {value}" for name, value in figures.items()) + "\n")
        sys.stdout.flush()

    asyncio.run(measure(args.bands, args.seconds, args.only, tell))


if __name__ == "__main__":
    main()
