"""Logging in by passkey (W3C Web Authentication): one thing in the hand that asks for a finger, a face or a pin itself.

The library `webauthn` judges what an authenticator says; kept are the public key and the counter. A challenge is made
here, is good for one try within five minutes, and is kept as a hash until then. What the authenticator keeps with
its maker names no volunteer: the user handle is random, and the pseudonym never goes there.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import secrets
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import Engine, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, parse_client_data_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from api.tables import PASSKEY_CHALLENGES, PASSKEYS
from api.throttle import Throttle, network_of
from contracts.ports import Clock

CHALLENGE_S: Final = 300
CREDENTIAL_LETTERS_MAX: Final = 6_000
_PASSKEYS_MAX: Final = 5  # of one volunteer
_OPEN_MAX: Final = 5_000  # challenges of everybody; the oldest go first
_PER_CLIENT: Final = 300  # challenges and failures of one address within a pause: nothing can be guessed here
_NAME: Final = "Wijkpols"
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,1400}")  # base64url, as long as its column

Ceremony = Literal["log-in", "add"]
_Parsed = tuple[dict[str, Any], bytes]


class Refused(Exception):
    """This passkey does not open anything, or cannot be added."""


class Passkey(NamedTuple):
    """One passkey of a volunteer, as the own page lists it."""

    number: str  # names it in a form; tells nothing
    made_at: int  # unix seconds
    used_at: int | None  # unix seconds


class Passkeys:
    """Passkeys and open challenges. Safe for threads and for several processes."""

    def __init__(self, engine: Engine, *, clock: Clock, public_url: str) -> None:
        self._engine = engine
        self._clock = clock
        self._origin = public_url
        self._host = urlsplit(public_url).hostname or ""
        self._clients = Throttle(failures_max=_PER_CLIENT, pause_s=CHALLENGE_S)

    @property
    def possible(self) -> bool:
        """Whether browsers make passkeys for this address: a name, over https or on the machine itself."""
        try:
            ipaddress.ip_address(self._host)
        except ValueError:
            return self._origin.startswith("https://") or self._host == "localhost"
        return False

    def pause(self, client: str) -> int:
        """Whole seconds that this client must wait."""
        return self._clients.pause(network_of(client), self._clock.now())

    def of(self, pseudonym: str) -> list[Passkey]:
        """The passkeys of one volunteer, oldest first."""
        query = select(PASSKEYS).where(PASSKEYS.c.pseudonym == pseudonym).order_by(PASSKEYS.c.made_at, PASSKEYS.c.id)
        with self._engine.connect() as connection:
            return [Passkey(_sha256(row.id.encode()), row.made_at, row.used_at) for row in connection.execute(query)]

    def options_to_add(self, pseudonym: str, *, client: str) -> str:
        """What the browser needs to make one (JSON): it must ask who is there, and keep the key itself."""
        with self._engine.connect() as connection:
            held = list(connection.scalars(select(PASSKEYS.c.id).where(PASSKEYS.c.pseudonym == pseudonym)))
        return options_to_json(
            generate_registration_options(
                rp_id=self._host,
                rp_name=_NAME,
                user_name=_NAME,
                user_id=secrets.token_bytes(32),
                challenge=self._new_challenge("add", pseudonym, client),
                timeout=CHALLENGE_S * 1000,
                authenticator_selection=AuthenticatorSelectionCriteria(
                    resident_key=ResidentKeyRequirement.REQUIRED,
                    user_verification=UserVerificationRequirement.REQUIRED,
                ),
                exclude_credentials=[PublicKeyCredentialDescriptor(id=base64url_to_bytes(found)) for found in held],
            )
        )

    def add(self, pseudonym: str, credential: str, *, client: str) -> None:
        """Keep a new passkey. Raises Refused."""
        try:
            parsed, challenge = _parse(credential)
            self._use(challenge, "add", pseudonym)
            verified = verify_registration_response(
                credential=parsed,
                expected_challenge=challenge,
                expected_rp_id=self._host,
                expected_origin=self._origin,
                require_user_verification=True,
            )
            row = {
                "id": bytes_to_base64url(verified.credential_id),
                "pseudonym": pseudonym,
                "public_key": bytes_to_base64url(verified.credential_public_key),
                "sign_count": verified.sign_count,
                "made_at": int(self._clock.now()),
            }
            with self._engine.begin() as connection:
                connection.execute(insert(PASSKEYS).values(row))
                mine = select(func.count()).where(PASSKEYS.c.pseudonym == pseudonym)
                if (connection.scalar(mine) or 0) > _PASSKEYS_MAX:
                    raise Refused
        except (Refused, WebAuthnException, IntegrityError, ValueError):
            self._failed(client)
            raise Refused from None

    def options_to_log_in(self, *, client: str) -> str:
        """What the browser needs to show one (JSON). It names no passkey, so that it tells nobody which there are."""
        return options_to_json(
            generate_authentication_options(
                rp_id=self._host,
                challenge=self._new_challenge("log-in", None, client),
                timeout=CHALLENGE_S * 1000,
                user_verification=UserVerificationRequirement.REQUIRED,
            )
        )

    def log_in(self, credential: str, *, client: str) -> str:
        """Whose passkey this is. Raises Refused, for whatever reason."""
        try:
            parsed, challenge = _parse(credential)
            self._use(challenge, "log-in", None)
            with self._engine.connect() as connection:
                row = connection.execute(select(PASSKEYS).where(PASSKEYS.c.id == parsed.get("id"))).one_or_none()
            if row is None:
                raise Refused
            verified = verify_authentication_response(
                credential=parsed,
                expected_challenge=challenge,
                expected_rp_id=self._host,
                expected_origin=self._origin,
                credential_public_key=base64url_to_bytes(row.public_key),
                credential_current_sign_count=row.sign_count,
                require_user_verification=True,
            )
            with self._engine.begin() as connection:
                # The old counter in the condition: of two copies of one authenticator at one time, one is refused.
                used = connection.execute(
                    update(PASSKEYS)
                    .where(PASSKEYS.c.id == row.id, PASSKEYS.c.sign_count == row.sign_count)
                    .values(sign_count=verified.new_sign_count, used_at=int(self._clock.now()))
                )
            if used.rowcount != 1:
                raise Refused
        except (Refused, WebAuthnException, ValueError):
            self._failed(client)
            raise Refused from None
        return str(row.pseudonym)

    def remove(self, pseudonym: str, number: str) -> bool:
        """Forget a passkey of this volunteer; whether there was such a one."""
        with self._engine.begin() as connection:
            held = connection.scalars(select(PASSKEYS.c.id).where(PASSKEYS.c.pseudonym == pseudonym))
            found = [one for one in held if _sha256(one.encode()) == number]
            connection.execute(delete(PASSKEYS).where(PASSKEYS.c.id.in_(found)))
        return bool(found)

    # Challenges

    def _new_challenge(self, ceremony: Ceremony, pseudonym: str | None, client: str) -> bytes:
        self._failed(client)  # each is counted: a client that only asks fills the table, too
        challenge, now = secrets.token_bytes(32), int(self._clock.now())
        with self._engine.begin() as connection:
            connection.execute(delete(PASSKEY_CHALLENGES).where(PASSKEY_CHALLENGES.c.expires_at <= now))
            oldest = select(PASSKEY_CHALLENGES.c.hash).order_by(PASSKEY_CHALLENGES.c.expires_at.desc())
            surplus = list(connection.scalars(oldest.offset(_OPEN_MAX - 1)))
            connection.execute(delete(PASSKEY_CHALLENGES).where(PASSKEY_CHALLENGES.c.hash.in_(surplus)))
            connection.execute(
                insert(PASSKEY_CHALLENGES).values(
                    hash=_sha256(challenge), ceremony=ceremony, pseudonym=pseudonym, expires_at=now + CHALLENGE_S
                )
            )
        return challenge

    def _use(self, challenge: bytes, ceremony: Ceremony, pseudonym: str | None) -> None:
        """Use a challenge up, whatever becomes of the try. Raises Refused when there is none."""
        mine = (
            (PASSKEY_CHALLENGES.c.hash == _sha256(challenge))
            & (PASSKEY_CHALLENGES.c.ceremony == ceremony)
            & (PASSKEY_CHALLENGES.c.pseudonym.is_not_distinct_from(pseudonym))
            & (PASSKEY_CHALLENGES.c.expires_at > int(self._clock.now()))
        )
        with self._engine.begin() as connection:
            used = connection.execute(delete(PASSKEY_CHALLENGES).where(mine))
        if used.rowcount != 1:
            raise Refused

    def _failed(self, client: str) -> None:
        self._clients.failed(network_of(client), self._clock.now())


def _parse(credential: str) -> _Parsed:
    """What the browser sent, and the challenge that it answers. Raises Refused, WebAuthnException or ValueError."""
    if len(credential) > CREDENTIAL_LETTERS_MAX:
        raise Refused
    try:
        parsed = json.loads(credential)
        client_data = parse_client_data_json(base64url_to_bytes(parsed["response"]["clientDataJSON"]))
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise Refused from None
    identity = parsed.get("id")
    if not isinstance(identity, str) or not _ID.fullmatch(identity):  # PostgreSQL takes no letter NUL
        raise Refused
    return parsed, client_data.challenge


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
