"""A chain of hashes over the consent events: an edited, removed or reordered row is found, and where.

Each row's hash is SHA-256 over the hash before it, its place and its body. Who can write the whole database can
also write a new chain; the chain shows what was changed behind the ledger's back, not who owns the machine.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from api.records import ConsentRecord, parse
from api.tables import CONSENT_CHAIN, CONSENT_EVENTS, VOLUNTEERS

_GENESIS: Final = hashlib.sha256(b"wijkpols consent ledger 1").hexdigest()


class Link(NamedTuple):
    """The place of the next event."""

    seq: int
    previous: str


class ChainFault(NamedTuple):
    """The first place where the ledger is not as it was written."""

    seq: int
    what: str

    def __str__(self) -> str:
        return f"event {self.seq}: {self.what}"


def prepare(engine: Engine) -> None:
    """Make the chain's beginning where there is none. Repeatable, also by several processes at once."""
    with engine.connect() as connection:
        there = connection.scalar(select(CONSENT_CHAIN.c.id))
    if there is None:
        try:
            with engine.begin() as connection:
                connection.execute(insert(CONSENT_CHAIN).values(id=1, seq=0, hash=_GENESIS))
        except IntegrityError:
            return  # another process was first


def next_link(connection: Connection) -> Link:
    """The next place, locked until the transaction ends. Must be the transaction's first statement.

    It writes (nothing), so that writers queue here, on SQLite as on PostgreSQL, and never upgrade a read lock.
    """
    head = connection.execute(
        update(CONSENT_CHAIN).values(seq=CONSENT_CHAIN.c.seq).returning(CONSENT_CHAIN.c.seq, CONSENT_CHAIN.c.hash)
    ).one()
    return Link(head.seq + 1, head.hash)


def append(connection: Connection, link: Link, pseudonym: str, body: str) -> None:
    """Write an event at a place that `next_link` gave in this transaction."""
    digest = _hash(link, body)
    connection.execute(
        insert(CONSENT_EVENTS).values(seq=link.seq, previous=link.previous, body=body, hash=digest, pseudonym=pseudonym)
    )
    connection.execute(update(CONSENT_CHAIN).values(seq=link.seq, hash=digest))


def verify(connection: Connection) -> ChainFault | None:
    """Walk the whole chain, in one snapshot (registry.snapshot); the first fault, or None: all is as it was written."""
    link, last = Link(1, _GENESIS), dict[str, int]()
    events = connection.execution_options(yield_per=1000).execute(select(CONSENT_EVENTS).order_by(CONSENT_EVENTS.c.seq))
    for row in events:
        fault = _fault(link, row)
        if fault is not None:
            events.close()
            return ChainFault(link.seq, fault)
        if isinstance(parse(row.body), ConsentRecord):
            last[row.pseudonym] = row.seq
        link = Link(row.seq + 1, row.hash)
    head = connection.execute(select(CONSENT_CHAIN.c.seq, CONSENT_CHAIN.c.hash)).one_or_none()
    if head is None or (head.seq, head.hash) != (link.seq - 1, link.previous):
        return ChainFault(link.seq, "removed: the chain ends before its recorded end")
    for volunteer in connection.execute(select(VOLUNTEERS.c.pseudonym, VOLUNTEERS.c.last_event)):
        if last.pop(volunteer.pseudonym, None) != volunteer.last_event:
            return ChainFault(volunteer.last_event, "is taken as a volunteer's last word, and is not")
    return ChainFault(min(last.values()), "its volunteer was removed") if last else None


def _fault(link: Link, row: Row[Any]) -> str | None:
    if row.seq != link.seq:
        return "removed"
    if row.previous != link.previous:
        return "does not follow the event before it (reordered, or the one before was edited)"
    if _hash(link, row.body) != row.hash:
        return "edited"
    try:
        if parse(row.body).principal_id != row.pseudonym:
            return "edited (another volunteer)"
    except msgspec.DecodeError:
        return "edited (no longer a record)"
    return None


def _hash(link: Link, body: str) -> str:
    return hashlib.sha256(f"{link.previous}\n{link.seq}\n{body}".encode()).hexdigest()
