"""The gateway's program as `docs/how-to/build-a-gateway-on-a-raspberry-pi.md` installs it: its user, its folders."""

from __future__ import annotations

import shlex
import subprocess
import sys
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


def start(words: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    """`wijkpols` with these words, as the user wijkpols of the group bluetooth."""
    return subprocess.Popen(
        [sys.executable, "-m", "wijkpols", *words],
        cwd=STATE,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PLACE), **environment},
        user="wijkpols",
        group="wijkpols",
        extra_groups=["bluetooth"],
        umask=0o077,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
