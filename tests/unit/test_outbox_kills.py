"""`kill -9` at any instruction: before each of Python's, and whenever it strikes in SQLite's and the kernel's."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from contracts import wire
from gateway.outbox import Outbox

ROOT = Path(__file__).resolve().parents[2]

#: A life of an outbox: each step is told to the parent when it is done. `sys.argv`: folder, the instruction to die at.
LIFE = """
import os, signal, sys, threading
from pathlib import Path
from contracts.reading import Reading
from gateway import outbox as module
from gateway.outbox import Drained, Outbox

ANNA, BRAM = "a" * 26, "b" * 26
die_at, count = int(sys.argv[2]), 0

def trace(frame, event, _argument):
    global count
    if not frame.f_code.co_filename.endswith(("outbox.py", "outbox_file.py")):
        return None
    frame.f_trace_opcodes = True
    if event == "opcode":
        count += 1
        if count == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
    return trace

def minutes(name, first, number):
    return [Reading(pseudonym=name, minute=60 * i, hr=60.0) for i in range(first, first + number)]

def done(step):
    os.write(1, f"{step}\\n".encode())

sys._getframe().f_trace_opcodes = True  # Python 3.12 looks for it when the tracing begins
sys.settrace(trace)
outbox = Outbox(folder=Path(sys.argv[1]))
outbox.add(ANNA, minutes(ANNA, 1, 3), [], now=1e9, drained=Drained("t", 7, 18, 240))
done("first")
outbox.add(BRAM, minutes(BRAM, 1, 2), [], now=1e9)
done("second")
outbox.add(ANNA, minutes(ANNA, 4, 61), [], now=1e9, drained=Drained("t", 7, 400, 3900))
done("third")
outbox.remove(outbox.after(0, 1))
done("removed")
outbox.purge(BRAM)
done("purged")
outbox.sync()
sys.settrace(None)
print(count)
"""


def live(folder: Path, die_at: int) -> list[str]:
    """The lines that a life told before it died."""
    done = subprocess.run(
        [sys.executable, "-c", LIFE, str(folder), str(die_at)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, -9), done.stderr
    return done.stdout.split()


def check(folder: Path, told: list[str]) -> None:
    """All that was told is there; what was under way is there wholly or not at all; numbers rise without a hole."""
    with Outbox(folder=folder) as outbox:
        rows, mark = outbox.after(0, 100), outbox.drained("t", 7).seq
    messages = {row.seq: wire.decode_readings(row.payload) for row in rows}
    held = {
        (reading.pseudonym[0], reading.minute // 60) for message in messages.values() for reading in message.readings
    }
    first = {("a", i) for i in range(1, 4)}
    third = {("a", i) for i in range(4, 65)}
    if "third" in told:
        assert third <= held
    assert held & third in (set(), third)  # two messages, one transaction
    assert (mark == 400) == (third <= held)  # with how far the memory was read
    if "first" in told:
        assert mark in (18, 400)
        assert first <= held or "third" in told  # it may have been removed after the third
    assert held & first in (set(), first)
    if "removed" in told:
        assert not held & first
    if "purged" in told:
        assert not any(name == "b" for name, _ in held)
        assert any(message.void_from == 2 == message.seq for message in messages.values())
    elif "second" in told and "removed" not in told:
        assert ("b", 1) in held
    covered = {seq for one in messages.values() for seq in range(one.void_from or one.seq, one.seq + 1)}
    assert covered == set(range(min(covered, default=1), max(covered, default=0) + 1))


def instructions(tmp_path: Path) -> int:
    return int(live(tmp_path / "whole", 0)[-1])


@pytest.mark.parametrize("seed", range(4))
def test_a_kill_before_any_instruction_tears_nothing(tmp_path: Path, seed: int):
    total = instructions(tmp_path)
    assert total > 1_000
    for die_at in random.Random(seed).sample(range(1, total + 1), 20):
        folder = tmp_path / str(die_at)
        told = live(folder, die_at)
        assert not told or not told[-1].isdigit()
        check(folder, told)


WRITES = """
import sys
from pathlib import Path
from contracts.reading import Reading
from gateway.outbox import Drained, Outbox
outbox = Outbox(folder=Path(sys.argv[1]))
name, start = "a" * 26, outbox.drained("t", 7).seq
print("open", flush=True)
for seq in range(start + 1, 10**9):
    outbox.add(name, [Reading(pseudonym=name, minute=60 * seq, hr=60.0)], [], now=1e9, drained=Drained("t", 7, seq, 0))
    if seq % 7 == 0:
        outbox.sync()
"""


def test_a_kill_at_any_moment_inside_sqlite_and_the_kernel_tears_nothing(tmp_path: Path):
    chance = random.Random(11)
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", WRITES, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT) as child:
            assert child.stdout is not None
            child.stdout.readline()
            try:
                child.wait(chance.uniform(0.0005, 0.02))  # the moment of the kill, not a wait for a result
            except subprocess.TimeoutExpired:
                child.kill()
    with Outbox(folder=tmp_path) as outbox:
        minutes = [wire.decode_readings(row.payload).readings[0].minute // 60 for row in outbox.after(0, 10**6)]
        assert minutes == list(range(1, outbox.drained("t", 7).seq + 1))
        assert len(minutes) > 20
