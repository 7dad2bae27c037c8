"""How often somebody may choose: no always and at once, a further yes so many times within an hour.

The ledger is only added to, so that one volunteer could fill it. A choice that says nothing new is not written; one
that only takes something back always is, and there are no more than eight of those in a row (two purposes of four
kinds); anything else waits when the volunteer has PER_HOUR_MAX events within an hour.
"""

from __future__ import annotations

import math
from typing import Final

from sqlalchemy import Connection, select

from api import records
from api.records import ConsentRecord, Purposes
from api.tables import CONSENT_EVENTS
from contracts.consent import STOP_CLOCK_S

PER_HOUR_MAX: Final = 20
_HOUR_S: Final = 3600


def says_nothing_new(current: ConsentRecord, record: ConsentRecord) -> bool:
    """Whether all of this choice holds already, its erasure too."""
    if current.lapsed or record.purposes != current.purposes:
        return False
    if record.erase and not (current.erase and (current.erases_all or record.keep == current.keep)):
        return False
    if not record.purposes:
        return True
    # A yes again is a newer word than a button that was held meanwhile, but for a form that was sent twice.
    chosen_at = current.chosen_at or current.valid_from
    return record.notice == current.notice and record.at - chosen_at <= STOP_CLOCK_S


def only_takes_back(current: ConsentRecord, record: ConsentRecord) -> bool:
    """Whether this choice says yes to nothing that the one before it did not; it may have something erased."""
    if not record.purposes:
        return True
    less = common(current.purposes, record.purposes) == record.purposes
    return current.stands and less and (record.purposes != current.purposes or record.erase)


def common(current: Purposes, wanted: Purposes) -> Purposes:
    """What both say yes to: the no that is in a choice, without its yes."""
    return records.chosen({p: tuple(c for c in kinds if c in current.get(p, ())) for p, kinds in wanted.items()})


def free_from(connection: Connection, pseudonym: str) -> int:
    """From when (unix seconds) a further yes of this volunteer is written; long ago for nearly everybody."""
    newest = select(CONSENT_EVENTS.c.body).where(CONSENT_EVENTS.c.pseudonym == pseudonym)
    body = connection.scalar(newest.order_by(CONSENT_EVENTS.c.seq.desc()).offset(PER_HOUR_MAX - 1).limit(1))
    if body is None:
        return 0
    event = records.parse(body)
    return (event.at if isinstance(event, ConsentRecord) else math.ceil(event.erased_at)) + _HOUR_S
