"""Erased for real: after the documented step the bytes are gone from the file."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.ports import Fault, Holdings
from ingest.duckdb_compact import compact
from ingest.duckdb_store import DuckDBStore
from tests.ingestkit.people import pseudonym, stored, stored_report

#: Values that no other row has, as DuckDB keeps a DOUBLE that does not compress.
SECRETS = [61.0 + number / 7.123 for number in range(3_000)]


def filled(path: Path) -> None:
    """Person 1 among others, over several writes, then erased."""
    store = DuckDBStore(path)
    for person in (0, 1, 2):
        values = SECRETS if person == 1 else [70.0 + person + number / 3.7 for number in range(len(SECRETS))]
        store.write([stored(person, minute, hr=value) for minute, value in enumerate(values)], [stored_report(person)])
    store.close()


def traces(folder: Path) -> dict[str, list[str]]:
    """What is left of person 1, in any file: the pseudonym, and values as eight bytes."""
    found = {}
    for file in folder.iterdir():
        content = file.read_bytes()
        left = ["pseudonym"] if pseudonym(1).encode() in content else []
        left += [str(value) for value in SECRETS if struct.pack("<d", value) in content]
        if left:
            found[file.name] = left
    return found


def test_nothing_of_an_erased_person_is_in_the_file(tmp_path: Path):
    path = tmp_path / "readings.duckdb"
    filled(path)
    assert traces(tmp_path)["readings.duckdb"][0] == "pseudonym"  # so the test can see it when it is there
    store = DuckDBStore(path)
    assert store.erase(pseudonym(1)) == Holdings(3_000, 1)
    store.close()
    compact(path)
    assert traces(tmp_path) == {}


def test_everybody_else_is_as_before_and_newcomers_are_new(tmp_path: Path):
    path = tmp_path / "readings.duckdb"
    filled(path)
    store = DuckDBStore(path)
    before = [store.person(pseudonym(person)) for person in (0, 2)]
    store.erase(pseudonym(1))
    store.close()
    sizes = compact(path)
    assert sizes.after == path.stat().st_size
    store = DuckDBStore(path)
    assert [store.person(pseudonym(person)) for person in (0, 2)] == before
    store.write([stored(3, 0), stored(1, 0)], [])
    assert store.holdings(pseudonym(1)) == store.holdings(pseudonym(3)) == Holdings(1, 0)
    assert [store.person(pseudonym(person)) for person in (0, 2)] == before
    store.close()


def test_an_empty_store_can_be_written_anew(tmp_path: Path):
    DuckDBStore(tmp_path / "readings.duckdb").close()
    compact(tmp_path / "readings.duckdb")
    store = DuckDBStore(tmp_path / "readings.duckdb")
    store.write([stored(1)], [])
    assert store.holdings() == Holdings(1, 0)
    store.close()


def test_a_file_in_use_or_missing_is_said_and_left_alone(tmp_path: Path):
    path = tmp_path / "readings.duckdb"
    with pytest.raises(Fault, match="is not there"):
        compact(path)
    filled(path)
    hold = "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        holder.stdout.readline()
        with pytest.raises(Fault, match="in use by another process"):
            compact(path)
        holder.stdin.close()
    assert [file.name for file in tmp_path.iterdir()] == ["readings.duckdb"]


def test_the_command_writes_the_stores_file_anew(tmp_path: Path):
    filled(tmp_path / "readings.duckdb")
    words = [sys.executable, "-m", "wijkpols", "ingest", "compact"]
    for url, code, told in (
        (f"duckdb:///{tmp_path / 'readings.duckdb'}", 0, "written anew"),
        ("influxdb://u:hunter2@h/d", 2, "only a DuckDB file"),
    ):
        done = subprocess.run(
            words, env={"PATH": "/usr/bin:/bin", "WIJKPOLS_STORE_URL": url}, capture_output=True, text=True, check=False
        )
        assert done.returncode == code
        assert told in done.stdout + done.stderr
        assert "hunter2" not in done.stdout + done.stderr
