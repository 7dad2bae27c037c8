"""A progress bar on stderr; nothing when the output is for a program."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


class Progress:
    """Phases, one after the other, each with a bar of its own."""

    def __init__(self, *, quiet: bool) -> None:
        self._bars = Bars(
            TextColumn("{task.description:<44}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=quiet,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextlib.contextmanager
    def phase(self, told: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar for as long as the `with` block lasts; the value is called with how much is done."""
        task = self._bars.add_task(told, total=total)
        self._bars.start()
        try:
            yield lambda done: self._bars.update(task, completed=done)
        finally:
            self._bars.stop()
