"""Every command in the docs that prints a figure is there to be run."""

from __future__ import annotations

import re
from pathlib import Path

from api.pages.evidence import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
TOLD = "".join(path.read_text() for path in sorted((ROOT / "docs").rglob("*.md")))


def test_each_bench_and_test_file_that_the_docs_name_is_there():
    named = set(re.findall(r"\b((?:bench|tests)/[\w/]+(?:\.py)?)", TOLD))
    assert len(named) > 20
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_each_make_target_that_the_docs_name_is_there():
    named = set(re.findall(r"`make ([\w-]+)", TOLD))
    assert len(named) > 8
    assert named <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_pages_evidence_names_commands_of_the_docs():
    for commands in COMMANDS.values():
        for command in commands:
            assert command in TOLD
