"""The gateway's program as `docs/how-to/build-a-gateway-on-a-raspberry-pi.md` installs it: its user, its folders."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PLACE: Final = Path("/opt/wijkpols")
STATE: Final = Path("/var/lib/wijkpols")
KEY_FILE: Final = Path("/etc/wijkpols/band.key")


def install(key: bytes) -> None:
    """The how-to's steps 1 and 2, on a machine that is thrown away; the checkout takes the place of the package."""
    subprocess.run(["adduser", "--quiet", "--system", "--group", "--home", STATE, "wijkpols"], check=True)
    subprocess.run(["adduser", "--quiet", "wijkpols", "bluetooth"], check=True)
    PLACE.mkdir(parents=True)
    subprocess.run(["mount", "--bind", ROOT, PLACE], check=True)
    KEY_FILE.parent.mkdir(parents=True)
    KEY_FILE.write_text(key.hex() + "\n")
    subprocess.run(["chown", "-R", "root:wijkpols", KEY_FILE.parent], check=True)
    subprocess.run(["chmod", "750", KEY_FILE.parent], check=True)
    subprocess.run(["chmod", "640", KEY_FILE], check=True)


def settings(broker: str) -> dict[str, str]:
    """What `deploy/systemd/gateway.env.example` names, with this broker."""
    lines = (ROOT / "deploy" / "systemd" / "gateway.env.example").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {**found, "WIJKPOLS_BROKER_URL": broker}


def service() -> list[str]:
    """The unit's ExecStart, without its program."""
    unit = (ROOT / "deploy" / "systemd" / "wijkpols-gateway.service").read_text().splitlines()
    (start,) = (line.removeprefix("ExecStart=") for line in unit if line.startswith("ExecStart="))
    program, *words = shlex.split(start)
    assert program == f"{PLACE}/.venv/bin/wijkpols"
    return words


class Program:
    """`wijkpols` with these words, as the user wijkpols of the group bluetooth. Its output outlives the machine."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self._output = Path("/results") / f"program-{words[1]}.log"
        with self._output.open("wb") as out:
            self.process = subprocess.Popen(
                [PLACE / ".venv" / "bin" / "python", "-m", "wijkpols", *words],
                cwd=STATE,
                env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PLACE), **environment},
                user="wijkpols",
                group="wijkpols",
                extra_groups=["bluetooth"],
                umask=0o077,
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


def bonds_mode() -> int:
    """The rights of the file of bonds."""
    return (STATE / "bonds.json").stat().st_mode & 0o777
