"""A progress bar on stderr; nothing when the output is for a program."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextlib.contextmanager
def phase(told: str, total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar for as long as the `with` block lasts; the value is called with how much is done."""
    columns = (
        TextColumn("{task.description:<42}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bars:
        task = bars.add_task(told, total=total)
        yield lambda done: bars.update(task, completed=done)
