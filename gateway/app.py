"""The gateway's front: builds the concrete parts, and runs them until it is told to end."""

from __future__ import annotations

import argparse
import asyncio
import logging
import platform
import signal
import sqlite3
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from contracts import wire
from contracts.broker_url import BrokerAddress
from contracts.consent import band_token
from contracts.ports import Fault, SystemClock, UsageFault
from gateway.bonds import ORDER_S, BondBook, Order
from gateway.link import RadioAddress, RadioLost
from gateway.metrics import Metrics
from gateway.outbox_file import NAME as OUTBOX_FILE
from gateway.recognition import OWN_SERIAL
from gateway.settings import GatewaySettings, load
from gateway.status import in_words, retained_status
from gateway.uplink import Uplink

#: How long the end may wait for the broker to acknowledge what is left; the rest stays in the outbox.
DRAIN_S_MAX: Final = 10.0
#: Exit code of `status` for a gateway that is not online.
OFFLINE: Final = 3
#: What a person does after an order.
_TO_DO: Final = {
    Order.PAIR: (
        f"The gateway that keeps its bonds in {{folder}} lets {{band}} bond, for {ORDER_S / 60:.0f} minutes from now.\n"
        "1. See that it runs: without it, nothing happens.\n"
        "2. Hold the band's button for five seconds, a few metres from the gateway at most.\n"
        '3. Wait for "bonded with a band" in its log: journalctl -u wijkpols-gateway -f\n'
        "A band that it knew must be the same one: the old keys are given up now, and no other band gets in.\n"
        "If the log stays silent, read the bond: counts of 'wijkpols gateway status'.\n"
    ),
    Order.UNPAIR: (
        "The gateway that keeps its bonds in {folder} forgets {band}, as soon as it runs.\n"
        "To read it again, hold its button for five seconds near a gateway.\n"
    ),
}
_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `wijkpols gateway`."""
    commands = parser.add_subparsers(dest="gateway_command", required=True, metavar="run|pair|unpair|status")
    run_parser = commands.add_parser("run", help="read bands and publish their minutes")
    run_parser.add_argument("--district", metavar="CODE", help="CBS code of where this gateway hangs")
    run_parser.add_argument("--radio", metavar="URL", help="bluez:hci0,bluez:hci1=3 or bumble:tcp-client:HOST:PORT")
    run_parser.add_argument("--slots", metavar="N", type=int, help="bands read at once on each radio")
    run_parser.add_argument("--pairing", metavar="WHOM", help="enrolled (all with consent) or ordered (named by pair)")
    pair_parser = commands.add_parser("pair", help="let the running gateway bond with a band, at first or again")
    unpair_parser = commands.add_parser("unpair", help="let the running gateway forget a band and its bond")
    for command in (pair_parser, unpair_parser):
        command.add_argument("--band", metavar="SERIAL", required=True, help="as it is printed on the band, WP-000001")
    for command in (run_parser, pair_parser, unpair_parser):
        command.add_argument("--outbox", metavar="DIR", type=Path, help="folder for bonds and what is not acknowledged")
        command.add_argument("--band-key-file", metavar="FILE", type=Path, help="file with the key, hexadecimal")
    run_parser.add_argument("--verbose", action="store_true", help="log more")
    status_parser = commands.add_parser("status", help="what a gateway last said of itself; exit 3 when it is offline")
    status_parser.add_argument("--json", action="store_true", help="the message itself")
    run_parser.add_argument("--metrics-port", metavar="PORT", type=int, help="serve Prometheus metrics (off)")
    for command in (run_parser, status_parser):
        command.add_argument("--broker-url", metavar="URL", help="mqtt://HOST:PORT or mqtts://USER:PASSWORD@HOST:PORT")
        command.add_argument("--name", metavar="NAME", help="the gateway's name")


def run(args: argparse.Namespace) -> int:
    """Run a command. Raises Fault and UsageFault."""
    if args.gateway_command == "status":
        settings = load(broker_url=args.broker_url, gateway_name=args.name)
        return _status(settings, as_json=args.json)
    if args.gateway_command in set(Order):
        return _order(Order(args.gateway_command), args)
    settings = load(
        broker_url=args.broker_url,
        gateway_name=args.name,
        gateway_district=args.district,
        gateway_radio=args.radio,
        gateway_outbox=args.outbox,
        gateway_slots=args.slots,
        gateway_pairing=args.pairing,
        gateway_metrics_port=args.metrics_port,
        band_key=_key_of(args.band_key_file),
    )
    settings.needs("gateway_name", "gateway_district", "band_key")
    broker = BrokerAddress.parse(settings.broker_url.get_secret_value())
    radios = RadioAddress.parse_all(settings.gateway_radio)
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
        force=True,  # the front door logs warnings alone
    )
    # Bumble and bleak log the bytes that they receive, and those are a person's.
    for name in ("bumble", "bleak", "bleak_retry_connector"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("gateway.publisher.paho").setLevel(logging.ERROR)
    asyncio.run(read_bands(settings, broker=broker, radios=radios))
    return 0


async def read_bands(settings: GatewaySettings, *, broker: BrokerAddress, radios: Sequence[RadioAddress]) -> None:
    """Read bands until SIGTERM or SIGINT; then close the open minutes, drain the outbox and say the last status."""
    from gateway.reader import Reader  # with scipy, which takes a small machine seconds: `pair` and `status` need none

    loop = asyncio.get_running_loop()
    clock = SystemClock()
    stopping = asyncio.Event()

    def consent_changed(token: str) -> None:  # in paho's thread
        loop.call_soon_threadsafe(reader.consent_changed, token)

    uplink = Uplink(
        broker=broker,
        gateway=settings.gateway_name,
        district=settings.gateway_district,
        outbox=settings.gateway_outbox,
        clock=clock,
        slots=sum(radio.slots or settings.gateway_slots for radio in radios),
        version=_version("wijkpols"),
        versions={"python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "bleak": _version("bleak")},
        on_consent=consent_changed,
    )
    reader = Reader(
        radios=radios,
        slots=settings.gateway_slots,
        key=settings.key,
        uplink=uplink,
        clock=clock,
        revisit_s=settings.gateway_revisit_s,
        book=BondBook(settings.gateway_outbox),
        pairing=settings.gateway_pairing,
    )

    def stop() -> None:
        stopping.set()
        reader.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    with uplink, Metrics(uplink.status, host=settings.gateway_metrics_host, port=settings.gateway_metrics_port):
        # Without the consents nothing may be read, so nothing is listened to either.
        while not stopping.is_set() and not await asyncio.to_thread(uplink.wait_for_consents, 0, 0.5):
            continue
        try:
            await reader.run()
        except RadioLost as fault:
            raise Fault(f"{fault}: check --radio, or start the radio first") from None
        if not await asyncio.to_thread(uplink.drain, DRAIN_S_MAX):
            _log.warning("not all is acknowledged; the outbox keeps the rest for the next start")


def _order(order: Order, args: argparse.Namespace) -> int:
    settings = load(gateway_outbox=args.outbox, band_key=_key_of(args.band_key_file))
    settings.needs("band_key")
    if not OWN_SERIAL.fullmatch(args.band):
        raise UsageFault(f"{args.band!r} is no band's serial: write it as it is printed on the band, WP-000001")
    try:
        if not (settings.gateway_outbox / OUTBOX_FILE).exists():
            raise UsageFault(
                f"no gateway has its outbox in {settings.gateway_outbox}: name its folder by --outbox, or its settings,"
                " as in 'wijkpols --settings /etc/wijkpols/gateway.env gateway pair …'"
            )
        BondBook(settings.gateway_outbox).leave(order, band_token(settings.key, args.band))
    except OSError as fault:
        raise Fault(
            f"no order can be left in {settings.gateway_outbox} ({fault.strerror}): be the gateway's own user,"
            " as by sudo -u wijkpols"
        ) from None
    sys.stdout.write(_TO_DO[order].format(band=args.band, folder=settings.gateway_outbox))
    return 0


def _key_of(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise UsageFault(f"the band key file {file} cannot be read") from None


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _status(settings: GatewaySettings, *, as_json: bool) -> int:
    settings.needs("gateway_name")
    broker = BrokerAddress.parse(settings.broker_url.get_secret_value())
    status = retained_status(broker, settings.gateway_name)
    if as_json:
        sys.stdout.write(wire.encode(status).decode() + "\n")
    else:
        sys.stdout.write(in_words(status, SystemClock().now()))
    return 0 if status.online else OFFLINE
