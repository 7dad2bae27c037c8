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

from api import chain, last_words, records
from api.notices import Language, Notices
from api.outbox import message_out_of
from api.records import ConsentRecord, ErasureRecord, Event, Purposes
from api.tables import (
    ADDRESSES,
    BANDS,
    BEARER_TOKENS,
    CONSENT_EVENTS,
    CONSENT_OUTBOX,
    ERASURES,
    RETIRED_BANDS,
    VOLUNTEERS,
)
from contracts.consent import Cover, Purpose, band_token, cover_of, new_pseudonym
from contracts.ports import Clock
from contracts.wire import Erasure

_CLAIM_BYTES: Final = 10  # 80 random bits, 16 letters
_ERASURES_LOOKED_AT: Final = 10_000


class Refusal(StrEnum):
    """Why the ledger says no; told to people by the routes."""

    CLAIM = "claim-code-refused"  # unknown and used look the same
    NOT_ADULT = "not-an-adult"
    DISTRICT = "unknown-district"
    ERASURE_OPEN = "erasure-under-way"
    STOPPED = "does-not-take-part"


class LedgerRefusal(Exception):
    """The ledger does not do this; nothing was written."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


class ErasureState(NamedTuple):
    """One erasure that a volunteer asked for; `erased_at` is None while the store is at it."""

    revision: int
    asked_at: int
    erased_at: float | None
    readings: int | None
    reports: int | None

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

    def change(self, pseudonym: str, choices: Purposes) -> ConsentRecord:
        """A new choice, for the coming six months. Raises LedgerRefusal while an erasure is under way.

        Without that wait the new message would take the place of the one that asks for the erasure.
        """
        with self._engine.begin() as connection:
            link = chain.next_link(connection)
            current = last_words.current(connection, pseudonym)
            if self._erasure_open(connection, pseudonym):
                raise LedgerRefusal(Refusal.ERASURE_OPEN)
            at = max(self._now(), current.at)
            record = self._record(
                pseudonym, choices, at=at, district=current.district, language=current.notice.language
            )
            if record.event is Event.REFUSED and current.stands:
                record = msgspec.structs.replace(record, event=Event.WITHDRAWN)
            elif record.stands and current.event in (Event.INVALIDATED, Event.EXPIRED):
                record = msgspec.structs.replace(record, event=Event.RENEWED)
            last_words.write(connection, link, record)
        return record

    def withdraw(self, pseudonym: str, *, erase: bool) -> ConsentRecord:
        """Take everything back, and have what is stored erased if so wished. Repeating it changes nothing."""
        with self._engine.begin() as connection:
            link = chain.next_link(connection)
            current = last_words.current(connection, pseudonym)
            if current.event is Event.WITHDRAWN and (current.erase or not erase):
                return current
            at = max(self._now(), current.at)
            record = records.withdrawn(current, at=at, erase=erase)
            last_words.write(connection, link, record)
            if erase:
                connection.execute(delete(ADDRESSES).where(ADDRESSES.c.pseudonym == pseudonym))
                connection.execute(insert(ERASURES).values(revision=link.seq, pseudonym=pseudonym, asked_at=at))
        return record

    def record_erasure(self, pseudonym: str, erasure: Erasure) -> bool:
        """Write down that the store erased; False when nothing of the kind was open. Repeatable."""
        is_open = (
            (ERASURES.c.pseudonym == pseudonym)
            & ERASURES.c.erased_at.is_(None)
            & (ERASURES.c.revision <= erasure.revision)
        )
        with self._engine.begin() as connection:
            link = chain.next_link(connection)
            asked = connection.execute(select(ERASURES.c.revision, ERASURES.c.asked_at).where(is_open)).first()
            if asked is None:
                return False
            connection.execute(
                update(ERASURES)
                .where(ERASURES.c.revision == asked.revision)
                .values(erased_at=erasure.erased_at, readings=erasure.readings, reports=erasure.reports)
            )
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

    # Who is who, and what was said

    def claim_key(self, claim_code: str) -> str:
        """The keyed hash of a claim code, in any writing: a name for it that does not tell it."""
        return self._sealed(claim_code)

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

    def history(self, pseudonym: str) -> list[records.Record]:
        """All that the ledger holds of one volunteer, oldest first."""
        query = select(CONSENT_EVENTS.c.body).where(CONSENT_EVENTS.c.pseudonym == pseudonym)
        with self._engine.connect() as connection:
            return [records.parse(body) for body in connection.scalars(query.order_by(CONSENT_EVENTS.c.seq))]

    def erasures(self, pseudonym: str) -> list[ErasureState]:
        """The erasures that one volunteer asked for, oldest first."""
        query = select(ERASURES).where(ERASURES.c.pseudonym == pseudonym).order_by(ERASURES.c.revision)
        with self._engine.connect() as connection:
            return [
                ErasureState(row.revision, row.asked_at, row.erased_at, row.readings, row.reports)
                for row in connection.execute(query)
            ]

    def erasure_totals(self) -> ErasureTotals:
        """How the last erasures went."""
        query = select(ERASURES.c.asked_at, ERASURES.c.erased_at).order_by(ERASURES.c.revision.desc())
        with self._engine.connect() as connection:
            rows = connection.execute(query.limit(_ERASURES_LOOKED_AT)).all()
        seconds = sorted(_lasted(row.asked_at, row.erased_at) for row in rows if row.erased_at is not None)
        return ErasureTotals(done=len(seconds), under_way=len(rows) - len(seconds), seconds=tuple(seconds))

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
        with self._engine.connect() as connection:
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

    @staticmethod
    def _erasure_open(connection: Connection, pseudonym: str) -> bool:
        query = select(ERASURES.c.revision).where(ERASURES.c.pseudonym == pseudonym, ERASURES.c.erased_at.is_(None))
        return connection.scalar(query) is not None


def new_claim_code() -> str:
    """Sixteen letters and digits in groups of four."""
    letters = base64.b32encode(secrets.token_bytes(_CLAIM_BYTES)).decode()
    return "-".join(letters[i : i + 4] for i in range(0, len(letters), 4))


def _lasted(asked_at: int, erased_at: float) -> float:
    """Seconds. A choice is dated at the next whole second, so that nothing from before it is covered."""
    return max(0.0, erased_at - (asked_at - 1))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
