"""Reminds who left an address, once, a month before consent ends. Run by a timer: `wijkpols volunteers remind`."""

from __future__ import annotations

from typing import NamedTuple

from api.addresses import Addresses
from api.pages.letter import reminder
from api.post import Send
from api.renewals import Renewals
from api.settings import Settings


class Reminded(NamedTuple):
    """How many letters went out, and how many the mail server refused."""

    sent: int
    refused: int


def remind(*, addresses: Addresses, renewals: Renewals, settings: Settings, send: Send) -> Reminded:
    """Send what is due. A letter that was refused is tried again the next time; one that went out is not."""
    sent = refused = 0
    for record, reminded_for in addresses.known():
        due = renewals.why(record) is None and renewals.days_left(record) is not None
        address = addresses.of(record.principal_id) if due and reminded_for != record.valid_until else None
        if address is None:
            continue
        letter = reminder(address, valid_until=record.valid_until, language=record.notice.language, settings=settings)
        if send(letter):
            addresses.mark_reminded(record.principal_id, record.valid_until)
            sent += 1
        else:
            refused += 1
    return Reminded(sent, refused)
