"""Is what a receipt says true? Each statement is held against the ledger, by whoever holds the registry.

The receipt is made again out of the event at its place, and must be the same; then the chain, the notice and the state
are looked at. What cannot be known is said: when this copy was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from jsonschema import ValidationError  # type: ignore[import-untyped]
from sqlalchemy import Engine, func, select

from api import chain, erasures
from api.receipts import Entry, Receipt, Receipts, validator
from api.registry import snapshot
from api.tables import CONSENT_EVENTS, META, VOLUNTEERS

_FAULTS_TOLD_MAX: Final = 20
#: Parts of a receipt that are judged by themselves.
_APART: Final = ("created", "erasure")


class Statement(NamedTuple):
    """One thing that a receipt says, and whether it is so."""

    holds: bool
    told: str  # never a value out of the receipt: that may be somebody's own

    def __str__(self) -> str:
        return f"{'ok ' if self.holds else 'NOT'}  {self.told}"


def check(receipt: Any, *, engine: Engine, receipts: Receipts) -> list[Statement]:
    """What holds of a receipt, statement by statement. Any JSON value may be given."""
    faults = sorted({_where(error.absolute_path) for error in validator().iter_errors(receipt)})
    if faults:
        told = ", ".join(faults[:_FAULTS_TOLD_MAX])
        return [Statement(False, f"form: not as the schema describes it, at {told}")]
    found = [Statement(True, "form: as the schema describes it")]
    entry = receipts.at(receipt["ledger"]["place"])
    if entry is None:
        return [*found, Statement(False, "record: the ledger has no choice at this place")]
    try:
        true = receipts.of(entry, created=0)
    except (LookupError, ValidationError):
        return [*found, Statement(False, "record: the event at this place was edited: run 'wijkpols consent verify'")]
    found += _record(receipt, true)
    with snapshot(engine) as connection:
        fault = chain.verify(connection)
        whole = "chain: from its first event to its last as it was written"
        found.append(Statement(fault is None, whole if fault is None else f"chain: was changed at {fault}"))
        notice = entry.record.notice
        name = f"notice {notice.language} {notice.version}"
        held = connection.scalar(select(META.c.value).where(META.c.name == name))
        found.append(
            Statement(held == notice.sha256, f"notice: version {notice.version} ({notice.language}) has this SHA-256")
        )
        query = select(VOLUNTEERS.c.last_event).where(VOLUNTEERS.c.pseudonym == entry.record.principal_id)
        last = connection.scalar(query)
        newest = connection.scalar(select(func.max(CONSENT_EVENTS.c.seq)))
        agrees = erasures.agrees(connection, entry.record, entry.place)
    found.append(_state(entry, last, newest, receipts))
    if "erasure" in true or "erasure" in receipt or not agrees:
        found.append(_erasure(receipt, true.get("erasure", {}), agrees))
    return found


def _record(receipt: Receipt, true: Receipt) -> Iterator[Statement]:
    differing = sorted(_differences(_without(receipt), _without(true)))
    parts = [*(name for name in true if name not in _APART), *(f"record.{name}" for name in true["record"])]
    parts.remove("record")
    for part in parts:
        wrong = [path for path in differing if path == part or path.startswith(f"{part}.")]
        differing = [path for path in differing if path not in wrong]
        yield Statement(not wrong, f"{part}: as in the ledger" if not wrong else f"{', '.join(wrong)}: not so")
    if differing:
        yield Statement(False, f"{', '.join(differing)}: not so")
    # Both are ISO times in UTC with a fixed number of digits up to the seconds, so that text compares as time.
    late = receipt["created"] >= receipt["record"]["status"]["indicatedAt"]
    yield Statement(late, "created: after the choice (the ledger cannot say when)" if late else "created: not so")


def _state(entry: Entry, last: int | None, newest: int | None, receipts: Receipts) -> Statement:
    if last == entry.place:
        return Statement(
            True, f"state: this is the last word of this volunteer (the ledger now ends at event {newest})"
        )
    follower = None if last is None else receipts.at(last)
    if follower is None:
        return Statement(False, "state: this volunteer is not in the registry")
    return Statement(True, f"state: no longer the last word; event {last} says {follower.record.event.value}")


def _erasure(receipt: Receipt, now: dict[str, Any], agrees: bool) -> Statement:
    said = receipt.get("erasure", {})
    if not agrees:
        return Statement(False, "erasure: the registry says other than the chain")
    if now and said == now:
        return Statement(True, "erasure: done" if "erasedAt" in now else "erasure: asked for, and under way")
    if now and said == {"askedAt": now["askedAt"]}:
        return Statement(True, "erasure: was under way when this copy was made; it is done now")
    return Statement(False, "erasure: not so")


def _without(receipt: Receipt) -> Receipt:
    return {name: value for name, value in receipt.items() if name not in _APART}


def _differences(said: Any, true: Any, path: str = "") -> Iterator[str]:
    if isinstance(said, dict) and isinstance(true, dict):
        for name in said.keys() | true.keys():
            yield from _differences(said.get(name), true.get(name), f"{path}.{name}" if path else name)
    elif said != true or type(said) is not type(true):
        yield path


def _where(path: Any) -> str:
    """A place in a receipt. Names that are not ours were sent by somebody, and are not repeated: only the path's."""
    return ".".join(str(part) for part in path) or "the whole"
