"""What the ledger writes down for each event, with the fields of ISO/IEC TS 27560:2023 that this version fills."""

from __future__ import annotations

import calendar
import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Literal

import msgspec

from api.notices import Language
from contracts.consent import ConsentMessage, ConsentState, Purpose
from contracts.reading import RETENTION_DAYS, Category

#: Consent is asked again after this many calendar months.
CONSENT_MONTHS: Final = 6
LAWFUL_BASIS: Final = "explicit consent: GDPR art. 6(1)(a) and 9(2)(a)"
#: Who gets to see anything, as each record says it.
RECIPIENTS: Final = ("the volunteer", "the public: figures of districts, with noise")
#: Article of the GDPR -> the page, below the public address, where that right is exercised.
RIGHT_PAGES: Final = {
    "A7-3": "/mijn",  # withdraw
    "A15": "/mijn/gegevens",  # see
    "A16": "/mijn/verbeteren",  # correct
    "A17": "/mijn",  # erase
    "A20": "/mijn/gegevens",  # take along
    "A21": "/mijn/bezwaar",  # object
}

Purposes = dict[Purpose, tuple[Category, ...]]


class Event(StrEnum):
    """What happened, in the words of ISO/IEC TS 27560."""

    GIVEN = "given"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    INVALIDATED = "invalidated"  # the notice changed
    EXPIRED = "expired"
    RENEWED = "renewed"  # given again after one of those two


class NoticeReference(msgspec.Struct, frozen=True, kw_only=True):
    """Which text the volunteer had before them."""

    uri: str
    version: str
    sha256: str
    language: Language


class ConsentRecord(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    tag="consent",
    tag_field="type",
    forbid_unknown_fields=True,
):
    """One choice of one volunteer. It is never changed; the next choice is the next record.

    Version 1 said nothing of recipients, place of storage and rights; a record that follows one keeps its version.
    """

    schema_version: Literal["1", "2"] = "2"
    record_id: str
    principal_id: str  # the pseudonym
    event: Event
    at: int  # unix seconds
    purposes: Purposes
    district: str
    adult: bool  # said so by the volunteer
    valid_from: int  # unix seconds
    valid_until: int  # unix seconds
    erase: bool = False  # what is stored, but for:
    keep: tuple[Category, ...] = ()  # these kinds
    erase_before: int = 0  # what is from this second (unix) on; 0: nothing
    notice: NoticeReference
    controller: str
    lawful_basis: str = LAWFUL_BASIS
    jurisdiction: str = "NL"
    retention_days: int = RETENTION_DAYS
    withdrawal_method: str  # where to withdraw
    recipients: tuple[str, ...] = ()
    storage_location: str = ""  # ISO 3166 code of the country where it is kept
    rights: dict[str, str] = {}  # article of the GDPR -> where the right is exercised
    chosen_at: int = 0  # unix seconds of the choice itself, when that is not when the cover begins; 0: `valid_from`
    pressed_at: int = 0  # unix seconds at which the band's button was held, where that was the withdrawal
    press: int = 0  # the number of the last such press until then; 0: none, or of a band that numbers none

    @property
    def erases_all(self) -> bool:
        """Whether everything that is stored is to be erased, and not just what is not said yes to any more."""
        return self.erase and not self.erase_before

    @property
    def lapsed(self) -> bool:
        """Whether it was ended by us: the notice changed, or its time was over."""
        return self.event in (Event.INVALIDATED, Event.EXPIRED)

    @property
    def stands(self) -> bool:
        """Whether this is a yes; whether it covers anything now is a matter of its time, too."""
        return self.event in (Event.GIVEN, Event.RENEWED)


class ErasureRecord(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    tag="erasure",
    tag_field="type",
    forbid_unknown_fields=True,
):
    """The store's word that nothing of a volunteer is left: the receipt."""

    schema_version: Literal["1"] = "1"
    principal_id: str
    asked_by: int  # the revision (place in the ledger) of the withdrawal that asked for it
    asked_at: int  # unix seconds
    erased_at: float  # unix seconds
    readings: int  # erased
    reports: int  # erased


