"""What is DuckDB's alone: the file and its faults, retention, and room for batches at any moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from contracts.ports import Fault, Holdings, StoreUnavailable
from contracts.reading import RETENTION_DAYS
from ingest.app import open_store
from ingest.duckdb_store import DuckDBStore
from tests.ingestkit.people import BASE, pseudonym, stored, stored_report

HOLD_THE_FILE = "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
FILL_THE_DISK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, '.')
from tests.ingestkit.people import stored
from contracts.ports import StoreUnavailable
from ingest.duckdb_store import DuckDBStore
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that may not grow: what a full disk looks like to a program
store = DuckDBStore(Path(sys.argv[1]))
store.write([stored(1, minute) for minute in range(100)], [])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
told = written = 0
for batch in range(40):
    try:
        store.write([stored(2 + batch, minute, hr=60 + minute / 7 + batch / 3) for minute in range(500)], [])
        written += 500
    except StoreUnavailable:
        told += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.write([stored(1000, minute) for minute in range(100)], [])
print(told, written + 200, store.holdings().readings)
"""


def test_a_file_held_by_another_process_says_which(tmp_path: Path):
    path = tmp_path / "held.duckdb"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_FILE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Fault, match=rf"in use by another process \(process {holder.pid}\): stop that one"):
            DuckDBStore(path)
        holder.stdin.close()


def test_a_file_that_is_no_duckdb_is_not_touched(tmp_path: Path):
    path = tmp_path / "letter.txt"
    path.write_bytes(b"dear reader" * 1000)
    with pytest.raises(Fault, match="is no DuckDB file: name another"):
        DuckDBStore(path)
    assert path.read_bytes() == b"dear reader" * 1000


@pytest.mark.parametrize(
    ("name", "told"), [("missing/readings.duckdb", "is not there: make it"), ("", "is no DuckDB file")]
)
def test_a_folder_that_is_missing_or_named_as_file_is_said(tmp_path: Path, name: str, told: str):
    with pytest.raises(Fault, match=told):
        DuckDBStore(tmp_path / name)


def test_a_folder_that_cannot_be_written_is_said():
    with pytest.raises(Fault, match=r"see to the rights on|is not there"):
        DuckDBStore(Path("/proc/1/readings.duckdb"))


def test_a_duckdb_file_with_other_tables_is_refused(tmp_path: Path):
    path = tmp_path / "other.duckdb"
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, duckdb; duckdb.connect(sys.argv[1]).execute('CREATE TABLE readings (x INT)')",
            path,
        ],
        check=True,
    )
    with pytest.raises(Fault, match="not a store of readings"):
        DuckDBStore(path)


def test_what_is_older_than_the_retention_is_deleted(tmp_path: Path):
    store = DuckDBStore(tmp_path / "readings.duckdb")
    store.write([stored(1, 0), stored(1, 1), stored(2, 0)], [stored_report(1, 0), stored_report(1, 90)])
    just_past = BASE + RETENTION_DAYS * 86_400 + 1
    assert store.expire(just_past - 1) == Holdings(0, 0)
    assert store.expire(just_past) == Holdings(2, 1)
    assert store.holdings() == Holdings(1, 1)
    assert store.expire(just_past) == Holdings(0, 0)
    assert store.person(pseudonym(2)) == ([], [])
    store.close()


def test_two_stores_on_one_file_in_one_process_agree(tmp_path: Path):
    url = f"duckdb:///{tmp_path / 'readings.duckdb'}"
    first, second = open_store(url), open_store(url)
    first.write([stored(1)], [])
    assert second.erase(pseudonym(1)) == Holdings(1, 0)
    first.write([stored(1, 1), stored(2)], [])
    second.write([stored(3)], [])
    first.close()
    assert second.holdings() == Holdings(3, 0)
    assert {p for chunk in second.readings(0, 2**33) for p in chunk.pseudonyms} == {pseudonym(n) for n in (1, 2, 3)}
    second.close()


def test_a_reader_sees_one_moment_however_long_it_takes(tmp_path: Path):
    store = DuckDBStore(tmp_path / "readings.duckdb")
    store.write([stored(person, minute) for person in range(4) for minute in range(10)], [])
    chunks = store.readings(0, 2**33, rows_max=10)
    next(chunks)
    store.erase(pseudonym(2))
    store.write([stored(9, minute) for minute in range(10)], [])
    assert len(list(chunks)) == 3
    assert sum(len(chunk.minute) for chunk in store.readings(0, 2**33)) == 40
    store.close()


def test_a_closed_store_is_unavailable_and_raises_nothing_else(tmp_path: Path):
    store = DuckDBStore(tmp_path / "readings.duckdb")
    store.close()
    with pytest.raises(StoreUnavailable):
        store.write([stored(1)], [])
    with pytest.raises(StoreUnavailable):
        list(store.readings(0, 1))


def test_a_full_disk_is_unavailable_and_goes_on_when_there_is_room(tmp_path: Path):
    """Nothing that was said to be written is missing, and nothing else is there."""
    path = tmp_path / "readings.duckdb"
    run = subprocess.run([sys.executable, "-c", FILL_THE_DISK, path], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    told, written, held = map(int, run.stdout.split())
    assert told > 0
    assert held == written
    store = DuckDBStore(path)
    assert store.holdings().readings == written
    store.close()
