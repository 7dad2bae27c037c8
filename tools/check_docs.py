"""Hold the docs: links lead somewhere, the README is short, ADRs are numbered, nothing large or foreign is tracked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README_LINES_MAX = 120
FILE_BYTES_MAX = 1_000_000
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
# Words put together here, so that this file does not find itself.
FOREIGN = re.compile("|".join(("/" + "work/", "/" + "root/", "files." + "pythonhosted", "registry." + "npmjs")))


def main() -> int:
    """Print what is wrong, one line each; exit 1 when there is anything."""
    tracked = [
        Path(line)
        for line in subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
    ]
    faults = [*links(tracked), *sizes(tracked), *foreign(tracked), *readme(), *adrs()]
    for fault in faults:
        print(fault, file=sys.stderr)  # noqa: T201
    print(f"docs: {len(tracked)} files looked at, {len(faults)} faults")  # noqa: T201
    return 1 if faults else 0


def links(tracked: list[Path]) -> list[str]:
    """Relative links of Markdown files that lead nowhere: to no file, or to no heading in it."""
    return [
        f"{page}: the link {target}{f'#{anchor}' if anchor else ''} leads nowhere"
        for page in tracked
        if page.suffix == ".md" and (ROOT / page).exists()
        for target, anchor in LINK.findall((ROOT / page).read_text())
        if "://" not in target and not target.startswith("mailto:")
        if not _leads(ROOT / page.parent / target if target else ROOT / page, anchor)
    ]


def _leads(file: Path, anchor: str) -> bool:
    if not anchor or file.suffix != ".md":
        return file.exists()
    return file.exists() and anchor in {_slug(heading) for heading in HEADING.findall(file.read_text())}


def _slug(heading: str) -> str:
    """The anchor that a forge makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def sizes(tracked: list[Path]) -> list[str]:
    """Files of more than 1 MB."""
    return [
        f"{path}: more than {FILE_BYTES_MAX} bytes"
        for path in tracked
        if (ROOT / path).is_file() and (ROOT / path).stat().st_size > FILE_BYTES_MAX
    ]


def foreign(tracked: list[Path]) -> list[str]:
    """Paths of one machine and hosts of registries."""
    faults = []
    for path in tracked:
        if not (ROOT / path).is_file():
            continue
        try:
            text = (ROOT / path).read_text()
        except UnicodeDecodeError:
            continue
        faults += [f"{path}: holds {word!r}" for word in sorted(set(FOREIGN.findall(text)))]
    return faults


def readme() -> list[str]:
    """The README stays short."""
    lines = len((ROOT / "README.md").read_text().splitlines())
    return [f"README.md: {lines} lines, {README_LINES_MAX - 1} at most"] if lines >= README_LINES_MAX else []


def adrs() -> list[str]:
    """Decisions are numbered from 1 without a gap."""
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
    return [] if numbers == list(range(1, len(numbers) + 1)) else [f"docs/adr: numbered {numbers}"]


if __name__ == "__main__":
    raise SystemExit(main())
