"""Small commands of the front door: districts, bands and invitations, the ledger's check."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from api import schema
from api.addresses import Addresses
from api.app import Registry, registry_from_settings
from api.ledger import LedgerRefusal, Refusal
from api.objections import ANSWER_DAYS, ANSWER_LETTERS_MAX, Objections
from api.post import open_post
from api.receipt_check import check
from api.receipts import Receipts
from api.recoveries import Recoveries
from api.registry import open_engine, shown_url
from api.reminders import remind
from api.settings import read_settings
from contracts.ports import Fault, SystemClock, UsageFault

_INVITED_MAX: Final = 1_000
_RECEIPT_BYTES_MAX: Final = 65_536


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
    invite = commands.add_parser("invite", help="register bands and print a leaflet with a QR code for each")
    invite.add_argument("-n", type=int, metavar="N", help=f"so many new bands, 1 to {_INVITED_MAX}")
    invite.add_argument("--serials", nargs="+", metavar="SERIAL", help="these bands instead")
    invite.add_argument("--district", required=True, metavar="CODE", help="the district that the leaflet names")
    invite.add_argument("--pdf", type=Path, required=True, metavar="FILE", help="where the leaflets go, a page each")
    invite.add_argument("--show", action="store_true", help="print the addresses with the codes in them as well")
    stop = commands.add_parser("stop", help="stop for a volunteer who cannot log in and shows the band")
    stop.add_argument("serial", help="the band's serial number")
    stop.add_argument("--erase", action="store_true", help="have everything erased, too")
    recover = commands.add_parser(
        "recover", help="print a way back for who lost leaflet and password, and shows the band"
    )
    recover.add_argument("serial", help="the band's serial number")
    recover.add_argument("--pdf", type=Path, required=True, metavar="FILE", help="where the sheet goes")
    commands.add_parser("remind", help="send the reminders that are due: run it once a day")
    commands.add_parser("email-key", help="make a new key for e-mail addresses, and seal them all with it")
    objections = commands.add_parser("objections", help="list the objections that wait for an answer, or answer one")
    objections.add_argument("--answer", nargs=2, metavar=("NUMBER", "TEXT"), help="the volunteer reads this answer")
    release = commands.add_parser("release", help="take a band from who stopped; prints a new claim code, once")
    release.add_argument("serial", help="the band's serial number")


def run_bands(args: argparse.Namespace) -> int:
    """Register, invite, stop or release. Raises Fault or UsageFault."""
    registry = registry_from_settings()
    match args.band_command:
        case "add-bands":
            for serial in args.serial:
                _say(f"{serial}  {_claim_code(registry, serial)}")
        case "invite":
            _invite(registry, args)
        case "stop":
            _stop(registry, args.serial, erase=args.erase)
        case "recover":
            _recover(registry, args.serial, args.pdf)
        case "remind":
            _remind(registry)
        case "email-key":
            count = Addresses(registry.engine, key_file=read_settings().email_key_file).change_key()
            _say(f"{count} addresses are sealed with a new key; keep a copy of the file, away from the database")
        case "objections":
            _objections(registry, args.answer)
        case _:
            _release(registry, args.serial)
    return 0


def _claim_code(registry: Registry, serial: str) -> str:
    try:
        return registry.ledger.add_band(serial)
    except LedgerRefusal:
        raise Fault("one of these bands is worn by somebody already: it cannot be claimed again") from None


def _invite(registry: Registry, args: argparse.Namespace) -> None:
    from api.leaflets import Invitation, Sender, write_leaflets

    settings = read_settings()
    district = registry.districts.find(args.district)
    if district is None:
        raise UsageFault(f"there is no district {args.district}: 'wijkpols districts list' shows them")
    if (args.n is None) == (args.serials is None):
        raise UsageFault("say how many bands with -n, or which ones with --serials")
    if args.serials is None and not 1 <= args.n <= _INVITED_MAX:
        raise UsageFault(f"-n is 1 to {_INVITED_MAX}")
    if len(set(args.serials or ())) != len(args.serials or ()):
        raise UsageFault("a serial number is there twice")
    serials = args.serials or registry.bands.new_serials(args.n)
    sender = Sender(settings.controller_name, settings.contact_email, district.name, settings.public_url)
    invitations = [Invitation(serial, _claim_code(registry, serial)) for serial in serials]
    write_leaflets(args.pdf, invitations, sender)
    if len(serials) == 1:
        _say(f"a leaflet in {args.pdf}, for band {serials[0]}")
    else:
        _say(f"{len(serials)} leaflets in {args.pdf}, bands {serials[0]} to {serials[-1]}")
    for invitation in invitations if args.show else ():
        _say(sender.address_of(invitation.code))
    _say("The file holds the claim codes: print it, then delete it.")


def _stop(registry: Registry, serial: str, *, erase: bool) -> None:
    pseudonym = registry.bands.wearer(serial)
    if pseudonym is None:
        raise Fault("nobody wears this band: look at its serial number")
    registry.ledger.withdraw(pseudonym, erase=erase)
    registry.access_log.record(
        role="staff", purpose="stopped at the volunteer's request", dataset="consent", pseudonym=pseudonym
    )
    _say("stopped; a running 'wijkpols api' tells gateways and stores within a second")
    if erase:
        _say(f"erasing; when it is done, 'wijkpols volunteers release {serial}' makes the band free")


def _recover(registry: Registry, serial: str, path: Path) -> None:
    from api.pages.recovery_sheet import write_sheet

    pseudonym = registry.bands.wearer(serial)
    if pseudonym is None:
        raise Fault("nobody wears this band: look at its serial number")
    clock, settings = SystemClock(), read_settings()
    registry.access_log.record(role="staff", purpose="printed a recovery code", dataset="log-in", pseudonym=pseudonym)
    recoveries = Recoveries(registry.engine, clock=clock, accounts=registry.accounts, ledger=registry.ledger)
    sheet = recoveries.print_for(pseudonym)
    language = registry.ledger.current(pseudonym).notice.language
    write_sheet(path, sheet, language=language, public_url=settings.public_url)
    begin = datetime.fromtimestamp(sheet.usable_from, UTC)
    _say(f"the sheet is in {path} and works from {begin:%Y-%m-%d %H:%M} UTC, unless the volunteer refuses it")
    _say("It opens a volunteer's page: print it, then delete the file.")


def _remind(registry: Registry) -> None:
    settings = read_settings()
    addresses = Addresses(registry.engine, key_file=settings.email_key_file)
    if not addresses.possible:
        raise UsageFault("no e-mail address is kept here: set WIJKPOLS_EMAIL_KEY_FILE and WIJKPOLS_POST_URL first")
    with open_post(settings.post_url.get_secret_value()) as send:
        done = remind(addresses=addresses, renewals=registry.renewals, settings=settings, send=send)
    _say(f"{done.sent} reminders sent, {done.refused} refused by the mail server")


def _objections(registry: Registry, answer: list[str] | None) -> None:
    objections = Objections(registry.engine, clock=SystemClock())
    if answer is None:
        waiting = objections.waiting()
        for objection in waiting:
            day = datetime.fromtimestamp(objection.made_at, UTC).date()
            _say(f"{objection.number}  {day}  {objection.subject.value}")
        _say(f"{len(waiting)} objections wait; answer each within {ANSWER_DAYS} days")
        return
    number, text = answer
    if not (number.isascii() and number.isdigit()) or not 1 <= len(text.strip()) <= ANSWER_LETTERS_MAX:
        raise UsageFault(f"give a number out of the list and an answer of 1 to {ANSWER_LETTERS_MAX} letters")
    pseudonym = objections.answer(int(number), text.strip())
    if pseudonym is None:
        raise Fault("no objection with this number waits for an answer: see 'wijkpols volunteers objections'")
    registry.access_log.record(role="staff", purpose="answered an objection", dataset="objections", pseudonym=pseudonym)
    _say("answered; the volunteer reads it on the own page")


def _release(registry: Registry, serial: str) -> None:
    try:
        code = registry.bands.release(serial)
    except LedgerRefusal as refusal:
        if refusal.reason is Refusal.CLAIM:
            raise Fault("nobody who stopped has this band: stop first, with 'wijkpols volunteers stop'") from None
        raise Fault("the withdrawal or the erasure is still under way: try again in a minute") from None
    _say(f"{serial}  {code}")


def add_consent_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `wijkpols consent`."""
    commands = parser.add_subparsers(dest="consent_command", required=True)
    verify = commands.add_parser("verify", help="walk the ledger's chain and say where it was changed, if it was")
    verify.add_argument("--receipt", type=Path, metavar="FILE", help="check each statement of this receipt (JSON), too")


