"""The consent ledger: who chose what, from when until when. Everything else asks it, or hears of it by MQTT.

A choice is one transaction: its event in the chain, the volunteer's last word, and the outbox for the broker.
What is current is the last event itself; there is no second copy that could say something else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import secrets
import uuid
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine, delete, insert, select, update

from api import chain, erasures, last_words, pacing, records
from api.erasures import ErasureState, ErasureTotals
from api.notices import Language, Notices
from api.outbox import message_out_of
from api.records import ConsentRecord, Event, Purposes
from api.registry import snapshot
from api.tables import (
    BANDS,
    BEARER_TOKENS,
    CONSENT_EVENTS,
    CONSENT_OUTBOX,
    RETIRED_BANDS,
    VOLUNTEERS,
)
from contracts.consent import Cover, Purpose, band_token, cover_of, new_pseudonym
from contracts.ports import Clock
from contracts.wire import Erasure

_CLAIM_BYTES: Final = 10  # 80 random bits, 16 letters


class Refusal(StrEnum):
    """Why the ledger says no; told to people by the routes."""

    CLAIM = "claim-code-refused"  # unknown and used look the same
    NOT_ADULT = "not-an-adult"
    DISTRICT = "unknown-district"
    ERASURE_OPEN = "erasure-under-way"
    STOPPED = "does-not-take-part"
    TOO_OFTEN = "too-often"


class LedgerRefusal(Exception):
    """The ledger does not do this. Nothing was written, but the no in a choice."""

    def __init__(self, reason: Refusal, *, free_from: int = 0) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.free_from = free_from  # unix seconds, of TOO_OFTEN

    def wait_s(self, now: float) -> int:
        """Whole seconds from `now` (unix) until the ledger takes what it refused; 0 when that is no matter of time."""
        return max(0, math.ceil(self.free_from - now))


class Enrolment(NamedTuple):
    """What a new volunteer gets: the bearer token is shown once and kept as a hash."""

    bearer: str
    record: ConsentRecord


class Ledger:
    """Bands, volunteers and their choices. Safe for threads: each call is one short transaction."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock,
        band_key: bytes,
        notices: Notices,
        known_district: Callable[[str], bool],
        controller: str,
        public_url: str,
        storage_location: str = "NL",
        about_to_read: Callable[[Purpose], None] | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._band_key = band_key
        self._claim_key = hmac.digest(band_key, b"wijkpols claim code 1", "sha256")
        self._notices = notices
        self._known_district = known_district
        self._controller = controller
        self._public_url = public_url
        self._storage_location = storage_location
        self._about_to_read = about_to_read
        chain.prepare(engine)

    # Bands

    def add_band(self, serial: str) -> str:
        """Register a band; returns its claim code, which is shown once. A band that waits gets a new code.

        Raises LedgerRefusal (CLAIM) when somebody wears it already.
        """
        token, code = band_token(self._band_key, serial), new_claim_code()
        with self._engine.begin() as connection:
            renewed = connection.execute(
                update(BANDS)
                .where(BANDS.c.token == token, BANDS.c.pseudonym.is_(None))
                .values(claim_hmac=self._sealed(code))
            )
            if renewed.rowcount == 0:
                if connection.scalar(select(BANDS.c.token).where(BANDS.c.token == token)) is not None:
                    raise LedgerRefusal(Refusal.CLAIM)
                connection.execute(insert(BANDS).values(token=token, claim_hmac=self._sealed(code)))
        return code

    # Choices

    def enrol(
        self,
        claim_code: str,
        *,
        district: str,
        adult: bool,
        language: Language,
        choices: Purposes,
        also: Callable[[Connection, str], None] | None = None,
    ) -> Enrolment:
        """A new volunteer with the band of this claim code. Nothing chosen is a choice too. Raises LedgerRefusal.

        `also` is called with the connection and the pseudonym in the same transaction.
        """
        if not adult:
            raise LedgerRefusal(Refusal.NOT_ADULT)
        if not self._known_district(district):
            raise LedgerRefusal(Refusal.DISTRICT)
        sealed = self._sealed(claim_code)
        unclaimed = (BANDS.c.claim_hmac == sealed) & BANDS.c.pseudonym.is_(None)
        with self._engine.connect() as connection:  # a guess never holds the write lock
            if connection.scalar(select(BANDS.c.token).where(unclaimed)) is None:
                raise LedgerRefusal(Refusal.CLAIM)
        pseudonym, bearer = new_pseudonym(secrets.token_bytes(16)), secrets.token_urlsafe(32)
        record = self._record(pseudonym, choices, at=self._now(), district=district, language=language)
        with self._engine.begin() as connection:
            link = chain.next_link(connection)
            token = connection.scalar(select(BANDS.c.token).where(unclaimed))
            if token is None:
                raise LedgerRefusal(Refusal.CLAIM)
            chain.append(connection, link, pseudonym, records.canonical(record))
            connection.execute(insert(VOLUNTEERS).values(pseudonym=pseudonym, language=language, last_event=link.seq))
            connection.execute(update(BANDS).where(BANDS.c.token == token).values(pseudonym=pseudonym))
            for table in (RETIRED_BANDS, CONSENT_OUTBOX):  # what the broker had still to hear of its last wearer
                connection.execute(delete(table).where(table.c.token == token))
            connection.execute(insert(BEARER_TOKENS).values(hash=_sha256(bearer), pseudonym=pseudonym))
            connection.execute(insert(CONSENT_OUTBOX).values(token=token, revision=link.seq))
            if also is not None:
                also(connection, pseudonym)
        return Enrolment(bearer, record)

    def change(
        self, pseudonym: str, choices: Purposes, *, language: Language | None = None, erase: bool = False
    ) -> ConsentRecord:
        """A new choice, for the coming six months; with `erase`, what is stored and not said yes to is erased.

        `language` is that of the notice that was read, None: the one of the choice before. A choice that only leaves
        out covers what the one before it covered: the band may still hold it, and both said yes. One that says nothing
        new is not written.

        Raises LedgerRefusal: ERASURE_OPEN while an erasure is under way, for the new message would take the place of
        the one that asks for it, or TOO_OFTEN. The no that is in the choice is written all the same.
        """
        with self._engine.begin() as connection:
            link = chain.next_link(connection)
            current = last_words.current(connection, pseudonym)
            wanted, under_way = records.chosen(choices), erasures.under_way(connection, pseudonym)
            record = self._next(current, wanted, language=language, keep=wanted if erase else None)
            if pacing.says_nothing_new(current, record):
                return current
            refusal = self._refusal(connection, current, record, under_way=under_way, erase=erase)
            if refusal is not None:
                less = pacing.common(current.purposes, wanted)
                if less == current.purposes:
                    raise refusal
                record = self._next(current, less, language=language, keep=wanted if erase and not under_way else None)
            if under_way:  # it is asked for again, by a message that says no to more
                record = records.erasing_on(current, record)
            last_words.write(connection, link, record)
            if not under_way:
                erasures.ask(connection, link, record)
        if refusal is not None:
            raise refusal
        return record

    def withdraw(self, pseudonym: str, *, erase: bool) -> ConsentRecord:
        """Take everything back, and have what is stored erased if so wished. Repeating it changes nothing."""
        with self._engine.begin() as connection:
            link = chain.next_link(connection)
            current = last_words.current(connection, pseudonym)
            if current.event is Event.WITHDRAWN and (current.erases_all or not erase):
                return current
            at = max(self._now(), current.at)
            record = records.withdrawn(current, at=at, erase=erase)
            last_words.write(connection, link, record)
            if erase:
                erasures.ask(connection, link, record)
        return record

    def record_erasure(self, pseudonym: str, erasure: Erasure) -> bool:
        """Write down that the store erased; False when nothing of the kind was open. Repeatable."""
        with self._engine.begin() as connection:
            return erasures.record(connection, chain.next_link(connection), pseudonym, erasure)

    # Who is who, and what was said

    def claim_key(self, claim_code: str) -> str:
        """The keyed hash of a claim code, in any writing: a name for it that does not tell it."""
        return self._sealed(claim_code)

    def known_code(self, claim_code: str) -> bool:
        """Whether a band has this claim code, claimed or not."""
        return self._band_of(claim_code)[0]

    def claimable(self, claim_code: str) -> bool:
        """Whether the band of this claim code waits for somebody."""
        return self._band_of(claim_code) == (True, None)

    def wearer_of(self, claim_code: str) -> str | None:
        """Who claimed the band of this claim code."""
        return self._band_of(claim_code)[1]

    def pseudonym_of(self, bearer: str) -> str | None:
        """Whose bearer token this is."""
        with self._engine.connect() as connection:
            return connection.scalar(select(BEARER_TOKENS.c.pseudonym).where(BEARER_TOKENS.c.hash == _sha256(bearer)))

    def current(self, pseudonym: str) -> ConsentRecord:
        """The volunteer's last choice. Raises LookupError."""
        with self._engine.connect() as connection:
            return last_words.current(connection, pseudonym)

    def cover(self, pseudonym: str) -> Cover | None:
        """What the last choice covers now, as gateways and ingest judge by it. Raises LookupError."""
        return cover_of(records.message_of(self.current(pseudonym), 0), self._clock.now())

    def history(self, pseudonym: str) -> list[records.Record]:
        """All that the ledger holds of one volunteer, oldest first."""
        query = select(CONSENT_EVENTS.c.body).where(CONSENT_EVENTS.c.pseudonym == pseudonym)
        with self._engine.connect() as connection:
            return [records.parse(body) for body in connection.scalars(query.order_by(CONSENT_EVENTS.c.seq))]

    def erasures(self, pseudonym: str) -> list[ErasureState]:
        """The erasures that one volunteer asked for, oldest first."""
        with self._engine.connect() as connection:
            return erasures.of(connection, pseudonym)

    def erasure_totals(self) -> ErasureTotals:
        """How the last erasures went."""
        with self._engine.connect() as connection:
            return erasures.totals(connection)

    def covered(self, purpose: Purpose, now: float) -> Mapping[str, Cover]:
        """See contracts.ports.ConsentDirectory. Who asks is about to read, and that is written down first."""
        if self._about_to_read is not None:
            self._about_to_read(purpose)
        query = select(CONSENT_EVENTS.c.seq, CONSENT_EVENTS.c.body).join(
            VOLUNTEERS, VOLUNTEERS.c.last_event == CONSENT_EVENTS.c.seq
        )
        with self._engine.connect() as connection:
            covers = [cover_of(message_out_of(row.seq, row.body), now) for row in connection.execute(query)]
        return {cover.pseudonym: cover for cover in covers if cover is not None and cover.purposes.get(purpose)}

    def districts_enrolled(self) -> set[str]:
        """The districts in which somebody is enrolled (never how many)."""
        query = select(CONSENT_EVENTS.c.body).join(VOLUNTEERS, VOLUNTEERS.c.last_event == CONSENT_EVENTS.c.seq)
        with self._engine.connect() as connection:
            found = [records.parse(body) for body in connection.scalars(query)]
        return {record.district for record in found if isinstance(record, ConsentRecord)}

    def known_district(self, code: str) -> bool:
        """Whether there is a district with this code."""
        return self._known_district(code)

    @property
    def engine(self) -> Engine:
        """The registry that the ledger stands in."""
        return self._engine

    def verify(self) -> chain.ChainFault | None:
        """The first place where the ledger is not as it was written, or None."""
        with snapshot(self._engine) as connection:
            return chain.verify(connection)

    # Inside

    def _now(self) -> int:
        return math.ceil(self._clock.now())  # rounded up: nothing from before the choice is covered

    def _band_of(self, claim_code: str) -> tuple[bool, str | None]:
        query = select(BANDS.c.pseudonym).where(BANDS.c.claim_hmac == self._sealed(claim_code))
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return (False, None) if row is None else (True, row.pseudonym)

    def _sealed(self, claim_code: str) -> str:
        plain = claim_code.upper().translate(str.maketrans("018", "OIB", "- "))
        return hmac.new(self._claim_key, plain.encode(), hashlib.sha256).hexdigest()

    @staticmethod
    def _refusal(
        connection: Connection, current: ConsentRecord, record: ConsentRecord, *, under_way: bool, erase: bool
    ) -> LedgerRefusal | None:
        """Why this choice must wait, but for the no in it; None: it need not."""
        if pacing.only_takes_back(current, record) and not (under_way and erase):
            return None
        if under_way:
            return LedgerRefusal(Refusal.ERASURE_OPEN)
        free_from = pacing.free_from(connection, current.principal_id)
        return LedgerRefusal(Refusal.TOO_OFTEN, free_from=free_from) if free_from > record.at else None

    def _next(
        self, current: ConsentRecord, choices: Purposes, *, language: Language | None, keep: Purposes | None
    ) -> ConsentRecord:
        """The record of these choices after `current`; with `keep`, what is stored of other kinds is to be erased."""
        at = max(self._now(), current.at)
        language = language or current.notice.language
        record = self._record(current.principal_id, choices, at=at, district=current.district, language=language)
        if record.event is Event.REFUSED and current.stands:
            record = msgspec.structs.replace(record, event=Event.WITHDRAWN)
        elif record.stands and current.lapsed:
            record = msgspec.structs.replace(record, event=Event.RENEWED)
        record = msgspec.structs.replace(record, press=current.press)
        if keep is not None:
            return records.with_erasure(record, keep=keep)
        return records.going_on(current, record) if current.notice.version in self._notices.holding else record

    def _record(
        self, pseudonym: str, choices: Purposes, *, at: int, district: str, language: Language
    ) -> ConsentRecord:
        purposes, notice = records.chosen(choices), self._notices.of(language)
        prefix = "" if language == "nl" else f"/{language}"
        return ConsentRecord(
            record_id=str(uuid.uuid4()),
            principal_id=pseudonym,
            event=Event.GIVEN if purposes else Event.REFUSED,
            at=at,
            purposes=purposes,
            district=district,
            adult=True,
            valid_from=at,
            valid_until=records.end_of_consent(at) if purposes else at,
            notice=records.NoticeReference(
                uri=f"{self._public_url}{prefix}/toestemming",
                version=notice.version,
                sha256=notice.sha256,
                language=language,
            ),
            controller=self._controller,
            withdrawal_method=f"{self._public_url}/v1/me/withdrawals",
            recipients=records.RECIPIENTS,
            storage_location=self._storage_location,
            rights={article: self._public_url + prefix + page for article, page in records.RIGHT_PAGES.items()},
        )


def new_claim_code() -> str:
    """Sixteen letters and digits in groups of four."""
    letters = base64.b32encode(secrets.token_bytes(_CLAIM_BYTES)).decode()
    return "-".join(letters[i : i + 4] for i in range(0, len(letters), 4))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
