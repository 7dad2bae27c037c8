"""make test-bluez: the gateway on real BlueZ, in qemu with Debian's kernel. Each check is told by the guest, or failed.

Not named test_…, so that `make test` leaves it alone: it needs qemu, and two cores to itself.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from checks import NAMES
from machine import CACHE, ROOT, MachineFault, boot

MACHINE_S_MAX = 600.0  # on two cores that are shared


class Outcome(NamedTuple):
    """What the guest wrote by check, and what its console said."""

    checks: dict[str, dict[str, Any]]
    console: str


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    results = CACHE / "results"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    inside = Path(__file__).with_name("inside.py").relative_to(ROOT)
    program = f"PYTHONPATH=.:tests/integration {shlex.quote(sys.executable)} {inside} /results/checks"
    try:
        console = boot(program, results, seconds=MACHINE_S_MAX)
    except MachineFault as fault:
        console = str(fault)
    told = results / "checks"
    lines = told.read_text().splitlines() if told.exists() else []
    return Outcome({check["check"]: check for check in map(json.loads, lines)}, console)


@pytest.mark.timeout(MACHINE_S_MAX + 120)  # the first one waits for the machine, and perhaps for its kernel
@pytest.mark.parametrize("name", NAMES)
def test_on_bluez(outcome: Outcome, name: str, capsys: pytest.CaptureFixture[str]):
    check = outcome.checks.get(name)
    assert check is not None, f"the guest did not tell of {name}; its console:\n{outcome.console[-3000:]}"
    with capsys.disabled():
        sys.stdout.write(f" {name}: {check['seconds']} s\n")
    assert check["passed"] is True, check["fault"]


def test_nothing_was_told_that_is_not_listed(outcome: Outcome):
    assert set(outcome.checks) <= set(NAMES)