def run_consent(args: argparse.Namespace) -> int:
    """Verify the ledger, or a receipt. Raises Fault where one is not as it was written, or UsageFault."""
    registry = registry_from_settings()
    if args.receipt is not None:
        return _verify_receipt(registry, args.receipt)
    fault = registry.ledger.verify()
    if fault is not None:
        raise Fault(f"the consent ledger was changed at {fault}: restore it from a backup and find out how")
    _say("the consent ledger is as it was written")
    return 0


def _verify_receipt(registry: Registry, path: Path) -> int:
    try:
        with path.open("rb") as file:
            content = file.read(_RECEIPT_BYTES_MAX + 1)
        if len(content) > _RECEIPT_BYTES_MAX:
            raise UsageFault(f"{path} is too large for a receipt")
        receipt = json.loads(content)
    except OSError as fault:
        raise UsageFault(f"{path} cannot be read: {fault.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageFault(f"{path} is no receipt: give the JSON file of the page 'Mijn bewijs'") from None
    statements = check(receipt, engine=registry.engine, receipts=Receipts(registry.engine, clock=SystemClock()))
    for statement in statements:
        _say(str(statement))
    if not all(statement.holds for statement in statements):
        raise Fault("this receipt says something that the ledger does not")
    return 0


def add_registry_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `wijkpols registry`."""
    commands = parser.add_subparsers(dest="registry_command", required=True)
    commands.add_parser("upgrade", help="bring the tables to what this program needs (SQLite: done at start)")
    commands.add_parser("check", help="say whether they stand there")


def run_registry(args: argparse.Namespace) -> int:
    """Upgrade or check. Raises Fault or UsageFault."""
    url = read_settings().registry_url
    engine, shown = open_engine(url), shown_url(url)
    try:
        if args.registry_command == "check":
            schema.check(engine)
            _say(f"{shown} stands at step {schema.newest()}, the newest")
        else:
            before, now = schema.upgrade(engine)
            _say(f"{shown}: step {before or 'none'} -> {now}")
    except SQLAlchemyError:
        raise Fault(f"the registry {shown} cannot be reached: start it, or mend WIJKPOLS_REGISTRY_URL") from None
    finally:
        engine.dispose()
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
