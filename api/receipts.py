"""The volunteer's copy of a consent record: ISO/IEC TS 27560:2023 as JSON-LD, in the Data Privacy Vocabulary's words.

The shape is that of the W3C community's guide (https://w3id.org/dpv/guides/consent-27560): a receipt around a record.
The context is inside: nothing is fetched to read it. A receipt is made out of an event of the ledger and nothing else,
so that `receipt_check` can make it again; it is held against the published schema before it is handed out.
"""

from __future__ import annotations

import json
import math
import uuid
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from sqlalchemy import Engine, Select, select

from api import erasures, records
from api.records import LAWFUL_BASIS, ConsentRecord, Event
from api.tables import CONSENT_EVENTS, ERASURES, VOLUNTEERS
from contracts.consent import Purpose
from contracts.ports import Clock
from contracts.reading import Category

SCHEMA_FILE: Final = Path(__file__).parent / "receipt.schema.json"
#: A profile of DPV for TS 27560, with what the GDPR asks for.
_PROFILE: Final = "https://w3id.org/dpv/schema/dpv-27560#"

Receipt = dict[str, Any]

_ID: Final = {"@type": "@id"}
_TIME: Final = {"@type": "xsd:dateTime"}
#: Our names -> the terms of DPV 2 and Dublin Core. What has none is under `wijkpols:`.
CONTEXT: Final[dict[str, Any]] = {
    "@version": 1.1,
    "dpv": "https://w3id.org/dpv#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "loc": "https://w3id.org/dpv/loc#",
    "dct": "http://purl.org/dc/terms/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "wijkpols": "urn:wijkpols:terms:",
    "volunteer": "urn:wijkpols:volunteer:",
    "schemaVersion": {"@id": "dct:conformsTo", **_ID},
    "created": {"@id": "dct:created", **_TIME},
    "publisher": {"@id": "dct:publisher"},
    "record": {"@id": "dpv:hasRecordOfActivity"},
    "recordId": {"@id": "dct:identifier"},
    "recordVersion": {"@id": "wijkpols:recordVersion"},
    "principal": {"@id": "dpv:hasDataSubject"},
    "principalId": {"@id": "dct:identifier"},
    "adult": {"@id": "wijkpols:statedToBeAdult"},
    "district": {"@id": "wijkpols:district"},
    "controller": {"@id": "dpv:hasDataController"},
    "name": {"@id": "dct:title"},
    "jurisdiction": {"@id": "dpv:hasJurisdiction", **_ID},
    "legalBasis": {"@id": "dpv:hasLegalBasis", **_ID},
    "processes": {"@id": "dpv:hasProcess", "@container": "@set"},
    "purpose": {"@id": "dpv:hasPurpose"},
    "personalData": {"@id": "dpv:hasPersonalData", "@container": "@set"},
    "necessity": {"@id": "dpv:hasNecessity", **_ID},
    "recipients": {"@id": "dpv:hasRecipient", "@container": "@set"},
    "storage": {"@id": "dpv:hasStorageCondition", "@container": "@set"},
    "duration": {"@id": "dpv:hasDuration", "@type": "xsd:duration"},
    "location": {"@id": "dpv:hasLocation", **_ID},
    "notice": {"@id": "dpv:hasNotice"},
    "version": {"@id": "dct:hasVersion"},
    "language": {"@id": "dct:language"},
    "sha256": {"@id": "wijkpols:sha256"},
    "validFrom": {"@id": "wijkpols:validFrom", **_TIME},
    "validUntil": {"@id": "wijkpols:validUntil", **_TIME},
    "status": {"@id": "dpv:hasConsentStatus"},
    "event": {"@id": "wijkpols:event"},
    "indicatedBy": {"@id": "dpv:isIndicatedBy", **_ID},
    "indicatedAt": {"@id": "dpv:isIndicatedAtTime", **_TIME},
    "control": {"@id": "dpv:hasConsentControl"},
    "rights": {"@id": "dpv:hasRight", "@container": "@set"},
    "exercisedAt": {"@id": "dpv:isExercisedAt", **_ID},
    "ledger": {"@id": "wijkpols:ledger"},
    "place": {"@id": "wijkpols:place"},
    "previous": {"@id": "wijkpols:previous"},
    "hash": {"@id": "wijkpols:hash"},
    "erasure": {"@id": "wijkpols:erasure"},
    "askedAt": {"@id": "wijkpols:askedAt", **_TIME},
    "erasedAt": {"@id": "wijkpols:erasedAt", **_TIME},
    "readings": {"@id": "wijkpols:readings"},
    "reports": {"@id": "wijkpols:reports"},
}

#: Of a withdrawal by the band alone, so that receipts of before it was there still are what is made again.
_BAND_CONTEXT: Final = {"bandPressedAt": {"@id": "wijkpols:bandPressedAt", **_TIME}}

_STATUS: Final = {
    Event.GIVEN: "dpv:ConsentGiven",
    Event.REFUSED: "dpv:ConsentRefused",
    Event.WITHDRAWN: "dpv:ConsentWithdrawn",
    Event.INVALIDATED: "dpv:ConsentInvalidated",
    Event.EXPIRED: "dpv:ConsentExpired",
    Event.RENEWED: "dpv:RenewedConsentGiven",
}
_LEGAL_BASES: Final = {LAWFUL_BASIS: ["eu-gdpr:A6-1-a", "eu-gdpr:A9-2-a"]}
#: Health-like data is a special category (GDPR art. 9); what somebody answers is sensitive, and treated as such.
_KINDS: Final = {
    Category.HEART: "dpv:SpecialCategoryPersonalData",
    Category.SKIN: "dpv:SpecialCategoryPersonalData",
    Category.MOTION: "dpv:SpecialCategoryPersonalData",
    Category.SELF_REPORT: "dpv:SensitivePersonalData",
}
_PURPOSES: Final = {"district-index": "dpv:PublicBenefit", "research-profile": "dpv:ScientificResearch"}


