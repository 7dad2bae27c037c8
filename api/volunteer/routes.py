"""Enrol, see, change, take along, stop. Each route is about the one pseudonym that is logged in."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse
from starlette.responses import Response as RawResponse

from api import records
from api.ledger import LedgerRefusal, Refusal
from api.parts import Parts, PartsOf
from api.problems import Problem
from api.receipts import schema
from api.schemas import (
    ChoicesIn,
    EnrolmentIn,
    EnrolmentOut,
    Link,
    Me,
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
    Refusal.STOPPED: (409, "You do not take part now. Choose first, with PUT /v1/me/consents."),
    Refusal.TOO_OFTEN: (429, "What you took back has stopped. Choose what you say yes to again after Retry-After."),
    Refusal.ERASURE_OPEN: (409, "Your data is being erased. Choose again when the receipt is there (/v1/me)."),
}
_NO_STORE: Final = {"Cache-Control": "no-store"}
_LD_JSON: Final = "application/ld+json"
_DESCRIBED: Final = {
    "description": "The receipt of the last choice.",
    "content": {_LD_JSON: {"schema": {"$ref": "#/components/schemas/ConsentReceipt"}}},
}
_RECEIPT: Final[dict[int | str, dict[str, Any]]] = {200: _DESCRIBED}
_RECEIPT_201: Final[dict[int | str, dict[str, Any]]] = {201: _DESCRIBED}


@router.post("/enrolments", status_code=201, summary="Take part", operation_id="enrol")
def enrol(request: Request, parts: PartsOf, body: EnrolmentIn, response: Response) -> EnrolmentOut:
    """Couple a band by its claim code, and choose. The answer holds a token, once, and a receipt."""
    response.headers.update(_NO_STORE)
    tried = parts.tried(body.claim_code, request.client.host if request.client else "", "enrol")
    if wait := parts.guard.pause(tried, now=parts.clock.now()):
        detail = "This was tried too often. See that the code is as printed, and wait as long as Retry-After says."
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
            parts.guard.failed(tried, now=parts.clock.now())
        raise _problem(refusal) from None
    parts.consent_changed()
    response.headers["Location"] = "/v1/me"
    return EnrolmentOut(bearer_token=enrolment.bearer, receipt=parts.receipts.last(enrolment.record.principal_id))


@router.get("/me", summary="What I chose", operation_id="getMe")
def get_me(parts: PartsOf, pseudonym: VolunteerOf, response: Response) -> Me:
    """The last choice, whether anything is collected now, and the erasures that I asked for."""
    response.headers.update(_NO_STORE)
    record = parts.ledger.current(pseudonym)
    return Me(
        receipt=parts.receipts.last(pseudonym),
        covers_now=record.stands and parts.clock.now() < record.valid_until,
        erasures=[own_data.erasure_out(state) for state in parts.ledger.erasures(pseudonym)],
        links=[
            Link(rel="consents", href="/v1/me/consents"),
            Link(rel="data", href="/v1/me/data"),
            Link(rel="withdrawals", href="/v1/me/withdrawals"),
        ],
    )


@router.get("/me/consents", summary="My choice and its receipt", operation_id="getConsents", responses=_RECEIPT)
def get_consents(parts: PartsOf, pseudonym: VolunteerOf) -> RawResponse:
    """The last choice, as JSON-LD."""
    return _receipt(parts, pseudonym)


@router.put("/me/consents", summary="Choose again", operation_id="putConsents", responses=_RECEIPT)
def put_consents(parts: PartsOf, pseudonym: VolunteerOf, body: ChoicesIn) -> RawResponse:
    """A new choice in the place of the one before, for six months. Nothing chosen is a withdrawal."""
    try:
        parts.ledger.change(pseudonym, _purposes(body.choices), language=body.language, erase=body.erase)
    except LedgerRefusal as refusal:
        parts.consent_changed()  # the no in it was taken
        wait = refusal.wait_s(parts.clock.now())
        raise _problem(refusal, headers={"Retry-After": str(wait)} if wait else None) from None
    parts.consent_changed()
    return _receipt(parts, pseudonym)


@router.post("/me/withdrawals", status_code=201, summary="Stop", operation_id="withdraw", responses=_RECEIPT_201)
def withdraw(parts: PartsOf, pseudonym: VolunteerOf, body: WithdrawalIn) -> RawResponse:
    """Take everything back; with `erase`, what is stored is erased too. Doing it twice changes nothing."""
    parts.ledger.withdraw(pseudonym, erase=body.erase)
    parts.consent_changed()
    return _receipt(parts, pseudonym, status=201, headers={"Location": "/v1/me"})


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


@router.get("/receipt-schema", summary="The schema of a receipt", operation_id="getReceiptSchema")
def get_receipt_schema() -> dict[str, Any]:
    """What every receipt is held against before it is handed out (JSON Schema, draft 2020-12)."""
    return schema()


def _receipt(parts: Parts, pseudonym: str, *, status: int = 200, headers: dict[str, str] | None = None) -> RawResponse:
    receipt = parts.receipts.last(pseudonym)
    return JSONResponse(receipt, status, {**_NO_STORE, **(headers or {})}, _LD_JSON)


def _purposes(choices: dict[Purpose, list[Category]]) -> records.Purposes:
    return {purpose: tuple(chosen) for purpose, chosen in choices.items()}


def _problem(refusal: LedgerRefusal, *, headers: dict[str, str] | None = None) -> Problem:
    status, detail = _REFUSALS[refusal.reason]
    return Problem(status, refusal.reason.value, detail, headers=headers)
