"""The demonstration's child processes: started, listened to line by line, and ended in good order."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from contracts.ports import Fault

_END: Final = None
_LINES_MAX: Final = 10_000


class Child:
    """One part of the house in a process of its own. What it prints as JSON lines are events; the rest is its log."""

    def __init__(self, name: str, words: list[str], *, env: Mapping[str, str], logs: Path) -> None:
        self.name = name
        self._words = words
        self._env = {**os.environ, **env}
        self._log = logs / f"{name}.log"
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue(_LINES_MAX)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and modules
                [sys.executable, "-m", "demo.leash", *self._words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._env,
            )
        threading.Thread(target=self._listen, name=f"listen-{self.name}", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def event(self, timeout: float) -> dict[str, Any] | None:
        """The next event, or None after `timeout` seconds without one. Raises Fault when the process has ended."""
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        if event is _END:
            self._events.put(_END)  # the end stays to be seen
            raise Fault(f"the {self.name} ended unexpectedly{self._last_words()}")
        return event

    def end(self, timeout: float = 30) -> int:
        """Ask the process to end and wait; after `timeout` seconds it is killed. Returns its exit code."""
        process = self._process
        if process is None:
            return 0
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def finish(self, timeout: float) -> int:
        """Wait until the process ends by itself, `timeout` seconds at most. Raises Fault when it does not."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Fault(f"the {self.name} did not end within {timeout:.0f} s{self._last_words()}") from None

    def _listen(self) -> None:
        if self._process is None or self._process.stdout is None:
            return
        with self._log.open("ab") as log:
            for line in self._process.stdout:
                try:
                    event = msgspec.json.decode(line, type=dict[str, Any])
                except msgspec.DecodeError:
                    log.write(line)
                    continue
                self._events.put(event)
        self._events.put(_END)

    def _last_words(self) -> str:
        """Where to read on; the log's last line when it is one of ours (they carry no personal data)."""
        try:
            lines = self._log.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        last = next((line for line in reversed(lines) if line.startswith("wijkpols: ")), "")
        return f": {last.removeprefix('wijkpols: ')}" if last else f"; its log is {self._log}"
