"""Enrols the demonstration's volunteers as people would be: a claim code, a request to the API, their own choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import httpx

from contracts.consent import Purpose
from contracts.ports import Fault
from demo.city import Volunteer
from demo.house import House


def enrol(house: House, volunteers: Sequence[Volunteer], *, at: float, progress: Callable[[int], None]) -> None:
    """Enrol everybody through `POST /v1/enrolments` as if it were `at` (unix seconds). Raises Fault."""
    house.clock.set(at)
    try:
        with httpx.Client(base_url=house.address, timeout=30, trust_env=False) as http:
            for done, volunteer in enumerate(volunteers, 1):
                _enrol_one(house, http, volunteer)
                progress(done)
    finally:
        house.clock.set(None)


def _enrol_one(house: House, http: httpx.Client, volunteer: Volunteer) -> None:
    claim_code = house.registry.ledger.add_band(volunteer.serial)  # the association prints it with the band
    answer = http.post(
        "/v1/enrolments",
        json={
            "claimCode": claim_code,
            "district": volunteer.district,
            "adult": True,
            "language": "nl",
            "choices": {Purpose(p).value: [c.value for c in chosen] for p, chosen in volunteer.choices.items()},
        },
    )
    if answer.status_code != httpx.codes.CREATED:
        raise Fault(f"an enrolment was refused by the API with {answer.status_code}: see its log")
