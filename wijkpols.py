"""The front door: one command per part; `demo` runs them all.

Each part is imported only when it is asked for, so that a gateway needs no database and a server no Bluetooth.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

from contracts.ports import Fault, UsageFault


class Part(NamedTuple):
    """Where a part's command is."""

    module: str
    extra: str  # that brings its libraries
    told: str
    add_arguments: str = "add_arguments"
    run: str = "run"


PARTS: Final = {
    "demo": Part("demo.app", "demo", "the whole house on this machine: played at speed, then live"),
    "bands": Part("firmware_sim.app", "band", "simulated wristbands on a virtual Bluetooth radio"),
    "gateway": Part("gateway.app", "gateway", "read wristbands and send minutes to the broker"),
    "ingest": Part("ingest.app", "ingest", "take minutes from the broker into the store"),
    "analytics": Part("analytics.app", "analytics", "compute and release the district indices"),
    "attack": Part("attacks.app", "demo", "attack the releases of a throw-away city, and engines that are broken"),
    "evaluate": Part("evaluation.app", "evaluate", "what calm is worth on labelled recordings"),
    "simulate": Part("evaluation.detection_app", "evaluate", "days until a district's figure shows replayed stress"),
    "api": Part("api.app", "api", "the pages and the API: indices, consent, transparency"),
    "districts": Part(
        "api.commands", "api", "list the districts, or import your own", "add_district_arguments", "run_districts"
    ),
    "volunteers": Part(
        "api.commands", "api", "register bands and print their claim codes", "add_band_arguments", "run_bands"
    ),
    "registry": Part(
        "api.commands", "api", "bring the registry's tables up to date", "add_registry_arguments", "run_registry"
    ),
    "consent": Part("api.commands", "api", "check the consent ledger's chain", "add_consent_arguments", "run_consent"),
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
    parser = argparse.ArgumentParser(
        prog="wijkpols",
        description="Well-being per district, from wristbands of consenting volunteers.",
        epilog="parts:\n"
        + "\n".join(f"  {name:{width}}  {part.told}" for name, part in PARTS.items())
        + "\n\n'wijkpols PART --help' tells more of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="read settings (WIJKPOLS_NAME=value) here; the environment wins"
    )
    parser.add_argument("part", choices=PARTS, metavar="PART")
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    front = parser.parse_args(words)
    name, part = front.part, PARTS[front.part]
    if front.settings is not None:
        _settings(front.settings)
    module = _module(part.module, part.extra)
    parser = argparse.ArgumentParser(prog=f"wijkpols {name}", description=part.told)
    getattr(module, part.add_arguments)(parser)
    args = parser.parse_args(front.words)
    match name:
        case "analytics":
            return _analytics(module, args)
        case "api":
            # A volunteer's own data, for the one who is logged in; a DuckDB file has room for one process alone.
            store, calm = _module("ingest.app", "ingest").open_store, _module("analytics.own", "analytics").own_calm
            return int(module.run(args, open_store=store, own_calm=calm))
        case _:
            return int(getattr(module, part.run)(args))


def _analytics(module: ModuleType, args: argparse.Namespace) -> int:
    """The ledger's directory of consents, the store and the districts are handed down: analytics knows no API."""
    registry = _module("api.app", "api").registry_from_settings()
    store = _module("ingest.app", "ingest").open_store
    return int(module.run(args, consents=registry.ledger, open_store=store, districts=registry.districts.all()))


def _settings(file: Path) -> None:
    """Put the settings of a file, like those of deploy/systemd, into our environment. Raises UsageFault."""
    from dotenv import dotenv_values

    try:
        with file.open(encoding="utf-8") as lines:
            found = dotenv_values(stream=lines, interpolate=False)
    except (OSError, UnicodeDecodeError):
        raise UsageFault(f"the settings file {file} cannot be read") from None
    for name, value in found.items():
        if not name.startswith("WIJKPOLS_") or value is None:
            raise UsageFault(f"the settings file {file} holds more than lines of WIJKPOLS_NAME=value")
        os.environ.setdefault(name, value)


def _module(name: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name is not None and missing.name.split(".")[0] in {p.module.split(".")[0] for p in PARTS.values()}:
            raise
        raise UsageFault(
            f"this part needs {missing.name}, which is not installed: run pip install '.[{extra}]'"
        ) from None


if __name__ == "__main__":
    raise SystemExit(main())
