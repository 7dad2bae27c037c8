"""make soak: many readings, many faults; the figures, and exit 1 when not exactly what was acknowledged is stored."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.ingestkit.soak import Soak


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=int, default=400_000)
    parser.add_argument("--people", type=int, default=1_000)
    parser.add_argument("--faults", type=int, default=25, help="how many, in a shuffled order")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10_000))
    parser.add_argument("--store", choices=["influxdb", "duckdb"], action="append")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    exact = True
    for store in args.store or ["influxdb", "duckdb"]:
        with tempfile.TemporaryDirectory() as folder:
            soak = Soak(
                Path(folder),
                store=store,
                readings=args.readings,
                people=args.people,
                seed=args.seed,
                faults=args.faults,
            )
            if not args.json:
                sys.stdout.write(f"{store}, seed {args.seed}\n")
                soak.told = lambda text: sys.stdout.write(f"  {text}\n")
            outcome = soak.run()
        exact = exact and outcome.exact
        if args.json:
            sys.stdout.write(json.dumps({"store": store, "seed": args.seed, **outcome._asdict()}) + "\n")
        else:
            sys.stdout.write("".join(f"  {name}: {value}\n" for name, value in outcome._asdict().items()))
    return 0 if exact else 1


if __name__ == "__main__":
    raise SystemExit(main())
