"""A disk that can be filled, or made read-only: a tmpfs in a mount namespace of its own.

It needs no root: user namespaces do.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.servers import require_program


class SmallDisk:
    """`path` is a file system of `mebibytes`, seen by programs that run `within` it, and by us below `seen`."""

    def __init__(self, path: Path, *, mebibytes: int) -> None:
        self.path = path
        self._mebibytes = mebibytes
        self._unshare, self._nsenter = (
            require_program("unshare", "util-linux"),
            require_program("nsenter", "util-linux"),
        )
        self._holder: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.path.mkdir()
        script = 'mount -t tmpfs -o "size=$2m" tmpfs "$1" && echo mounted && exec sleep infinity'
        words = [self._unshare, "-Urm", "sh", "-c", script, "sh", str(self.path), str(self._mebibytes)]
        self._holder = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        if self._holder.stdout.readline() != "mounted\n":
            self._holder.kill()
            pytest.fail("this test needs user namespaces (sysctl kernel.unprivileged_userns_clone=1)", pytrace=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()

    @property
    def within(self) -> tuple[str, ...]:
        """The words before a command that is to see the disk."""
        return (self._nsenter, "-t", str(self._holder.pid), "-U", "-m", "--preserve-credentials", "--")

    @property
    def seen(self) -> Path:
        """The disk as we see it."""
        return Path(f"/proc/{self._holder.pid}/root{self.path}")

    def fill(self) -> None:
        """Until nothing more goes on it."""
        try:
            with (self.seen / "ballast").open("wb") as ballast:
                while ballast.write(bytes(1 << 16)):
                    ballast.flush()
        except OSError:
            return

    def make_room(self) -> None:
        (self.seen / "ballast").unlink(missing_ok=True)

    def make_read_only(self) -> None:
        """As a card that fails: what is open stays so, and no name on it can be made, changed or taken away."""
        self._say('mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"')

    def make_writable(self) -> None:
        self._say('umount "$1"')

    def _say(self, script: str) -> None:
        subprocess.run([*self.within, "sh", "-c", script, "sh", str(self.path)], check=True)
