"""All that is held about one volunteer, gathered for the volunteer alone. Each look is written down first."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, Final, NamedTuple

import msgspec

from api import erasures
from api.access_log import OwnEntry
from api.erasures import ErasureState
from api.notices import Language
from api.parts import Parts
from api.records import ConsentRecord
from api.schemas import OwnErasure
from api.volunteer.own_budget import Figure, Spent, spent
from contracts.ports import StoredReading, StoredReport, StoreUnavailable, UsageFault
from contracts.reading import FIELDS
from contracts.release import MEASURED

_LOG = logging.getLogger(__name__)
_WEEK_S: Final = 7 * 86_400


class OwnRows(NamedTuple):
    """Readings and answers of one volunteer, in order of time."""

    readings: list[StoredReading]
    reports: list[StoredReport]


def read(parts: Parts, pseudonym: str, *, purpose: str = "own data") -> OwnRows | None:
    """What the store holds; None when it cannot be asked now."""
    if parts.own_data is None:
        return None
    parts.access_log.record(role="volunteer", purpose=purpose, dataset="readings", pseudonym=pseudonym)
    try:
        return OwnRows(*parts.own_data.person(pseudonym))
    except StoreUnavailable:
        return None


def document(parts: Parts, pseudonym: str, rows: OwnRows) -> bytes:
    """Everything as one JSON document."""
    found: dict[str, Any] = {
        "pseudonym": pseudonym,
        "email": email_of(parts, pseudonym),
        "questions": parts.prompts.of(pseudonym),
        "madeAt": time_of(int(parts.clock.now())).isoformat(),
        "consents": parts.ledger.history(pseudonym),
        "erasures": [erasure_out(s).model_dump(mode="json", by_alias=True) for s in parts.ledger.erasures(pseudonym)],
        "accesses": [entry._asdict() for entry in looks(parts, pseudonym)],
        "objections": [objection._asdict() for objection in parts.objections.of(pseudonym)],
        "releases": [
            {"area": cost.figure.area, "window": cost.figure.window, "rho": cost.rho}
            for cost in budget_of(parts, rows).costs
        ],
        "readings": [{"district": r.district, **msgspec.structs.asdict(r.reading)} for r in rows.readings],
        "reports": [{"district": r.district, **msgspec.structs.asdict(r.report)} for r in rows.reports],
    }
    return msgspec.json.encode(found)


def email_of(parts: Parts, pseudonym: str) -> str | None:
    """The address that is kept; None, too, when its key is gone: the rest must not be withheld for that."""
    try:
        return parts.addresses.of(pseudonym)
    except UsageFault as fault:
        _LOG.error("%s", fault)
        return None


def budget_of(parts: Parts, rows: OwnRows) -> Spent:
    """The releases that somebody probably was part of, and what they cost."""
    heard = {district for district, _ in rows.readings} | {district for district, _ in rows.reports}
    begin = min((stored.report.at for stored in rows.reports), default=0) - _WEEK_S
    figures: list[Figure] = []
    if rows.readings:
        first = min(stored.reading.minute for stored in rows.readings) - _WEEK_S
        figures += parts.releases.profiles(districts=heard, start=first)
    if rows.reports:  # without an answer nobody counts in anything else
        figures += parts.releases.cells(districts=heard, metrics=MEASURED[:1], start=begin, derived=False)
        figures += parts.releases.reasons(districts=heard, start=begin)
    now = parts.clock.now()
    charges = parts.releases.ledger() if figures else ()
    return spent(figures, charges, parts.releases.budget(now), rows.readings, rows.reports, now=now)


def looks(parts: Parts, pseudonym: str) -> list[OwnEntry]:
    """Each time that this volunteer's data was read, oldest first; of analytics the days on which a yes covered it."""
    choices = [record for record in parts.ledger.history(pseudonym) if isinstance(record, ConsentRecord)]
    return [
        entry
        for entry in parts.access_log.own(pseudonym)
        if entry.role != "analytics" or _covered_on(entry.day, entry.purpose, choices)
    ]


def _covered_on(day: str, purpose: str, choices: Sequence[ConsentRecord]) -> bool:
    """Whether one of these choices, oldest first, covered the purpose at some time of a day (ISO, UTC)."""
    for choice, after in zip_longest(choices, choices[1:]):
        end = choice.valid_until if after is None else min(choice.valid_until, after.at)
        first, last = (time_of(at).date().isoformat() for at in (choice.at, end - 1))
        if choice.stands and purpose in choice.purposes and first <= day <= last:
            return True
    return False


def readings_csv(rows: OwnRows, language: Language) -> str:
    """The readings, a line for each minute; ';' and a decimal comma in Dutch."""
    table = [
        [time_of(r.reading.minute).isoformat(), r.district, *(getattr(r.reading, name) for name in FIELDS)]
        for r in rows.readings
    ]
    return _csv(["minute", "district", *FIELDS], table, language)


def reports_csv(rows: OwnRows, language: Language) -> str:
    """The answers, a line for each."""
    table = [
        [time_of(r.report.at).isoformat(), r.district, r.report.safe, r.report.happy, r.report.reason]
        for r in rows.reports
    ]
    return _csv(["at", "district", "safe", "happy", "reason"], table, language)


def erasure_out(state: ErasureState) -> OwnErasure:
    """An erasure as it goes out."""
    return OwnErasure(
        asked_at=time_of(state.asked_at),
        erased_at=None if state.erased_at is None else time_of(erasures.done_at(state.asked_at, state.erased_at)),
        readings=state.readings,
        reports=state.reports,
        everything=state.everything,
        kinds=list(state.kinds),
    )


def time_of(seconds: float) -> datetime:
    """Unix seconds as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


_DELIMITERS: Final = {"nl": ";", "en": ","}


def _csv(head: list[str], table: list[list[Any]], language: Language) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=_DELIMITERS[language], lineterminator="\r\n")
    writer.writerow(head)
    for row in table:
        writer.writerow([_cell(value, language) for value in row])
    return out.getvalue()


def _cell(value: object, language: Language) -> str:
    if value is None:
        return ""
    text = str(value)
    return text.replace(".", ",") if isinstance(value, float) and language == "nl" else text
