"""`wijkpols --settings FILE`: one file instead of a row of exports."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import wijkpols
from tests.api_support import BAND_KEY


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file puts into the environment is gone after the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


def settings(folder: Path, *lines: str) -> str:
    file = folder / "settings.env"
    file.write_text("".join(f"{line}\n" for line in lines))
    return str(file)


def test_a_part_finds_its_settings_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = settings(
        tmp_path, f"WIJKPOLS_REGISTRY_URL='sqlite:///{tmp_path}/here.sqlite'", f"WIJKPOLS_BAND_KEY={BAND_KEY}"
    )
    assert wijkpols.main(["--settings", file, "volunteers", "add-bands", "WP-000007"]) == 0
    assert capsys.readouterr().out.startswith("WP-000007  ")
    assert (tmp_path / "here.sqlite").exists()


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = settings(tmp_path, f"WIJKPOLS_REGISTRY_URL=sqlite:///{tmp_path}/here.sqlite")
    monkeypatch.setenv("WIJKPOLS_REGISTRY_URL", f"sqlite:///{tmp_path}/there.sqlite")
    assert wijkpols.main(["--settings", file, "registry", "upgrade"]) == 0
    assert [path.name for path in tmp_path.glob("*.sqlite")] == ["there.sqlite"]


@pytest.mark.parametrize("line", ["PATH=/elsewhere", "WIJKPOLS_BAND_KEY"])
def test_a_file_of_something_else_is_refused_in_one_line_that_shows_nothing_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    path = os.environ["PATH"]
    assert wijkpols.main(["--settings", settings(tmp_path, line), "districts", "list"]) == 2
    told = capsys.readouterr().err
    assert "WIJKPOLS_NAME=value" in told
    assert line not in told
    assert os.environ["PATH"] == path


def test_a_file_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert wijkpols.main(["--settings", "/nowhere", "districts", "list"]) == 2
    assert "/nowhere cannot be read" in capsys.readouterr().err
