"""The tables that the API owns in the registry. History is only ever added to.

No row joins a name to a reading: a band is a keyed hash, a volunteer a random pseudonym.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()

#: One row per fact about the registry itself.
META = Table(
    "registry_meta", METADATA, Column("name", String(32), primary_key=True), Column("value", Text, nullable=False)
)

DISTRICTS = Table(
    "districts",
    METADATA,
    Column("code", String(10), primary_key=True),
    Column("body", Text, nullable=False),  # contracts.district.District as JSON
)

#: The consent events of everybody, each chained to the one before.
CONSENT_EVENTS = Table(
    "consent_events",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("previous", String(64), nullable=False),
    Column("body", Text, nullable=False),  # canonical JSON
    Column("hash", String(64), nullable=False),
    Column("pseudonym", String(26), nullable=False, index=True),
)

#: One row: the chain's end. It is written first in each transaction, so that writers queue on it, and it shows
#: when the last events were removed.
CONSENT_CHAIN = Table(
    "consent_chain",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)

VOLUNTEERS = Table(
    "volunteers",
    METADATA,
    Column("pseudonym", String(26), primary_key=True),
    Column("language", String(2), nullable=False),
    Column("last_event", BigInteger, ForeignKey("consent_events.seq"), nullable=False),
)

BANDS = Table(
    "bands",
    METADATA,
    Column("token", String(26), primary_key=True),
    Column("claim_hmac", String(64), nullable=False, unique=True),
    Column("pseudonym", String(26), ForeignKey("volunteers.pseudonym"), nullable=True, index=True),
)

BEARER_TOKENS = Table(
    "bearer_tokens",
    METADATA,
    Column("hash", String(64), primary_key=True),
    Column("pseudonym", String(26), ForeignKey("volunteers.pseudonym"), nullable=False, index=True),
)

#: What opens the volunteer's pages, beside the claim code: scrypt hashes of a chosen secret and of recovery words.
WEB_SECRETS = Table(
    "web_secrets",
    METADATA,
    Column("pseudonym", String(26), ForeignKey("volunteers.pseudonym"), primary_key=True),
    Column("secret", String(160), nullable=False),
    Column("recovery", String(160), nullable=False),
)

WEB_SESSIONS = Table(
    "web_sessions",
    METADATA,
    Column("hash", String(64), primary_key=True),  # of the token in the cookie
    Column("pseudonym", String(26), ForeignKey("volunteers.pseudonym"), nullable=False, index=True),
    Column("expires_at", BigInteger, nullable=False),  # unix seconds
)

#: Recovery codes that are not written down yet, sealed by a key that only the session's browser has.
WEB_SHOWN_ONCE = Table(
    "web_shown_once",
    METADATA,
    Column("session", String(64), ForeignKey("web_sessions.hash", ondelete="CASCADE"), primary_key=True),
    Column("sealed", Text, nullable=False),
    Column("until", BigInteger, nullable=False),  # unix seconds
)

PASSKEYS = Table(
    "passkeys",
    METADATA,
    Column("id", String(1400), primary_key=True),  # the credential's, base64url (1,023 bytes at most)
    Column("pseudonym", String(26), ForeignKey("volunteers.pseudonym"), nullable=False, index=True),
    Column("public_key", Text, nullable=False),  # COSE, base64url
    Column("sign_count", BigInteger, nullable=False),
    Column("made_at", BigInteger, nullable=False),  # unix seconds
    Column("used_at", BigInteger, nullable=True),  # unix seconds
)

#: Questions put to an authenticator and not answered yet; each is good for one try.
PASSKEY_CHALLENGES = Table(
    "passkey_challenges",
    METADATA,
    Column("hash", String(64), primary_key=True),
    Column("ceremony", String(8), nullable=False),
    Column("pseudonym", String(26), nullable=True),
    Column("expires_at", BigInteger, nullable=False, index=True),  # unix seconds
)

#: Bands that their wearer left for another one: told withdrawn, under nobody's name, until somebody claims them.
RETIRED_BANDS = Table(
    "retired_bands",
    METADATA,
    Column("token", String(26), ForeignKey("bands.token"), primary_key=True),
    Column("revision", BigInteger, nullable=False),
)

OBJECTIONS = Table(
    "objections",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("pseudonym", String(26), ForeignKey("volunteers.pseudonym"), nullable=False, index=True),
    Column("subject", String(16), nullable=False),
    Column("made_at", BigInteger, nullable=False),  # unix seconds
    Column("answered_at", BigInteger, nullable=True),  # unix seconds
    Column("answer", String(500), nullable=True),
)

#: For who wants a reminder, and for nothing else; sealed by a key that is not in this database.
ADDRESSES = Table(
    "addresses",
    METADATA,
    Column("pseudonym", String(26), ForeignKey("volunteers.pseudonym"), primary_key=True),
    Column("sealed", Text, nullable=False),
    Column("reminded_for", BigInteger, nullable=True),  # the end of consent that the last letter was about
)

PROMPTS = Table(
    "prompts",
    METADATA,
    Column("pseudonym", String(26), ForeignKey("volunteers.pseudonym"), primary_key=True),
    Column("per_day", Integer, nullable=False),
    Column("first_hour", Integer, nullable=False),
    Column("last_hour", Integer, nullable=False),
    Column("seed", String(32), nullable=False),
    Column("answered_at", BigInteger, nullable=True),  # unix seconds
)

RECOVERIES = Table(
    "recoveries",
    METADATA,
    Column("pseudonym", String(26), ForeignKey("volunteers.pseudonym"), primary_key=True),
    Column("claim_hmac", String(64), nullable=False, unique=True),
    Column("words", String(160), nullable=False),
    Column("usable_from", BigInteger, nullable=False),  # unix seconds
    Column("usable_until", BigInteger, nullable=False),  # unix seconds
)

#: Bands whose newest consent the broker has not acknowledged yet.
CONSENT_OUTBOX = Table(
    "consent_outbox",
    METADATA,
    Column("token", String(26), ForeignKey("bands.token"), primary_key=True),
    Column("revision", BigInteger, nullable=False),
)

#: When each gateway last said that it is at work.
GATEWAYS_SEEN = Table(
    "gateways_seen",
    METADATA,
    Column("gateway", String(64), primary_key=True),
    Column("at", BigInteger, nullable=False),  # unix seconds
)

ERASURES = Table(
    "erasures",
    METADATA,
    Column("revision", BigInteger, ForeignKey("consent_events.seq"), primary_key=True, autoincrement=False),
    Column("pseudonym", String(26), nullable=False, index=True),
    Column("asked_at", BigInteger, nullable=False),
    Column("erased_at", Float, nullable=True),
    Column("readings", BigInteger, nullable=True),
    Column("reports", BigInteger, nullable=True),
)

ACCESS_LOG = Table(
    "access_log",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("day", String(10), nullable=False, index=True),
    Column("role", String(16), nullable=False),
    Column("purpose", String(200), nullable=False),
    Column("dataset", String(64), nullable=False),
    Column("pseudonym", String(26), nullable=True),  # whose own data it was; never in the public log
    Column("times", Integer, nullable=False, server_default="1"),  # on that day
    Index("access_log_pseudonym", "pseudonym"),
)
