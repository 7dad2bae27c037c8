"""The list of mutants fits the code as it is; `make mutants` runs it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tools.mutants import LIST, ON_BLUEZ, ROOT, Mutant, mutants


@pytest.mark.parametrize("page", [LIST, ON_BLUEZ], ids=lambda page: page.stem)
def test_every_heading_of_the_list_is_a_mutant(page: Path):
    headings = [line for line in page.read_text().splitlines() if line[:3] == "## "]
    assert [f"## {mutant.name}" for mutant in mutants(page)] == headings


def test_each_check_on_bluez_has_been_seen_to_fail():
    checks = runpy.run_path(str(ROOT / "tests/bluez/checks.py"))["NAMES"]
    assert {mutant.test.partition("::")[2] for mutant in mutants(ON_BLUEZ)} == set(checks)


@pytest.mark.parametrize("mutant", [*mutants(), *mutants(ON_BLUEZ)], ids=lambda mutant: mutant.name)
def test_a_mutant_changes_one_place_and_names_a_test_that_there_is(mutant: Mutant):
    assert mutant.old != mutant.new
    file, _, test = mutant.test.partition("::")
    assert f"def {test}(" in (ROOT / file).read_text()
