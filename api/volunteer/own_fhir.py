"""A volunteer's heart data as HL7 FHIR R4: a Bundle of Observations that other health software reads.

Each Observation is built by the library `fhirclient`, whose `as_json` refuses one that lacks or misnames anything.
Codes are LOINC's, units UCUM's. There is no Patient: `subject` carries the pseudonym as an identifier.
"""

from __future__ import annotations

import json
import uuid
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
_NAMESPACE: Final = uuid.UUID("deffc0c8-d60e-477e-bd03-3661b4729205")
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
    """The Bundle as JSON, in pieces: an Observation for each minute and kind. Raises FHIRValidationError.

    Where nothing was measured there is no `entry`: FHIR's JSON knows no empty array.
    """
    subject = FHIRReference({"identifier": {"system": "urn:wijkpols:volunteer", "value": pseudonym}})
    frame = Bundle({"type": "collection", "timestamp": _instant(now).as_json()})
    yield json.dumps(frame.as_json())[:-1]
    before, end = ', "entry": [', "}"
    for _, reading in readings:
        for kind in _KINDS:
            value = getattr(reading, kind.field)
            if value is not None:
                yield before + json.dumps(_entry(kind, value, reading.minute, subject))
                before, end = ",\n", "]}"
    yield end


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
    name = f"{subject.identifier.value} {minute} {kind.code.coding[0].code}"
    entry.fullUrl = uuid.uuid5(_NAMESPACE, name).urn  # the same in each export, so that an import can be repeated
    entry.resource = found
    return entry.as_json()


def _time(seconds: int) -> Any:
    return FHIRDateTime(datetime.fromtimestamp(seconds, UTC).isoformat())


def _instant(seconds: float) -> Any:
    return FHIRInstant(datetime.fromtimestamp(int(seconds), UTC).isoformat())
