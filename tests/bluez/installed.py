"""The gateway's program as `docs/how-to/build-a-gateway-on-a-raspberry-pi.md` installs it: its user, its folders."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PLACE: Final = Path("/opt/wijkpols")
STATE: Final = Path("/var/lib/wijkpols")
KEY_FILE: Final = Path("/etc/wijkpols/band.key")
SETTINGS: Final = Path("/etc/wijkpols/gateway.env")


def install(key: bytes) -> None:
    """Run the how-to's steps 1 and 2, on a machine that is thrown away; the checkout takes the place of the package."""
    (Path.home() / "band.key").write_text(key.hex() + "\n")
    (Path.home() / "ca.crt").touch()
    for line in _typed():
        subprocess.run(["sh", "-e", "-c", line], cwd=ROOT, check=True)
    PLACE.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", ROOT, PLACE], check=True)
    _let_others_reach(Path(sys.executable).resolve())


def _let_others_reach(program: Path) -> None:
    """The how-to's Python is Debian's, which everybody may run; this machine's may be in the home of who tests."""
    for folder in program.parents:
        folder.chmod(folder.stat().st_mode | 0o011)


def _typed() -> list[str]:
    """What root types there about the user wijkpols and its files; all but the editor."""
    page = (ROOT / "docs" / "how-to" / "build-a-gateway-on-a-raspberry-pi.md").read_text()
    steps = page.partition("\n## 1. ")[2].partition("\n## 3. ")[0].splitlines()
    lines = [line.strip().removeprefix("sudo ") for line in steps if line.startswith("    sudo ")]
    return [line for line in lines if line.startswith("adduser ") or ("/etc/wijkpols" in line and "nano " not in line)]


def settings(broker: str) -> dict[str, str]:
    """What `deploy/systemd/gateway.env.example` names, with this broker."""
    lines = (ROOT / "deploy" / "systemd" / "gateway.env.example").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {**found, "WIJKPOLS_BROKER_URL": broker}


def service() -> list[str]:
    """The unit's ExecStart, without its program."""
    program, *words = shlex.split(_of_unit("ExecStart"))
    assert program == f"{PLACE}/.venv/bin/wijkpols"
    return words


def _of_unit(setting: str) -> str:
    unit = (ROOT / "deploy" / "systemd" / "wijkpols-gateway.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in unit if "=" in line and not line.startswith("#"))[setting]


class Program:
    """`wijkpols` with these words, as the user wijkpols of the group bluetooth. Its output outlives the machine."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self._output = Path("/results") / f"program-{words[words.index('gateway') + 1]}.log"
        with self._output.open("wb") as out:
            self.process = subprocess.Popen(
                [PLACE / ".venv" / "bin" / "python", "-m", "wijkpols", *words],
                cwd=STATE,
                env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PLACE), **environment},
                user="wijkpols",
                group="wijkpols",
                extra_groups=["bluetooth"],
                umask=int(_of_unit("UMask"), 8),
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def said(self) -> str:
        return self._output.read_text()

    async def finish(self) -> str:
        """Wait for its end, which must be a good one; what it said."""
        code = await asyncio.to_thread(self.process.wait)
        assert code == 0, (code, self.said)
        return self.said


def open_to_others() -> list[str]:
    """Files of the gateway that other accounts of the machine can read or write."""
    return [path.name for path in STATE.iterdir() if path.stat().st_mode & 0o077]
