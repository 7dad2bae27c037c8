"""Pages out of templates. What a template may use is put together here, and nothing else."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from api.notices import Language
from api.pages.maps import SHADES, shade_of
from api.pages.words import Words
from api.settings import Settings

STYLESHEET: Final = Path(__file__).parent / "style.css"
SCRIPT: Final = Path(__file__).parent / "passkey.js"
#: Released figures do not change; a minute of keeping a page spares the server.
_CACHE: Final = "public, max-age=60"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["shades"] = SHADES
    environment.filters["shade"] = shade_of
    environment.filters["prose"] = prose
    return environment


def page(
    template: str, *, language: Language, path: str, settings: Settings, status: int = 200, **context: Any
) -> HTMLResponse:
    """A page as a response. `path` is the page's own, without its language: '/wijken'."""
    words = Words(language)
    note = settings.demo_note if language == "nl" else settings.demo_note_en or settings.demo_note
    body = (
        _environment()
        .get_template(template)
        .render(
            t=words,
            language=language,
            other="en" if language == "nl" else "nl",
            base=base_of(language),
            addresses={code: base_of(code) + path if path != "/" or code == "nl" else "/en" for code in ("nl", "en")},
            public_url=settings.public_url,
            controller=settings.controller_name,
            contact=settings.contact_email,
            demo_note=note,
            **context,
        )
    )
    return HTMLResponse(body, status, {"Cache-Control": _CACHE, "Content-Language": language})


def base_of(language: Language) -> str:
    """What stands before a page's path in this language."""
    return "" if language == "nl" else "/en"


def prose(text: str) -> Markup:
    """A notice's text as HTML: '# ' and '## ' headings, '- ' lists, paragraphs. Everything is escaped."""
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.strip().splitlines()
        if block.startswith("## "):
            blocks.append(Markup("<h2>{}</h2>").format(block[3:]))
        elif block.startswith("# "):
            blocks.append(Markup("<h1>{}</h1>").format(block[2:]))
        elif all(line.startswith("- ") for line in lines):
            items = Markup("").join(Markup("<li>{}</li>").format(line[2:]) for line in lines)
            blocks.append(Markup("<ul>{}</ul>").format(items))
        else:
            blocks.append(Markup("<p>{}</p>").format(escape(" ".join(lines))))
    return Markup("\n").join(blocks)
