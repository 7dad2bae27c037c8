"""/mijn for who is not logged in: take part with a claim code, log in, or get a new secret."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import Response

from api.accounts import SECRET_LETTERS_MIN, Prepared, fit_secret
from api.ledger import LedgerRefusal, Refusal
from api.volunteer.guarding import begin, failed, succeeded, wait
from api.volunteer.own_pages import overview
from api.volunteer.web import CODE_LETTERS_MAX, Visit, add, choices_in
from contracts.consent import Purpose
from contracts.reading import Category

#: An enrolment that comes a second time within so long was sent twice.
TWICE_S: Final = 60

router = APIRouter()


def start(visit: Visit) -> Response:
    """The own page, or the ways to it."""
    return overview(visit) if visit.visitor is not None else visit.page("mijn_start.html", "/mijn")


def take_part(visit: Visit) -> Response:
    """The notice, the code, and the statement to be an adult. A QR code brings the claim code along."""
    return _take_part(visit, visit.request.query_params.get("code", "")[:CODE_LETTERS_MAX], ())


def choose(visit: Visit) -> Response:
    """Next: the choices. Nothing is kept yet."""
    code = visit.fields.get("code", "")[:CODE_LETTERS_MAX]
    faults = [] if visit.fields.get("adult") == "yes" else ["adult"]
    if (waiting := wait(visit, code, "enrol")) == 0 and not visit.parts.ledger.claimable(code):
        failed(visit, code, "enrol")
        faults.insert(0, "code")
    if faults or waiting:
        return _take_part(visit, code, faults, wait=waiting)
    return _choose(visit, code, ())


def enrol(visit: Visit) -> Response:
    """Take part: choices, district and secret become an enrolment; receipt and recovery code are the next page."""
    fields, parts = visit.fields, visit.parts
    code, secret = fields.get("code", "")[:CODE_LETTERS_MAX], fields.get("secret", "")
    if fields.get("adult") != "yes":
        return _take_part(visit, code, ["adult"])
    if waiting := wait(visit, code, "enrol"):
        return _take_part(visit, code, (), wait=waiting)
    faults = _secret_faults(fields)
    if not parts.districts.known(fields.get("district", "")):
        faults.insert(0, "district")
    if faults:
        return _choose(visit, code, faults)
    if not parts.ledger.claimable(code):  # before the slow hash
        return _claimed(visit, code, secret)
    prepared = parts.accounts.prepare(secret)
    try:
        enrolment = parts.ledger.enrol(
            code,
            district=fields["district"],
            adult=True,
            language=visit.language,
            choices=choices_in(fields),
            also=lambda connection, pseudonym: parts.accounts.write(connection, pseudonym, prepared),
        )
    except LedgerRefusal as refusal:
        if refusal.reason is Refusal.CLAIM:
            return _claimed(visit, code, secret)
        failed(visit, code, "enrol")
        return _take_part(visit, code, ["district"])
    parts.consent_changed()
    return _to_write_down(visit, enrolment.record.principal_id, prepared, code=code)


def _claimed(visit: Visit, code: str, secret: str) -> Response:
    """Nobody's code, or somebody's: who pressed twice took part by the first press, and goes on where it led.

    The browser threw that answer away, and the recovery code with it: it gets another one.
    """
    parts = visit.parts
    pseudonym = parts.ledger.wearer_of(code)
    if pseudonym is not None and _began_just_now(visit, pseudonym) and begin(visit, code, "log-in") == 0:
        prepared = parts.accounts.renew_words(pseudonym, secret)
        if prepared is not None:
            succeeded(visit, code, "log-in")
            return _to_write_down(visit, pseudonym, prepared, code=code)
    failed(visit, code, "enrol")
    return _take_part(visit, code, ["code"])


def _began_just_now(visit: Visit, pseudonym: str) -> bool:
    ledger = visit.parts.ledger
    began = len(ledger.history(pseudonym)) == 1
    return began and visit.parts.clock.now() < ledger.current(pseudonym).at + TWICE_S


def decline(visit: Visit) -> Response:
    """Nothing was kept, and no reason is asked for."""
    return visit.page("mijn_nee.html", "/mijn/nee")


def log_in_form(visit: Visit) -> Response:
    """The form to log in."""
    return _log_in(visit, ())


def log_in(visit: Visit) -> Response:
    """By claim code and secret. An unknown code, a code without a secret and a wrong secret look and last the same."""
    code = visit.fields.get("code", "")[:CODE_LETTERS_MAX]
    if waiting := begin(visit, code, "log-in"):
        return _log_in(visit, (), wait=waiting)
    token = visit.parts.accounts.log_in(visit.parts.ledger.wearer_of(code), visit.fields.get("secret", ""))
    if token is None:
        return _log_in(visit, ["login"])
    succeeded(visit, code, "log-in")
    return visit.with_cookie(visit.go("/mijn"), token)


def recover_form(visit: Visit) -> Response:
    """The form for who lost the secret."""
    return _recover(visit, ())


def recover(visit: Visit) -> Response:
    """A new secret, for the claim code and the recovery words."""
    code = visit.fields.get("code", "")[:CODE_LETTERS_MAX]
    if faults := _secret_faults(visit.fields):
        return _recover(visit, faults)
    if waiting := begin(visit, code, "recover"):
        return _recover(visit, (), wait=waiting)
    words, secret = visit.fields.get("words", ""), visit.fields["secret"]
    pseudonym = visit.parts.ledger.wearer_of(code)
    if pseudonym is None:  # a sheet that staff printed has a code of its own
        redeemed = visit.parts.recoveries.redeem(code, words, secret)
        pseudonym, prepared = redeemed or (None, None)
    else:
        prepared = visit.parts.accounts.recover(pseudonym, words, secret)
    if prepared is None or pseudonym is None:
        return _recover(visit, ["recovery"])
    succeeded(visit, code, "recover", "log-in")
    return _to_write_down(visit, pseudonym, prepared)


def show_words(visit: Visit) -> Response:
    """The recovery code, until it is written down; with code and receipt for who just began."""
    return visit.page(
        "mijn_herstelcode.html",
        "/mijn/herstelcode",
        shown=visit.parts.shown_once.of(visit.token),
        record=visit.parts.ledger.current(visit.pseudonym),
        receipt=visit.parts.receipts.last(visit.pseudonym),
        erased=(),
        names=visit.parts.districts.names(),
    )


def words_are_written(visit: Visit) -> Response:
    """From now on nobody is shown the recovery code.

    The same address again, so that this page takes the other one's place in the browser's history: without JavaScript
    Chromium keeps for its back button what it was told not to store.
    """
    visit.parts.shown_once.forget(visit.token)
    return visit.go("/mijn/herstelcode")


def _to_write_down(visit: Visit, pseudonym: str, prepared: Prepared, *, code: str = "") -> Response:
    """Log in, and on to the recovery code: a page that can be loaded again, which an answer to a form cannot."""
    token = visit.parts.accounts.open(pseudonym)
    visit.parts.shown_once.keep(token, words=prepared.words, code=code)
    return visit.with_cookie(visit.go("/mijn/herstelcode"), token)


def _take_part(visit: Visit, code: str, faults: Sequence[str], *, wait: int = 0) -> Response:
    notice = visit.parts.notices.of(visit.language)
    return _form(
        visit,
        "mijn_meedoen.html",
        "/mijn/meedoen",
        faults,
        wait,
        notice=notice,
        code=code,
        adult=visit.fields.get("adult") == "yes",
    )


def _choose(visit: Visit, code: str, faults: Sequence[str]) -> Response:
    return _form(
        visit,
        "mijn_kiezen.html",
        "/mijn/meedoen",
        faults,
        0,
        code=code,
        districts=visit.parts.districts.all(),
        district=visit.fields.get("district", ""),
        chosen=choices_in(visit.fields),
        answered={name: value for name, value in visit.fields.items() if value in ("yes", "no")},
        purposes=list(Purpose),
        categories=list(Category),
        letters=SECRET_LETTERS_MIN,
    )


def _log_in(visit: Visit, faults: Sequence[str], *, wait: int = 0) -> Response:
    return _form(visit, "mijn_inloggen.html", "/mijn/inloggen", faults, wait)


def _recover(visit: Visit, faults: Sequence[str], *, wait: int = 0) -> Response:
    return _form(visit, "mijn_herstel.html", "/mijn/herstel", faults, wait, letters=SECRET_LETTERS_MIN)


def _form(visit: Visit, template: str, path: str, faults: Sequence[str], wait: int, **context: Any) -> Response:
    """A form with what was wrong in it: 429 while a code or a client must wait, 403 for a refusal, else 400."""
    refused = {"code", "login", "recovery"} & set(faults)
    status = 403 if refused else 400 if faults else 200
    return visit.page(template, path, status=status, wait=wait, faults=["wait-code"] if wait else faults, **context)


def _secret_faults(fields: dict[str, str]) -> list[str]:
    if not fit_secret(fields.get("secret", "")):
        return ["secret"]
    return [] if fields.get("secret") == fields.get("again") else ["again"]


add(router, "/mijn", start, public=True)
add(router, "/mijn/meedoen", take_part, public=True)
add(router, "/mijn/meedoen", choose, post=True, public=True)
add(router, "/mijn/kiezen", enrol, post=True, public=True)
add(router, "/mijn/nee", decline, public=True)
add(router, "/mijn/inloggen", log_in_form, public=True)
add(router, "/mijn/inloggen", log_in, post=True, public=True)
add(router, "/mijn/herstel", recover_form, public=True)
add(router, "/mijn/herstel", recover, post=True, public=True)
add(router, "/mijn/herstelcode", show_words)
add(router, "/mijn/herstelcode", words_are_written, post=True)
