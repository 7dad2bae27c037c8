"""Small commands of the front door: districts, bands, the ledger's check."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from api.app import registry_from_settings
from api.ledger import LedgerRefusal
from contracts.ports import Fault, SystemClock


def add_district_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `wijkpols districts`."""
    commands = parser.add_subparsers(dest="district_command", required=True)
    load = commands.add_parser("import", help="put the districts of a GeoJSON file in the place of what is there")
    load.add_argument("file", type=Path)
    load.add_argument("--boundary-year", type=int, help="year of the boundaries, when the file does not say it")
    commands.add_parser("list", help="show code, boundary year and name")


def run_districts(args: argparse.Namespace) -> int:
    """Import or list districts. Raises Fault or UsageFault."""
    clock = SystemClock()
    registry = registry_from_settings()
    if args.district_command == "import":
        year = args.boundary_year or datetime.fromtimestamp(clock.now(), UTC).year
        found = registry.districts.import_file(
            args.file, boundary_year=year, enrolled=registry.ledger.districts_enrolled
        )
        _say(f"{len(found)} districts imported")
        return 0
    for district in registry.districts.all():
        _say(f"{district.code}  {district.boundary_year}  {district.name}")
    return 0


def add_band_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `wijkpols volunteers`."""
    commands = parser.add_subparsers(dest="band_command", required=True)
    add = commands.add_parser("add-bands", help="register bands; prints a claim code for each, once")
    add.add_argument("serial", nargs="+", help="the band's serial number, like WP-000001")


def run_bands(args: argparse.Namespace) -> int:
    """Register bands. Raises Fault or UsageFault."""
    registry = registry_from_settings()
    for serial in args.serial:
        try:
            code = registry.ledger.add_band(serial)
        except LedgerRefusal:
            raise Fault("one of these bands is worn by somebody already: it cannot be claimed again") from None
        _say(f"{serial}  {code}")
    return 0


def add_consent_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `wijkpols consent`."""
    commands = parser.add_subparsers(dest="consent_command", required=True)
    commands.add_parser("verify", help="walk the ledger's chain and say where it was changed, if it was")


def run_consent(_args: argparse.Namespace) -> int:
    """Verify the ledger. Raises Fault where it is not as it was written."""
    fault = registry_from_settings().ledger.verify()
    if fault is not None:
        raise Fault(f"the consent ledger was changed at {fault}: restore it from a backup and find out how")
    _say("the consent ledger is as it was written")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
