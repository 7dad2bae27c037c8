"""The sheet for who lost everything but the band: a new code, new recovery words, and from when they work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from api.notices import Language
from api.pages.words import Words
from api.paper import CODE, HEAD, LARGE, TITLE, Canvas, Frame, Paragraph, Spacer, mm, plain
from api.recoveries import Sheet
from contracts.ports import Fault

_WIDTH, _HEIGHT, _MARGIN = 148 * mm, 210 * mm, 14 * mm  # A5


def write_sheet(path: Path, sheet: Sheet, *, language: Language, public_url: str) -> None:
    """One A5 page. The file opens a volunteer's page: print it, then delete it. Raises Fault."""
    t = Words(language)
    try:
        path.touch(mode=0o600)
        canvas = Canvas(str(path), pagesize=(_WIDTH, _HEIGHT), lang=language, initialFontName="Helvetica")
        canvas.setTitle(t("mine.sheet"))
        story: list[Any] = [
            Paragraph(t("mine.sheet"), TITLE),
            Paragraph(t("mine.sheet.text"), LARGE),
            Paragraph(t("mine.code"), HEAD),
            Paragraph(sheet.code, CODE),
            Paragraph(t("mine.words"), HEAD),
            Paragraph(sheet.words, CODE),
            *(part for text in _told(t, sheet, public_url) for part in (Spacer(1, 3 * mm), Paragraph(text, LARGE))),
        ]
        Frame(_MARGIN, _MARGIN, _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN, 0, 0, 0, 0).addFromList(story, canvas)
        canvas.showPage()
        canvas.save()
    except OSError as fault:
        raise Fault(f"{path} cannot be written: {fault.strerror}") from None


def _told(t: Words, sheet: Sheet, public_url: str) -> list[str]:
    return [
        t("mine.sheet.when", begin=t.at(sheet.usable_from), end=t.at(sheet.usable_until)),
        plain(t("mine.sheet.how", url=public_url)),
        t("mine.sheet.keep"),
    ]
