"""The figures of the privacy statement, in the docs and on the page, are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analytics.budget import RHO_CAP
from analytics.mechanism import COUNT_SHARE, RHO, RHO_PROFILE, RHO_REASONS, epsilon
from api.pages.words import texts
from attacks.distinguish import change_separation
from attacks.verdict import advantage
from contracts.release import Cadence

STATEMENT = (Path(__file__).resolve().parents[2] / "docs" / "explanation" / "privacy.md").read_text()
DAY, WEEK = RHO[Cadence.DAILY], RHO[Cadence.WEEKLY] + RHO_REASONS
EXTRA = RHO_REASONS + RHO_PROFILE  # of a week of a daily area
ROWS = [float(rho) for rho in re.findall(r"^\| [^|]+ \| ([\d.]+) \| [\d.]+ \| [\d.]+ % \|$", STATEMENT, re.MULTILINE)]


def guessed(rho: float) -> float:
    """How often the best attacker is right, in percent."""
    return 50 * (1 + advantage((2 * rho) ** 0.5))


def test_the_table_holds_what_the_constants_add_up_to():
    daily_month, daily_year = 31 * DAY + 5 * EXTRA, 365 * DAY + 53 * EXTRA
    expected = [DAY, WEEK, 7 * DAY + EXTRA, 5 * WEEK, daily_month, RHO_CAP, 53 * WEEK, daily_year]
    assert pytest.approx(expected) == ROWS


def test_each_row_says_the_epsilon_and_the_guess_of_its_rho():
    told = re.findall(r"^\| [^|]+ \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) % \|$", STATEMENT, re.MULTILINE)
    assert len(told) == 8
    for rho, eps, right in told:
        assert epsilon(float(rho)) == pytest.approx(float(eps), abs=0.06)
        assert guessed(float(rho)) == pytest.approx(float(right), abs=0.6)


def test_a_changed_answer_costs_what_the_statement_says():
    assert "2.8·ρ" in STATEMENT
    assert pytest.approx(2.8) == 4 * (1 - COUNT_SHARE)
    assert change_separation(Cadence.WEEKLY) ** 2 / 2 == pytest.approx(2.8 * RHO[Cadence.WEEKLY])


@pytest.mark.parametrize("language", ["nl", "en"])
def test_the_page_says_the_same_in_plain_words(language):
    numbers = re.findall(r"\d+", texts(language)["home.promise.text"])
    rounded = [str(round(guessed(rho))) for rho in (DAY, 7 * DAY + EXTRA, RHO_CAP)]
    assert [n for n in numbers if n not in ("50", "100", "30")] == rounded
