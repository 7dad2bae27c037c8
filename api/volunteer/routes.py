"""Enrol, see, change, take along, stop. Each route is about the one pseudonym that is logged in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.responses import Response as RawResponse

from api import records
from api.ledger import LedgerRefusal, Refusal
from api.parts import PartsOf
from api.problems import Problem
from api.records import ConsentRecord
from api.schemas import (
    ChoicesIn,
    EnrolmentIn,
    EnrolmentOut,
    Link,
    Me,
    NoticeOut,
    Receipt,
    WithdrawalIn,
)
from api.volunteer import own_data
from api.volunteer.auth import VolunteerOf
from contracts.consent import Purpose
from contracts.reading import Category

router = APIRouter(tags=["volunteers"])

_REFUSALS: Final = {
    Refusal.CLAIM: (403, "This claim code cannot be used. See that it is typed as printed, or ask for a new one."),
    Refusal.NOT_ADULT: (403, "Only who is 18 or older can take part."),
    Refusal.DISTRICT: (400, "There is no district with this code; /v1/districts lists them."),
    Refusal.ERASURE_OPEN: (409, "Your data is being erased. Choose again when the receipt is there (/v1/me)."),
}
_NO_STORE: Final = {"Cache-Control": "no-store"}


@router.post("/enrolments", status_code=201, summary="Take part", operation_id="enrol")
def enrol(request: Request, parts: PartsOf, body: EnrolmentIn, response: Response) -> EnrolmentOut:
    """Couple a band by its claim code, and choose. The answer holds a token, once, and a receipt."""
    response.headers.update(_NO_STORE)
    guess = {"code": parts.ledger.claim_key(body.claim_code), "client": request.client.host if request.client else ""}
    if wait := parts.guard.pause(**guess, now=parts.clock.now()):
        detail = "Too many codes that cannot be used came from here. Wait as long as Retry-After says."
        raise Problem(429, "too-many-tries", detail, headers={"Retry-After": str(wait)})
    try:
        enrolment = parts.ledger.enrol(
            body.claim_code,
            district=body.district,
            adult=body.adult,
            language=body.language,
            choices=_purposes(body.choices),
        )
    except LedgerRefusal as refusal:
        if refusal.reason is Refusal.CLAIM:
            parts.guard.failed(**guess, now=parts.clock.now())
        raise _problem(refusal) from None
    parts.consent_changed()
    response.headers["Location"] = "/v1/me"
    return EnrolmentOut(bearer_token=enrolment.bearer, receipt=receipt_of(enrolment.record))


@router.get("/me", summary="What I chose", operation_id="getMe")
def get_me(parts: PartsOf, pseudonym: VolunteerOf, response: Response) -> Me:
    """The last choice, whether anything is collected now, and the erasures that I asked for."""
    response.headers.update(_NO_STORE)
    record = parts.ledger.current(pseudonym)
    return Me(
        receipt=receipt_of(record),
        covers_now=record.stands and parts.clock.now() < record.valid_until,
        erasures=[own_data.erasure_out(state) for state in parts.ledger.erasures(pseudonym)],
        links=[
            Link(rel="consents", href="/v1/me/consents"),
            Link(rel="data", href="/v1/me/data"),
            Link(rel="withdrawals", href="/v1/me/withdrawals"),
        ],
    )


@router.get("/me/consents", summary="My choice and its receipt", operation_id="getConsents")
def get_consents(parts: PartsOf, pseudonym: VolunteerOf, response: Response) -> Receipt:
    """The last choice."""
    response.headers.update(_NO_STORE)
    return receipt_of(parts.ledger.current(pseudonym))


@router.put("/me/consents", summary="Choose again", operation_id="putConsents")
def put_consents(parts: PartsOf, pseudonym: VolunteerOf, body: ChoicesIn, response: Response) -> Receipt:
    """A new choice in the place of the one before, for six months. Nothing chosen is a withdrawal."""
    response.headers.update(_NO_STORE)
    try:
        record = parts.ledger.change(pseudonym, _purposes(body.choices))
    except LedgerRefusal as refusal:
        raise _problem(refusal) from None
    parts.consent_changed()
    return receipt_of(record)


@router.post("/me/withdrawals", status_code=201, summary="Stop", operation_id="withdraw")
def withdraw(parts: PartsOf, pseudonym: VolunteerOf, body: WithdrawalIn, response: Response) -> Receipt:
    """Take everything back; with `erase`, what is stored is erased too. Doing it twice changes nothing."""
    response.headers.update(_NO_STORE)
    record = parts.ledger.withdraw(pseudonym, erase=body.erase)
    parts.consent_changed()
    response.headers["Location"] = "/v1/me"
    return receipt_of(record)


@router.get(
    "/me/data",
    summary="All that is held about me",
    operation_id="getOwnData",
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
)
def get_own_data(parts: PartsOf, pseudonym: VolunteerOf) -> RawResponse:
    """Readings, self-reports, choices, erasures and each time that my data was read, as one JSON document."""
    if parts.own_data is None:
        raise Problem(503, "own-data-elsewhere", "The store of readings cannot be reached from here. Try again later.")
    rows = own_data.read(parts, pseudonym)
    if rows is None:
        raise Problem(503, "store-unreachable", "The store of readings cannot be reached now. Try again later.")
    headers = {**_NO_STORE, "Content-Disposition": 'attachment; filename="wijkpols-mijn-gegevens.json"'}
    return RawResponse(own_data.document(parts, pseudonym, rows), headers=headers, media_type="application/json")


def receipt_of(record: ConsentRecord) -> Receipt:
    """The volunteer's copy of a record."""
    return Receipt(
        schema_version=record.schema_version,
        record_id=record.record_id,
        principal_id=record.principal_id,
        event=record.event,
        at=_time(record.at),
        choices={purpose: list(chosen) for purpose, chosen in record.purposes.items()},
        district=record.district,
        valid_from=_time(record.valid_from),
        valid_until=_time(record.valid_until),
        erase=record.erase,
        notice=NoticeOut(**msgspec.structs.asdict(record.notice)),
        controller=record.controller,
        lawful_basis=record.lawful_basis,
        jurisdiction=record.jurisdiction,
        retention_days=record.retention_days,
        withdrawal_method=record.withdrawal_method,
    )


def _purposes(choices: dict[Purpose, list[Category]]) -> records.Purposes:
    return {purpose: tuple(chosen) for purpose, chosen in choices.items()}


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _problem(refusal: LedgerRefusal) -> Problem:
    status, detail = _REFUSALS[refusal.reason]
    return Problem(status, refusal.reason.value, detail)
