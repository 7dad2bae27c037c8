"""A volunteer's last choice in the registry: read, and followed by the next, inside a transaction of the caller."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from api import chain, records
from api.records import ConsentRecord
from api.tables import BANDS, CONSENT_EVENTS, CONSENT_OUTBOX, VOLUNTEERS


def wearer(connection: Connection, band: str) -> str | None:
    """Who wears the band of this token."""
    return connection.scalar(select(BANDS.c.pseudonym).where(BANDS.c.token == band))


def current(connection: Connection, pseudonym: str) -> ConsentRecord:
    """The last choice. Raises LookupError."""
    body = connection.scalar(
        select(CONSENT_EVENTS.c.body)
        .join(VOLUNTEERS, VOLUNTEERS.c.last_event == CONSENT_EVENTS.c.seq)
        .where(VOLUNTEERS.c.pseudonym == pseudonym)
    )
    record = records.parse(body) if body is not None else None
    if isinstance(record, ConsentRecord):
        return record
    raise LookupError("no such volunteer")


def write(connection: Connection, link: chain.Link, record: ConsentRecord) -> None:
    """The next choice at this place of the chain, and into the outbox for the broker."""
    pseudonym = record.principal_id
    chain.append(connection, link, pseudonym, records.canonical(record))
    connection.execute(update(VOLUNTEERS).where(VOLUNTEERS.c.pseudonym == pseudonym).values(last_event=link.seq))
    tokens = list(connection.scalars(select(BANDS.c.token).where(BANDS.c.pseudonym == pseudonym)))
    connection.execute(delete(CONSENT_OUTBOX).where(CONSENT_OUTBOX.c.token.in_(tokens)))
    for token in tokens:
        connection.execute(insert(CONSENT_OUTBOX).values(token=token, revision=link.seq))
