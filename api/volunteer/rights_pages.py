"""/mijn: correct a district or an answer, object, and go on with another band. About one pseudonym alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.ledger import LedgerRefusal, Refusal
from api.objections import ANSWER_DAYS, Subject
from api.volunteer import own_data
from api.volunteer.guarding import failed, wait
from api.volunteer.own_pages import marks_in, reason_in
from api.volunteer.web import CODE_LETTERS_MAX, Visit, add
from contracts.consent import Cover
from contracts.ports import StoredReport
from contracts.reading import Category, Reason, SelfReport

router = APIRouter()
_AT_DIGITS_MAX: Final = 11


def show_corrections(visit: Visit) -> Response:
    """The district of enrolment, and the answers that are kept."""
    return _corrections(visit, ())


def correct_district(visit: Visit) -> Response:
    """Another district, from now on."""
    try:
        visit.parts.moves.to_district(visit.pseudonym, visit.fields.get("district", ""))
    except LedgerRefusal as refusal:
        status = 400 if refusal.reason is Refusal.DISTRICT else 409
        waiting = refusal.wait_s(visit.parts.clock.now())
        return _corrections(visit, [_FAULTS[refusal.reason]], status=status, wait=waiting)
    visit.parts.consent_changed()
    return visit.go("/mijn/bewijs")


def show_answer(visit: Visit) -> Response:
    """One answer that was given, to be corrected; or why it cannot be."""
    stored = _stored(visit, visit.request.query_params.get("at", ""))
    why = _refusal(visit.parts.ledger.cover(visit.pseudonym), stored.report)
    return _answer(visit, stored, ()) if why is None else _kept_as_it_is(visit, why)


def correct_answer(visit: Visit) -> Response:
    """The right answer in the place of the wrong one, by the way that answers go.

    What ingest would refuse is refused here: it says so to nobody, and the page would say that it worked.
    """
    stored = _stored(visit, visit.fields.get("at", ""))
    why = _refusal(visit.parts.ledger.cover(visit.pseudonym), stored.report)
    if why is not None:
        return _kept_as_it_is(visit, why)
    marks, publisher = marks_in(visit.fields), visit.parts.publisher
    if marks is None:
        return _answer(visit, stored, ["marks"], status=400)
    # A reason can be changed and not taken back: of one left out, InfluxDB would keep the old one.
    reason = reason_in(visit.fields) or stored.report.reason
    at = stored.report.at  # the key: what is written there takes the place of what was
    report = SelfReport(pseudonym=visit.pseudonym, at=at, safe=marks[0], happy=marks[1], reason=reason)
    if publisher is None or not publisher.publish_report(stored.district, report):
        return _answer(visit, stored, ["answer-later"], status=503)
    return visit.go("/mijn/antwoord/dank")


def show_objections(visit: Visit) -> Response:
    """What somebody objected to, and the answers."""
    return _objections(visit, ())


def make_objection(visit: Visit) -> Response:
    """Keep an objection. The municipality must answer."""
    subject = next((s for s in Subject if s.value == visit.fields.get("subject")), None)
    if subject is None:
        return _objections(visit, ["subject"], status=400)
    if not visit.parts.objections.make(visit.pseudonym, subject):
        return _objections(visit, ["objections-many"], status=409)
    return visit.go("/mijn/bezwaar")


def show_band(visit: Visit) -> Response:
    """Two ways on after a lost or broken band: with everything, or anew."""
    return _band(visit, ())


def next_band(visit: Visit) -> Response:
    """On with a new band, by its code; pseudonym and history stay, and the old band is told to be nobody's."""
    code = visit.fields.get("code", "")[:CODE_LETTERS_MAX]
    if waiting := wait(visit, code, "enrol"):
        return _band(visit, ["wait-code"], wait=waiting)
    try:
        visit.parts.moves.to_band(visit.pseudonym, code)
    except LedgerRefusal as refusal:
        if refusal.reason is Refusal.CLAIM:
            failed(visit, code, "enrol")
        return _band(visit, [_FAULTS[refusal.reason]], status=403 if refusal.reason is Refusal.CLAIM else 409)
    visit.parts.accounts.close_others(visit.pseudonym, visit.token)
    visit.parts.consent_changed()
    return visit.go("/mijn/band/klaar")


