"""The citizens' pages, in Dutch and under /en in English: no login, no cookie, no JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, get_args

from fastapi import APIRouter, Query
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from analytics.after import Watch, newest_change, smoothed, unlike, watch
from api.notices import LANGUAGES, Language
from api.pages.charts import draw_course
from api.pages.evidence import CODE, COMMANDS, PEOPLE, TOLD, code_of
from api.pages.figures import PARTS, SHOWN, course, history, newest_figures, safety_weights
from api.pages.maps import draw
from api.pages.render import SCRIPT, STYLESHEET, base_of, page
from api.pages.weeks import newest_hours, newest_reasons
from api.parts import Parts, PartsOf
from api.transparency import transparency
from contracts.reading import Reason
from contracts.release import MEASURED, Area, Cell, Metric

router = APIRouter(include_in_schema=False)
#: How far back the city's weeks are shown, in seconds.
_CITY_S: Final = 53 * 7 * 86_400
#: Of what was sent, and not of where it was sent to.
_NO_FORM_OF_OURS: Final = (400, 403, 411, 413, 415)
MetricQuery = Annotated[str, Query(max_length=20)]


@router.get("/style.css")
def get_stylesheet() -> Response:
    """The one stylesheet."""
    return FileResponse(STYLESHEET, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})


@router.get("/uitleg/code/{module}")
def get_code(module: str) -> Response:
    """The code of a formula, as it runs here."""
    text = code_of(module)
    if text is None:
        raise HTTPException(404)
    return Response(text, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "public, max-age=3600"})


@router.get("/passkey.js")
def get_script() -> Response:
    """The one script, for passkeys; no page of the citizens asks for it."""
    return FileResponse(SCRIPT, media_type="text/javascript", headers={"Cache-Control": "public, max-age=3600"})


@router.get("/robots.txt")
def get_robots() -> Response:
    """All but the volunteers' own pages is public."""
    text = "User-agent: *\nAllow: /\nDisallow: /mijn\nDisallow: /en/mijn\n"
    return Response(text, media_type="text/plain")


def home(parts: Parts, language: Language) -> Response:
    """What is collected, by whom, what for, how long, what is withheld, and what it costs."""
    return page(
        "home.html",
        language=language,
        path="/",
        settings=parts.settings,
        record=transparency(parts),
        names=parts.districts.names(),
        **_map_of(parts, "safe"),
    )


def districts(parts: Parts, language: Language, metric: str) -> Response:
    """The map and the margins of one metric."""
    drawn = _map_of(parts, _metric(metric))
    cells = [figure.cell for figure in drawn["figures"] if figure.cell is not None]
    unusual = unlike(cells)
    return page(
        "districts.html",
        language=language,
        path="/wijken",
        settings=parts.settings,
        **drawn,
        smoothed=smoothed(cells),
        unlike=[f.district.name for f in drawn["figures"] if f.cell is not None and f.cell.area in unusual],
        menu=SHOWN,
        measured=MEASURED,
        part_names=PARTS,
    )


def district(parts: Parts, language: Language, code: str) -> Response:
    """The course of every metric in one district."""
    found = parts.districts.find(code)
    if found is None:
        raise HTTPException(404)
    names = parts.districts.names()
    cells = parts.releases.cells(districts=(code,))
    courses = [(metric, course(cells, metric)) for metric in SHOWN]
    area = _area_of(parts, code)
    members = area.districts if area is not None else ()
    newest = {metric: run[-1] for metric, run in courses if run}
    safe, calm = newest.get("safe"), newest.get("calm")
    weights = None
    if safe and calm and safe.window == calm.window and safe.value is not None and calm.value is not None:
        weights = safety_weights(safe.value, calm.value)
    hours_of, hour_rows = newest_hours(parts.releases, code, now=parts.clock.now())
    return page(
        "district.html",
        language=language,
        path=f"/wijken/{code}",
        settings=parts.settings,
        district=found,
        area=area,
        together=[names.get(member, member) for member in members if member != code],
        courses=[(metric, run, draw_course(run)) for metric, run in courses],
        measured=MEASURED,
        part_names=PARTS,
        weights=weights,
        change=newest_change(dict(courses)),
        watched={} if area is None else _watched(parts, area, cells),
        reasons=list(Reason),
        reason_rows=newest_reasons(parts.releases, code, now=parts.clock.now()),
        hours_of=hours_of,
        hour_rows=hour_rows,
    )


