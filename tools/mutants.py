"""Break each guarantee once, in a copy, and see that the named test notices: docs/explanation/mutants.md is the list.

Each mutant there is a heading, a line `FILE`, fails: `TEST`, and a diff of context, `-` and `+` lines. Those that a
check on BlueZ notices have a page of their own, docs/explanation/mutants-bluez.md: `--bluez` runs them, in qemu.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "docs" / "explanation" / "mutants.md"
ON_BLUEZ = LIST.with_name("mutants-bluez.md")
MUTANT = re.compile(
    r"^## (?P<name>.+?)\n.*?^`(?P<file>[^`]+)`, fails: `(?P<test>[^`]+)`\n+```diff\n(?P<diff>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
FAILED = 1  # pytest's exit code when a test failed; others mean that it could not be run
TEST_S_MAX = 180


class Mutant(NamedTuple):
    """One guarantee, broken."""

    name: str
    file: str
    test: str
    old: str
    new: str


def mutants(page: Path = LIST) -> list[Mutant]:
    """All of a list. Raises ValueError for one that fits its file nowhere, or in more places than one."""
    found = []
    for match in MUTANT.finditer(page.read_text()):
        lines = match["diff"].splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -").rstrip("\n")
        new = "".join(line[1:] for line in lines if line[0] in " +").rstrip("\n")
        if (ROOT / match["file"]).read_text().count(old) != 1:
            raise ValueError(f"{match['name']}: its lines are not, or not once, in {match['file']}")
        found.append(Mutant(match["name"], match["file"], match["test"], old, new))
    return found


def main() -> int:
    """Run all, or those whose name holds a word; exit 1 when a mutant lived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="WORD", help="mutants whose name holds this")
    parser.add_argument("--bluez", action="store_true", help="those of mutants-bluez.md, in qemu: half an hour")
    args = parser.parse_args()
    chosen = [mutant for mutant in mutants(ON_BLUEZ if args.bluez else LIST) if args.only in mutant.name]
    lived = _lived_on_bluez(chosen, args.only) if args.bluez else _lived(chosen)
    if lived is None:
        return 1
    sys.stdout.write(f"{len(chosen) - len(lived)} of {len(chosen)} mutants were noticed\n")
    return 1 if lived else 0


def _lived(chosen: list[Mutant]) -> list[str] | None:
    """The names of those that no test noticed; None when the tests fail without a mutant."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "house"
        _copy(copy)
        healthy = _pytest(copy, sorted({mutant.test for mutant in chosen}))
        if healthy:
            sys.stderr.write(f"the tests do not pass without a mutant (pytest exit {healthy})\n")
            return None
        return [mutant.name for mutant in chosen if not _dies(copy, mutant)]


def _lived_on_bluez(chosen: list[Mutant], only: str) -> list[str]:
    """As `_lived`, in one machine, in its layer over these files; `make test-bluez` says if they pass else."""
    sys.path[:0] = [str(ROOT / "tests" / "bluez")]
    from machine import CACHE, boot

    results = CACHE / "results"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    program = ["PYTHONPATH=.:tests/integration", shlex.quote(sys.executable), "tests/bluez/broken.py"]
    boot(" ".join([*program, "/results/broken", shlex.quote(only)]), results, seconds=TEST_S_MAX * (1 + len(chosen)))
    lived = {mutant.name for mutant in chosen}
    for line in (results / "broken").read_text().splitlines():
        told = json.loads(line)
        word = "not run" if told["said"] is None else "noticed" if told["said"] else "LIVED"
        sys.stdout.write(f"{word:<8} {told['mutant']} ({told['seconds']} s)\n")
        if told["said"]:
            lived.discard(told["mutant"])
    return sorted(lived)


def _dies(copy: Path, mutant: Mutant) -> bool:
    file = copy / mutant.file
    whole = file.read_text()
    file.write_text(whole.replace(mutant.old, mutant.new))
    begun = time.monotonic()
    code = _pytest(copy, [mutant.test])
    file.write_text(whole)
    word = {0: "LIVED", FAILED: "noticed"}.get(code, f"not run (pytest exit {code})")
    sys.stdout.write(f"{word:<8} {mutant.name} ({time.monotonic() - begun:.0f} s)\n")
    sys.stdout.flush()
    return code == FAILED


def _copy(copy: Path) -> None:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    for name in done.stdout.splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)


def _pytest(copy: Path, tests: list[str]) -> int:
    """The exit code; a test that hangs counts as one that failed."""
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout", str(TEST_S_MAX), *tests]
    return subprocess.run(words, cwd=copy, capture_output=True, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    raise SystemExit(main())