def band_is_next(visit: Visit) -> Response:
    """What to do with the new band."""
    return visit.page("mijn_band_klaar.html", "/mijn/band/klaar")


_FAULTS: Final = {
    Refusal.DISTRICT: "district",
    Refusal.STOPPED: "stopped",
    Refusal.ERASURE_OPEN: "erasure-under-way",
    Refusal.CLAIM: "code",
    Refusal.TOO_OFTEN: "district-often",
}


def _corrections(visit: Visit, faults: Sequence[str], *, status: int = 200, wait: int = 0) -> Response:
    rows = None if visit.parts.own_data is None else own_data.read(visit.parts, visit.pseudonym, purpose="correction")
    cover = visit.parts.ledger.cover(visit.pseudonym)
    reports = [] if rows is None else rows.reports[::-1]
    refused = {r.report.at: why for r in reports if (why := _refusal(cover, r.report)) is not None}
    return visit.page(
        "mijn_verbeteren.html",
        "/mijn/verbeteren",
        status=status,
        wait=wait,
        faults=faults,
        record=visit.parts.ledger.current(visit.pseudonym),
        districts=visit.parts.districts.all(),
        reports=reports,
        refused=refused,
    )


def _answer(visit: Visit, stored: StoredReport, faults: Sequence[str], *, status: int = 200) -> Response:
    report = stored.report
    given = {
        "safe": str(report.safe),
        "happy": str(report.happy),
        "reason": report.reason.value if report.reason else "",
    }
    return visit.page(
        "mijn_antwoord.html",
        "/mijn/verbeteren/antwoord",
        status=status,
        faults=faults,
        fields=visit.fields if faults else given,
        reasons=[reason.value for reason in Reason],
        at=report.at,
    )


def _refusal(cover: Cover | None, report: SelfReport) -> str | None:
    """Why ingest would not store this answer again, as the page's text is called; None: it would."""
    if cover is None:
        return "correct-stopped"
    if cover.keeps(report):
        return None
    return "correct-before" if Category.SELF_REPORT in cover.categories else "correct-no"


def _kept_as_it_is(visit: Visit, why: str) -> Response:
    """An answer that cannot be corrected: why, and what can be done instead."""
    return visit.page("mijn_antwoord_vast.html", "/mijn/verbeteren/antwoord", status=409, faults=[why])


def _stored(visit: Visit, at: str) -> StoredReport:
    """An answer of this volunteer, by its time. Raises HTTPException."""
    if visit.parts.own_data is None or not (at.isascii() and at.isdigit() and len(at) <= _AT_DIGITS_MAX):
        raise HTTPException(404)
    rows = own_data.read(visit.parts, visit.pseudonym, purpose="correction")
    if rows is None:
        raise HTTPException(503)
    found = next((stored for stored in rows.reports if stored.report.at == int(at)), None)
    if found is None:
        raise HTTPException(404)
    return found


def _objections(visit: Visit, faults: Sequence[str], *, status: int = 200) -> Response:
    return visit.page(
        "mijn_bezwaar.html",
        "/mijn/bezwaar",
        status=status,
        faults=faults,
        subjects=list(Subject),
        objections=visit.parts.objections.of(visit.pseudonym)[::-1],
        days=ANSWER_DAYS,
    )


def _band(visit: Visit, faults: Sequence[str], *, status: int = 200, wait: int = 0) -> Response:
    return visit.page("mijn_band.html", "/mijn/band", status=status, wait=wait, faults=faults)


add(router, "/mijn/verbeteren", show_corrections)
add(router, "/mijn/verbeteren", correct_district, post=True)
add(router, "/mijn/verbeteren/antwoord", show_answer)
add(router, "/mijn/verbeteren/antwoord", correct_answer, post=True)
add(router, "/mijn/bezwaar", show_objections)
add(router, "/mijn/bezwaar", make_objection, post=True)
add(router, "/mijn/band", show_band)
add(router, "/mijn/band", next_band, post=True)
add(router, "/mijn/band/klaar", band_is_next)
