"""A volunteer's heart data as HL7 FHIR R4: a Bundle of Observations that other health software reads.

Each Observation is built by the library `fhirclient`, whose `as_json` refuses one that lacks or misnames anything.
Codes are LOINC's, units UCUM's. There is no Patient: `subject` carries the pseudonym as an identifier.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from fhirclient.models.bundle import Bundle, BundleEntry  # type: ignore[import-untyped]
from fhirclient.models.codeableconcept import CodeableConcept  # type: ignore[import-untyped]
from fhirclient.models.fhirdatetime import FHIRDateTime  # type: ignore[import-untyped]
from fhirclient.models.fhirinstant import FHIRInstant  # type: ignore[import-untyped]
from fhirclient.models.fhirreference import FHIRReference  # type: ignore[import-untyped]
from fhirclient.models.observation import Observation  # type: ignore[import-untyped]
from fhirclient.models.period import Period  # type: ignore[import-untyped]
from fhirclient.models.quantity import Quantity  # type: ignore[import-untyped]

from contracts.ports import StoredReading
from contracts.reading import MINUTE_S

MEDIA_TYPE: Final = "application/fhir+json"
_CATEGORY: Final = CodeableConcept(
    {
        "coding": [
            {
                "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                "code": "vital-signs",
                "display": "Vital Signs",
            }
        ]
    }
)


class _Kind(NamedTuple):
    field: str  # of a reading
    code: Any  # CodeableConcept
    unit: str
    ucum: str


def _loinc(code: str, display: str) -> Any:
    return CodeableConcept({"coding": [{"system": "http://loinc.org", "code": code, "display": display}]})


_KINDS: Final = (
    _Kind("hr", _loinc("8867-4", "Heart rate"), "beats/minute", "/min"),
    _Kind("sdnn", _loinc("80404-7", "R-R interval.standard deviation (Heart rate variability)"), "ms", "ms"),
)


def bundle(pseudonym: str, readings: list[StoredReading], *, now: float) -> Iterator[str]:
    """The Bundle as JSON, in pieces: an Observation for each minute and kind. Raises FHIRValidationError."""
    subject = FHIRReference({"identifier": {"system": "urn:wijkpols:volunteer", "value": pseudonym}})
    frame = Bundle({"type": "collection", "timestamp": _instant(now).as_json()})
    head = json.dumps(frame.as_json())
    yield head[:-1] + ', "entry": ['
    first = True
    for _, reading in readings:
        for kind in _KINDS:
            value = getattr(reading, kind.field)
            if value is not None:
                yield ("" if first else ",\n") + json.dumps(_entry(kind, value, reading.minute, subject))
                first = False
    yield "]}"


def _entry(kind: _Kind, value: float, minute: int, subject: Any) -> Any:
    found = Observation()
    found.status = "final"
    found.category = [_CATEGORY]
    found.code = kind.code
    found.subject = subject
    found.effectivePeriod = Period()
    found.effectivePeriod.start = _time(minute)
    found.effectivePeriod.end = _time(minute + MINUTE_S)
    found.valueQuantity = Quantity()
    found.valueQuantity.value = value
    found.valueQuantity.unit = kind.unit
    found.valueQuantity.system = "http://unitsofmeasure.org"
    found.valueQuantity.code = kind.ucum
    entry = BundleEntry()
    entry.resource = found
    return entry.as_json()


def _time(seconds: int) -> Any:
    return FHIRDateTime(datetime.fromtimestamp(seconds, UTC).isoformat())


def _instant(seconds: float) -> Any:
    return FHIRInstant(datetime.fromtimestamp(int(seconds), UTC).isoformat())
