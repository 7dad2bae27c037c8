"""Words, numbers and dates in the reader's language."""

from __future__ import annotations

import json
import math
import string
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from api.notices import Language
from api.schemas import cadence_of
from contracts.ports import TIMEZONE
from contracts.reading import Category
from contracts.release import Cadence, Cell, ProfileBlock, ReasonCount


@cache
def texts(language: Language) -> dict[str, str]:
    """The catalogue of a language: key -> text with {places}."""
    found: dict[str, str] = json.loads((Path(__file__).parent / f"{language}.json").read_text(encoding="utf-8"))
    return found


class _Counting(string.Formatter):
    """Fills in places; `{days:dag|dagen}` says the first for one, and the second for any other number."""

    def format_field(self, value: object, format_spec: str) -> str:
        """A value, or the word that goes with it."""
        one, bar, more = format_spec.partition("|")
        if not bar:
            return str(super().format_field(value, format_spec))
        return one if str(value) == "1" else more


_COUNTING: Final = _Counting()


class Words:
    """What a page says, in one language."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        self._texts = texts(language)

    def __call__(self, key: str, **places: object) -> str:
        """A text out of the catalogue, its places filled in. Raises KeyError for one that is not there."""
        text = self._texts[key]
        return _COUNTING.format(text, **places) if places else text

    def known(self, key: str, otherwise: str) -> str:
        """A text out of the catalogue, or what is said otherwise."""
        return self._texts.get(key, otherwise)

    def number(self, value: float, decimals: int = 1) -> str:
        """A number with a decimal comma in Dutch."""
        text = f"{value:.{decimals}f}"
        return text.replace(".", ",") if self.language == "nl" else text

    def signed(self, value: float) -> str:
        """A number with its sign: '+1,2', '−0,4' or '0,0'."""
        return ("+" if value > 0 else "−" if value < 0 else "") + self.number(abs(value))

    def day(self, when: date, *, short: bool = False) -> str:
        """'21 november 2026', or short '21 nov'."""
        months = self("date.months_short" if short else "date.months").split()
        text = f"{when.day} {months[when.month - 1]}"
        return text if short else f"{text} {when.year}"

    def day_at(self, seconds: float) -> str:
        """'21 november 2026' of unix seconds, in the districts' own time."""
        return self.day(local_day(seconds))

    def day_of(self, iso: str) -> str:
        """The same of an ISO date."""
        return self.day(date.fromisoformat(iso))

    def moment(self, when: datetime) -> str:
        """'21 november 2026, 14:05' in the districts' own time."""
        local = when.astimezone(ZoneInfo(TIMEZONE))
        return f"{self.day(local.date())}, {local:%H:%M}"

    def span(self, seconds: int) -> str:
        """'15 minuten', or '4 uur' of more than two hours; rounded up."""
        minutes = math.ceil(seconds / 60)
        if minutes <= 120:
            return self("span.minutes", count=minutes)
        return self("span.hours", count=math.ceil(minutes / 60))

    def hour(self, seconds: int) -> str:
        """'21 nov 14:05' in the districts' own time, out of unix seconds."""
        local = datetime.fromtimestamp(seconds, ZoneInfo(TIMEZONE))
        return f"{self.day(local.date(), short=True)} {local:%H:%M}"

    def at(self, seconds: float) -> str:
        """'21 november 2026, 14:05' of unix seconds."""
        return self.moment(datetime.fromtimestamp(seconds, UTC))

    def moment_of(self, iso: str) -> str:
        """The same of an ISO time."""
        return self.moment(datetime.fromisoformat(iso))

    def window(self, cell: Cell | ReasonCount | ProfileBlock) -> str:
        """The window of a figure: a date, or a week with its first and last day."""
        first = local_day(cell.start)
        if cadence_of(cell) is Cadence.DAILY:
            return self("window.day", day=self.day(first))
        last = local_day(cell.end) - timedelta(days=1)
        begin = str(first.day) if first.month == last.month else self.day(first, short=True)
        return self("window.week", week=first.isocalendar().week, first=begin, last=self.day(last))

    def place(self, code: str, names: Mapping[str, str]) -> str:
        """'Overvecht (WK034403)'; the code alone, when there is no such district any more."""
        return f"{names[code]} ({code})" if code in names else code

    def kinds(self, kinds: Iterable[Category]) -> str:
        """'hart en huid'."""
        return self.names([self(f"category.{kind.value}").lower() for kind in kinds])

    def names(self, names: list[str]) -> str:
        """'West, Zuid en Oost'."""
        if len(names) < 2:
            return "".join(names)
        return f"{', '.join(names[:-1])} {self('and')} {names[-1]}"


def local_day(seconds: float) -> date:
    """The day in the districts' own time."""
    return datetime.fromtimestamp(seconds, ZoneInfo(TIMEZONE)).date()
