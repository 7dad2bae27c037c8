"""Erasures in the registry: asked for with a choice, told of by the store. In transactions of the caller."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from api import chain, records
from api.records import ConsentRecord, ErasureRecord
from api.tables import ADDRESSES, CONSENT_EVENTS, ERASURES, PROMPTS
from contracts.reading import Category
from contracts.wire import Erasure

_LOOKED_AT: Final = 10_000


class ErasureState(NamedTuple):
    """One erasure that a volunteer asked for; `erased_at` is None while the store is at it."""

    revision: int
    asked_at: int
    erased_at: float | None
    readings: int | None
    reports: int | None
    everything: bool  # or just what was not said yes to any more
    kinds: tuple[Category, ...]  # what went, or goes

    @property
    def seconds(self) -> float | None:
        """From the button to the end, up to a second too long; None while the store is at it."""
        return None if self.erased_at is None else _lasted(self.asked_at, self.erased_at)


class ErasureTotals(NamedTuple):
    """How erasures go, over everybody, from the button to the end."""

    done: int
    under_way: int
    seconds: tuple[float, ...]  # of each that is done, rising, up to a second too long: a choice keeps whole seconds

    def within(self, share: float) -> float | None:
        """The seconds in which this share of them (0 to 1) was done; None before the first."""
        return self.seconds[max(0, math.ceil(share * len(self.seconds)) - 1)] if self.seconds else None


def ask(connection: Connection, link: chain.Link, record: ConsentRecord) -> None:
    """This record, at its place in the chain, may ask for an erasure."""
    if not record.erase:
        return
    if record.erases_all:
        for table in (ADDRESSES, PROMPTS):
            connection.execute(delete(table).where(table.c.pseudonym == record.principal_id))
    asked = {"revision": link.seq, "pseudonym": record.principal_id, "asked_at": record.at}
    connection.execute(insert(ERASURES).values(asked))


def record(connection: Connection, link: chain.Link, pseudonym: str, erasure: Erasure) -> bool:
    """Write down that the store erased; False when nothing of the kind was open. Repeatable."""
    is_open = (
        (ERASURES.c.pseudonym == pseudonym) & ERASURES.c.erased_at.is_(None) & (ERASURES.c.revision <= erasure.revision)
    )
    query = select(ERASURES.c.revision, ERASURES.c.asked_at).where(is_open).order_by(ERASURES.c.revision.desc())
    asked = connection.execute(query).first()
    if asked is None:
        return False
    # One that was asked for before it, and that the store never told of by itself, is done with it.
    connection.execute(update(ERASURES).where(is_open).values(erased_at=erasure.erased_at, readings=0, reports=0))
    counts = {"readings": erasure.readings, "reports": erasure.reports}
    connection.execute(update(ERASURES).where(ERASURES.c.revision == asked.revision).values(counts))
    receipt = ErasureRecord(
        principal_id=pseudonym,
        asked_by=asked.revision,
        asked_at=asked.asked_at,
        erased_at=erasure.erased_at,
        readings=erasure.readings,
        reports=erasure.reports,
    )
    chain.append(connection, link, pseudonym, records.canonical(receipt))
    return True


def agrees(connection: Connection, asked: ConsentRecord, place: int) -> bool:
    """Whether what the registry says of the erasure that a choice asked for is what the chain says of it."""
    row = connection.execute(select(ERASURES).where(ERASURES.c.revision == place)).one_or_none()
    mine = select(CONSENT_EVENTS.c.seq, CONSENT_EVENTS.c.body).where(CONSENT_EVENTS.c.pseudonym == asked.principal_id)
    wished, done = False, None  # by the choice before this one; what closed this one
    for seq, body in connection.execute(mine.order_by(CONSENT_EVENTS.c.seq)):
        one = _event(body)
        if isinstance(one, ConsentRecord) and seq < place:
            wished = one.erase
        elif isinstance(one, ErasureRecord) and seq > place and one.asked_by >= place:
            done = one
            break
    if row is None:  # what follows a choice that wished it carries the wish on, and has no erasure of its own
        return not asked.erase or wished
    if not asked.erase or row.asked_at != asked.at or done is None:
        return bool(asked.erase and row.asked_at == asked.at and row.erased_at is None)
    counts = (done.readings, done.reports) if done.asked_by == place else (0, 0)  # done with a later one: see `record`
    return bool((row.erased_at, row.readings, row.reports) == (done.erased_at, *counts))


def under_way(connection: Connection, pseudonym: str) -> bool:
    """Whether the store is at an erasure of this volunteer."""
    query = select(ERASURES.c.revision).where(ERASURES.c.pseudonym == pseudonym, ERASURES.c.erased_at.is_(None))
    return connection.scalar(query) is not None


def of(connection: Connection, pseudonym: str) -> list[ErasureState]:
    """The erasures that one volunteer asked for, oldest first."""
    asked = {row.revision: row for row in connection.execute(select(ERASURES).where(ERASURES.c.pseudonym == pseudonym))}
    events = select(CONSENT_EVENTS.c.seq, CONSENT_EVENTS.c.body).where(CONSENT_EVENTS.c.pseudonym == pseudonym)
    found: list[ErasureState] = []
    said: set[Category] = set()  # yes to, until then
    for seq, body in connection.execute(events.order_by(CONSENT_EVENTS.c.seq)):
        choice = _choice(body)
        if (row := asked.get(seq)) is not None:
            whole = choice is None or choice.erases_all
            kept = () if choice is None or whole else choice.keep
            left_out = tuple(kind for kind in Category if kind not in kept)
            kinds = tuple(kind for kind in left_out if kind in said) or left_out
            found.append(ErasureState(seq, row.asked_at, row.erased_at, row.readings, row.reports, whole, kinds))
        if choice is not None:
            said.update(kind for kinds in choice.purposes.values() for kind in kinds)
    return found


def totals(connection: Connection) -> ErasureTotals:
    """How the last erasures of everybody went."""
    query = select(ERASURES.c.asked_at, ERASURES.c.erased_at).order_by(ERASURES.c.revision.desc())
    rows = connection.execute(query.limit(_LOOKED_AT)).all()
    seconds = sorted(_lasted(row.asked_at, row.erased_at) for row in rows if row.erased_at is not None)
    return ErasureTotals(done=len(seconds), under_way=len(rows) - len(seconds), seconds=tuple(seconds))


def done_at(asked_at: int, erased_at: float) -> float:
    """When an erasure was done, as it is told: what was asked is dated at the next second, and not done before."""
    return max(erased_at, asked_at)


def _choice(body: str) -> ConsentRecord | None:
    record = _event(body)
    return record if isinstance(record, ConsentRecord) else None


def _event(body: str) -> ConsentRecord | ErasureRecord | None:
    try:
        return records.parse(body)
    except msgspec.DecodeError:  # edited behind the ledger's back: `consent verify` says where
        return None


def _lasted(asked_at: int, erased_at: float) -> float:
    """Seconds. A choice is dated at the next whole second, so that nothing from before it is covered."""
    return max(0.0, erased_at - (asked_at - 1))
