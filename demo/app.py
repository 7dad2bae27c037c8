"""`wijkpols demo`: the whole house on one machine, played at speed and then live."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from contracts.ports import Fault, UsageFault
from demo.city import VOLUNTEERS_DEFAULT
from demo.guest import SERIAL
from demo.performance import Options, Performance
from demo.summary import in_words
from demo.timeline import DAYS_MAX

PORT_DEFAULT: Final = 8080
_ANALYTICS_EVERY_S: Final = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of docs/reference/demo.md."""
    add = parser.add_argument
    add("--once", action="store_true", help="run to the first releases, print a summary, exit")
    add("--json", action="store_true", help="with --once: the summary as one JSON object on stdout")
    add("--days", type=_days, default=14, metavar="N", help=f"whole days that are played, 1 to {DAYS_MAX} (14)")
    add(
        "--volunteers",
        type=_count,
        metavar="N",
        help=f"invented volunteers ({VOLUNTEERS_DEFAULT}; with --replay 0, and they live in the recordings' district)",
    )
    add("--seed", type=_count, default=1, metavar="N", help="of the invented people (1); never of the noise")
    add("--replay", type=Path, metavar="DIR", help="play the recordings in DIR, as bands, over Bluetooth")
    add("--speed", type=_speed, default=240.0, metavar="X", help="how fast the clocks of replayed bands run (240)")
    add("--district", metavar="CODE", help="where the recordings are worn (the third of the list)")
    add("--port", type=_port, metavar="N", help=f"of the pages ({PORT_DEFAULT}; with --once a free one)")
    add("--data", type=Path, metavar="DIR", help="keep the data here; the next start goes on with it")
    add("--broker", metavar="URL", help="an MQTT 5 broker instead of the embedded one (WIJKPOLS_BROKER_URL)")
    add("--store", metavar="URL", help="a store instead of a DuckDB file in the data folder (WIJKPOLS_STORE_URL)")


def run(args: argparse.Namespace) -> int:
    """Carry it out; the exit code. Raises Fault or UsageFault."""
    if args.json and not args.once:
        raise UsageFault("--json goes with --once: the summary is printed when the run ends")
    began = time.monotonic()
    os.umask(0o077)  # what is kept may be about whoever takes part: for the eyes of this user alone
    # SIGTERM ends it as Ctrl-C does: through every `with` block, children and all.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _folder(args.data) as folder, Performance(_options(args, folder)) as performance:
        performance.enrol_and_play()
        if not args.once:
            _stay(performance)
            return 0
        performance.hear_bands()
        performance.release()
        summary = performance.summary(seconds=time.monotonic() - began)
    if args.json:
        print(msgspec.json.encode(summary).decode())  # noqa: T201
    else:
        print(in_words(summary))  # noqa: T201
    if summary.fault is not None:
        raise Fault(summary.fault)
    return 0


def _stay(performance: Performance) -> None:
    """Serve, go on live over Bluetooth, and release what becomes due, until Ctrl-C."""
    performance.release()
    with contextlib.suppress(KeyboardInterrupt), performance.guest() as guest:
        command = f"  {_program()} --settings {shlex.quote(str(guest.file))}"
        leaflet = shlex.quote(str(guest.file.with_name("leaflet.pdf")))
        for line in (
            f"\nReady: {performance.address}  (Dutch; English under /en)",
            "A few bands go on live over Bluetooth. Ctrl-C ends it.",
            "\nTake part yourself, in a second terminal: get invited, then put on a band.",
            f"{command} volunteers invite --serials {SERIAL} --district {guest.district} --pdf {leaflet} --show",
            f"{command} bands",
        ):
            print(line, file=sys.stderr)  # noqa: T201
        performance.live(guest, every_s=_ANALYTICS_EVERY_S)
    print("Ending: the gateway sends what it holds.", file=sys.stderr)  # noqa: T201


def _program() -> str:
    """How this program was called, so that a line can be copied into another terminal."""
    return shlex.quote(sys.argv[0]) if Path(sys.argv[0]).name == "wijkpols" else "python -m wijkpols"


def _options(args: argparse.Namespace, folder: Path) -> Options:
    volunteers = args.volunteers if args.volunteers is not None else (0 if args.replay else VOLUNTEERS_DEFAULT)
    if volunteers == 0 and args.replay is None:
        raise UsageFault("--volunteers 0 leaves nobody: name one at least, or recordings by --replay DIR")
    port = args.port if args.port is not None else (0 if args.once else PORT_DEFAULT)
    return Options(
        folder=folder,
        days=args.days,
        volunteers=volunteers,
        seed=args.seed,
        replay=args.replay,
        speed=args.speed,
        district=args.district,
        port=port,
        broker_url=args.broker or os.environ.get("WIJKPOLS_BROKER_URL") or None,
        store_url=args.store or os.environ.get("WIJKPOLS_STORE_URL") or None,
        quiet=args.json,
    )


@contextlib.contextmanager
def _folder(data: Path | None) -> Iterator[Path]:
    """The data folder, made when it is missing; without one, a folder that is removed at the end."""
    if data is None:
        with tempfile.TemporaryDirectory(prefix="wijkpols-demo-") as name:
            yield Path(name)
        return
    try:
        data.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data):
            pass
    except OSError as fault:
        raise Fault(
            f"the data folder {data} cannot be written ({fault.strerror}): choose another with --data"
        ) from None
    yield data


def _count(text: str) -> int:
    return _whole(text, 0, 100_000)


def _days(text: str) -> int:
    return _whole(text, 1, DAYS_MAX)


def _port(text: str) -> int:
    return _whole(text, 0, 65_535)


def _whole(text: str, low: int, high: int) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{number} is not between {low} and {high}")
    return number


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not 1 <= speed <= 10_000:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 10000")
    return speed