class Entry(NamedTuple):
    """An event of the ledger: its place in the chain, and the choice that it holds."""

    place: int
    previous: str
    hash: str
    record: ConsentRecord


class Receipts:
    """Makes receipts out of the ledger's events. Safe for threads."""

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def last(self, pseudonym: str) -> Receipt:
        """The receipt of somebody's last choice. Raises LookupError."""
        query = select(CONSENT_EVENTS).join(VOLUNTEERS, VOLUNTEERS.c.last_event == CONSENT_EVENTS.c.seq)
        entry = self._entry(query.where(VOLUNTEERS.c.pseudonym == pseudonym))
        if entry is None:
            raise LookupError("no such volunteer")
        # Rounded up, as a choice is: a copy that is made at once is not from before it.
        return self.of(entry, created=math.ceil(self._clock.now()))

    def at(self, place: int) -> Entry | None:
        """The choice at a place of the chain; None when there is none."""
        return self._entry(select(CONSENT_EVENTS).where(CONSENT_EVENTS.c.seq == place))

    def of(self, entry: Entry, *, created: float) -> Receipt:
        """The receipt of an event, made at `created` (unix seconds), held to the schema. Raises ValidationError."""
        receipt = {
            "@context": CONTEXT | _BAND_CONTEXT if entry.record.pressed_at else CONTEXT,
            "@id": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'urn:wijkpols:receipt:{entry.hash}')}",
            "@type": "dpv:ConsentReceipt",
            "schemaVersion": f"{_PROFILE}receipt-eu-gdpr",
            "created": _time(created),
            "publisher": entry.record.controller,
            "record": _record(entry.record),
            "ledger": {"place": entry.place, "previous": entry.previous, "hash": entry.hash},
        }
        erasure = self._erasure(entry.place)
        if erasure is not None:
            receipt["erasure"] = erasure
        validator().validate(receipt)
        return receipt

    def _entry(self, query: Select[Any]) -> Entry | None:
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        try:
            record = records.parse(row.body)
        except msgspec.DecodeError:  # edited behind the ledger's back: it is no choice any more
            return None
        return Entry(row.seq, row.previous, row.hash, record) if isinstance(record, ConsentRecord) else None

    def _erasure(self, place: int) -> dict[str, Any] | None:
        with self._engine.connect() as connection:
            row = connection.execute(select(ERASURES).where(ERASURES.c.revision == place)).one_or_none()
        if row is None:
            return None
        asked = {"askedAt": _time(row.asked_at)}
        if row.erased_at is None:
            return asked
        done_at = erasures.done_at(row.asked_at, row.erased_at)
        return {**asked, "erasedAt": _time(done_at), "readings": row.readings, "reports": row.reports}


@cache
def schema() -> dict[str, Any]:
    """The published schema of a receipt (JSON Schema, draft 2020-12)."""
    found: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return found


@cache
def validator() -> Draft202012Validator:
    """Holds a receipt against the schema."""
    return Draft202012Validator(schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)


def _record(record: ConsentRecord) -> dict[str, Any]:
    return {
        "@id": f"urn:uuid:{record.record_id}",
        "@type": "dpv:ConsentRecord",
        "schemaVersion": f"{_PROFILE}record-eu-gdpr",
        "recordId": record.record_id,
        "recordVersion": record.schema_version,
        "principal": {
            "@id": f"volunteer:{record.principal_id}",
            "@type": "dpv:Participant",
            "principalId": record.principal_id,
        },
        "adult": record.adult,
        "district": record.district,
        "controller": {"@type": "dpv:DataController", "name": record.controller},
        "jurisdiction": f"loc:{record.jurisdiction}",
        "legalBasis": _LEGAL_BASES[record.lawful_basis],
        "processes": [_process(record, purpose, kinds) for purpose, kinds in record.purposes.items()],
        "notice": {
            "@id": record.notice.uri,
            "@type": "dpv:ConsentNotice",
            "version": record.notice.version,
            "language": record.notice.language,
            "sha256": record.notice.sha256,
        },
        "validFrom": _time(record.valid_from),
        "validUntil": _time(record.valid_until),
        "status": {
            "@type": _STATUS[record.event],
            "event": record.event.value,
            "indicatedAt": _time(record.at),
            "indicatedBy": "dpv:DataController" if record.lapsed else "dpv:DataSubject",
            **({"bandPressedAt": _time(record.pressed_at)} if record.pressed_at else {}),
        },
        "control": {"@type": "dpv:WithdrawConsent", "exercisedAt": record.withdrawal_method},
        "rights": [
            {"@type": ["dpv:DataSubjectRight", f"eu-gdpr:{article}"], "exercisedAt": where}
            for article, where in record.rights.items()
        ],
    }


def _process(record: ConsentRecord, purpose: Purpose, kinds: tuple[Category, ...]) -> dict[str, Any]:
    storage: list[dict[str, str]] = [{"@type": "dpv:StorageDuration", "duration": f"P{record.retention_days}D"}]
    if record.storage_location:
        storage.append({"@type": "dpv:StorageLocation", "location": f"loc:{record.storage_location}"})
    return {
        "@type": "dpv:Process",
        "purpose": {"@id": f"wijkpols:{purpose.value}", "@type": _PURPOSES[purpose.value]},
        "personalData": [
            {"@id": f"wijkpols:{kind.value}", "@type": _KINDS[kind], "necessity": "dpv:Optional"} for kind in kinds
        ],
        "recipients": list(record.recipients),
        "storage": storage,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
