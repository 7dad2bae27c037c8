"""Scoring on other machines: the same `score_readings` and `merge`, carried out by dask.distributed.

All sums are of integers, and merging is associative and commutative: the result is that of one process to the bit, in
whatever order the chunks come back. A chunk whose worker died is scored again by another. Consent was asked before a
chunk leaves; it holds readings of persons under pseudonyms, so let the cluster speak TLS (`tls://…`) outside of one
machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from analytics.scores import score_readings
from analytics.sums import Partial, merge
from contracts.ports import Fault, ReadingColumns, UsageFault

#: Chunks under way for each worker: one that is worked on and one that waits.
_CHUNKS_PER_WORKER: Final = 2
_CONNECT_S: Final = 10
_RETRIES: Final = 3


class Scorer(Protocol):
    """Chunks of readings in, sums per person and day (ordinals in `days`) out."""

    def __call__(self, chunks: Iterable[ReadingColumns], days: range, /) -> Partial:
        """All chunks, merged."""


def score_here(chunks: Iterable[ReadingColumns], days: range, /) -> Partial:
    """One chunk after another, in this process; memory for one."""
    return merge(*(score_readings(chunk, days) for chunk in chunks))


@contextmanager
def cluster(address: str) -> Iterator[Scorer]:
    """A scorer on the workers of a dask scheduler at `tcp://…` or `tls://…`. Raises UsageFault or Fault."""
    try:
        import distributed
    except ModuleNotFoundError:
        raise UsageFault("--cluster needs dask.distributed: run pip install '.[cluster]'") from None
    try:
        client: Any = distributed.Client(  # type: ignore[no-untyped-call]
            address, timeout=_CONNECT_S, set_as_default=False
        )
    except (OSError, ValueError):
        raise Fault(f"no dask scheduler answers at {address}: start one, or leave --cluster out") from None
    with client, client.as_current():
        yield _Scattered(client, distributed)


class _Scattered:
    """Keeps a bounded number of chunks under way, and merges what comes back."""

    def __init__(self, client: Any, distributed: Any) -> None:
        self._client = client
        self._distributed = distributed

    def __call__(self, chunks: Iterable[ReadingColumns], days: range, /) -> Partial:
        partials: list[Partial] = []
        under_way: set[Any] = set()
        try:
            for chunk in chunks:
                while len(under_way) >= self._room():
                    under_way = self._take(partials, under_way)
                under_way.add(self._client.submit(score_readings, chunk, days, pure=False, retries=_RETRIES))
            while under_way:
                under_way = self._take(partials, under_way)
        except self._distributed.KilledWorker:
            raise Fault(
                "the cluster lost a worker again and again: look at its memory, or leave --cluster out"
            ) from None
        finally:
            for future in under_way:
                future.cancel()
        return merge(*partials)

    def _room(self) -> int:
        return _CHUNKS_PER_WORKER * max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))

    def _take(self, partials: list[Partial], under_way: set[Any]) -> set[Any]:
        """Move what is done from under way to the partials; returns what is not."""
        done, left = self._distributed.wait(under_way, return_when="FIRST_COMPLETED")
        partials += [future.result() for future in done]
        found: set[Any] = left
        return found
