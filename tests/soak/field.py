"""make soak-gateway: a day of two hundred bands on one adapter; the figures.

Exit 1 when a record did not come exactly once, or a band was left unread for more than two hours of its clock.
"""

from __future__ import annotations

import argparse
import json
import logging
import secrets
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from contracts.broker_url import BrokerAddress
from tests.fieldkit.bands import START
from tests.fieldkit.field import Field
from tests.fieldkit.liars import LIES
from tests.fieldkit.outcome import Outcome
from tests.fieldkit.town import CountingTown
from tests.fieldkit.virtual_time import run_virtually
from tests.integration.gateway_parts import Mosquitto


def play(
    folder: Path, broker: BrokerAddress, *, name: str, bands: int, slots: int, hours: float, seed: int, liars: int
) -> Outcome:
    """A field of `bands` for `hours` of their clock."""
    minutes = round(60 * hours)
    town = CountingTown(broker, name, start=START, minutes=minutes)

    async def run() -> Outcome:
        async with Field(
            folder, broker, town, name=name, bands=bands, slots=slots, minutes=minutes, seed=seed, liars=liars
        ) as field:
            return await field.play()

    try:
        return run_virtually(run())
    finally:
        town.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bands", type=int, default=200)
    parser.add_argument("--slots", type=int, default=5)
    parser.add_argument("--hours", type=float, default=24.0, help="of the bands' clock")
    parser.add_argument("--liars", type=int, default=len(LIES), help="bands that do not keep to the profile")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10_000))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    logging.getLogger().setLevel(logging.CRITICAL)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        broker = Mosquitto(Path(folder), config="allow_anonymous true\nmax_queued_messages 0\n")
        broker.start()
        try:
            outcome = play(
                Path(folder),
                broker.address,
                name="field",
                bands=args.bands,
                slots=args.slots,
                hours=args.hours,
                seed=args.seed,
                liars=args.liars,
            )
        finally:
            broker.kill()
    figures = {"seed": args.seed, "took_s": round(time.monotonic() - begun), **outcome._asdict()}
    if args.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        sys.stdout.write("".join(f"{name}: {value}\n" for name, value in figures.items()))
    return 0 if outcome.exact and outcome.fair else 1


if __name__ == "__main__":
    raise SystemExit(main())
