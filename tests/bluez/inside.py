"""Runs in the guest: the gateway on real BlueZ, whose adapters are the air of simulated bands.

`python inside.py FILE [CHECK…]`, with `tests/integration` on the path too, writes a line of JSON for each check to FILE
as it ends; what is not there did not pass.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import bond_checks
import gateway_checks
import howto_checks
import link_checks
from checks import ALONE, FLEET, NAMES
from firmware_central import START, until, wearing
from gateway_parts import Gateway, Mosquitto, town_of
from house import BANDS, MINUTES, House

import gateway as package
from firmware_sim.app import IN_MEMORY, Bands, Worn

CHECK_S = 150.0  # software playing two cores, which may be shared
_log = logging.getLogger(__name__)
PARTS = (link_checks, gateway_checks, bond_checks, howto_checks)


def check_of(name: str) -> Callable[[House], Awaitable[None]]:
    (check,) = (getattr(part, name) for part in PARTS if hasattr(part, name))
    return check  # type: ignore[no-any-return]


async def main(results: Path, names: list[str], *, seconds: float = CHECK_S) -> None:
    for part, fleet in ((FLEET, BANDS), (ALONE, 0)):
        wanted = [name for name in names if name in part]
        if wanted:
            await in_a_house(wanted, fleet, results, seconds)


async def in_a_house(names: list[str], fleet: int, results: Path, seconds: float) -> None:
    """Run checks with so many bands on the air, in a town and with a gateway of their own."""
    worn = [Worn(f"WP-{number:06d}", wearing(MINUTES, number)) for number in range(1, fleet + 1)]
    with tempfile.TemporaryDirectory() as folder:
        mosquitto = Mosquitto(Path(folder))
        mosquitto.start()
        with town_of(mosquitto.address, "bluez") as town:
            gateway = Gateway(mosquitto.address, town, Path(folder) / "gateway", at=START + MINUTES * 60 + 120)
            async with Bands(worn, radio="vhci", speed=None, store=IN_MEMORY) as bands:
                await until(lambda: all(band.now > START + 60 * MINUTES for band in bands.wristbands))
                house = House(bands, town, gateway, mosquitto)
                for name in names:
                    await run(name, house, results, seconds)
        mosquitto.kill()


async def run(name: str, house: House, results: Path, seconds: float) -> None:
    fault, began = "", time.monotonic()
    late = asyncio.get_running_loop().call_later(0.9 * seconds, log_waits)
    try:
        async with asyncio.timeout(seconds):
            await check_of(name)(house)
    except Exception:  # noqa: BLE001 (whatever it is, it is this check's, and the next one runs)
        fault = f"{traceback.format_exc()}\n{house.told()}"
    late.cancel()
    with results.open("a") as out:
        took = round(time.monotonic() - began, 1)
        out.write(json.dumps({"check": name, "passed": not fault, "seconds": took, "fault": fault}) + "\n")


def log_waits() -> None:
    """What everybody waits for: a check is about to fail because something does not come."""
    for task in asyncio.all_tasks():
        awaited, lines = task.get_coro(), []
        while (frame := getattr(awaited, "cr_frame", None)) is not None:
            lines.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
            awaited = awaited.cr_await
        _log.info("task %s waits at %s", task.get_name(), " > ".join(lines))


def log_to(file: Path) -> None:
    """What the gateway says while it is checked; Bumble's bands say nothing."""
    logging.basicConfig(
        filename=file, level=logging.INFO, format="%(relativeCreated)d %(levelname)s %(name)s %(message)s", force=True
    )
    logging.getLogger("gateway").setLevel(logging.DEBUG)
    logging.getLogger("bumble").setLevel(logging.CRITICAL)


if __name__ == "__main__":
    if not Path(package.__file__).is_relative_to(Path.cwd()):
        sys.exit(f"the gateway that would be checked is another one: {package.__file__}")
    log_to(Path(sys.argv[1] + ".log"))
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:] or list(NAMES)))
