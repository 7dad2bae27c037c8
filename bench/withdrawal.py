"""How long a withdrawal takes to its end, under load, with the parts that a city runs.

    make bench-withdrawal [ARGS="--withdrawals 1000 --rate 5000 --json"]

Mosquitto as deployed (TLS, access rules), InfluxDB, PostgreSQL with fsync, `wijkpols api` and `wijkpols ingest run
--workers 2`, and gateways that never obey. Half of the withdrawals ask for erasure. When a reading was stored is looked
at in InfluxDB itself, four times a second; when somebody was erased is what the ledger holds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.withdrawals.city import WATCHED_S, City, Withdrawn

WARM_UP_S = 10.0
ERASED_S_MAX = 120.0


def distribution(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    at = np.percentile(seconds, [50, 90, 99, 100])
    return dict(zip(("p50", "p90", "p99", "max"), (round(float(each), 2) for each in at), strict=True))


def measured(folder: Path, *, withdrawals: int, per_s: float, rate: int) -> dict[str, object]:
    with City(folder, people=max(rate // 4, withdrawals + 100), durable=True) as city:
        city.load(rate)
        time.sleep(WARM_UP_S)
        before, begun = city.stored(), time.monotonic()
        leaving = city.volunteers[:withdrawals]
        for number, person in enumerate(leaving):
            time.sleep(max(0.0, begun + number / per_s - time.monotonic()))
            city.press(person, erase=number % 2 == 0)
        spent = time.monotonic() - begun
        stored_per_s = (city.stored() - before) / spent  # less what was erased meanwhile
        deadline = time.monotonic() + ERASED_S_MAX
        while len(city.erased()) < (withdrawals + 1) // 2 and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(WATCHED_S)
        stood = city.rows([person.pseudonym for person in leaving])
        time.sleep(WATCHED_S)  # the gateways still send
        city.stop_load()
        time.sleep(2)
        now = city.rows([person.pseudonym for person in leaving])
        found = city.outcomes()
        return {
            "withdrawals": len(found),
            "withdrawals per second": round(withdrawals / spent, 2),
            "readings stored per second, meanwhile": round(stored_per_s),
            **{name: distribution(seconds) for name, seconds in parts(found).items()},
            "asked to be erased": sum(one.erase for one in found),
            "erased": sum(one.erased_s is not None for one in found),
            "readings left of the erased": sum(now[one.pseudonym] for one in found if one.erase),
            "readings stored after all this": sum(now.values()) - sum(stood.values()),
        }


def parts(found: list[Withdrawn]) -> dict[str, list[float]]:
    return {
        "press to answer, s": [one.answered_s for one in found],
        "press to gateway, s": [one.heard_s for one in found if one.heard_s is not None],
        "press to last reading stored, s": [one.last_stored_s for one in found],
        "press to erased, s": [one.erased_s for one in found if one.erased_s is not None],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--withdrawals", type=int, default=1_000)
    parser.add_argument("--per-second", type=float, default=5.0, help="how many people press in a second")
    parser.add_argument("--rate", type=int, default=5_000, help="readings a second")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(Path(folder), withdrawals=args.withdrawals, per_s=args.per_second, rate=args.rate)
    if args.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        text = value if not isinstance(value, dict) else "  ".join(f"{key} {each:>7.2f}" for key, each in value.items())
        print(f"{name:<40} {text}")


if __name__ == "__main__":
    main()
