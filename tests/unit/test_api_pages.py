"""What pages are made of: words, numbers, colours, maps and charts."""

from __future__ import annotations

import ast
import re
from datetime import date
from itertools import pairwise
from pathlib import Path
from string import Formatter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import api.pages
from analytics.after import newest_change, smoothed
from analytics.mechanism import epsilon
from api.notices import LANGUAGES, Notices
from api.pages.charts import draw_course
from api.pages.evidence import CODE, PEOPLE, TOLD, code_of
from api.pages.figures import SHOWN, course, newest_figures, safety_weights
from api.pages.maps import SHADES, draw, shade_of
from api.pages.render import prose
from api.pages.words import Words, texts
from api.privacy_loss import epsilon_of
from contracts.consent import Purpose
from contracts.district import UTRECHT, District
from contracts.reading import FIELDS, Category, Reason
from contracts.release import Area, Cadence, Cell, Metric
from tests.api_support import MemoryReleases, cell, midnight, utrecht

PAGES = Path(api.pages.__file__).parent
DAILY = Area(code="WK034403", districts=("WK034403",), cadence=Cadence.DAILY)
WEEKLY = Area(code="WK034404+WK034405", districts=("WK034404", "WK034405"), cadence=Cadence.WEEKLY)


def places(text: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_both_languages_say_the_same_things_with_the_same_places() -> None:
    dutch, english = texts("nl"), texts("en")
    assert list(dutch) == list(english)
    assert [key for key in dutch if places(dutch[key]) != places(english[key])] == []
    assert [key for key in dutch if not dutch[key].strip() or not english[key].strip()] == []


def test_every_text_that_a_template_asks_for_is_there_and_every_text_is_asked_for() -> None:
    templates = "".join(path.read_text() for path in (PAGES / "templates").iterdir())
    code = "".join(path.read_text() for path in PAGES.glob("*.py"))
    asked = set(re.findall(r"[\"']([a-z]+(?:\.[a-z_0-9-]+)+)[\"']", templates + code))
    begun = set(re.findall(r"[\"']([a-z]+\.(?:[a-z]+\.)?)[\"'] ~", templates))
    asked |= {"legend", "and"}
    known = set(texts("nl"))
    assert asked - known - {name for name in asked if name.endswith((".html", ".css", ".js", ".svg"))} == set()
    assert {key for key in known if key not in asked and not any(key.startswith(b) for b in begun)} <= {
        key for key in known if key.startswith(("date.", "window."))
    }


def test_every_name_that_data_can_carry_has_words() -> None:
    known = set(texts("nl"))
    needed = {f"metric.{m}{end}" for m in get_args(Metric) for end in ("", ".means", ".formula")}
    needed |= {f"field.{name}" for name in FIELDS} | {f"unit.{field.unit}" for field in FIELDS.values()}
    needed |= {f"category.{c.value}" for c in Category} | {f"reason.{r.value}" for r in Reason}
    needed |= {f"purpose.{p.value}" for p in Purpose} | {f"figure.{c.value}" for c in Cadence}
    assert needed - known == set()


@pytest.mark.parametrize(("count", "dutch", "english"), [(0, "0 minuten", "0 minutes"), (1, "1 minuut", "1 minute")])
def test_one_is_told_in_the_singular(count: int, dutch: str, english: str) -> None:
    told = [Words(language)("mine.days.minutes", name="Zuid", minutes=count) for language in LANGUAGES]
    assert told == [f"Zuid: {dutch}", f"Zuid: {english}"]
    written = Words("nl")("mine.held.counts", readings=Words("nl").number(count, 0), reports="0")
    assert dutch in written


def test_numbers_and_dates_are_written_as_the_reader_does() -> None:
    dutch, english = Words("nl"), Words("en")
    assert (dutch.number(68.25), english.number(68.25)) == ("68,2", "68.2")
    day = cell(DAILY, "safe", date(2026, 3, 1), 60.0)
    week = cell(WEEKLY, "safe", date(2026, 11, 16), 60.0)
    across = cell(WEEKLY, "safe", date(2026, 11, 30), 60.0)
    assert (dutch.window(day), english.window(day)) == ("1 maart 2026", "1 March 2026")
    assert dutch.window(week) == "week 47 (16 t/m 22 november 2026)"
    assert english.window(across) == "week 49 (30 Nov to 6 December 2026)"
    assert dutch.names(["West", "Zuid", "Oost"]) == "West, Zuid en Oost"


def test_a_notice_cannot_carry_markup() -> None:
    assert "<script" not in prose("# <script>x</script>\n\n- <b>\n- y\n\n<i>z</i>")
    for language in LANGUAGES:
        assert "<h1>" in prose(Notices().of(language).text)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def themes() -> dict[str, dict[str, str]]:
    css = (PAGES / "style.css").read_text()
    light_text, dark_text = css.split("@media (prefers-color-scheme: dark)")[:2]
    pattern = re.compile(r"--([a-z0-9-]+):(?:\s*var\([^,]+,)?\s*(#[0-9a-f]{6})")
    light = dict(pattern.findall(light_text))
    return {"light": light, "dark": light | dict(pattern.findall(dark_text.split("\n}\n")[0]))}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_marks_stand_out_enough(theme: str) -> None:
    """WCAG 2.2: 4.5 for text (1.4.3), 3 for what must be seen (1.4.11)."""
    colour = themes()[theme]
    pairs = [("ink", "ground"), ("ink", "surface"), ("quiet", "ground"), ("quiet", "surface"), ("link", "ground"),
             ("link", "surface"), ("on-accent", "accent"), ("on-demo", "demo"), ("ink", "hatch-ground")]  # fmt: skip
    pairs += [(f"on-s{n}", f"s{n}") for n in range(7)]
    for front, behind in pairs:
        assert contrast(colour[front], colour[behind]) >= 4.5, (front, behind)
    for front, behind in (("accent", "ground"), ("strong-line", "surface"), ("accent", "margin"), ("accent", "band")):
        assert contrast(colour[front], colour[behind]) >= 3, (front, behind)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_shades_differ_by_lightness_alone_in_one_direction(theme: str) -> None:
    values = [luminance(themes()[theme][f"s{n}"]) for n in range(7)]
    assert values == sorted(values, reverse=theme == "light")
    assert all(max(a, b) + 0.05 >= 1.17 * (min(a, b) + 0.05) for a, b in pairwise(values))


def test_shades_have_fixed_bounds() -> None:
    assert [shade_of(v) for v in (0, 29.4, 29.9, 55, 79.4, 79.9, 100)] == [0, 0, 1, 3, 5, 6, 6]
    assert len(SHADES) == 6


def test_the_tile_map_has_each_district_once_and_no_two_in_one_place() -> None:
    drawing = draw(UTRECHT)
    assert not drawing.real
    assert [shape.code for shape in drawing.shapes] == [district.code for district in UTRECHT]
    assert len({shape.label for shape in drawing.shapes}) == 10
    assert (drawing.width, drawing.height) == (1000, 600)


def square(code: str, west: float, south: float, size: float = 0.02) -> District:
    ring = ((west, south), (west + size, south), (west + size, south + size), (west, south + size), (west, south))
    return District(code=code, name="Vierkant", boundary_year=2026, polygons=((ring,),))


def test_a_real_map_keeps_north_up_and_lengths_alike() -> None:
    south, north = square("WK034401", 5.0, 52.0), square("WK034402", 5.0, 52.02)
    drawing = draw((south, north))
    assert drawing.real
    assert drawing.shapes[1].label.y < drawing.shapes[0].label.y
    # 0.02 degrees east by 0.04 north, at 52 degrees: 0.616 to 2
    assert drawing.width / drawing.height == pytest.approx(0.02 * 0.6157 / 0.04, rel=0.01)


def test_a_district_with_boundaries_among_tiles_is_still_drawn() -> None:
    drawing = draw((*UTRECHT[:3], square("WK034499", 5, 52)))
    assert len(drawing.shapes) == 4
    assert not drawing.real


@given(st.lists(st.tuples(st.floats(-179, 178), st.floats(-80, 79)), min_size=1, max_size=4, unique=True))
def test_any_squares_are_drawn_inside_the_drawing(corners: list[tuple[float, float]]) -> None:
    districts = tuple(square(f"WK0344{n:02}", x, y) for n, (x, y) in enumerate(corners))
    drawing = draw(districts)
    for shape in drawing.shapes:
        numbers = [float(n) for n in re.findall(r"-?\d+\.?\d*", shape.path)]
        assert all(-0.1 <= x <= drawing.width + 0.1 for x in numbers[::2])
        assert all(-0.1 <= y <= drawing.height + 0.1 for y in numbers[1::2])


def test_a_course_breaks_at_a_withheld_window_and_hatches_it() -> None:
    days = [date(2026, 11, day) for day in range(1, 6)]
    values = [60.0, 62.0, None, 58.0, 99.0]
    drawing = draw_course([cell(DAILY, "safe", d, v, 5.0) for d, v in zip(days, values, strict=True)])
    assert (len(drawing.lines), len(drawing.bands), len(drawing.dots)) == (2, 2, 4)
    (stripe,) = drawing.stripes
    assert (stripe.x, stripe.width) == (pytest.approx(40), pytest.approx(20))
    assert drawing.dots[0].y == pytest.approx(40)
    assert min(float(n) for n in re.findall(r" (\d+\.\d+)", drawing.bands[1])) == 0  # a margin ends at 100


def test_a_missing_window_breaks_the_line_and_one_window_has_a_width() -> None:
    drawing = draw_course([cell(DAILY, "safe", date(2026, 11, day), 60.0) for day in (1, 2, 5)])
    assert len(drawing.lines) == 2
    assert len(set(re.findall(r"[ML](\d+\.\d+)", drawing.lines[1]))) == 3


def test_a_window_that_is_alone_is_drawn_as_one_and_not_as_a_course() -> None:
    for value in (60.0, None):
        drawing = draw_course([cell(DAILY, "safe", date(2026, 11, 1), value)])
        across = [float(x) for x in re.findall(r"[ML](\d+\.\d+)", "".join(drawing.lines))]
        places = [(dot.x, 0.0) for dot in drawing.dots] + [(stripe.x, stripe.width) for stripe in drawing.stripes]
        assert places == [pytest.approx((50, 0) if value else (300 / 7, 100 / 7))]
        assert [min(across, default=0), max(across, default=0)] == pytest.approx(
            [3000 / 7, 4000 / 7] if value else [0, 0], abs=0.01
        )


def test_a_district_that_is_alone_is_a_tile_and_not_as_wide_as_the_page() -> None:
    drawing = draw(UTRECHT[2:3])
    (shape,) = drawing.shapes
    assert (drawing.width, drawing.height) == (800, 200)
    assert shape.label == (400, 100)


def test_the_newest_figure_of_each_district_comes_with_its_parts_and_its_company() -> None:
    source = utrecht()
    figures = newest_figures(source, UTRECHT, "wellbeing", now=midnight(date(2026, 11, 23)))
    assert [f.district.code for f in figures] == [d.code for d in UTRECHT]
    by_name = {f.district.name: f for f in figures}
    assert by_name["Noordoost"].together == ("Oost",)
    assert by_name["Noordoost"].value == by_name["Oost"].value
    assert [name for name, _ in by_name["Overvecht"].parts] == ["safety", "happy"]
    assert by_name["Zuidwest"].state == "withheld"
    assert (by_name["Zuidwest"].value, by_name["Zuidwest"].parts) == (None, ())
    assert by_name["Vleuten-De Meern"].state == "empty"


def test_old_figures_are_shown_when_there_are_no_newer_ones() -> None:
    figures = newest_figures(utrecht(), UTRECHT, "safe", now=midnight(date(2028, 1, 1)))
    assert any(f.state == "published" for f in figures)


def test_a_course_keeps_to_one_cadence_and_the_newest_method() -> None:
    week = cell(WEEKLY, "safe", date(2026, 11, 2), 60.0)
    days = [cell(DAILY, "safe", date(2026, 11, day), 61.0) for day in (9, 10)]
    assert course([week, *days], "safe") == days
    assert course([], "safe") == []


def test_the_weights_of_safety_run_from_half_to_feeling_alone() -> None:
    weights = safety_weights(80.0, 40.0)
    assert weights[0] == (0.5, 60.0)
    assert dict(weights)[0.7] == pytest.approx(68.0)
    assert weights[-1] == (1.0, 80.0)


@pytest.mark.parametrize(("rho", "epsilon"), [(0.04, 1.30), (0.2, 3.13), (1.5, 9.85), (0.0, 0.0)])
def test_epsilon_is_that_of_the_method(rho: float, epsilon: float) -> None:
    assert epsilon_of(rho) == pytest.approx(epsilon, abs=0.005)


@pytest.mark.parametrize("rho", [0.001, 0.08, 0.63, 1.5])
def test_epsilon_is_that_of_opendp(rho: float) -> None:
    assert epsilon_of(rho) == pytest.approx(epsilon(rho), rel=1e-4)


@given(st.floats(1e-4, 10), st.floats(1e-4, 10))
def test_more_rho_is_more_epsilon(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert epsilon_of(low) <= epsilon_of(high) + 1e-9


def test_the_api_imports_nothing_that_holds_readings() -> None:
    allowed = {"analytics.release_log", "analytics.after"}  # what was released, and arithmetic on that
    for path in Path(api.pages.__file__).parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                root = name.split(".")[0]
                assert root not in ("ingest", "gateway", "duckdb", "influxdb_client", "numpy"), (path, name)
                assert root != "analytics" or name in allowed, (path, name)


def test_the_evidence_on_the_page_is_that_of_the_docs() -> None:
    told = (Path(__file__).resolve().parents[2] / "docs" / "explanation" / "method.md").read_text()
    rows = re.findall(r"^\| [^|]+ \| \*\*(\.\d+)\*\* \[(\.\d+) (\.\d+)\] \|", told, re.MULTILINE)
    assert [(row.middle, row.quarter, row.three_quarters) for row in TOLD] == [tuple(map(float, row)) for row in rows]
    assert f"({PEOPLE} people" in told


def test_the_code_that_a_page_leads_to_is_there_and_no_other() -> None:
    for modules in CODE.values():
        for module in modules:
            text = code_of(module)
            assert text is not None
            assert '"""' in text
    assert code_of("release_log") is None
    assert code_of("../api/ledger") is None


def test_what_each_part_did_sums_to_the_change_and_chance_is_told_from_it() -> None:
    courses = {metric: course(utrecht().cells(districts=("WK034403",)), metric) for metric in SHOWN}
    change = newest_change(courses)
    assert change is not None
    assert (change.before.window, change.after.window) == ("2026-11-21", "2026-11-22")
    assert [name for name, _ in change.parts] == ["safe", "calm", "happy"]
    assert sum(points for _, points in change.parts) == pytest.approx(change.points)
    assert change.points == pytest.approx((change.after.value or 0) - (change.before.value or 0), abs=0.2)
    assert not change.clear
    assert newest_change({metric: run[-1:] for metric, run in courses.items()}) is None
    assert newest_change({**courses, "calm": []}) is None


def test_an_estimate_by_all_lies_between_the_figure_and_the_others_and_is_not_made_of_few() -> None:
    source = utrecht()
    cells = newest_figures_of(source, "safe")
    told = {one.area: one.value for one in cells if one.value is not None}
    drawn = smoothed(cells)
    assert set(drawn) == set(told)
    assert "WK034404+WK034405" in drawn  # one area
    assert max(drawn.values()) - min(drawn.values()) < max(told.values()) - min(told.values())
    assert smoothed(newest_figures_of(source, "wellbeing")) == {}
    assert smoothed(cells[:3]) == {}


def newest_figures_of(source: MemoryReleases, metric: Metric) -> list[Cell]:
    found = newest_figures(source, UTRECHT, metric, now=midnight(date(2026, 11, 23)))
    return [figure.cell for figure in found if figure.cell is not None]
