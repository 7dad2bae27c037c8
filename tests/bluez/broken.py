"""Runs in the guest: breaks what docs/explanation/mutants-bluez.md lists, one after another, and runs the named check.

`python broken.py FILE [WORD…]`, from the project's root with `tests/integration` on the path too, writes a line of JSON
for each whose heading holds one of the words to FILE: its heading, the check, and what that said: "" if it passed, null
if it was not reached. The files that are changed are those of the guest's own layer.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from pathlib import Path

# What costs the guest half a minute to load is loaded once: each mutant runs in a fork.
import bleak.backends.bluezdbus.manager
import bleak_retry_connector
import bumble.device
import paho.mqtt.client
import pydantic_settings
import pytest
import scipy.signal

from tools.mutants import ON_BLUEZ, ROOT, Mutant, mutants

LOADED = (bleak, bleak_retry_connector, bumble, paho, pydantic_settings, pytest, scipy)
#: What a check has here, unless it starts the program: those that pass take half of it at most.
CHECK_S = 60.0
HOUSE_S = 60.0


def broken(mutant: Mutant, told: Path) -> dict[str, object]:
    """Run the check that is named with a mutant, on it."""
    file, check = ROOT / mutant.file, mutant.test.partition("::")[2]
    whole, began = file.read_text(), time.monotonic()
    told.unlink(missing_ok=True)
    file.write_text(whole.replace(mutant.old, mutant.new))
    try:
        process = multiprocessing.get_context("fork").Process(target=_check, args=(check, told))
        process.start()
        process.join(HOUSE_S + _seconds(check))
        process.kill()
        process.join()
    finally:
        file.write_text(whole)
    lines = told.read_text().splitlines() if told.exists() else []
    said = json.loads(lines[0])["fault"] if lines else None
    return {"mutant": mutant.name, "check": check, "said": said, "seconds": round(time.monotonic() - began)}


def _seconds(check: str) -> float:
    return CHECK_S if check != "the_program_as_installed" else 3 * CHECK_S


def _check(check: str, told: Path) -> None:
    import asyncio

    import house
    import inside

    house.restart_now(empty=True)  # of what another mutant left
    inside.log_to(told.with_suffix(f".{check}.log"))
    asyncio.run(inside.main(told, [check], seconds=_seconds(check)))


if __name__ == "__main__":
    sys.dont_write_bytecode = True  # of a file that is changed twice in a second
    out, words = Path(sys.argv[1]), sys.argv[2:]
    for mutant in mutants(ON_BLUEZ):
        if not words or any(word in mutant.name for word in words):
            with out.open("a") as lines:
                lines.write(json.dumps(broken(mutant, out.with_name("told"))) + "\n")
