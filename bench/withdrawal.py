"""How long a withdrawal takes to its end, under load, with the parts that a city runs.

    make bench-withdrawal [ARGS="--withdrawals 1000 --buttons 40 --rate 5000 --json"]

Mosquitto as deployed (TLS, access rules), InfluxDB, PostgreSQL with fsync, `wijkpols api` and `wijkpols ingest run
--workers 2`, and gateways that never obey. For each who withdraws two stay, who alone send as many readings as was
asked for, from the first press to the last; who leaves sends as often, before and after. Half of the withdrawals by the
page ask for erasure. When a reading was stored is looked at in InfluxDB itself, four times a second; when somebody was
erased is what the ledger holds.

Beside them some hold the button of their band, which `wijkpols gateway run` reads live by a simulated radio: counted
from the tenth second, in which the band acts. A band with a memory waits for its turn at a gateway first
(docs/adr/0008-rotation.md): that is not in it. When the ledger had it is looked at fifty times a second.
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
STAY_FOR_EACH_WHO_LEAVES = 2


def distribution(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    at = np.percentile(seconds, [50, 90, 99, 100])
    return dict(zip(("p50", "p90", "p99", "max"), (round(float(each), 2) for each in at), strict=True))


def measured(folder: Path, *, withdrawals: int, buttons: int, per_s: float, rate: int) -> dict[str, object]:
    staying = STAY_FOR_EACH_WHO_LEAVES * withdrawals
    with City(folder, people=buttons + withdrawals + staying, durable=True) as city:
        wearing, leaving = city.volunteers[:buttons], city.volunteers[buttons : buttons + withdrawals]
        stay = [person.pseudonym for person in city.volunteers[buttons + withdrawals :]]
        if wearing:
            city.wear(wearing)
        city.load(round(rate * len(city.volunteers) / staying))
        time.sleep(WARM_UP_S)
        before, begun = sum(city.rows(stay).values()), time.monotonic()
        every = withdrawals // (buttons + 1)
        for number, person in enumerate(leaving):
            time.sleep(max(0.0, begun + number / per_s - time.monotonic()))
            city.press(person, erase=number % 2 == 0)
            turn, rest = divmod(number + 1, max(every, 1))
            if not rest and turn <= buttons:
                city.hold(wearing[turn - 1])
        spent = time.monotonic() - begun
        stored_per_s = (sum(city.rows(stay).values()) - before) / (time.monotonic() - begun)
        deadline = time.monotonic() + ERASED_S_MAX
        while len(city.erased()) < (withdrawals + 1) // 2 and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(WATCHED_S)
        gone = [person.pseudonym for person in (*wearing, *leaving)]
        stood = city.rows(gone)
        time.sleep(WATCHED_S)  # the gateways still send
        city.stop_load()
        time.sleep(2)
        now = city.rows(gone)
        found = city.outcomes()
        page = [one for one in found if one.answered_s is not None]
        return {
            "withdrawals by the page": len(page),
            "withdrawals by the band's button": len(found) - len(page),
            "withdrawals per second": round(withdrawals / spent, 2),
            "readings stored per second of who stays": round(stored_per_s),
            **{name: distribution(seconds) for name, seconds in by_page(page).items()},
            **{name: distribution(seconds) for name, seconds in by_button(found).items()},
            "asked to be erased": sum(one.erase for one in found),
            "erased": sum(one.erased_s is not None for one in found),
            "readings left of the erased": sum(now[one.pseudonym] for one in found if one.erase),
            "readings stored after all this": sum(now.values()) - sum(stood.values()),
        }


def by_page(found: list[Withdrawn]) -> dict[str, list[float]]:
    return {
        "press to answer, s": [one.answered_s for one in found if one.answered_s is not None],
        "press to gateway, s": [one.heard_s for one in found if one.heard_s is not None],
        "press to last reading stored, s": [one.last_stored_s for one in found],
        "press to erased, s": [one.erased_s for one in found if one.erased_s is not None],
    }


def by_button(found: list[Withdrawn]) -> dict[str, list[float]]:
    held = [one for one in found if one.answered_s is None]
    return {
        "button to ledger, s": [one.ledger_s for one in held if one.ledger_s is not None],
        "button to gateway, s": [one.heard_s for one in held if one.heard_s is not None],
        "button to last reading stored, s": [one.last_stored_s for one in held if one.ledger_s is not None],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--withdrawals", type=int, default=1_000)
    parser.add_argument("--buttons", type=int, default=40, help="and so many hold their band's button (at most 64)")
    parser.add_argument("--per-second", type=float, default=5.0, help="how many people press in a second")
    parser.add_argument("--rate", type=int, default=5_000, help="readings a second of who stays")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(
            Path(folder),
            withdrawals=args.withdrawals,
            buttons=args.buttons,
            per_s=args.per_second,
            rate=args.rate,
        )
    if args.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        text = value if not isinstance(value, dict) else "  ".join(f"{key} {each:>7.2f}" for key, each in value.items())
        print(f"{name:<40} {text}")


if __name__ == "__main__":
    main()
