"""Plays days of invented volunteers at speed, in a process of its own: the same code as live, less the radio.

Samples of the simulated bands -> gateway.epochs -> consent gate -> outbox -> MQTT. One uplink a district, as one
gateway would stand in each. Reads a `Plan` (JSON) from the file it is given; prints an event per day and a last one
with the counts.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from contracts.broker_url import BrokerAddress
from contracts.consent import band_key, band_token
from contracts.ports import Fault, SystemClock
from contracts.reading import MINUTE_S, Reading, Reason, SelfReport
from demo.summary import add_counts
from evaluation.replay import signals_of
from firmware_sim.people import Event
from firmware_sim.physiology import Answer, Samples
from firmware_sim.profile import REASONS
from firmware_sim.synthetic import Person
from gateway.epochs import minute_table
from gateway.uplink import Uplink

CONSENTS_S_MAX: Final = 30.0
DRAIN_S_MAX: Final = 120.0


class Wearer(msgspec.Struct, frozen=True, kw_only=True):
    """A simulated person and the serial of the band."""

    number: int
    serial: str
    district: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to play: who, which days, and where to send it."""

    broker_url: str
    band_key: str  # hex
    outbox_folder: str
    seed: int
    wearers: list[Wearer]
    days: list[int]  # local midnights, unix seconds
    events: list[dict[str, Any]] = []


def main(plan_file: Path) -> int:
    """Play the plan; exit 0 when the broker has acknowledged everything."""
    plan = msgspec.json.decode(plan_file.read_bytes(), type=Plan)
    try:
        totals = play(plan)
    except Fault as fault:
        print(f"wijkpols: {fault}", file=sys.stderr)  # noqa: T201
        return 1
    _say(event="done", **totals)
    return 0


def play(plan: Plan) -> dict[str, Any]:
    """Play all days; returns the counts of minutes and readings."""
    key = band_key(plan.band_key)
    events = [Event(**event) for event in plan.events]
    people = [(w, band_token(key, w.serial), Person(plan.seed, w.number, w.district, events)) for w in plan.wearers]
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        uplinks = {
            district: stack.enter_context(_uplink(plan, district))
            for district in sorted({w.district for w in plan.wearers})
        }
        for uplink in uplinks.values():
            if not uplink.wait_for_consents(0, CONSENTS_S_MAX):
                raise Fault("the broker did not give the consents in time: is it reachable?")
        for day in plan.days:
            for wearer, token, person in people:
                for start, end in person.worn_spans(day):
                    counts["recorded"] += (end - start) // MINUTE_S
                    _send(uplinks[wearer.district], token, person.samples(start, end))
            _say(event="day", day=day, recorded=counts["recorded"])
        for uplink in uplinks.values():
            if not uplink.drain(DRAIN_S_MAX):
                raise Fault("the broker did not take all readings in time: is it overloaded?")
        status = [uplink.status() for uplink in uplinks.values()]
    return {
        "recorded": counts["recorded"],
        "dropped": add_counts(*(s.minutes_dropped for s in status)),
        "sent": sum(s.published for s in status),
    }


def _uplink(plan: Plan, district: str) -> Uplink:
    gateway = f"played-{district.lower()}"
    return Uplink(
        broker=BrokerAddress.parse(plan.broker_url),
        gateway=gateway,
        district=district,
        outbox=Path(plan.outbox_folder) / f"{gateway}.sqlite",
        clock=SystemClock(),
    )


def _send(uplink: Uplink, token: str, samples: Samples) -> None:
    """Reduce one worn span to minutes and hand them to the uplink, where consent decides."""
    cover = uplink.cover(token)
    pseudonym = "" if cover is None else cover.pseudonym
    table, _ = minute_table(signals_of(samples))
    readings: list[Reading] = table.readings(pseudonym)
    reports = [report_of(answer, pseudonym) for answer in samples.reports]
    uplink.note_minutes(table.drops())
    uplink.accept(token, readings, reports)


def report_of(answer: Answer, pseudonym: str) -> SelfReport:
    """A band's answer under the volunteer's pseudonym."""
    reason = Reason(REASONS[answer.reason - 1]) if answer.reason else None
    return SelfReport(pseudonym=pseudonym, at=answer.at, safe=answer.safe, happy=answer.happy, reason=reason)


def _say(**event: Any) -> None:
    sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    sys.stdout.flush()
