"""Several workers under one command: their names, and processes that end together."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Final

from contracts.ports import Fault

WORKERS_MAX: Final = 32
_POLL_S: Final = 0.1
_GRACE_S: Final = 90.0  # to end the batch at hand: longer than a store's answer may take

log = logging.getLogger(__name__)


def worker_names(name: str, count: int) -> list[str]:
    """The first has the name itself, so that who goes from one worker to several gives no session up."""
    return [name, *(f"{name}-{number}" for number in range(2, count + 1))]


class Stop:
    """Set by SIGTERM and Ctrl-C, and when the process that started this one is gone."""

    def __init__(self, *, parent: int | None = None) -> None:
        self._parent = parent
        self._asked = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)

    def asked(self) -> bool:
        """Whether we are to end."""
        if self._parent is not None and os.getppid() != self._parent:
            self._asked.set()
        return self._asked.is_set()

    def wait(self) -> bool:
        """Wait for a moment; whether we are to end."""
        self._asked.wait(_POLL_S)
        return self.asked()

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        self._asked.set()


def run_processes(names: Sequence[str], work: Callable[[str, Stop], None]) -> None:
    """Run `work(name, stop)` in a process each until we are told to end. `work` must be picklable.

    Raises Fault when one of them ends by itself; the others are ended first.
    """
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads is a gamble
    stop = Stop()
    children = [
        context.Process(target=_child, args=(work, name, os.getpid(), logging.getLogger().level), name=name)
        for name in names
    ]
    for child in children:
        child.start()
    try:
        while not stop.wait():
            ended = [child.name for child in children if not child.is_alive()]
            if ended:
                raise Fault(f"{', '.join(ended)} ended, so all workers do: see the lines above, mend it, start again")
    finally:
        _end(children)


def _end(children: Sequence[BaseProcess]) -> None:
    for child in children:
        child.terminate()
    for child in children:
        child.join(_GRACE_S)
        if child.is_alive():
            log.error("%s did not end in time; what it had not acknowledged, the broker keeps", child.name)
            child.kill()
            child.join()


def _child(work: Callable[[str, Stop], None], name: str, parent: int, level: int) -> None:
    logging.basicConfig(level=level, format="%(levelname)s %(processName)s %(name)s: %(message)s")
    try:
        work(name, Stop(parent=parent))
    except Fault as fault:
        sys.stderr.write(f"{name}: {fault}\n")
        raise SystemExit(1) from None
