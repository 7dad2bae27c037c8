"""An event loop whose clock jumps: when nothing is left to do now, it is at once the next timer's time.

Sockets are real, and looked at before each jump, so what two parts of this process say to each other over a unix
socket takes no time. A day of two hundred bands takes as long as its work takes, and a busy machine makes it slow, not
wrong.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[valid-type, misc]
    """Never waits where the loop has a timer: it moves the time instead."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(None if timeout is None else 0)
        if not ready and timeout is not None and timeout > 0:
            self.now_s += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time()` begins at 0."""

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now_s


class VirtualClock:
    """The world's time in a VirtualTimeLoop: `start` (unix seconds) is its 0."""

    def __init__(self, start: float, loop: asyncio.AbstractEventLoop) -> None:
        self._start, self._loop = start, loop

    def now(self) -> float:
        return self._start + self._loop.time()


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end in a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)
