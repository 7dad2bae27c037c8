"""/mijn for who is logged in: what is held, what was chosen, an answer, stop. About one pseudonym alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from api.ledger import LedgerRefusal
from api.pages.own import draw_own
from api.receipts import Receipt
from api.volunteer import own_data
from api.volunteer.own_data import OwnRows
from api.volunteer.web import Visit, add, choices_in
from contracts.consent import Purpose
from contracts.ports import UsageFault
from contracts.reading import Category, Reason, SelfReport

router = APIRouter()
_MINUTE_S: Final = 60


def overview(visit: Visit) -> Response:
    """What holds now, what is held, who looked, and the two buttons to stop."""
    parts, me = visit.parts, visit.pseudonym
    record = parts.ledger.current(me)
    held = None
    if parts.own_data is not None:
        rows = own_data.read(parts, me, purpose="own page")
        held = None if rows is None else (len(rows.readings), len(rows.reports))
    return visit.page(
        "mijn.html",
        "/mijn",
        record=record,
        state=_state(visit),
        days_left=parts.renewals.days_left(record),
        changed=parts.notices.of(visit.language).changed,
        held=held,
        answers=Category.SELF_REPORT in {c for chosen in record.purposes.values() for c in chosen},
        erasures=parts.ledger.erasures(me),
        asked=parts.prompts.due(me) is not None,
        shown=parts.shown_once.of(visit.token),
        recovery=parts.recoveries.waiting(me),
        reminders=parts.addresses.possible,
        looks=own_data.looks(parts, me)[:-51:-1],
    )


def show_data(visit: Visit) -> Response:
    """Heart rate and answers, drawn and as tables, districts by day, and the windows that somebody was part of."""
    rows, calm = _rows(visit), visit.parts.own_calm
    return visit.page(
        "mijn_gegevens.html",
        "/mijn/gegevens",
        charts=draw_own(rows.readings, rows.reports, calm(rows.readings) if calm is not None else ()),
        reports=rows.reports,
        budget=own_data.budget_of(visit.parts, rows),
        names=visit.parts.districts.names(),
    )


def show_choices(visit: Visit) -> Response:
    """The choices of now, to be changed."""
    return _choices(visit, ())


def change(visit: Visit) -> Response:
    """New choices, in the place of those before."""
    try:
        visit.parts.ledger.change(
            visit.pseudonym,
            choices_in(visit.fields),
            language=visit.language,
            erase=visit.fields.get("erase") == "yes",
        )
    except LedgerRefusal as refusal:
        visit.parts.consent_changed()  # the no in it was taken
        wait = refusal.wait_s(visit.parts.clock.now())
        return _choices(visit, [f"chosen-{refusal.reason.value}"], status=409, wait=wait)
    visit.parts.consent_changed()
    return visit.go("/mijn/bewijs")


def stop(visit: Visit) -> Response:
    """Take everything back with one tap; by the other button, what is stored is erased too."""
    visit.parts.ledger.withdraw(visit.pseudonym, erase=visit.fields.get("erase") == "yes")
    visit.parts.consent_changed()
    return visit.go("/mijn")


def show_answer(visit: Visit) -> Response:
    """The two questions."""
    return _answer(visit, ())


def answer(visit: Visit) -> Response:
    """Send an answer the way that a band's goes. A second one within a minute takes the place of the first."""
    parts, fields = visit.parts, visit.fields
    cover = parts.ledger.cover(visit.pseudonym)
    if cover is None or Category.SELF_REPORT not in cover.categories:
        return _answer(visit, ["answer-no"], status=409)
    marks = marks_in(fields)
    if marks is None:
        return _answer(visit, ["marks"], status=400)
    at = max(int(parts.clock.now()) // _MINUTE_S * _MINUTE_S, cover.valid_from)
    report = SelfReport(pseudonym=visit.pseudonym, at=at, safe=marks[0], happy=marks[1], reason=reason_in(fields))
    if parts.publisher is None or not parts.publisher.publish_report(cover.district, report):
        return _answer(visit, ["answer-later"], status=503)
    parts.prompts.answered(visit.pseudonym)
    return visit.go("/mijn/antwoord/dank")


def thank(visit: Visit) -> Response:
    """The answer is on its way. A page of its own: one that answers a form would send it again when it is reloaded."""
    return visit.page("mijn_dank.html", "/mijn/antwoord/dank")


def show_receipt(visit: Visit) -> Response:
    """The receipt of the last choice."""
    record, receipt = visit.parts.ledger.current(visit.pseudonym), visit.parts.receipts.last(visit.pseudonym)
    return visit.page(
        "mijn_bewijs.html",
        "/mijn/bewijs",
        record=record,
        receipt=receipt,
        erased=_kinds_erased(visit, receipt),
        names=visit.parts.districts.names(),
    )


def receipt_json(visit: Visit) -> Response:
    """The same receipt for a machine: JSON-LD."""
    receipt = visit.parts.receipts.last(visit.pseudonym)
    return _file(json.dumps(receipt, ensure_ascii=False, indent=2), "application/ld+json", "wijkpols-bewijs.json")


def receipt_pdf(visit: Visit) -> Response:
    """The same receipt on paper."""
    try:
        from api.pages.receipt_pdf import write_receipt
    except UsageFault:
        raise HTTPException(503) from None
    record, receipt = visit.parts.ledger.current(visit.pseudonym), visit.parts.receipts.last(visit.pseudonym)
    body = write_receipt(
        record,
        receipt,
        erased=_kinds_erased(visit, receipt),
        names=visit.parts.districts.names(),
        language=visit.language,
        public_url=visit.parts.settings.public_url,
    )
    return _file(body, "application/pdf", "wijkpols-bewijs.pdf")


def data_json(visit: Visit) -> Response:
    """All that is held, as one JSON document."""
    body = own_data.document(visit.parts, visit.pseudonym, _rows(visit, purpose="own export"))
    return _file(body, "application/json", "wijkpols-mijn-gegevens.json")


def data_fhir(visit: Visit) -> Response:
    """The heart data as HL7 FHIR R4, in pieces: a month has tens of thousands of minutes."""
    from api.volunteer.own_fhir import MEDIA_TYPE, bundle

    rows = _rows(visit, purpose="own export")
    pieces = bundle(visit.pseudonym, rows.readings, now=visit.parts.clock.now())
    return StreamingResponse(pieces, headers=_attachment("wijkpols-hart-fhir.json"), media_type=MEDIA_TYPE)


def readings_csv(visit: Visit) -> Response:
    """The readings as CSV."""
    return _file(
        own_data.readings_csv(_rows(visit, purpose="own export"), visit.language), "text/csv", "wijkpols-metingen.csv"
    )


def reports_csv(visit: Visit) -> Response:
    """The answers as CSV."""
    return _file(
        own_data.reports_csv(_rows(visit, purpose="own export"), visit.language), "text/csv", "wijkpols-antwoorden.csv"
    )


def log_out(visit: Visit) -> Response:
    """End this session."""
    if visit.visitor is not None:
        visit.parts.accounts.close(visit.visitor.token)
    return visit.without_cookie(visit.go("/mijn"))


def marks_in(fields: dict[str, str]) -> tuple[int, int] | None:
    """Both marks of a form (safe, happy), 0 to 10; None when one is missing or is none."""
    safe, happy = fields.get("safe"), fields.get("happy")
    return (int(safe), int(happy)) if safe in _MARKS and happy in _MARKS else None


def reason_in(fields: dict[str, str]) -> Reason | None:
    """The reason of a form, if one was chosen."""
    return next((r for r in Reason if r.value == fields.get("reason")), None)


_MARKS: Final = {str(mark) for mark in range(11)}


def _state(visit: Visit) -> str:
    """What holds, as the page words it."""
    record = visit.parts.ledger.current(visit.pseudonym)
    ended = visit.parts.renewals.why(record)
    if ended is None and record.stands:
        return "given"
    return (ended or record.event).value


def _kinds_erased(visit: Visit, receipt: Receipt) -> tuple[Category, ...]:
    """The kinds whose erasure this choice asked for; none when it asked for none."""
    place = receipt["ledger"]["place"]
    asked = visit.parts.ledger.erasures(visit.pseudonym)
    return next((state.kinds for state in asked if state.revision == place), ())


def _choices(visit: Visit, faults: Sequence[str], *, status: int = 200, wait: int = 0) -> Response:
    record = visit.parts.ledger.current(visit.pseudonym)
    notice = visit.parts.notices.of(visit.language)
    return visit.page(
        "mijn_keuzes.html",
        "/mijn/keuzes",
        status=status,
        wait=wait,
        faults=faults,
        chosen=record.purposes,
        answered={f"{p.value}.{c.value}": "yes" for p, chosen in record.purposes.items() for c in chosen},
        purposes=list(Purpose),
        categories=list(Category),
        notice=notice,
        state=_state(visit),
    )


def _answer(visit: Visit, faults: Sequence[str], *, status: int = 200) -> Response:
    return visit.page(
        "mijn_antwoord.html",
        "/mijn/antwoord",
        status=status,
        faults=faults,
        fields=visit.fields,
        reasons=[reason.value for reason in Reason],
        at=None,
    )


def _rows(visit: Visit, *, purpose: str = "own data") -> OwnRows:
    rows = own_data.read(visit.parts, visit.pseudonym, purpose=purpose)
    if rows is None:
        raise HTTPException(503)
    return rows


def _file(body: str | bytes, media_type: str, name: str) -> Response:
    return Response(body, headers=_attachment(name), media_type=media_type)


def _attachment(name: str) -> dict[str, str]:
    return {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}"'}


add(router, "/mijn/gegevens", show_data)
add(router, "/mijn/keuzes", show_choices)
add(router, "/mijn/keuzes", change, post=True)
add(router, "/mijn/stoppen", stop, post=True)
add(router, "/mijn/antwoord", show_answer)
add(router, "/mijn/antwoord", answer, post=True)
add(router, "/mijn/antwoord/dank", thank)
add(router, "/mijn/bewijs", show_receipt)
add(router, "/mijn/bewijs.json", receipt_json)
add(router, "/mijn/bewijs.pdf", receipt_pdf)
add(router, "/mijn/gegevens.json", data_json)
add(router, "/mijn/gegevens.fhir.json", data_fhir)
add(router, "/mijn/metingen.csv", readings_csv)
add(router, "/mijn/antwoorden.csv", reports_csv)
add(router, "/mijn/uitloggen", log_out, post=True)
