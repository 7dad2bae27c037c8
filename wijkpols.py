"""The front door: one command per part; `demo` runs them all.

Each part is imported only when it is asked for, so that a gateway needs no database and a server no Bluetooth.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from types import ModuleType
from typing import Final

from contracts.ports import Fault, UsageFault

#: command -> (module, extra that brings its libraries, what it does)
PARTS: Final = {
    "demo": ("demo.app", "demo", "the whole house on this machine: played at speed, then live"),
    "bands": ("firmware_sim.app", "band", "simulated wristbands on a virtual Bluetooth radio"),
    "gateway": ("gateway.app", "gateway", "read wristbands and send minutes to the broker"),
    "ingest": ("ingest.app", "ingest", "take minutes from the broker into the store"),
    "analytics": ("analytics.app", "analytics", "compute and release the district indices"),
    "api": ("api.app", "api", "the pages and the API: indices, consent, transparency"),
    "districts": ("api.districts_command", "api", "list the districts, or import your own from GeoJSON"),
    "consent": ("api.ledger_command", "api", "check the consent ledger's chain"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one part. Exit codes: 0 done, 1 something to mend, 2 a wrong command or setting, 130 stopped by Ctrl-C."""
    words = sys.argv[1:] if argv is None else argv
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        return _dispatch(words)
    except UsageFault as fault:
        print(f"wijkpols: {fault}", file=sys.stderr)
        return 2
    except Fault as fault:
        print(f"wijkpols: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _dispatch(words: list[str]) -> int:
    width = max(map(len, PARTS))
    parts = "\n".join(f"  {name:{width}}  {told}" for name, (_, _, told) in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="wijkpols",
        description="Well-being per district, from wristbands of consenting volunteers.",
        epilog=f"parts:\n{parts}\n\n'wijkpols PART --help' tells more of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", choices=PARTS, metavar="PART")
    part = parser.parse_args(words[:1]).part
    module = _module(part)
    parser = argparse.ArgumentParser(prog=f"wijkpols {part}", description=PARTS[part][2])
    module.add_arguments(parser)
    args = parser.parse_args(words[1:])
    match part:
        case "analytics":
            # The ledger's directory of consents is handed down here, so that analytics need not know the API.
            return int(module.run(args, consents=_module("api", name="api.app").open_directory))
        case _:
            return int(module.run(args))


def _module(part: str, *, name: str | None = None) -> ModuleType:
    module, extra, _ = PARTS[part]
    try:
        return importlib.import_module(name or module)
    except ModuleNotFoundError as missing:
        if missing.name is not None and missing.name.split(".")[0] in {m.split(".")[0] for m, _, _ in PARTS.values()}:
            raise
        raise UsageFault(
            f"this part needs {missing.name}, which is not installed: run pip install 'wijkpols[{extra}]'"
        ) from None


if __name__ == "__main__":
    raise SystemExit(main())
