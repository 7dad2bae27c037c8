"""Which judged batches are at hand, of all workers: of those that live, were killed, or were left without an answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from contracts.ports import Fault, StillThere, StoreUnavailable
from ingest.batches import DOUBT_S, NOTHING, Batches
from tests.api_support import ManualClock

KILLED = """
import os, signal, sys
from pathlib import Path
from contracts.ports import SystemClock
from ingest.batches import Batches
batches = Batches(Path(sys.argv[1]), "killed", clock=SystemClock())
if sys.argv[2] == "storing":
    batches.begin()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "batches"


def unanswered(batches: Batches) -> None:
    with pytest.raises(StoreUnavailable), batches.asking():
        raise StoreUnavailable("no answer")


def test_a_batch_is_at_hand_from_its_beginning_to_its_end(folder: Path, clock: ManualClock):
    one, other = (Batches(folder, name, clock=clock) for name in ("one", "other"))
    assert other.at_hand() == NOTHING
    one.begin()
    before = other.at_hand()
    assert before != NOTHING
    assert before.still(other.at_hand()) == before
    one.end()
    assert before.still(other.at_hand()) == NOTHING


def test_the_next_batch_is_not_the_one_that_was_at_hand(folder: Path, clock: ManualClock):
    one, other = (Batches(folder, name, clock=clock) for name in ("one", "other"))
    one.begin()
    before = other.at_hand()
    one.begin()
    assert other.at_hand() != NOTHING
    assert before.still(other.at_hand()) == NOTHING


def test_what_the_store_did_not_answer_is_in_doubt_until_a_while_after_it_did(folder: Path, clock: ManualClock):
    one, other = (Batches(folder, name, clock=clock) for name in ("one", "other"))
    unanswered(one)
    clock.time += DOUBT_S
    assert not other.at_hand().doubt
    with one.asking():
        pass
    assert other.at_hand().doubt
    assert one.at_hand().doubt
    clock.time += DOUBT_S
    with one.asking():
        pass
    assert other.at_hand() == NOTHING


def test_something_that_is_there_again_is_an_answer(folder: Path, clock: ManualClock):
    batches = Batches(folder, "one", clock=clock)
    with pytest.raises(StillThere), batches.asking():
        raise StillThere("written meanwhile")
    assert batches.at_hand() == NOTHING


@pytest.mark.parametrize("doing", ["storing", "nothing"])
def test_a_batch_of_one_that_was_killed_is_in_doubt_for_a_while(folder: Path, clock: ManualClock, doing: str):
    subprocess.run([sys.executable, "-c", KILLED, folder, doing], check=False, timeout=60)
    batches = Batches(folder, "alive", clock=clock)
    assert batches.at_hand().batches == frozenset()
    assert batches.at_hand().doubt == (doing == "storing")
    clock.time += DOUBT_S
    assert batches.at_hand() == NOTHING
    assert len(list(folder.iterdir())) == 1


def test_who_ends_in_order_leaves_only_what_is_in_doubt(folder: Path, clock: ManualClock):
    one, other, watching = (Batches(folder, name, clock=clock) for name in ("one", "other", "watching"))
    one.close()
    unanswered(other)
    other.close()
    assert watching.at_hand().doubt
    clock.time += DOUBT_S
    assert watching.at_hand() == NOTHING
    assert len(list(folder.iterdir())) == 1


def test_a_clock_that_is_set_back_prolongs_no_doubt(folder: Path, clock: ManualClock):
    batches = Batches(folder, "one", clock=clock)
    unanswered(batches)
    clock.time -= 3_600
    assert batches.at_hand() == NOTHING


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path, clock: ManualClock):
    with pytest.raises(Fault, match="WIJKPOLS_INGEST_REJECTS"):
        Batches(tmp_path / "away" / "batches", "one", clock=clock)