def city(parts: Parts, language: Language) -> Response:
    """The city's weeks, and which districts are in the newest."""
    cells = parts.releases.totals(start=int(parts.clock.now()) - _CITY_S)
    courses = [(metric, run, draw_course(run)) for metric in SHOWN if (run := course(cells, metric))]
    weeks = list(zip(*(run for _, run, _ in courses), strict=True)) if courses else []
    names = parts.districts.names()
    inside = set(weeks[-1][0].districts) if weeks else set()
    return page(
        "city.html",
        language=language,
        path="/stad",
        settings=parts.settings,
        courses=courses,
        weeks=weeks,
        included=[names.get(code, code) for code in sorted(inside)],
        left_out=[name for code, name in sorted(names.items()) if code not in inside],
    )


def explain(parts: Parts, language: Language) -> Response:
    """How good each figure is, where it fails, and the way to its formula, code and evidence."""
    return page(
        "explain.html",
        language=language,
        path="/uitleg",
        settings=parts.settings,
        code=CODE,
        commands=COMMANDS,
        told=TOLD,
        people=PEOPLE,
        shown=SHOWN,
    )


def notice(parts: Parts, language: Language) -> Response:
    """The text that volunteers read."""
    return page(
        "notice.html",
        language=language,
        path="/toestemming",
        settings=parts.settings,
        notice=parts.notices.of(language),
    )


def not_found(parts: Parts, path: str, status: int) -> Response:
    """An error as a page, in the language of its address."""
    language: Language = "en" if path == "/en" or path.startswith("/en/") else "nl"
    kind = "500" if status >= 500 else "403" if status in _NO_FORM_OF_OURS else "404"
    own = path.removeprefix("/en").startswith("/mijn")
    response = page(
        "error.html", language=language, path="/", settings=parts.settings, status=status, kind=kind, own=own
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _add_pages(language: Language) -> None:
    base = base_of(language)

    def get_home(parts: PartsOf) -> Response:
        return home(parts, language)

    def get_districts(parts: PartsOf, metric: MetricQuery = "safe") -> Response:
        return districts(parts, language, metric)

    def get_district(parts: PartsOf, code: str) -> Response:
        return district(parts, language, code)

    def get_city(parts: PartsOf) -> Response:
        return city(parts, language)

    def get_explain(parts: PartsOf) -> Response:
        return explain(parts, language)

    def get_notice(parts: PartsOf) -> Response:
        return notice(parts, language)

    pages: dict[str, Callable[..., Response]] = {
        base or "/": get_home,
        f"{base}/wijken": get_districts,
        f"{base}/wijken/{{code}}": get_district,
        f"{base}/stad": get_city,
        f"{base}/uitleg": get_explain,
        f"{base}/toestemming": get_notice,
    }
    for path, endpoint in pages.items():
        router.add_api_route(path, endpoint, methods=["GET", "HEAD"])


for _language in LANGUAGES:
    _add_pages(_language)


def _map_of(parts: Parts, metric: Metric) -> dict[str, Any]:
    known = parts.districts.all()
    figures = newest_figures(parts.releases, known, metric, now=parts.clock.now())
    return {"metric": metric, "figures": figures, "drawing": draw(known)}


def _metric(text: str) -> Metric:
    for metric in get_args(Metric):
        if text == metric and metric in SHOWN:
            found: Metric = metric
            return found
    raise HTTPException(404)


def _watched(parts: Parts, area: Area, cells: list[Cell]) -> dict[Metric, Watch]:
    """Whether each measured figure fell; watched together with those of all areas of the same cadence."""
    together = len(MEASURED) * sum(other.cadence is area.cadence for other in parts.releases.plan())
    return {metric: watch(history(cells, metric), area.cadence, together=together) for metric in MEASURED}


def _area_of(parts: Parts, code: str) -> Area | None:
    return next((area for area in parts.releases.plan() if code in area.districts), None)
