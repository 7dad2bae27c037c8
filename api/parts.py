"""The parts that the routes work with. They are built in `app.py` and handed in; a route asks for `PartsOf`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.access_log import AccessLog
from api.accounts import Accounts
from api.addresses import Addresses
from api.consent_publisher import ConsentPublisher
from api.districts import Districts
from api.ledger import Ledger
from api.moves import Moves
from api.notices import Notices
from api.objections import Objections
from api.passkeys import Passkeys
from api.prompts import Prompts
from api.receipts import Receipts
from api.recoveries import Recoveries
from api.renewals import Renewals
from api.settings import Settings
from api.shown_once import ShownOnce
from api.sources import ReleaseSource
from api.throttle import Door, Guard, Try
from contracts.ports import Clock, OwnCalm, ReadingStore


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All that a request may need."""

    ledger: Ledger
    releases: ReleaseSource
    districts: Districts
    access_log: AccessLog
    notices: Notices
    publisher: ConsentPublisher | None
    own_data: ReadingStore | None  # asked for one pseudonym only: the one that is logged in
    own_calm: OwnCalm | None
    clock: Clock
    settings: Settings
    accounts: Accounts
    renewals: Renewals
    receipts: Receipts
    moves: Moves
    objections: Objections
    guard: Guard
    passkeys: Passkeys
    shown_once: ShownOnce
    addresses: Addresses
    prompts: Prompts
    recoveries: Recoveries

    def consent_changed(self) -> None:
        """Tell the publisher, where there is one, that the outbox is not empty."""
        if self.publisher is not None:
            self.publisher.notify()

    def tried(self, claim_code: str, client: str, door: Door) -> Try:
        """A claim code as the guard counts it: one that exists by itself, any other by who asks."""
        known = self.ledger.known_code(claim_code) or self.recoveries.known_code(claim_code)
        return Try(f"{door} {self.ledger.claim_key(claim_code)}" if known else None, client)


def parts_of(request: Request) -> Parts:
    """The parts of the application that serves this request."""
    parts = request.app.state.parts
    assert isinstance(parts, Parts)  # noqa: S101  (create_app puts it there)
    return parts


PartsOf = Annotated[Parts, Depends(parts_of)]