Record = ConsentRecord | ErasureRecord
_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def canonical(record: Record) -> str:
    """The one text of a record: JSON with sorted names and no spaces. What is hashed is this."""
    return _ENCODER.encode(record).decode()


def parse(body: str) -> Record:
    """The record out of its text. Raises msgspec.DecodeError."""
    return _DECODER.decode(body)


def chosen(purposes: Purposes) -> Purposes:
    """The choice in one form: each category once, in the order of `Category`; a purpose without any is left out."""
    return {p: kept for p in Purpose if (kept := tuple(c for c in Category if c in purposes.get(p, ())))}


def end_of_consent(at: int) -> int:
    """Unix seconds at which a choice made at `at` ends: the same time of day, six calendar months later (UTC)."""
    begin = datetime.fromtimestamp(at, UTC)
    months = begin.month - 1 + CONSENT_MONTHS
    year, month = begin.year + months // 12, months % 12 + 1
    day = min(begin.day, calendar.monthrange(year, month)[1])
    return int(begin.replace(year=year, month=month, day=day).timestamp())


def withdrawn(
    current: ConsentRecord, *, at: int, erase: bool = False, pressed_at: int = 0, press: int = 0
) -> ConsentRecord:
    """The record of a withdrawal of everything that follows `current`.

    An erasure in part that `current` asked for is asked for again: the store may not have heard of it.
    """
    part = {"erase": True, "keep": (), "erase_before": 0} if erase else {}
    return msgspec.structs.replace(
        current,
        record_id=str(uuid.uuid4()),
        event=Event.WITHDRAWN,
        at=at,
        purposes={},
        valid_from=at,
        valid_until=at,
        chosen_at=0,
        pressed_at=pressed_at,
        press=press or current.press,
        **part,
    )


def with_erasure(record: ConsentRecord, *, keep: Purposes) -> ConsentRecord:
    """The same choice, with what `keep` does not say yes to erased; all of it, where that says yes to nothing."""
    said = {category for kinds in keep.values() for category in kinds}
    kept = tuple(category for category in Category if category in said)
    if len(kept) == len(Category):
        return record
    return msgspec.structs.replace(record, erase=True, keep=kept, erase_before=record.valid_from if kept else 0)


def erasing_on(before: ConsentRecord, record: ConsentRecord) -> ConsentRecord:
    """The same choice, asking for what `before` asked to be erased: the store may not have heard of it."""
    asked = {"erase": before.erase, "keep": before.keep, "erase_before": before.erase_before}
    return msgspec.structs.replace(record, **asked)


def going_on(before: ConsentRecord, record: ConsentRecord) -> ConsentRecord:
    """The same choice; where it says yes to nothing that `before` did not, what is from before it stays covered."""
    narrower = all(set(kinds) <= set(before.purposes.get(purpose, ())) for purpose, kinds in record.purposes.items())
    if not (before.stands and record.stands and narrower and record.at < before.valid_until):
        return record
    return msgspec.structs.replace(record, valid_from=before.valid_from, chosen_at=record.at)


def message_of(record: ConsentRecord, revision: int) -> ConsentMessage:
    """What is published of a record. A choice with nothing in it is said as a withdrawal, never implied."""
    message = ConsentMessage(
        revision=revision,
        state=ConsentState.LAPSED if record.lapsed else ConsentState.WITHDRAWN,
        pseudonym=record.principal_id,
        district=record.district,
        issued_at=record.at,
        erase=record.erase,
        keep=record.keep,
        erase_before=record.erase_before,
    )
    if not record.stands:
        return message
    return msgspec.structs.replace(
        message,
        state=ConsentState.GIVEN,
        purposes=record.purposes,
        valid_from=record.valid_from,
        valid_until=record.valid_until,
        chosen_at=record.chosen_at,
        press=record.press,
    )
