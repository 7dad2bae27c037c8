"""Keeps what the wearer's consent covers, and counts the rest by reason. Fails closed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from contracts.consent import Cover
from contracts.reading import Reading, SelfReport

#: No consent that covers anything now, or one of another pseudonym.
CONSENT_MISSING: Final = "consent-missing"
#: Nothing of it is in a category that was consented to.
CONSENT_CATEGORY: Final = "consent-category"
#: From before the choice.
BEFORE_CONSENT: Final = "before-consent"


class Admitted(NamedTuple):
    """What may go on, and reason -> how many readings and reports may not."""

    readings: list[Reading]
    reports: list[SelfReport]
    readings_dropped: Counter[str]
    reports_dropped: Counter[str]


def admit(cover: Cover | None, readings: Iterable[Reading], reports: Iterable[SelfReport]) -> Admitted:
    """Keep of each reading the fields that are covered, and the reports that are."""
    admitted = Admitted([], [], Counter(), Counter())
    for reading in readings:
        if cover is None or reading.pseudonym != cover.pseudonym:
            admitted.readings_dropped[CONSENT_MISSING] += 1
        elif reading.minute < cover.valid_from:
            admitted.readings_dropped[BEFORE_CONSENT] += 1
        elif (kept := cover.keep(reading)) is None:
            admitted.readings_dropped[CONSENT_CATEGORY] += 1
        else:
            admitted.readings.append(kept)
    for report in reports:
        if cover is None or report.pseudonym != cover.pseudonym:
            admitted.reports_dropped[CONSENT_MISSING] += 1
        elif report.at < cover.valid_from:
            admitted.reports_dropped[BEFORE_CONSENT] += 1
        elif not cover.keeps(report):
            admitted.reports_dropped[CONSENT_CATEGORY] += 1
        else:
            admitted.reports.append(report)
    return admitted
